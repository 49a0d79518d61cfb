"""Adapters in the registry: taken in whole or not at all, laid over their base, answering."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.errors import Conflict, Invalid
from core.generation import Generation
from core.governance.permissions import OWNER
from core.models import adapters
from core.models.client import stream
from core.models.spec import WorkerSpec
from core.settings import PROJECT_ROOT
from core.workbench import Workbench
from tests.models.making import safetensors_bytes
from tests.models.test_service import wait_for
from tests.models.tiny import save_tiny_adapter, save_tiny_model

ASKED = [{"role": "user", "content": "fox dog fox"}]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "tiny"
    return save_tiny_model(folder, max_position_embeddings=1024)


@pytest.fixture(scope="session")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_adapter(tmp_path_factory.mktemp("adapter") / "adapter", base)


@pytest.fixture
def base_id(workbench: Workbench, base: Path) -> str:
    return workbench.models.add(OWNER, "Tiny", "directory", str(base))


def taken_in(
    workbench: Workbench, base_id: str, folder: Path, name: str = "Tuned", finetune: str = "ft_1"
) -> str:
    details = {"finetune_id": finetune, "lineage": {"method": "sft"}}
    return workbench.models._register_adapter("u-1", name, base_id, folder, details)


def changed(folder: Path, tmp_path: Path, **config: Any) -> Path:
    """A copy of an adapter's folder with another config."""
    copy = shutil.copytree(folder, tmp_path / "changed")
    path = copy / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    return copy


def test_an_adapter_is_copied_and_listed_with_its_base(
    workbench: Workbench, base_id: str, base: Path, adapter: Path, home: Path
) -> None:
    model_id = taken_in(workbench, base_id, adapter)
    row = workbench.models.get(OWNER, model_id)
    assert (row["name"], row["source"], row["base_name"]) == ("Tuned", "adapter", "Tiny")
    assert (row["base_model_id"], row["path"]) == (base_id, str(base))
    copied = home / "models" / model_id / "adapter"
    assert row["adapter_path"] == str(copied)
    names = {path.name for path in adapter.iterdir()}
    assert {path.name for path in copied.iterdir()} == names
    assert row["details"]["adapter_rank"] == 4
    assert row["details"]["layer_count"] == 2
    assert row["details"]["lineage"] == {"method": "sft"}
    weights = copied / "adapter_model.safetensors"
    assert row["details"]["adapter_bytes"] <= weights.stat().st_size
    rows = workbench.models.list(OWNER)
    assert {r["name"]: r["base_name"] for r in rows} == {"Tiny": None, "Tuned": "Tiny"}


def test_one_fine_tune_is_one_adapter_and_a_taken_name_gets_a_number(
    workbench: Workbench, base_id: str, adapter: Path
) -> None:
    first = taken_in(workbench, base_id, adapter)
    assert taken_in(workbench, base_id, adapter) == first
    others = [taken_in(workbench, base_id, adapter, finetune=f"ft_{n}") for n in (2, 3)]
    names = [workbench.models.get(OWNER, model_id)["name"] for model_id in others]
    assert names == ["Tuned (2)", "Tuned (3)"]
    workbench.models.archive(OWNER, first)
    assert taken_in(workbench, base_id, adapter) == first


def test_an_adapter_trained_elsewhere_is_added_by_the_name_of_its_base(
    workbench: Workbench, base_id: str, adapter: Path
) -> None:
    models = workbench.models
    model_id = models.add(OWNER, "Foreign", "adapter", str(adapter), base="tiny")
    assert models.get(OWNER, model_id)["base_model_id"] == base_id
    with pytest.raises(Conflict, match="named Foreign already"):
        models.add(OWNER, "Foreign", "adapter", str(adapter), base=base_id)
    for name, says in ((None, "Say which model"), ("Other", "no model 'Other'")):
        with pytest.raises(Invalid, match=says):
            models.add(OWNER, "More", "adapter", str(adapter), base=name)
    with pytest.raises(Invalid, match="is an adapter itself"):
        models.add(OWNER, "More", "adapter", str(adapter), base="Foreign")
    far = models.add(OWNER, "Far", "endpoint", "http://127.0.0.1:9/v1", revision="m")
    with pytest.raises(Invalid, match="has no weights here"):
        models.add(OWNER, "More", "adapter", str(adapter), base=far)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"r": 0}, "rank is 0"),
        ({"r": 8}, "says rank 8"),
        ({"peft_type": "IA3"}, "a IA3 adapter"),
        ({"task_type": "SEQ_CLS"}, "for SEQ_CLS"),
        ({"target_modules": ["q_proj", "gate_proj"]}, "names the layers gate_proj"),
        ({"alora_invocation_tokens": [1]}, "aLoRA"),
    ],
)
def test_a_config_that_cannot_be_is_refused_in_words(
    base: Path, adapter: Path, tmp_path: Path, config: dict[str, Any], says: str
) -> None:
    with pytest.raises(Invalid, match=says):
        adapters.read(changed(adapter, tmp_path, **config), base)


