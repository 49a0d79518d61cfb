"""What the training runs on, and what it takes: memory, energy.

Knows: /proc, CUDA, RAPL counters, nvidia-smi. Does not know: training. What cannot be read is null
and says so; nothing is estimated.
"""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

RAPL = Path("/sys/class/powercap")
STATUS = Path("/proc/self/status")
SAMPLE_SECONDS = 5.0


def memory_now() -> int:
    """Bytes that this process holds now: of the GPU where there is one, else of RAM."""
    if torch.cuda.is_available():
        return int(torch.cuda.memory_allocated())
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return memory_peak()
    return pages * os.sysconf("SC_PAGE_SIZE")


def memory_peak() -> int:
    """The most bytes it has held."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    with suppress(OSError):  # getrusage counts in the process that started this one
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def describe() -> dict[str, Any]:
    """The machine in a few words."""
    found: dict[str, Any] = {
        "machine": platform.machine(),
        "system": platform.system(),
        "cpu": _cpu_name(),
        "threads": torch.get_num_threads(),
    }
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name(0)
        found["gpu_count"] = torch.cuda.device_count()
        found["gpu_memory_bytes"] = torch.cuda.get_device_properties(0).total_memory
    return found


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def versions() -> dict[str, str]:
    """Of what trains."""
    found = {"python": platform.python_version()}
    for name in ("torch", "transformers", "trl", "peft", "accelerate"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


class Energy:
    """Watt-hours from its making on, of the whole GPU or the whole CPU package.

    NVIDIA: power drawn, read every five seconds by nvidia-smi. CPU: the RAPL counters, where they
    may be read. Else null.
    """

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._turn = threading.Lock()
        self._joules = 0.0
        self._read_at = time.monotonic()
        self._smi = shutil.which("nvidia-smi") if torch.cuda.is_available() else None
        self._counters = [] if torch.cuda.is_available() else _counters()
        self._last = {path: _read(path) for path in self._counters}
        if self._smi or self._counters:
            threading.Thread(target=self._watch, name="energy", daemon=True).start()

    def now(self) -> tuple[float | None, str]:
        """(watt-hours so far or None, what they are measured by or why there are none)"""
        if not self._smi and not self._counters:
            return None, "not measured: this machine shows no power counter"
        self._count()
        if self._smi:
            return self._joules / 3600, "power of the GPU by nvidia-smi, read every 5 s"
        return self._joules / 3600, "RAPL counters of the CPU package, other programs included"

    def end(self) -> tuple[float | None, str]:
        """As `now`, and nothing is read any more."""
        self._ended.set()
        return self.now()

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self._count()

    def _count(self) -> None:
        with self._turn:
            now = time.monotonic()
            if self._smi:
                self._joules += _watts(self._smi) * (now - self._read_at)
            for path in self._counters:
                self._joules += self._since_last(path)
            self._read_at = now

    def _since_last(self, path: Path) -> float:
        now, last = _read(path), self._last[path]
        self._last[path] = now
        if now is None or last is None:
            return 0.0
        if now < last:  # it wrapped round
            now += _read(path.with_name("max_energy_range_uj")) or 0
        return max(0, now - last) / 1e6


def _counters() -> list[Path]:
    packages = sorted(RAPL.glob("intel-rapl:[0-9]*/energy_uj")) if RAPL.is_dir() else []
    return [p for p in packages if p.parent.name.count(":") == 1 and _read(p) is not None]


def _read(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _watts(program: str) -> float:
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    seen = [one for one in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
    number = seen[rank] if rank < len(seen) else str(rank)
    command = [program, f"--id={number}", "--query-gpu=power.draw", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
        return float(done.stdout.split()[0])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return 0.0
