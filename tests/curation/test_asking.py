"""What makes two models the same for an answer that was kept."""

from __future__ import annotations

from pathlib import Path

from core.curation.asking import Asking
from core.models.spec import WorkerSpec


def test_an_endpoint_at_another_address_or_of_another_model_is_another(tmp_path: Path) -> None:
    def identity(**changes: str) -> str:
        spec = WorkerSpec("m1", "mine", "endpoint", "remote", base_url="http://a/v1", path="big")
        return Asking(tmp_path, {"mine": spec.with_changes(**changes).to_dict()}).identity("mine")

    assert identity() == identity(model_name="renamed")
    assert len({identity(), identity(base_url="http://b/v1"), identity(path="small")}) == 3


def test_a_local_model_is_the_same_wherever_its_folder_lies(tmp_path: Path) -> None:
    def identity(path: str) -> str:
        spec = WorkerSpec("m1", "mine", "transformers", "fp32", path=path)
        return Asking(tmp_path, {"mine": spec.to_dict()}).identity("mine")

    assert identity("/home/a") == identity("/home/b")
