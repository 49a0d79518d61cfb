"""Texts with duplicates planted by a seed, and a slow second opinion on how alike texts are."""

from __future__ import annotations

import random
import unicodedata
from dataclasses import dataclass, field


@dataclass
class Planted:
    """Texts, and which pairs of them were made alike."""

    texts: list[str] = field(default_factory=list)
    exact: list[tuple[int, int]] = field(default_factory=list)
    near: list[tuple[int, int]] = field(default_factory=list)


def vocabulary(rng: random.Random, size: int = 20_000) -> list[str]:
    """Made-up words of 2 to 9 letters."""
    return ["".join(rng.choices("etaoinshrdlucmfwyp", k=rng.randint(2, 9))) for _ in range(size)]


def plant(rows: int, *, words: int = 235, most_changed: int = 20, seed: int = 1) -> Planted:
    """About `rows` texts: one in ten with a copy of which some words are others, one in twenty
    with a copy elsewhere that is the same. 235 words are about 1.5 kB."""
    rng = random.Random(seed)
    known = vocabulary(rng)
    made = Planted()
    while len(made.texts) < rows:
        text = " ".join(rng.choices(known, k=words)).capitalize() + "."
        made.texts.append(text)
        chance = rng.random()
        at = len(made.texts)
        if chance < 0.1:
            changed = text.split()
            for _ in range(rng.randint(1, most_changed)):
                changed[rng.randrange(words)] = rng.choice(known)
            made.texts.append(" ".join(changed))
            made.near.append((at - 1, at))
        elif chance < 0.15:
            other = rng.randrange(at)
            made.texts.append(made.texts[other])
            made.exact.append((other, at))
    return made


def slow_likeness(one: str, other: str) -> float:
    """`likeness` again as one writes it first: sets of strings."""
    first, second = _plain(one), _plain(other)
    if first == second:
        return 1.0
    return max(
        (
            len(a & b) / len(a | b)
            for size, fits in ((3, lambda s: len(s) < 200), (5, lambda s: len(s) >= 120))
            if fits(first) and fits(second)
            for a, b in [(_grams(first, size), _grams(second, size))]
        ),
        default=0.0,
    )


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFC", text)).casefold()
    kept = "".join(
        c if (unicodedata.category(c)[0] in "LNMS" and c != "`") or c in "+*/=<>%$^|&#@~\\" else " "
        for c in folded
    )
    return " ".join(kept.split()) or " ".join(unicodedata.normalize("NFC", text).split())


def _grams(text: str, size: int) -> set[str]:
    padded = f" {text} ".ljust(size)
    return {padded[at : at + size] for at in range(len(padded) - size + 1)}
