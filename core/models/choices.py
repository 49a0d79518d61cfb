"""Choices: the engines and quantizations that a model can be loaded with, and auto's pick.

Knows: what each source allows, the rule for a device, what measurements outweigh it.
Does not know: tables, processes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import Invalid
from core.models import quantization as quantizations
from core.models.devices import Device

Row = Mapping[str, Any]

SPEED = {"interactive": "single_tokens_per_s", "batch": "decode_tokens_per_s"}
"""What counts for a purpose: one reader's tokens, or those of all requests together."""
READERS = {"interactive": "for one reader", "batch": "for many requests at once"}
TOO_BUSY_PERCENT = 50.0
"""A measurement on a CPU that others use more than this says more about them than about us."""
GPU_ORDER = ("bf16", "int8", "nf4", "nf4-dq")
CPU_ORDER = ("fp32", "int8", "nf4", "nf4-dq")
SLOW_BF16 = "this CPU has no bf16 units: 60 to 90 times slower than fp32"


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to load a model."""

    engine: str
    quantization: str
    device: str
    label: str
    why_not: str | None = None
    """Why it cannot be loaded this way; None when it can."""
    note: str = ""
    """What to know before taking it."""


def choices(model: Row, device: Device) -> list[Choice]:
    """Every way, the impossible ones with their reason; `device` is for transformers."""
    if model["source"] == "endpoint":
        return [_choice("endpoint", "remote", "remote", model)]
    if model["source"] == "scripted":
        return [_choice("scripted", "fp32", "cpu", model)]
    if model["kind"] == "embedding":
        return [_choice("transformers", "fp32", device.name, model, why_not=_no_folder(model))]
    found = [
        _choice(
            "transformers",
            name,
            device.name,
            model,
            why_not=_no_folder(model) or _only_merged(model, name),
            note=_note(name, device),
        )
        for name in quantizations.BY_ENGINE["transformers"]
    ]
    if model["source"] in ("gguf", "starter", "adapter"):
        # xllamacpp's wheels are built for the CPU
        missing = model["source"] == "adapter" and not model.get("gguf_path")
        why_not = "Export it as GGUF first." if missing else None
        found.append(_choice("llama.cpp", "gguf", "cpu", model, why_not=why_not))
    return found


def pick(
    options: Sequence[Choice],
    *,
    purpose: str,
    device: Device,
    calibrations: Sequence[Row],
    fits: Callable[[Choice], bool],
) -> tuple[Choice, str]:
    """Auto's choice and why, in words. Raises Invalid when nothing can be loaded.

    Two ways or more measured on a quiet machine: the fastest that fits. Else the device's rule.
    """
    if purpose not in SPEED:
        raise Invalid(f"There is no purpose {purpose!r}.", field="purpose")
    possible = [option for option in options if option.why_not is None]
    if not possible:
        reasons = sorted({str(option.why_not) for option in options if option.why_not})
        raise Invalid(
            " ".join(reasons) or "The model cannot be loaded this way.", field="quantization"
        )
    if len(possible) == 1:
        return possible[0], "the only way to load it"
    fitting = [option for option in possible if fits(option)]
    if not fitting:
        smallest = _ordered(possible, ("gguf", "nf4-dq", "nf4", "int8", "bf16", "fp32"))[0]
        return smallest, "nothing fits into the free memory; this takes least"
    return _measured(fitting, purpose, calibrations) or _by_rule(fitting, purpose, device)


def _measured(
    options: Sequence[Choice], purpose: str, calibrations: Sequence[Row]
) -> tuple[Choice, str] | None:
    speeds = {
        (row["engine"], row["quantization"], row["device"]): row[SPEED[purpose]]
        for row in calibrations
        if row[SPEED[purpose]] and (row.get("busy_percent") or 0) <= TOO_BUSY_PERCENT
    }
    known = [(speeds.get((o.engine, o.quantization, o.device)), o) for o in options]
    ranked = sorted(((s, o) for s, o in known if s), key=lambda pair: -pair[0])
    if len(ranked) < 2:
        return None
    (speed, best), (next_speed, second) = ranked[0], ranked[1]
    why = (
        f"the fastest measured here {READERS[purpose]}: {speed:.3g} tok/s; "
        f"next is {second.label} with {next_speed:.3g}"
    )
    return best, why


def _by_rule(options: Sequence[Choice], purpose: str, device: Device) -> tuple[Choice, str]:
    unmeasured = "; not measured on a quiet machine yet"
    if device.is_gpu:
        best = _ordered(options, GPU_ORDER if device.bf16 else ("fp32", *GPU_ORDER[1:]))[0]
        why = f"the largest precision that fits and is quick on {device.label}"
        return best, why + unmeasured
    gguf = [option for option in options if option.quantization == "gguf"]
    if gguf and purpose == "interactive":
        why = "llama.cpp is the fastest on a CPU for one reader"
        return gguf[0], why + unmeasured
    plain = [option for option in options if option.quantization != "bf16"] or list(options)
    best = _ordered(plain, (*CPU_ORDER[:1], "gguf", *CPU_ORDER[1:]))[0]
    if best.quantization == "fp32":
        why = "batches in fp32 are the fastest on a CPU"
    else:
        why = "fp32 does not fit into the free memory"
    return best, why + unmeasured


def _ordered(options: Sequence[Choice], order: Sequence[str]) -> list[Choice]:
    rank = {name: number for number, name in enumerate(order)}
    return sorted(options, key=lambda option: rank.get(option.quantization, len(rank)))


def _choice(
    engine: str,
    quantization: str,
    device: str,
    model: Row,
    *,
    why_not: str | None = None,
    note: str = "",
) -> Choice:
    name = quantizations.label(quantization, model.get("details"))
    label = "endpoint" if engine == "endpoint" else f"{engine} {name}"
    return Choice(engine, quantization, device, label, why_not, note)


def _no_folder(model: Row) -> str | None:
    if model.get("path"):
        return None
    if model["source"] == "hub":
        return "Its files have not been downloaded yet."
    return "Convert the GGUF to safetensors first."


def _only_merged(model: Row, name: str) -> str | None:
    """Beside quantized weights an adapter is LoRA pairs, nothing else."""
    details = model.get("details") or {}
    if model["source"] != "adapter" or details.get("adapter_plain", True):
        return None
    if name in ("fp32", "bf16"):
        return None
    return "The adapter is more than LoRA pairs: it can be merged into fp32 or bf16 only."


def _note(name: str, device: Device) -> str:
    if name == "bf16" and not device.bf16:
        return SLOW_BF16 if not device.is_gpu else "this card has no bf16 units"
    if name in ("int8", "nf4", "nf4-dq") and not device.is_gpu:
        return "saves memory and costs speed on a CPU"
    if name == "int8":
        return "slower than bf16; half its memory"
    if name == "nf4-dq":
        return "about 15 % slower than NF4"
    return ""
