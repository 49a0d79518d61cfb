"""Names, birthdays and addresses: what only the words around give away, as patterns written here.

Knows: greetings, closings, titles, streets, dates. Does not know: checksums (`recognizers`).
Every repetition is bounded, so that a text costs time in proportion to its length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from core.curation.names import FIRST_NAMES, NOT_NAMES, NOT_SURNAMES
from core.curation.spans import Span

COLUMN_CLUE = re.compile(
    r"(?i)\b(?:e[- ]?mail|phone|mobile|telephone|tel|fax|ssn|iban|dob|birth ?(?:day|date)"
    r"|date of birth|first ?name|last ?name|surname|full ?name|(?:customer|contact|patient|person"
    r"|employee|user) ?name|(?:street|postal|home|billing|shipping) ?address|address|password)\b"
)
"""A column of such a name is looked at in every row."""
IN_JSON = (
    r'"[^"]{0,60}(?i:mail|phone|mobile|tel|fax|ssn|social|iban|dob|birth|name|address|passw|secret'
    r'|token|api.?key|nhs|card)[^"]{0,60}"\s*:'
)
"""RE2: keys that say what their value is."""

WORD = r"[A-ZÀ-ÖØ-Þ][A-Za-zÀ-ÖØ-öø-ÿ'’-]{1,24}"
INITIAL = r"[A-ZÀ-ÖØ-Þ]\."
PARTICLE = r"(?:van|von|de|der|den|del|della|di|da|la|le|el|al|bin|ter|zu)"
NAME = rf"{WORD}(?:[ \t](?:{PARTICLE}[ \t]){{0,2}}(?:{WORD}|{INITIAL})){{0,3}}"
PERSON = (
    # how sure, the pattern; the name is group 1
    (0.85, re.compile(rf"\b(?:[Mm]y|[Hh]is|[Hh]er) (?:full |real )?name(?: is|'s|:) ({NAME})")),
    (0.85, re.compile(rf"\b(?:Mr|Mrs|Ms|Mx|Miss|Herr|Frau|Mme|Señora?)\b\.? ({NAME})")),
    (0.7, re.compile(rf"\b(?:Dr|Prof)\. ({NAME})")),
    (
        0.75,
        re.compile(
            r"(?i:\b(?:customer|client|patient|contact|employee|account holder|cardholder|caller"
            r"|passenger|applicant|tenant|full|first|last|recipient)(?:'s)? ?(?:name)?"
            rf"(?: is)?: ?)({NAME})"
        ),
    ),
    (0.75, re.compile(rf"(?:^|\n)(?:Name|From|To|Cc|Attn|Signed|Author): ?({NAME})")),
    (
        0.75,
        re.compile(
            r"(?i:\b(?:regards|sincerely|cheers|best wishes|yours truly|yours faithfully"
            r"|respectfully|many thanks|thanks|thank you|all the best|best|grüße"
            r"|cordialement)[,.!]?)"
            rf"[ \t]{{0,3}}(?:\r?\n[ \t]{{0,8}}){{1,3}}({NAME})[ \t.]{{0,3}}(?=\r?\n|$|\()"
        ),
    ),
    (
        0.7,
        re.compile(
            rf"(?i:\b(?:kind|best|warm) regards,? |\bsincerely,? |\byours,? )({NAME})\.?\s{{0,4}}$"
        ),
    ),
)
CALLED = re.compile(
    rf"\b(?:I am|I'm|I’m|[Tt]his is|[Dd]ear|Hi|Hello|Hey|[Ss]poke (?:to|with)|[Cc]alled|[Aa]sk for)"
    rf",? ({NAME})"
)
"""A name only where its first word is a first name, or, after Dear, where it has two words."""
PAIR = re.compile(rf"\b(?=(({WORD})(?: {INITIAL})? (?:{PARTICLE} ){{0,2}}({WORD})(?![\w’'])))")
"""Two capitalised words, wherever they begin; the first has to be a first name."""

MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?"
    r"|Sep(?:t(?:ember)?)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\.?"
)
DATE = (
    r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2})"
    rf"|\d{{1,2}}(?:st|nd|rd|th)?(?: of)? {MONTH},? \d{{4}}"
    rf"|{MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}})"
)
BIRTH = re.compile(
    r"(?i)\b(?:born(?: on)?|birth ?date|birthday|date of birth|d\.o\.b\.?|dob|geboren(?: am)?"
    rf"|geburtsdatum|née? le|nacid[oa] el)\b[^\n\d]{{0,20}}?\b({DATE})(?!\d)"
)
DATED = re.compile(rf"(?i)(?<!\d){DATE}(?!\d)")

STRONG = r"(?:Street|Road|Avenue|Boulevard|Lane|Terrace|Crescent|Parkway|Rd|Ave|Blvd|Ln|Pkwy|St)\b"
WEAK = r"(?:Drive|Dr|Court|Ct|Place|Pl|Square|Sq|Way|Close|Gardens|Grove|Hill|Row|Highway)\b"
NUMBER = r"(?<![\w/.,$€£#-])\d{1,5}[A-Za-z]?"
MIDDLE = (
    rf"(?:(?:[NSEW]\.?|North|South|East|West) )?(?:(?:{WORD}|\d{{1,3}}(?:st|nd|rd|th)) ){{1,3}}"
)
UNIT = r"(?:,? (?:Apt|Apartment|Suite|Ste|Unit|Flat|Floor|Room)\.? ?[A-Z0-9]{1,5}\b)?"
CITY = rf"(?:,\s{{1,2}}{WORD}\b(?: {WORD}\b){{0,2}})?"
STATES = (
    "A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]"
    "|T[NX]|UT|V[AT]|W[AIVY]"
)
UK_POSTCODE = r"[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}\b"
CODE = rf"(?:,?\s(?:(?:{STATES})[ ,]{{1,2}})?(?:\d{{5}}(?:-\d{{4}})?\b|{UK_POSTCODE}))"
TAIL = rf"{UNIT}{CITY}{CODE}?"
ADDRESS = (
    (0.7, re.compile(rf"{NUMBER},? {MIDDLE}{STRONG}\.?{TAIL}")),
    (0.65, re.compile(rf"{NUMBER},? {MIDDLE}{WEAK}\.?{UNIT}{CITY}{CODE}")),
    (
        0.65,
        re.compile(
            r"(?i:\b(?:address(?: is)?|live at|lives at|living at|reside at|ship(?:ped)? to"
            r"|deliver(?:ed)? to|send it to|moved to)):? "
            rf"({NUMBER},? {MIDDLE}{WEAK}\.?{TAIL})"
        ),
    ),
    (
        0.7,
        re.compile(
            r"\b[A-ZÄÖÜ][a-zäöüß-]{2,25}(?:straße|strasse|str\.|weg|platz|allee|gasse) \d{1,4}"
            r"(?: ?[a-z]\b)?(?:,? \d{5} [A-ZÄÖÜ][a-zäöüß]{1,25})?"
        ),
    ),
    (
        0.7,
        re.compile(
            r"(?<!\w)\d{1,4},? (?:bis |ter )?(?:rue|avenue|boulevard|chemin|impasse|allée) "
            rf"(?:(?:de|du|des|la|le|les) |[ld]['’]){{0,3}}{WORD}(?: {WORD}){{0,2}}"
            rf"(?:,? \d{{5}} {WORD})?"
        ),
    ),
    (0.7, re.compile(r"\bP\.? ?O\.? Box \d{1,6}\b")),
    (0.6, re.compile(rf"\b{WORD}(?: {WORD})?, (?:{STATES}) \d{{5}}(?:-\d{{4}})?\b")),
    (0.6, re.compile(rf"(?i:\bpost ?code:? (?:is )?)({UK_POSTCODE})")),
)

NAMES = "|".join(
    (
        r"(?:name|Name)(?: is|'s|:)|\b(?:Mr|Mrs|Ms|Mx|Miss|Herr|Frau|Mme|Señora?)\b",
        r"\b(?:Dr|Prof)\. ",
        r"(?:[Nn]ame|[Cc]ustomer|[Cc]lient|[Pp]atient|[Cc]ontact|older|[Cc]aller|[Rr]ecipient"
        r"|[Ee]mployee|[Pp]assenger|[Aa]pplicant|[Tt]enant|From|To|Cc|Attn|Signed|Author)"
        r"[^\n:]{0,10}:",
        r"(?i:regards|sincerely|cheers|wishes|yours|faithfully|truly|respectfully|thanks|thank you"
        r"|the best|\bbest|grüße|cordialement)[,.!]?[ \t]{0,3}\r?\n",
        r"(?i:(?:kind|best|warm) regards|\bsincerely|\byours),? [^a-z\s]",
        r"\b(?:I am|I'm|I’m|[Tt]his is|[Dd]ear|Hi|Hello|Hey|[Ss]poke (?:to|with)|[Cc]alled"
        r"|[Aa]sk for),? [^a-z\s]",
        rf"\b(?:{'|'.join(sorted(FIRST_NAMES))}) [^\s\d]",
    )
)
BIRTHS = r"(?i:\bborn|birth|d\.o\.b|\bdob\b|gebor|geburt|née? le|nacid)[^\n\d]{0,32}\d"
STREETS = "|".join(
    (
        r"\d[A-Za-z]?,? (?:[^\s]{1,25} ){1,4}(?:Street|Road|Avenue|Boulevard|Lane|Terrace|Crescent"
        r"|Parkway|Rd|Ave|Blvd|Ln|Pkwy|St|Drive|Dr|Court|Ct|Place|Pl|Square|Sq|Way|Close|Gardens"
        r"|Grove|Hill|Row|Highway)\b",
        r"(?:straße|strasse|str\.|weg|platz|allee|gasse) \d",
        r"\d,? (?:bis |ter )?(?:rue|avenue|boulevard|chemin|impasse|allée) ",
        r"\bP\.? ?O\.? Box \d|, [A-Z]{2} \d{5}|(?i:post ?code)",
    )
)
"""RE2, as NAMES and BIRTHS: a text without any of it has nothing that these patterns find."""


def persons(text: str, column: str = "") -> Iterator[Span]:
    """Names of people, by the words around them or by a first name before a capitalised word."""
    if _says(column, "name"):
        yield from _whole_cell(text)
    for score, pattern in PERSON:
        for found in pattern.finditer(text):
            yield from _name(found, score)
    for found in CALLED.finditer(text):
        words = found[1].split()
        if words[0] in FIRST_NAMES:
            yield from _name(found, 0.7)
        elif found[0][:4].lower() == "dear" and len(words) > 1:
            yield from _name(found, 0.6)
    for found in PAIR.finditer(text):
        if found[2] in FIRST_NAMES and found[3] not in NOT_SURNAMES:
            yield Span("person", 0.55, found.start(1), found.start(1) + len(_owner(found[1])))


def birthdays(text: str, column: str = "") -> Iterator[Span]:
    """Dates that are said to be somebody's birth."""
    for found in BIRTH.finditer(text):
        yield Span("date_of_birth", 0.8, *found.span(1))
    if _says(column, "dob|birth"):
        for found in DATED.finditer(text[:200]):
            yield Span("date_of_birth", 0.8, *found.span())


