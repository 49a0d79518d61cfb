"""MinHash-LSH: which forms may be alike, found without comparing each with each.

256 permutations (rensa's R-MinHash) in 32 bands of 8: two sets of Jaccard index 0.8 meet in a
band with a probability of 0.997, two of 0.5 with 0.12 (Leskovec, Rajaraman, Ullman, Mining of
Massive Datasets, 3.4). What meets is a candidate; whoever asks compares candidates exactly.

Memory: 384 bytes a form.

Knows: sketches, bands, candidates. Does not know: rows, what is a duplicate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from core.curation.shingles import shingled

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

PERMUTATIONS = 256
BANDS = 32
SEED = 20_261
SKETCH = 128
"""One byte each of so many permutations is kept: an estimate that sorts out poor candidates."""
SLACK = 0.2
"""Nearly six standard deviations of that estimate at 0.8."""
CROWD = 24
"""In a band, among up to so many forms all pairs are candidates."""
NEIGHBOURS = 8
CHARACTERS = 400_000
"""About what is cut into n-grams at a time."""


class Index:
    """Forms of one kind of n-gram, and the pairs among them that may be alike."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._numbers: list[Array] = []
        self._bands: list[Array] = []
        self._sketches: list[Array] = []

    def add(self, numbers: Sequence[int], forms: Sequence[str]) -> None:
        """Take forms up; their numbers ascend from call to call."""
        for start, end in _portions(forms):
            self._add(numbers[start:end], forms[start:end])

    def _add(self, numbers: Sequence[int], forms: Sequence[str]) -> None:
        import numpy as np
        from rensa import RMinHash

        flat, offsets = shingled(forms, self._size)
        digests = RMinHash.digest_matrix_from_flat_token_hashes(flat, offsets, PERMUTATIONS, SEED)
        matrix = np.array(digests.to_rows(), np.uint64)
        factors = np.random.default_rng(SEED).integers(
            2**63, size=PERMUTATIONS // BANDS, dtype=np.uint64
        )
        rows = matrix.reshape(len(forms), BANDS, -1)
        self._bands.append((rows * (factors * np.uint64(2) + np.uint64(1))).sum(2, dtype=np.uint64))
        self._sketches.append((matrix[:, :SKETCH] & np.uint64(0xFF)).astype(np.uint8))
        self._numbers.append(np.array(numbers, np.int64))

    def candidates(self, threshold: float) -> Array:
        """Pairs (n, 2) of numbers, the lower first, sorted: those worth an exact comparison.

        Where more than 24 forms meet in a band, each is paired with the first of them and with
        its next 8 only: a crowd is held together without being compared each with each.
        """
        import numpy as np

        if not self._bands:
            return np.zeros((0, 2), np.int64)
        numbers = np.concatenate(self._numbers)
        bands, sketches = np.concatenate(self._bands), np.concatenate(self._sketches)
        found = np.zeros(0, np.uint64)
        for band in range(BANDS):
            met = np.unique(np.concatenate([found[:0], *_meetings(bands[:, band])]))
            fresh = np.setdiff1d(met, found, assume_unique=True)
            fresh = fresh[_hopeful(fresh, sketches, threshold)]
            found = np.sort(np.concatenate([found, fresh]))
        first, second = found >> np.uint64(32), found & np.uint64(0xFFFFFFFF)
        return numbers[np.stack([first, second], 1).astype(np.int64)]


def _portions(forms: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Stretches of about 400,000 characters."""
    start = characters = 0
    for at, form in enumerate(forms):
        characters += len(form)
        if characters >= CHARACTERS:
            yield start, at + 1
            start, characters = at + 1, 0
    if start < len(forms):
        yield start, len(forms)


def _meetings(keys: Array) -> Iterator[Array]:
    """Pairs of places with the same key in a band, packed: the lower in the upper 32 bits."""
    import numpy as np

    order = np.argsort(keys, kind="stable").astype(np.uint64)
    same = keys[order[1:]] == keys[order[:-1]]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
    starts, lengths = edges[::2], edges[1::2] - edges[::2] + 1
    # the j-th of every run with the one `step` places before it, all runs at once
    for step in range(1, CROWD):
        reach = np.where(lengths <= CROWD, lengths, lengths if step <= NEIGHBOURS else 0)
        left = _expanded(starts, reach - step)
        if len(left):
            yield _packed(order[left], order[left + step])
    for start, length in zip(starts[lengths > CROWD], lengths[lengths > CROWD], strict=True):
        rest = order[start + 1 : start + length]
        yield _packed(np.full(len(rest), order[start]), rest)


def _expanded(starts: Array, counts: Array) -> Array:
    """start, start + 1, ... count of them, for each start; none where the count is not above 0."""
    import numpy as np

    wanted = counts > 0
    starts, counts = starts[wanted], counts[wanted]
    before = np.cumsum(counts) - counts
    total = int(counts.sum())
    places: Array = np.arange(total) + np.repeat(starts - before, counts)
    return places


def _packed(first: Array, second: Array) -> Array:
    """Stable sorting put the lower place first."""
    import numpy as np

    packed: Array = (first << np.uint64(32)) | second
    return packed


def _hopeful(pairs: Array, sketches: Array, threshold: float) -> Array:
    """Which pairs the sketches do not rule out."""
    import numpy as np

    found = np.zeros(len(pairs), bool)
    for start in range(0, len(pairs), 100_000):
        part = pairs[start : start + 100_000]
        first, second = part >> np.uint64(32), part & np.uint64(0xFFFFFFFF)
        same = (sketches[first] == sketches[second]).mean(1)
        found[start : start + 100_000] = same >= threshold - SLACK
    return found
