"""The model card of an adapter: what it is, from what, how, how good, in Markdown.

Knows: the lineage that the registry keeps, and how it reads. Does not know: tables, where the
card is kept. A line stands only where its value is known; nothing is guessed. The front matter is
the model hub's (https://huggingface.co/docs/hub/model-cards).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from core.store.files import write_atomic

FILE = "README.md"
Row = Mapping[str, Any]
Line = tuple[str, Any]
"""(label, value); left out where the value is None or empty."""

PARAMS = ("quantization", "rank", "alpha", "dropout", "target_modules", "learning_rate", "schedule",
          "warmup_share", "batch_size", "accumulation", "epochs", "max_steps", "max_length",
          "packing", "assistant_only", "optimizer", "weight_decay", "max_grad_norm", "beta",
          "neftune")  # fmt: skip
METHODS = {"sft": "supervised fine-tuning (SFT)", "dpo": "preferences (DPO)",
           "orpo": "preferences (ORPO)", "kto": "single verdicts (KTO)"}  # fmt: skip


def render(model: Row, base: Row, *, evaluation: Row | None = None, export: str = "peft") -> str:
    """The card of an adapter, from its registry row and its base's.

    `evaluation` is the comparison with the base, {"rows", "base", "adapter", "versus"}, where it is
    done; `export` (peft, merged, gguf) decides what is said to load it.
    """
    lineage: Row = model["details"].get("lineage") or {}
    dataset: Row = lineage.get("dataset") or {}
    parts = [
        _front(model, base, export),
        f"# {model['name']}",
        _opening(model, base, lineage),
        _section("Base", _base(base)),
        _section("Data", _data(dataset, lineage)),
        _section("Training", _training(model, lineage)),
        _section("Losses", [(k.replace("_", " "), _number(v))
                            for k, v in (lineage.get("metrics") or {}).items()]),
        _section("Compared with its base", _compared(evaluation)),
        _section("Cost", _cost(lineage.get("cost") or {})),
        _section("Code", _code(model, lineage)),
        _loads(export),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def write(folder: Path, text: str) -> None:
    """Put the card into an adapter's folder: the old one or the new one is there, never half."""
    write_atomic(folder / FILE, text)


def _front(model: Row, base: Row, export: str) -> str:
    license_ = model.get("license") or base.get("license")
    lines = [
        "---",
        "library_name: " + {"peft": "peft", "gguf": "gguf"}.get(export, "transformers"),
        f"base_model: {json.dumps(base['location'] if base['source'] == 'hub' else base['name'])}",
        f"license: {json.dumps(license_.lower())}" if license_ else "",
        "---",
    ]
    return "\n".join(line for line in lines if line)


def _opening(model: Row, base: Row, lineage: Row) -> str:
    method = METHODS.get(str(lineage.get("method")))
    how = f", trained by {method}" if method else ""
    return f"A LoRA adapter for {base['name']}{how}. Made {model['created_at']:%Y-%m-%d}."


def _base(base: Row) -> list[Line]:
    places = {"hub": base["location"], "starter": base["location"]}
    return [
        ("model", base["name"]),
        ("source", base["source"]),
        ("from", places.get(base["source"])),
        ("revision", base.get("revision")),
        ("sha256", base.get("sha256")),
        ("licence", base.get("license")),
        ("parameters", _number(base.get("parameter_count"))),
    ]


def _data(dataset: Row, lineage: Row) -> list[Line]:
    prompt: Row = lineage.get("prompt") or {}
    held: Row = lineage.get("hold_out") or {}
    share = held.get("share")
    return [
        ("dataset", dataset.get("label")),
        ("content hash", dataset.get("content_hash")),
        ("licence", dataset.get("license")),
        ("rows", _number(dataset.get("row_count"))),
        ("trained on the split", lineage.get("train_split")),
        ("held out", f"the split {held['split']}" if held.get("split")
         else f"{share:.0%} of the rows" if share else None),
        ("prompt", prompt.get("label")),
    ]  # fmt: skip