def addresses(text: str, column: str = "") -> Iterator[Span]:
    """Streets with a house number, post boxes, towns with their code."""
    for score, pattern in ADDRESS:
        for found in pattern.finditer(text):
            start, end = found.span(1) if pattern.groups else found.span()
            yield Span("postal_address", score, start, end - (text[end - 1] in ",; "))


def _name(found: re.Match[str], score: float) -> Iterator[Span]:
    """The name in group 1, cut where it stops being one; nothing if it never was."""
    start = found.start(1)
    end = start
    for word in re.finditer(r"\S+", found[1]):
        bare = word[0].rstrip(".,")
        is_acronym = bare.isupper() and 2 < len(bare) <= 4
        if is_acronym or bare in NOT_NAMES or bare in NOT_SURNAMES:
            break
        end = start + word.end()
    name = _owner(found.string[start:end]).rstrip(" '’-")
    if name and not re.fullmatch(rf"(?:{PARTICLE}|\W)*", name):
        yield Span("person", score, start, start + len(name))


def _owner(name: str) -> str:
    """Anna Smith, of "Anna Smith's"."""
    return name[:-2] if name.endswith(("'s", "’s")) else name


def _whole_cell(text: str) -> Iterator[Span]:
    """In a column of names: one to four capitalised words and nothing else."""
    found = re.fullmatch(rf"\s{{0,8}}({NAME})\s{{0,8}}", text) if len(text) < 120 else None
    if found:
        yield Span("person", 0.7, *found.span(1))


def _says(column: str, clue: str) -> bool:
    found = COLUMN_CLUE.search(column.replace("_", " "))
    return found is not None and re.search(clue, found[0], re.IGNORECASE) is not None
