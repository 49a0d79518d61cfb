"""Devices: where a model can be loaded, how much is free there, and what it is good at.

Knows: RAM, control groups, CPU flags, NVIDIA cards through nvidia-smi. Does not know: models.
Nothing here imports torch: asking costs the app process no memory and opens no CUDA context.
"""

from __future__ import annotations

import csv
import functools
import importlib.util
import os
import platform
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from core.errors import Invalid

RESERVE_BYTES = 512 * 1024**2
"""Left to the system and the app when the free memory is counted."""
_GROUPS = "/sys/fs/cgroup"
_GROUP_FILES = (  # version 2, then version 1
    (f"{_GROUPS}/memory.max", f"{_GROUPS}/memory.current"),
    (f"{_GROUPS}/memory/memory.limit_in_bytes", f"{_GROUPS}/memory/memory.usage_in_bytes"),
)
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


@dataclass(frozen=True, slots=True)
class Device:
    """One place for weights."""

    name: str
    """cpu or cuda:N, as torch spells them."""
    label: str
    total_bytes: int
    free_bytes: int
    """What a new model may take now, the reserve already off."""
    cores: int
    """CPU cores this process may use."""
    bf16: bool
    """Whether bf16 arithmetic has units of its own here."""

    @property
    def is_gpu(self) -> bool:
        """True for a card, false for the CPU."""
        return self.name != "cpu"


def devices() -> list[Device]:
    """Every device a model can use: the cards that torch can drive, then the CPU."""
    return [*_cards(), _cpu()]


def device(name: str) -> Device:
    """The device of that name; Invalid says which there are."""
    found = {d.name: d for d in devices()}
    if name not in found:
        raise Invalid(
            f"There is no device {name!r} on this machine.",
            field="device",
            hint=f"There are: {', '.join(found)}.",
        )
    return found[name]


def pick(name: str = "auto") -> Device:
    """`name`, or for auto the card with the most free memory, or the CPU where there is none."""
    if name != "auto":
        return device(name)
    return max(devices(), key=lambda d: (d.is_gpu, d.free_bytes))


def _cpu() -> Device:
    import psutil

    memory = psutil.virtual_memory()
    total, free = int(memory.total), int(memory.available)
    limit = _group_limit()
    if limit is not None and limit[0] < total:
        total, free = limit[0], min(free, limit[0] - limit[1])
    return Device(
        name="cpu",
        label=_cpu_name(),
        total_bytes=total,
        free_bytes=max(0, free - RESERVE_BYTES),
        cores=_cores(),
        bf16=bool(BF16_FLAGS & _cpu_flags()),
    )


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has no affinity
        return os.cpu_count() or 1


def _group_limit() -> tuple[int, int] | None:
    """(limit, use) in bytes of this process's control group, where a container sets one."""
    for limit, use in _GROUP_FILES:
        try:
            return int(Path(limit).read_text()), int(Path(use).read_text())
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return None


@functools.lru_cache(maxsize=1)
def _cpu_flags() -> frozenset[str]:
    for line in _cpuinfo():
        if line.lower().startswith(("flags", "features")):
            return frozenset(line.split(":", 1)[1].split())
    if platform.machine() == "arm64":  # Apple's chips from the M2 on; the M1 is slow, not wrong
        return frozenset({"bf16"})
    return frozenset()


@functools.lru_cache(maxsize=1)
def _cpu_name() -> str:
    for line in _cpuinfo():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def _cards() -> list[Device]:
    return _cards_at(int(time.monotonic()))


@functools.lru_cache(maxsize=1)
def _cards_at(second: int) -> list[Device]:
    """Asked once a second at most: nvidia-smi takes a tenth of one."""
    program = shutil.which("nvidia-smi")
    if program is None or not _torch_has_cuda():
        return []
    query = "index,name,memory.total,memory.free,compute_cap"
    try:
        answer = subprocess.run(
            [program, f"--query-gpu={query}", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []  # a driver that does not answer can hold no model
    return parse_cards(answer.stdout)


def parse_cards(text: str) -> list[Device]:
    """nvidia-smi's CSV as devices; sizes there are MiB. A line it could not fill is left out."""
    found = []
    for line in csv.reader(text.splitlines(), skipinitialspace=True):
        try:
            index, name, total, free, capability = line
            found.append(
                Device(
                    name=f"cuda:{int(index)}",
                    label=name,
                    total_bytes=int(total) * 1024**2,
                    free_bytes=max(0, int(free) * 1024**2 - RESERVE_BYTES),
                    cores=_cores(),
                    bf16=float(capability) >= 8.0,  # Ampere and newer
                )
            )
        except ValueError:
            continue
    return found


@functools.lru_cache(maxsize=1)
def _torch_has_cuda() -> bool:
    """Read from torch's own version file, because importing torch costs 200 MB."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    try:
        text = Path(spec.origin).with_name("version.py").read_text()
    except OSError:
        return False
    return any(
        line.startswith("cuda") and "None" not in line.split("=", 1)[1]
        for line in text.splitlines()
        if "=" in line
    )
