"""Abusive words, written down for this project: insults, slurs in their plain forms, threats.

Knows: English words and phrases. Does not know: context; a hit is for a person to look at.
Left out on purpose: words that name a group neutrally, medical words, mild oaths.
"""

from __future__ import annotations

INSULTS = frozenset(
    """
    asshole assholes arsehole arseholes bastard bastards bitch bitches bullshit cocksucker cunt
    cunts dickhead dickheads dipshit douchebag dumbass fatass fuck fucked fucker fuckers
    fuckface fucking fuckwit imbecile jackass moron morons motherfucker motherfuckers
    motherfucking numbnuts piss-off prick pricks retard retarded retards scumbag scumbags
    shithead shitheads shitty skank slut sluts twat twats wanker wankers whore whores
    """.split()  # noqa: SIM905
)
PHRASES = (
    "kill yourself",
    "kill your self",
    "go die",
    "hope you die",
    "i will kill you",
    "i'll kill you",
    "drop dead",
    "piece of shit",
    "pieces of shit",
    "shut the hell up",
    "you are an idiot",
    "you're an idiot",
    "you idiot",
    "you idiots",
    "bunch of idiots",
    "you are stupid",
    "you're stupid",
    "you stupid",
    "you are worthless",
    "you are pathetic",
    "go to hell",
    "rot in hell",
    "burn in hell",
)
THREATS = frozenset(
    {
        "kill yourself",
        "kill your self",
        "go die",
        "hope you die",
        "i will kill you",
        "i'll kill you",
        "rot in hell",
        "burn in hell",
    }
)
"""Phrases that weigh more than an insult."""
