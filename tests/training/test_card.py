"""The model card: what is known stands in it, what is not is not made up."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from core.training import card

BASE = {"name": "SmolLM2", "source": "starter", "location": "smollm2", "revision": None,
        "sha256": "b1" * 32, "license": "Apache-2.0", "parameter_count": 134515008}  # fmt: skip
LINEAGE: dict[str, Any] = {
    "method": "sft",
    "seed": 42,
    "dataset": {"label": "tickets v1", "content_hash": "c0ffee", "row_count": 24,
                "license": "CC0-1.0"},
    "prompt": {"label": "triage v2"},
    "hold_out": {"split": None, "share": 0.25},
    "params": {"rank": 16, "learning_rate": 2e-4, "packing": False, "quantization": "nf4"},
    "metrics": {"loss_first": 2.5, "eval_loss_base": 1.75},
    "cost": {"steps": 30, "train_seconds": 61.2, "hardware": {"cpu": "A CPU", "gpu": None},
             "versions": {"torch": "2.13.0"}, "energy_wh": None, "peak_memory_bytes": 10**9},
    "code": {"lathe": "0.1.0", "commit": None},
}  # fmt: skip
EVALUATION = {
    "rows": 12,
    "base": {"pass_rate": 0.25, "interval": {"low": 0.09, "high": 0.53}, "passed": 3, "judged": 12},
    "adapter": {"pass_rate": 0.75, "interval": None, "passed": 9, "judged": 12},
    "versus": {"difference": 0.5, "interval": {"low": 0.15, "high": 0.7}},
}


def model(**details: Any) -> dict[str, Any]:
    return {"name": "Triage", "sha256": "ad" * 32, "license": "Apache-2.0",
            "created_at": datetime(2026, 3, 4, 5, 6), "details": details}  # fmt: skip


def test_the_card_tells_what_is_known() -> None:
    made = model(lineage=LINEAGE, adapter_modules=["k_proj", "q_proj"])
    text = card.render(made, BASE, evaluation=EVALUATION)
    front = yaml.safe_load(text.split("---")[1])
    assert front == {"library_name": "peft", "base_model": "SmolLM2", "license": "apache-2.0"}
    for line in (
        "# Triage",
        "A LoRA adapter for SmolLM2, trained by supervised fine-tuning (SFT). Made 2026-03-04.",
        f"- sha256: {'b1' * 32}",
        "- licence: Apache-2.0",
        "- dataset: tickets v1",
        "- content hash: c0ffee",
        "- licence: CC0-1.0",
        "- held out: 25% of the rows",
        "- prompt: triage v2",
        "- rank: 16",
        "- learning rate: 0.0002",
        "- trained layers: k_proj, q_proj",
        "- eval loss base: 1.75",
        "- base: 25.0% pass (95% interval 9.0% to 53.0%), 3 of 12",
        "- adapter: 75.0% pass, 9 of 12",
        "- difference: +50.0% (95% interval +15.0% to +70.0%)",
        "- hardware: A CPU",
        "- torch: 2.13.0",
        "- seed: 42",
    ):
        assert line in text.splitlines(), line


def test_nothing_is_said_of_what_is_not_known() -> None:
    base = {**BASE, "sha256": None, "license": None, "source": "directory"}
    text = card.render({**model(), "license": None}, base, export="merged")
    assert "None" not in text
    for word in (
        "Compared",
        "Losses",
        "Cost",
        "licence",
        "license",
        "sha256: b1",
        "energy",
        "Data",
    ):
        assert word not in text, word
    assert "library_name: transformers" in text
    assert "AutoModelForCausalLM.from_pretrained(FOLDER)" in text


def test_writing_it_replaces_what_was_there(tmp_path: Path) -> None:
    card.write(tmp_path, "one")
    card.write(tmp_path, "two")
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "two"
