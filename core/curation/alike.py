"""Exact and near duplicates among the texts of rows, given batch by batch.

Rows are numbered from 0 in the order in which they come. Texts are never held in memory: what is
compared later waits in a file without a name. A million rows take about 1 GB.

Knows: forms, candidates, exact comparison. Does not know: versions, findings, models.
"""

from __future__ import annotations

import array
import dataclasses
import hashlib
import tempfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any

from core.curation.groups import Group, joined
from core.curation.minhash import Index
from core.curation.shingles import (
    exact_form,
    overlap,
    plain_form,
    shingle_set,
    sizes_of,
)
from core.curation.tools import Tools

if TYPE_CHECKING:
    import numpy as np

    from core.curation.shingles import Hashes

NEAR_THRESHOLD = 0.8
"""From this Jaccard index on two texts are near duplicates."""
KEPT_SETS = 2_000  # n-gram sets of texts compared last
BLANK = -1

Texts = Iterable[list[str]]


class Forms:
    """The distinct plain forms of rows: which row has which, and the forms themselves on disk."""

    def __init__(self, tools: Tools) -> None:
        tools.cache.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=tools.cache)  # noqa: SIM115
        self._ends = array.array("q", [0])
        self._numbers: dict[bytes, int] = {}
        self.of_row = array.array("q")
        """The form of each row; -1 for a row without text."""
        self.exact_of_row = array.array("q")
        """A number for each row that rows with the same exact form share; -1 without text."""
        self._exact: dict[bytes, int] = {}
        self._forms_of_exact = array.array("q")

    def add(self, texts: list[str]) -> list[tuple[int, str]]:
        """Take up a batch; the forms that are new, with their numbers, ascending."""
        fresh = []
        for text in texts:
            exact = exact_form(text)
            if not exact:
                self.of_row.append(BLANK)
                self.exact_of_row.append(BLANK)
                continue
            number = self._exact.setdefault(_digest(exact), len(self._exact))
            if number == len(self._forms_of_exact):
                form = plain_form(exact)
                at = self._numbers.setdefault(_digest(form), len(self._numbers))
                self._forms_of_exact.append(at)
                if at == len(self._ends) - 1:
                    self._write(form)
                    fresh.append((at, form))
            self.exact_of_row.append(number)
            self.of_row.append(self._forms_of_exact[number])
        return fresh

    @property
    def count(self) -> int:
        """How many forms there are."""
        return len(self._numbers)

    def _write(self, form: str) -> None:
        data = form.encode("utf-8", "surrogatepass")
        self._file.write(data)
        self._ends.append(self._ends[-1] + len(data))

    def form(self, number: int) -> str:
        """A form again."""
        self._file.seek(self._ends[number])
        data = self._file.read(self._ends[number + 1] - self._ends[number])
        return data.decode("utf-8", "surrogatepass")

    def rows_of(self, wanted: Iterable[int]) -> dict[int, list[int]]:
        """The rows that have each of these forms."""
        found: dict[int, list[int]] = {number: [] for number in wanted}
        for row, number in enumerate(self.of_row):
            if number in found:
                found[number].append(row)
        return found

    def written_differently(self) -> set[int]:
        """The forms whose rows are not all the same text: they differ in case or punctuation."""
        times = array.array("q", bytes(8 * len(self._numbers)))
        for number in self._forms_of_exact:
            times[number] += 1
        return {number for number, count in enumerate(times) if count > 1}

    def close(self) -> None:
        """Remove the file."""
        self._file.close()


def exact_groups(batches: Texts, tools: Tools) -> list[Group]:
    """Rows whose text is the same but for white space and the way characters are composed."""
    import numpy as np

    digests = bytearray()
    blank = _digest("")
    for texts in batches:
        tools.check()
        digests += b"".join(_digest(exact_form(text)) for text in texts)
    keys = np.frombuffer(bytes(digests), np.dtype("V16")).view(np.uint64).reshape(-1, 2)
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    listed = keys[order]
    new = np.ones(len(listed), bool)
    new[1:] = (listed[1:] != listed[:-1]).any(1)
    starts = np.flatnonzero(new)
    lengths = np.diff(np.append(starts, len(listed)))
    nothing = np.frombuffer(blank, np.uint64)
    groups = [
        Group(tuple(order[start : start + length].tolist()))
        for start, length in zip(starts[lengths > 1], lengths[lengths > 1], strict=True)
        if not (listed[start] == nothing).all()
    ]
    return sorted(groups, key=lambda group: group.rows)


