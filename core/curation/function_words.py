"""Small words that nearly every sentence of a language has, written down for this project.

Knows: about thirty words a language, the most frequent of its articles, pronouns and prepositions.
Does not know: how they are weighed (`language`).
"""

from __future__ import annotations

_WORDS = {
    "en": """
        the a an and or of to in is are was it i you we they my your our this that not with
        for on at from have has can do does be but if when please how what where no never
        since after all any there their been will would could should his her as by which who
    """,
    "de": """
        der die das den dem des und oder ist sind war ich sie wir er es ein eine einen einem
        nicht mit für auf von zu im am bei nach seit mein meine ihr ihre kann habe haben wird
        werden wie was wo wenn aber auch noch mehr bitte kein keine dass als aus über
    """,
    "fr": """
        le la les un une des du de et ou est sont je vous nous il elle on ne pas que qui dans
        pour avec sur mon ma mes votre vos ce cette au aux en plus mais ai avez été depuis
        merci bonjour comment où n'arrive j'ai c'est
    """,
    "es": """
        el la los las un una y o es son yo usted nosotros no que en para con por mi su se lo
        del de al me te le este esta pero más como cuando donde dónde desde hola he ha tengo
        está puedo sin muy hasta gracias qué cómo
    """,
    "it": """
        il lo la gli le un una e o è sono io non che di del della nel in per con mio mia su si
        da dal alla al ma più come quando dove ho ha questo questa grazie vorrei anche
    """,
    "pt": """
        o a os as um uma e ou é são eu não que em para com por meu minha se do da no na de
        mais mas como quando onde está estou tenho já foi desde obrigado você ao
    """,
    "nl": """
        de het een en of is zijn ik u wij we niet met voor op van te in mijn uw kan heb heeft
        wordt worden hoe wat waar als maar ook nog meer geen dat die bij naar er
    """,
    "pl": """
        i w na z do nie się jest są to że o jak co ale mój moja moje mi mnie czy po od przez
        dla za tak już jestem proszę mam był była być gdzie
    """,
    "sv": """
        och i att det som en ett är jag inte på för med den av till har om kan men min mitt ni
        vi hur när var från så mer får
    """,
    "da": """
        og i at det som en et er jeg ikke på for med den af til har om kan men min mit vi
        hvordan når hvor fra så mere får der
    """,
    "nb": """
        og i at det som en et er jeg ikke på for med den av til har om kan men min mitt vi
        hvordan når hvor fra så mer får der
    """,
    "fi": """
        ja on ei se että en olen ole mutta kun minun voin voi miten mitä missä tämä oli jos
        ovat vain myös kuin
    """,
    "ro": """
        și în de la cu nu este sunt pe un o am ai ce care pentru din mai dar să cum unde vă
        mea meu
    """,
    "tr": """
        ve bir bu da de için ile ne nasıl var yok değil ama mi benim ben çok daha nerede gibi
        kadar
    """,
    "cs": """
        a v na se je není jsem to že o jak co ale můj moje mi mě po od pro za už jsou kde
        prosím do
    """,
    "hu": """
        a az és egy nem hogy van vagy is ez azt nem én de már csak meg mint hol kérem nincs
    """,
    "id": """
        yang dan di ke dari ini itu tidak saya untuk dengan ada bisa sudah akan atau bagaimana
        apa mohon anda pada
    """,
    "ca": """
        el la els les un una i o és són jo no que en per amb del de al em et meu meva com quan
        on des més però
    """,
    "hr": """
        i u na se je nije sam to da o kako što ali moj moja mi me po od za su gdje molim
    """,
    "vi": """
        và của là có không tôi cho trong được với này các một những để đã
    """,
}

FUNCTION_WORDS: dict[str, frozenset[str]] = {
    code: frozenset(words.split()) for code, words in _WORDS.items()
}