def _training(model: Row, lineage: Row) -> list[Line]:
    params: Row = lineage.get("params") or {}
    details: Row = model["details"]
    cost: Row = lineage.get("cost") or {}
    return [
        ("method", METHODS.get(str(lineage.get("method")))),
        *((name.replace("_", " "), _number(params.get(name))) for name in PARAMS),
        ("trained layers", ", ".join(details.get("adapter_modules") or ())),
        ("adapter's parameters", _number(details.get("adapter_parameter_count"))),
        ("steps", _number(cost.get("steps"))),
        ("stopped early", "yes" if cost.get("stopped_early") else None),
        ("seed", _number(lineage.get("seed"))),
    ]


def _compared(evaluation: Row | None) -> list[Line]:
    if not evaluation:
        return []
    versus: Row = evaluation.get("versus") or {}
    difference = versus.get("difference")
    return [
        ("rows", _number(evaluation.get("rows"))),
        ("base", _rate(evaluation.get("base"))),
        ("adapter", _rate(evaluation.get("adapter"))),
        ("difference", None if difference is None
         else f"{difference:+.1%}{_interval(versus.get('interval'), sign=True)}"),
    ]  # fmt: skip


def _rate(side: Any) -> str | None:
    if not side or side.get("pass_rate") is None:
        return None
    counts = f", {side['passed']} of {side['judged']}" if side.get("judged") else ""
    return f"{side['pass_rate']:.1%} pass{_interval(side.get('interval'))}{counts}"


def _interval(interval: Any, *, sign: bool = False) -> str:
    if not interval:
        return ""
    form = "+.1%" if sign else ".1%"
    return f" (95% interval {interval['low']:{form}} to {interval['high']:{form}})"


def _cost(cost: Row) -> list[Line]:
    hardware: Row = cost.get("hardware") or {}
    seconds, peak, energy = (cost.get(k) for k in ("train_seconds", "peak_memory_bytes",
                                                   "energy_wh"))  # fmt: skip
    basis = f" ({cost['energy_basis']})" if cost.get("energy_basis") else ""
    return [
        ("hardware", ", ".join(str(hardware[k]) for k in ("gpu", "cpu", "machine", "system")
                               if hardware.get(k))),
        ("training time", None if seconds is None else f"{seconds:,.0f} s"),
        ("tokens", _number(cost.get("tokens"))),
        ("peak memory", None if peak is None else f"{peak / 1e9:.2f} GB"),
        ("energy", None if energy is None else f"{energy:,.1f} Wh{basis}"),
    ]  # fmt: skip


def _code(model: Row, lineage: Row) -> list[Line]:
    code: Row = lineage.get("code") or {}
    versions: Row = (lineage.get("cost") or {}).get("versions") or {}
    return [
        ("Lathe", code.get("lathe")),
        ("commit", code.get("commit")),
        *versions.items(),
        ("adapter's sha256", model.get("sha256")),
        ("made", f"{model['created_at']:%Y-%m-%d %H:%M} UTC"),
    ]


def _loads(export: str) -> str:
    if export == "gguf":
        return "## How to load it\n\n    llama-server -m FILE.gguf"
    if export == "merged":
        code = "model = AutoModelForCausalLM.from_pretrained(FOLDER)"
        return f"## How to load it\n\n    from transformers import AutoModelForCausalLM\n    {code}"
    return (
        "## How to load it\n\n    from peft import PeftModel\n"
        "    from transformers import AutoModelForCausalLM\n"
        "    base = AutoModelForCausalLM.from_pretrained(BASE)\n"
        "    model = PeftModel.from_pretrained(base, FOLDER)"
    )


def _section(title: str, lines: Iterable[Line]) -> str:
    said = [f"- {label}: {value}" for label, value in lines if value not in (None, "")]
    return f"## {title}\n\n" + "\n".join(said) if said else ""


def _number(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
