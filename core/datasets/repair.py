"""Text that was decoded wrongly, put right: "cafÃ©" is "café" again.

Knows: mojibake, by ftfy. Does not know: files (formats.text), style; quotes, ligatures, width,
accents and HTML are left as they were written.
"""

from __future__ import annotations

LOST = "\ufffd"  # what a decoder puts where it gave up: the character is gone
_SEGMENT = 1_000_000


def repair(text: str) -> str:
    """The text with its encoding repaired; text that is right comes back as it is.

    Line by line beyond a million characters, so that one cell of megabytes stays quick.
    """
    if text.isascii():
        return text
    from ftfy import TextFixerConfig, fix_encoding

    config = TextFixerConfig(explain=False)
    if len(text) <= _SEGMENT:
        return str(fix_encoding(text, config))
    return "".join(
        str(fix_encoding(line[at : at + _SEGMENT], config))
        for line in text.splitlines(keepends=True)
        for at in range(0, len(line), _SEGMENT)
    )


def is_broken(text: str) -> bool:
    """Whether a text was decoded wrongly: it can be repaired, or characters of it are lost."""
    return not text.isascii() and (LOST in text or repair(text) != text)
