"""Reading safetensors headers: what is there, and what is damaged."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import Invalid
from core.models import safetensors_file
from tests.models.making import TENSORS, safetensors_bytes


def read(tmp_path: Path, data: bytes) -> list[safetensors_file.Tensor]:
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    return safetensors_file.tensors(path)


def test_names_shapes_and_sizes_come_from_the_header(tmp_path: Path) -> None:
    found = {t.name: t for t in read(tmp_path, safetensors_bytes())}
    assert {name: t.shape for name, t in found.items()} == TENSORS
    embedding = found["model.embed_tokens.weight"]
    assert (embedding.element_count, embedding.size_bytes, embedding.dtype) == (128, 512, "F32")


def test_a_scalar_counts_as_one(tmp_path: Path) -> None:
    assert read(tmp_path, safetensors_bytes({"scale": ()}))[0].element_count == 1


def test_the_real_writer_s_files_are_read(tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    path = tmp_path / "real.safetensors"
    save_file({"a": np.zeros((3, 5), np.float16), "b": np.zeros(7, np.int64)}, path)
    assert {(t.name, t.dtype, t.size_bytes) for t in safetensors_file.tensors(path)} == {
        ("a", "F16", 30),
        ("b", "I64", 56),
    }


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keep=st.integers(0, len(safetensors_bytes()) - 1))
def test_every_truncation_is_refused_in_words(tmp_path: Path, keep: int) -> None:
    with pytest.raises(Invalid, match=r"truncated|not a safetensors file"):
        read(tmp_path, safetensors_bytes()[:keep])


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200))
def test_no_bytes_end_in_anything_but_invalid(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(Invalid):
        read(tmp_path, data)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    header=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["a", "dtype", "shape", "data_offsets", "__metadata__"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_no_header_ends_in_anything_but_tensors_or_invalid(tmp_path: Path, header: object) -> None:
    text = json.dumps(header).encode()
    try:
        found = read(tmp_path, struct.pack("<Q", len(text)) + text)
    except Invalid:
        return
    assert all(isinstance(t, safetensors_file.Tensor) for t in found)
