"""What Arrow parsed of JSON lines, held against what the exact reader takes.

Knows: Arrow's types and buffers. Does not know: lines, chunks. Each says no where it cannot see:
then the rows are read one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from core.datasets.batches import Kinds
from core.datasets.mapping import Field
from core.datasets.values import BOOLEAN, INTEGER, JSON, LARGEST_EXACT, NUMBER, TEXT

DEEPEST = 32  # levels; Arrow's own recursion is safe to more than MANY_BRACKETS in json_chunks


def kind_of_type(type_: Any) -> str | None:
    import pyarrow as pa

    if pa.types.is_null(type_):
        return None
    if pa.types.is_string(type_):
        return TEXT
    if pa.types.is_int64(type_):
        return INTEGER
    if pa.types.is_float64(type_):
        return NUMBER
    return BOOLEAN if pa.types.is_boolean(type_) else JSON


def is_flat(type_: Any, levels: int = DEEPEST) -> bool:
    """Whether a type has no more levels than this, and no null character in a key."""
    if not levels:
        return False
    inner = [type_.field(at) for at in range(type_.num_fields)]
    return all("\0" not in one.name and is_flat(one.type, levels - 1) for one in inner)


def is_clean(one: Field, parsed: Any, kinds: Kinds) -> bool:
    """Whether nothing stands against the cells of a mapped column, as far as can be seen here."""
    import pyarrow.compute as pc

    required = one.role == "input" and not one.optional
    if one.column not in kinds:
        return not required
    cells, kind = parsed.column(one.column), kinds[one.column]
    if required and (cells.null_count or kind is None):
        return False
    if kind == INTEGER:
        most = pc.max(pc.abs(cells)).as_py()
        return most is None or bool(most <= LARGEST_EXACT)
    if kind == NUMBER:
        return is_exact(cells)
    if kind == JSON:
        return not any(mark in one.column for mark in "\"\\*'")  # paths have signs of their own
    if kind == TEXT and not has_no_null(cells):
        return False
    if kind == TEXT and required:
        plain = pc.match_substring_regex(cells, "[!-~]")
        if not pc.all(plain).as_py():
            rest = cells.filter(pc.invert(plain))
            return all(text.strip() for text in rest.to_pylist())
    return True


def is_exact(cells: Any) -> bool:
    """Whether these doubles are what was written: among them, a whole number beyond 2**53 has been
    rounded by now, and -0, which is the integer 0, cannot be told from -0.0."""
    import numpy as np

    for chunk in cells.chunks:
        values = chunk.fill_null(1.0).to_numpy(zero_copy_only=False)
        if len(values) and np.abs(values).max() >= LARGEST_EXACT:
            return False
        if (np.signbit(values) & (values == 0)).any():
            return False
    return True


def is_strict(cells: Any) -> bool:
    """Whether no number is infinite or not a number, however deep, and no value nested too deep."""
    import pyarrow.compute as pc

    if not is_flat(cells.type):
        return False
    return all(pc.all(pc.is_finite(a)).as_py() is not False for a in _leaves(cells, "double"))


def has_no_null(cells: Any) -> bool:
    """Whether no text has a null character in it, however deep."""
    import numpy as np

    for texts in _leaves(cells, "string"):
        _, offsets, values = texts.buffers()
        ends = np.frombuffer(offsets, np.int32)
        first, last = ends[texts.offset], ends[texts.offset + len(texts)]
        if last > first and np.frombuffer(values, np.uint8)[first:last].min() == 0:
            return False
    return True


def _leaves(cells: Any, kind: str) -> Iterator[Any]:
    """The arrays of this type, `double` or `string`, inside nested values."""
    import pyarrow as pa

    for array in getattr(cells, "chunks", [cells]):
        if str(array.type) == kind:
            yield array
        elif pa.types.is_list(array.type):
            yield from _leaves(array.flatten(), kind)
        elif pa.types.is_struct(array.type):
            for inner in array.flatten():
                yield from _leaves(inner, kind)
