"""Reading a safetensors file's header: names, types and sizes, never the weights.

Knows: the format (https://huggingface.co/docs/safetensors). Does not know: models.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import Invalid

MAX_HEADER_BYTES = 100_000_000  # the limit of the format's own reader


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a checkpoint, as its header describes it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int

    @property
    def element_count(self) -> int:
        """Numbers in it; a scalar has one."""
        return math.prod(self.shape)


def tensors(path: Path) -> list[Tensor]:
    """The tensors of a file; Invalid when it is no safetensors file, or a truncated one."""
    size = path.stat().st_size
    header, start = _header(path, size)
    found = []
    try:
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            if not 0 <= begin <= end:
                raise ValueError(name)
            if start + end > size:
                raise Invalid(
                    f"{path.name} is truncated: it should have at least {start + end:,} bytes and "
                    f"has {size:,}.",
                    hint="Download or copy it again.",
                )
            shape = tuple(int(n) for n in entry["shape"])
            found.append(Tensor(name, str(entry["dtype"]), shape, end - begin))
    except (KeyError, TypeError, ValueError):
        raise _not_one(path, "its list of tensors cannot be read") from None
    return found


def _header(path: Path, size: int) -> tuple[dict[str, Any], int]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or not 2 <= length <= MAX_HEADER_BYTES:
            raise _not_one(path, "it does not begin with a header length")
        text = file.read(length)
    if len(text) < length:
        raise Invalid(
            f"{path.name} is truncated: its header alone should have {length:,} bytes and the "
            f"file has {size:,}.",
            hint="Download or copy it again.",
        )
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        raise _not_one(path, "its header is not JSON") from None
    if not isinstance(header, dict):
        raise _not_one(path, "its header is not a JSON object")
    return header, 8 + length


def _not_one(path: Path, why: str) -> Invalid:
    return Invalid(f"{path.name} is not a safetensors file: {why}.")
