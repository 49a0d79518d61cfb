"""Repetition in texts by the Gopher rules, for a whole batch at once.

The measures are those of Rae et al. 2021 (https://arxiv.org/abs/2112.11446, table A1): the share
of duplicate lines, the share of characters in them, the share of characters in the most frequent
n-gram of words, and in all n-grams that occur more than once. An n-gram counts as frequent from
its second occurrence on: in a short row every n-gram would else be half of the text.

Knows: words and lines as numbers, in arrays. Does not know: where texts come from, what is too
much for whom; `LIMITS` is what Gopher filtered its web pages by.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

LIMITS: dict[str, float] = {
    "duplicate_line_share": 0.30,
    "duplicate_line_character_share": 0.20,
    "top_2gram_share": 0.20,
    "top_3gram_share": 0.18,
    "top_4gram_share": 0.16,
    "repeated_5gram_share": 0.15,
}
TOP_SIZES = (2, 3, 4)
REPEATED_SIZE = 5
_MULTIPLIER = 0x9E3779B97F4A7C15  # odd, its bits look random: Knuth, TAOCP 3, 6.4


def repetition(texts: Sequence[str]) -> dict[str, Array]:
    """Each measure of LIMITS for each text, float64 between 0 and 1; 0 for a text without words."""
    import pyarrow as pa
    import pyarrow.compute as pc

    array = pa.array(texts, pa.string())
    return {
        **_lines(pc.split_pattern(array, "\n")),
        **_words(pc.utf8_split_whitespace(array)),
    }


def numbered(lists: Any) -> tuple[Array, Array, Array]:
    """A list array as flat arrays: which text each item is of, its number, its characters.

    Equal items have equal numbers; empty ones are left out.
    """
    import numpy as np
    import pyarrow.compute as pc

    flat = lists.flatten()
    counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    owner = np.repeat(np.arange(len(lists)), counts)
    coded = flat.dictionary_encode()
    number = coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    lengths = pc.utf8_length(coded.dictionary).to_numpy(zero_copy_only=False).astype(np.int64)
    size = lengths[number] if len(number) else number
    full = size > 0
    return owner[full], number[full], size[full]


def _lines(lists: Any) -> dict[str, Array]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    stripped = pa.ListArray.from_arrays(lists.offsets, pc.utf8_trim_whitespace(lists.flatten()))
    owner, number, size = numbered(stripped)
    count = len(lists)
    _, first = np.unique(_joined(owner, number), return_index=True)
    again = np.ones(len(owner), bool)
    again[first] = False
    return {
        "duplicate_line_share": _share(_sums(owner[again], None, count),
                                       _sums(owner, None, count)),
        "duplicate_line_character_share": _share(_sums(owner[again], size[again], count),
                                                 _sums(owner, size, count)),
    }  # fmt: skip


def _words(lists: Any) -> dict[str, Array]:
    """Sizes 1 to 5 in turn: an n-gram can only repeat where both (n-1)-grams in it do."""
    import numpy as np

    owner, number, size = numbered(lists)
    count = len(lists)
    # a word brings the space after it: what an n-gram and a text weigh is then a plain sum
    total = _sums(owner, size + 1, count)
    before = np.concatenate([[0], np.cumsum(size + 1)])
    found = {}
    alive = np.ones(len(owner), bool)
    key = owner
    for n in range(1, REPEATED_SIZE + 1):
        alive, key, first, times = _repeats(alive, key, owner, number, n)
        if n in TOP_SIZES:
            most = np.zeros(count)
            np.maximum.at(most, owner[first], (before[first + n] - before[first]) * times)
            found[f"top_{n}gram_share"] = _share(most, total)
    covered = _covered(alive, REPEATED_SIZE)
    repeated = _sums(owner[covered], size[covered] + 1, count)
    return {**found, f"repeated_{REPEATED_SIZE}gram_share": _share(repeated, total)}


def _repeats(
    alive: Array, key: Array, owner: Array, number: Array, n: int
) -> tuple[Array, Array, Array, Array]:
    """Where n-grams begin that occur again in their text, from the same for n-1.

    Gives that as a mask, a 64-bit key of text and n-gram for each beginning, and of each distinct
    n-gram that repeats its first place and how often it occurs.
    """
    import numpy as np

    if n > 1:
        alive = alive.copy()
        alive[:-1] &= alive[1:] & (owner[1:] == owner[:-1])
        alive[-1:] = False
    start = np.flatnonzero(alive)
    joined = np.zeros(len(alive), np.uint64)
    joined[start] = _joined(key[start], number[start + n - 1])
    _, first, inverse, times = np.unique(
        joined[start], return_index=True, return_inverse=True, return_counts=True
    )
    often = times > 1
    again = np.zeros(len(alive), bool)
    again[start] = often[inverse]
    return again, joined, start[first[often]], times[often]


def _covered(starts: Array, n: int) -> Array:
    """Which words lie in an n-gram that begins at one of the places; each word once."""
    import numpy as np

    at = np.flatnonzero(starts)
    edges = np.zeros(len(starts) + 1, np.int64)
    np.add.at(edges, at, 1)
    np.add.at(edges, at + n, -1)
    covered: Array = np.cumsum(edges[:-1]) > 0
    return covered


def _joined(key: Array, number: Array) -> Array:
    """One 64-bit number for two: equal for equal pairs, and by chance in one of 2^64."""
    import numpy as np

    mixed: Array = (key.astype(np.uint64) + np.uint64(1)) * np.uint64(_MULTIPLIER)
    mixed ^= mixed >> np.uint64(29)
    mixed = mixed * np.uint64(_MULTIPLIER) + number.astype(np.uint64)
    return mixed ^ (mixed >> np.uint64(32))


def _sums(owner: Array, weights: Array | None, count: int) -> Array:
    import numpy as np

    return np.bincount(owner, weights=weights, minlength=count).astype(np.float64)


def _share(part: Array, whole: Array) -> Array:
    import numpy as np

    shares: Array = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return np.minimum(shares, 1.0)
