"""Reading GGUF headers: the same facts as llama.cpp's own package, and no damage gets through."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import Invalid
from core.models import gguf_file
from tests.models.making import gguf_of


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return gguf_of(tmp_path_factory.mktemp("gguf") / "small.gguf").read_bytes()


def read(tmp_path: Path, data: bytes) -> gguf_file.GgufHeader:
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    return gguf_file.read(path)


def test_the_header_says_architecture_sizes_and_type(tmp_path: Path, small: bytes) -> None:
    header = read(tmp_path, small)
    assert (header.architecture, header.file_type) == ("llama", "Q8_0")
    assert (header.size("block_count"), header.size("attention.head_count_kv")) == (2, 2)
    assert header.parameter_count == 16 * 32 + 32 * 32
    assert header.linear_parameter_count == 32 * 32
    assert header.weight_bytes == 16 * 32 * 4 + 32 * 32 * 34 // 32  # Q8_0: 34 bytes for 32 weights


def test_arrays_are_skipped_and_known_by_their_length(tmp_path: Path, small: bytes) -> None:
    metadata = read(tmp_path, small).metadata
    assert metadata["tokenizer.ggml.tokens.length"] == 16
    assert "tokenizer.ggml.tokens" not in metadata
    assert metadata["tokenizer.chat_template"] == "{{ messages }}"


def test_it_agrees_with_the_gguf_package(tmp_path: Path, small: bytes) -> None:
    import gguf

    path = tmp_path / "model.gguf"
    path.write_bytes(small)
    theirs = gguf.GGUFReader(path)
    ours = gguf_file.read(path)
    assert ours.parameter_count == sum(int(t.n_elements) for t in theirs.tensors)
    assert ours.weight_bytes == sum(int(t.n_bytes) for t in theirs.tensors)


def test_every_truncation_is_refused_in_words(tmp_path: Path, small: bytes) -> None:
    for keep in [*range(0, 400, 7), *range(400, len(small), 61), len(small) - 1]:
        with pytest.raises(Invalid, match=r"truncated|not a GGUF"):
            read(tmp_path, small[:keep])


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(4, 600), value=st.integers(0, 255))
def test_a_flipped_byte_gives_a_header_or_invalid(
    tmp_path: Path, small: bytes, at: int, value: int
) -> None:
    data = bytearray(small)
    data[at] = value
    try:
        read(tmp_path, bytes(data))
    except Invalid:
        return


def test_an_old_version_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="version 1") as caught:
        read(tmp_path, b"GGUF" + struct.pack("<I", 1) + bytes(64))
    assert "Convert" in str(caught.value.hint)


@pytest.mark.starter
def test_the_starter_s_header_is_read_in_well_under_a_second(starter_home: Path) -> None:
    import time

    began = time.perf_counter()
    header = gguf_file.read(next((starter_home / "models" / "starter").glob("smol*/*.gguf")))
    assert time.perf_counter() - began < 2
    assert (header.file_type, header.parameter_count) == ("Q4_1", 134_515_008)
