"""Devices: real facts of this machine, and what nvidia-smi says of another."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from core.models import devices


def test_the_cpu_is_always_there_with_less_free_than_total() -> None:
    cpu = devices.device("cpu")
    assert 0 < cpu.free_bytes < cpu.total_bytes
    assert cpu.cores >= 1
    assert not cpu.is_gpu


def test_bf16_units_are_what_proc_cpuinfo_says() -> None:
    flags = devices._cpu_flags()
    assert devices.device("cpu").bf16 == bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


def test_a_device_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(Invalid, match="no device 'cuda:9'") as caught:
        devices.device("cuda:9")
    assert "cpu" in str(caught.value.hint)


def test_cards_are_read_from_nvidia_smi() -> None:
    text = (
        "0, NVIDIA H100 80GB HBM3, 81559, 80995, 9.0\n"
        "1, Tesla T4, 15360, 400, 7.5\n"
        "2, NVIDIA broken, [N/A], [N/A], [N/A]\n"
    )
    first, second = devices.parse_cards(text)
    assert (first.name, first.label, first.bf16) == ("cuda:0", "NVIDIA H100 80GB HBM3", True)
    assert first.free_bytes == 80995 * 1024**2 - devices.RESERVE_BYTES
    assert (second.name, second.bf16, second.free_bytes) == ("cuda:1", False, 0)


@given(st.text(max_size=60))
def test_no_output_of_nvidia_smi_ends_in_an_error(text: str) -> None:
    assert isinstance(devices.parse_cards(text), list)


def test_asking_imports_no_torch() -> None:
    code = (
        "import sys; from core.models import devices, service; devices.devices();"
        "sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
