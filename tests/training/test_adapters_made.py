"""Fine-tunes and adapters in a dataset's lineage."""

from __future__ import annotations

from core.clock import utc_now
from core.store.database import Store
from core.training.adapters import adapters_of


def test_fine_tunes_and_their_adapters_are_in_the_lineage(store: Store) -> None:
    now = {"created_by": "u", "created_at": utc_now()}
    model = {"kind": "chat", "location": "x", **now}
    store.insert("models", {"id": "m_base", "name": "Base", "source": "directory", **model})
    store.insert("models", {"id": "m_ad", "name": "Tuned (2)", "source": "adapter", **model})
    for number, changes in enumerate(
        (
            {"adapter_model_id": "m_ad"},
            {"method": "dpo"},
            {"dataset_version_id": "v2"},
            {"archived_at": utc_now()},
        )
    ):
        row = {"id": f"ft_{number}", "name": f"Tune {number}", "method": "sft",
               "base_model_id": "m_base", "dataset_version_id": "v1", "config": "{}"}  # fmt: skip
        store.insert("finetunes", {**row, **now, **changes})
    rows = adapters_of(store, ["v1"])
    assert [(r["kind"], r["id"], r["title"], r["detail"]) for r in rows] == [
        ("finetune", "ft_1", "Tune 1", "DPO of Base"),
        ("adapter", "ft_0", "Tuned (2)", "SFT of Base"),
    ]
    assert {r["version_id"] for r in rows} == {"v1"}
    (newest,) = adapters_of(store, ["v1"], limit=1)
    assert (newest["id"], newest["left_out"]) == ("ft_1", 1)
    assert adapters_of(store, []) == []