def near_groups(
    batches: Texts, tools: Tools, *, threshold: float = NEAR_THRESHOLD, total: int | None = None
) -> list[Group]:
    """Rows whose texts have a Jaccard index of at least `threshold`, by way of each other.

    Groups of nothing but exact duplicates are left out; in the others all rows are listed, exact
    duplicates too. Every link was compared exactly, so none is wrong; at 0.8 about three pairs in
    a thousand are not found by themselves (see `minhash`). `total` rows, for telling progress.
    """
    forms = Forms(tools)
    try:
        edges = near_edges(forms, batches, tools, threshold, total)
        touched = forms.written_differently() | {number for a, b, _ in edges for number in (a, b)}
        return joined(forms.rows_of(touched), edges, Sets(forms).compare)
    finally:
        forms.close()


def near_edges(
    forms: Forms, batches: Texts, tools: Tools, threshold: float, total: int | None
) -> list[tuple[int, int, float]]:
    """Take the rows up into `forms`; the pairs of forms that are alike, with how much."""
    indices = {3: Index(3), 5: Index(5)}
    for texts in batches:
        tools.check()
        fresh = forms.add(texts)
        for size, index in indices.items():
            mine = [(number, form) for number, form in fresh if size in sizes_of(form)]
            if mine:
                index.add([number for number, _ in mine], [form for _, form in mine])
        if total:
            done = len(forms.of_row)
            tools.tell(min(0.7, 0.7 * done / total), f"read {done:,} of {total:,} rows")
    edges: dict[tuple[int, int], float] = {}
    sets = Sets(forms)
    for size in list(indices):
        candidates = indices.pop(size).candidates(threshold)
        for a, b, similarity in _compared(candidates, size, sets, tools):
            if similarity >= threshold:
                edges[a, b] = max(similarity, edges.get((a, b), 0.0))
    return [(a, b, similarity) for (a, b), similarity in edges.items()]


def portion(tools: Tools, begin: float, end: float) -> Tools:
    """The same tools for a part of the work: what it tells as 0 to 1 lies between the two."""
    return dataclasses.replace(
        tools, tell=lambda share, message: tools.tell(begin + (end - begin) * share, message)
    )


def _compared(
    candidates: np.ndarray[Any, Any], size: int, sets: Sets, tools: Tools
) -> Iterator[tuple[int, int, float]]:
    """Each candidate pair with its Jaccard index."""
    for at, (a, b) in enumerate(candidates.tolist()):
        if at % 2_000 == 0:
            tools.check()
            tools.tell(0.7 + 0.3 * at / len(candidates), f"compared {at:,} pairs of rows")
        yield a, b, overlap(sets.get(a, size), sets.get(b, size))


class Sets:
    """The n-gram sets of forms, those used last kept."""

    def __init__(self, forms: Forms) -> None:
        self._forms = forms
        self._kept: OrderedDict[tuple[int, int], Hashes] = OrderedDict()

    def get(self, number: int, size: int) -> Hashes:
        """The distinct n-grams of a form, sorted."""
        key = (number, size)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        found = self._kept[key] = shingle_set(self._forms.form(number), size)
        if len(self._kept) > KEPT_SETS:
            self._kept.popitem(last=False)
        return found

    def compare(self, a: int, b: int) -> float:
        """The larger Jaccard index of two forms; 0 where they have no kind of n-gram in common."""
        sizes = set(sizes_of(self._forms.form(a))) & set(sizes_of(self._forms.form(b)))
        return max((overlap(self.get(a, size), self.get(b, size)) for size in sizes), default=0.0)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