def test_an_adapter_of_another_model_is_refused_in_words(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    deeper = save_tiny_model(tmp_path / "deeper", num_hidden_layers=3)
    with pytest.raises(Invalid, match=r"layers\.2\..* which the base does not have"):
        adapters.read(save_tiny_adapter(tmp_path / "a", deeper), base)
    wider = save_tiny_model(tmp_path / "wider", intermediate_size=384)
    with pytest.raises(Invalid, match="of the base is 128 x 256, the adapter is for 128 x 384"):
        adapters.read(save_tiny_adapter(tmp_path / "b", wider), base)
    folder = save_tiny_adapter(tmp_path / "c", deeper, modules_to_save=["lm_head"])
    larger = save_tiny_model(tmp_path / "d", vocab_size=320, num_hidden_layers=3)
    with pytest.raises(Invalid, match=r"replaces lm_head\.weight"):
        adapters.read(folder, larger)


def test_what_is_not_a_whole_adapter_is_refused_and_never_listed(
    workbench: Workbench, base_id: str, adapter: Path, tmp_path: Path, home: Path
) -> None:
    def refused(folder: Path, says: str) -> None:
        with pytest.raises(Invalid, match=says):
            workbench.models.add(OWNER, "Bad", "adapter", str(folder), base=base_id)

    refused(tmp_path / "nowhere", "is not a folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "has no adapter_config.json")
    copy = shutil.copytree(adapter, tmp_path / "pickled")
    (copy / "optimizer.pt").write_bytes(b"x")
    refused(copy, "optimizer.pt is a pickle")
    copy = shutil.copytree(adapter, tmp_path / "cut")
    weights = copy / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    refused(copy, "truncated")
    weights.unlink()
    refused(copy, "has no adapter_model.safetensors")
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    weights.write_bytes(safetensors_bytes({name: (4, 128)}))
    refused(copy, "has no lora_B")
    assert [row["name"] for row in workbench.models.list(OWNER, archived=True)] == ["Tiny"]
    assert list(home.glob("models/model_*")) == []


def test_a_kill_in_the_middle_of_the_copy_leaves_nothing_that_is_listed(
    workbench: Workbench, base_id: str, adapter: Path, home: Path
) -> None:
    code = (
        "import sys, time, shutil; from pathlib import Path; from core.models import adapters\n"
        "plain = shutil.copyfile\n"
        "def slow(*a): plain(*a); print('copied', flush=True); time.sleep(60)\n"
        "adapters.shutil.copyfile = slow\n"
        "adapters.copy(Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    target = home / "models" / "model_half" / "adapter"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(adapter), str(target)],
        cwd=PROJECT_ROOT, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not target.exists()
    assert list(target.parent.glob(".adapter.*.partial"))
    orphan = home / "models" / "model_orphan" / "adapter"  # copied whole, killed before its row
    adapters.copy(adapter, orphan)
    assert [row["name"] for row in workbench.models.list(OWNER)] == ["Tiny"]
    model_id = taken_in(workbench, base_id, adapter)
    assert workbench.models.get(OWNER, model_id)["name"] == "Tuned"
    assert not list(target.parent.glob(".adapter.*.partial")), "swept"
    assert not orphan.exists()


def test_a_spec_without_an_adapter_keeps_the_key_it_had() -> None:
    plain = WorkerSpec("model_1", "Tiny", "transformers", "fp32", path="/models/tiny")
    assert plain.key == "10b4fe527ceb3d41"
    tuned = plain.with_changes(adapter_path="/models/tuned")
    assert tuned.key != plain.key
    assert WorkerSpec.from_dict(tuned.to_dict()) == tuned


def test_choices_and_forecast_of_an_adapter(
    workbench: Workbench, base_id: str, adapter: Path
) -> None:
    models = workbench.models
    model_id = taken_in(workbench, base_id, adapter)
    ways = {(c["engine"], c["quantization"]): c for c in models.choices(OWNER, model_id)}
    assert {quantization for engine, quantization in ways if engine == "transformers"} == {
        "fp32", "bf16", "int8", "nf4", "nf4-dq",
    }  # fmt: skip
    assert all(c["why_not"] is None for c in ways.values() if c["engine"] == "transformers")
    assert ways["llama.cpp", "gguf"]["why_not"] == "Export it as GGUF first."
    for quantization in ("fp32", "nf4"):
        with_adapter = models.forecast(OWNER, model_id, "transformers", quantization)
        alone = models.forecast(OWNER, base_id, "transformers", quantization)
        count = models.get(OWNER, model_id)["details"]["adapter_parameter_count"]
        assert with_adapter.weight_bytes == alone.weight_bytes + 4 * count
    spec = models.resolve(OWNER, model_id)
    assert (spec.engine, spec.quantization) == ("transformers", "fp32")
    assert spec.adapter_path == models.get(OWNER, model_id)["adapter_path"]
    assert models.resolve(OWNER, base_id).adapter_path is None


def test_an_adapter_that_is_more_than_lora_pairs_can_only_be_merged(
    workbench: Workbench, base_id: str, base: Path, tmp_path: Path
) -> None:
    folder = save_tiny_adapter(tmp_path / "dora", base, use_dora=True)
    model_id = taken_in(workbench, base_id, folder)
    assert workbench.models.resolve(OWNER, model_id).quantization == "fp32"
    with pytest.raises(Invalid, match="merged into fp32 or bf16 only"):
        workbench.models.resolve(OWNER, model_id, quantization="nf4")


def test_an_adapter_that_lost_its_base_says_so(
    workbench: Workbench, adapter: Path, tmp_path: Path
) -> None:
    models = workbench.models
    mine = save_tiny_model(tmp_path / "mine")
    base_id = models.add(OWNER, "Mine", "directory", str(mine))
    model_id = taken_in(workbench, base_id, adapter)
    mine.rename(tmp_path / "moved")
    with pytest.raises(Conflict, match="the folder of its base is not there"):
        models.resolve(OWNER, model_id)
    (tmp_path / "moved").rename(mine)
    workbench.store.execute("UPDATE models SET archived_at = now()::TIMESTAMP WHERE id = $id",
                            {"id": base_id})  # fmt: skip
    with pytest.raises(Conflict, match="needs its base Mine, which is archived"):
        models.resolve(OWNER, model_id)


def test_a_model_that_an_adapter_needs_is_not_archived(
    workbench: Workbench, base_id: str, adapter: Path
) -> None:
    model_id = taken_in(workbench, base_id, adapter)
    with pytest.raises(Conflict, match="the adapter Tuned is laid over it"):
        workbench.models.archive(OWNER, base_id)
    workbench.models.archive(OWNER, model_id)
    workbench.models.archive(OWNER, base_id)


def test_a_model_with_requests_in_flight_is_not_archived(workbench: Workbench) -> None:
    import threading

    script = json.dumps({"default": "w " * 400, "delay_ms": 20})
    models = workbench.models
    model_id = models.add(OWNER, "Slow parrot", "scripted", script)
    endpoint = models.load(OWNER, models.resolve(OWNER, model_id))
    stop = threading.Event()
    asking = threading.Thread(
        target=lambda: stream(endpoint, ASKED, Generation(max_tokens=400), cancelled=stop.is_set)
    )
    asking.start()
    try:
        wait_for(lambda: workbench.models._pool.busy_with(model_id))
        with pytest.raises(Conflict, match="requests are in flight"):
            models.archive(OWNER, model_id)
    finally:
        stop.set()
        asking.join()
    wait_for(lambda: not workbench.models._pool.busy_with(model_id))
    models.archive(OWNER, model_id)


@pytest.mark.slow
def test_an_adapter_answers_as_any_model_and_otherwise_than_its_base(
    workbench: Workbench, base_id: str, adapter: Path
) -> None:
    models = workbench.models
    model_id = taken_in(workbench, base_id, adapter)
    texts = {}
    for each in (base_id, model_id):
        endpoint = models.load(OWNER, models.resolve(OWNER, each))
        texts[each] = stream(endpoint, ASKED, Generation(max_tokens=20)).text
    assert texts[base_id] != texts[model_id]
    loaded = {s["model_id"] for s in models.states(OWNER) if s["state"] == "ready"}
    assert loaded == {base_id, model_id}
    job_id = models.calibrate(OWNER, model_id, ways=[("transformers", "fp32")])
    wait_for(lambda: workbench.jobs.get(OWNER, job_id)["state"] in ("succeeded", "failed"))
    assert workbench.jobs.get(OWNER, job_id)["state"] == "succeeded"
    wait_for(lambda: models.calibration(OWNER, model_id))
    assert models.calibration(OWNER, model_id)[0]["decode_tokens_per_s"] > 0
    for state in models.states(OWNER):
        models.unload(OWNER, state["key"])
