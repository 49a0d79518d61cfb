"""An adapter of a base that is loaded: attached to its worker, against a worker of its own.

The baseline is what every load of an adapter took before it could be attached. Both in one run,
with the starter model.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from core.governance.permissions import OWNER
from core.models.starter import STARTERS
from core.settings import Settings
from core.workbench import Workbench
from tests.models.tiny import save_tiny_adapter


@pytest.mark.bench
@pytest.mark.starter
@pytest.mark.timeout(900)
@pytest.mark.parametrize("quantization", ["fp32", "nf4"])
def test_attaching_against_loading(starter_home: Path, tmp_path: Path, quantization: str) -> None:
    with Workbench.open(Settings(home=starter_home)) as workbench:
        models = workbench.models
        models.register_starter(OWNER)
        (base,) = [row for row in models.list(OWNER) if row["name"] == STARTERS[0].name]
        folder = save_tiny_adapter(
            tmp_path / "adapter", Path(base["path"]), rank=16, std=0.01,
            targets=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        )  # fmt: skip
        tuned = models.add(OWNER, "Tuned", "adapter", str(folder), base=base["id"])
        spec, own = (
            models.resolve(OWNER, model_id, engine="transformers", quantization=quantization)
            for model_id in (tuned, base["id"])
        )

        def load_s() -> tuple[float, int]:
            began = time.perf_counter()
            models.load(OWNER, spec)
            taken = time.perf_counter() - began
            held = sum(state["resident_bytes"] or 0 for state in models.states(OWNER))
            models.unload(OWNER, spec.key)
            return taken, held

        fresh_s, _ = load_s()
        models.load(OWNER, own)
        alone = sum(state["resident_bytes"] or 0 for state in models.states(OWNER))
        attached_s, together = load_s()
        models.unload(OWNER, own.key)
    print(
        f"\n{quantization}: a worker of its own {fresh_s:.2f} s, attached {attached_s:.2f} s: "
        f"{fresh_s / attached_s:.1f} times as fast; {(together - alone) / 1e6:+.0f} MB beside "
        f"the base's {alone / 1e6:.0f} MB"
    )
    assert attached_s < fresh_s
