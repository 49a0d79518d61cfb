"""The registry: adding, keys, archiving, resolving and loading, by roles."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.errors import (
    Conflict,
    Forbidden,
    Invalid,
    LatheError,
    ModelUnavailable,
    NotFound,
    OutOfMemory,
    Upstream,
)
from core.generation import Generation
from core.governance.permissions import OWNER, Actor
from core.models.client import stream
from core.models.spec import WorkerSpec
from core.settings import Settings
from core.workbench import Workbench
from tests.models.making import folder_of, gguf_of

LEAD = Actor("u-lead", "Lea", "lead")
REVIEWER = Actor("u-rev", "Rea", "reviewer")
URL = "http://127.0.0.1:9/v1"


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)


@pytest.fixture
def remote(workbench: Workbench) -> str:
    return workbench.models.add(OWNER, "Far", "endpoint", URL, revision="gpt-x", key="sk-secret")


@pytest.fixture
def scripted(workbench: Workbench) -> Iterator[str]:
    script = json.dumps({"default": "one two three"})
    yield workbench.models.add(OWNER, "Parrot", "scripted", script)
    for state in workbench.models.states(OWNER):
        if state["key"]:
            workbench.models.unload(OWNER, state["key"])


def test_a_folder_is_added_with_its_facts(workbench: Workbench, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model")
    model_id = workbench.models.add(OWNER, " Mine ", "directory", str(folder))
    row = workbench.models.get(OWNER, model_id)
    assert (row["name"], row["source"], row["parameter_count"]) == ("Mine", "directory", 200)
    assert row["details"]["layer_count"] == 2
    assert [m["id"] for m in workbench.models.list(OWNER, kind="chat")] == [model_id]
    assert workbench.models.list(OWNER, kind="embedding") == []
    entry = workbench.audit.list(OWNER, action_prefix="models.add")[0]
    assert (entry["object_id"], entry["user_id"]) == (model_id, OWNER.id)


def test_a_name_is_taken_once_and_free_again_after_archiving(
    workbench: Workbench, remote: str
) -> None:
    with pytest.raises(Conflict, match="named far already"):
        workbench.models.add(OWNER, "far", "endpoint", URL, revision="m")
    workbench.models.archive(OWNER, remote)
    assert workbench.models.list(OWNER) == []
    assert [m["id"] for m in workbench.models.list(OWNER, archived=True)] == [remote]
    assert workbench.models.add(OWNER, "far", "endpoint", URL, revision="m") != remote
    with pytest.raises(Conflict, match="archived"):
        workbench.models.resolve(OWNER, remote)


def test_nothing_is_registered_when_the_source_is_refused(
    workbench: Workbench, tmp_path: Path
) -> None:
    with pytest.raises(Invalid):
        workbench.models.add(OWNER, "Bad", "directory", str(tmp_path / "no"))
    with pytest.raises(Invalid, match="Give the model a name"):
        workbench.models.add(OWNER, "  ", "endpoint", URL, revision="m")
    assert workbench.models.list(OWNER, archived=True) == []


def test_a_key_is_never_shown_and_lost_with_the_host(workbench: Workbench, remote: str) -> None:
    models = workbench.models
    assert models.get(OWNER, remote)["has_key"]
    assert "sk-secret" not in json.dumps(models.get(OWNER, remote), default=str)
    spec = models.resolve(OWNER, remote)
    assert "sk-secret" not in json.dumps(spec.to_dict())
    assert models.load(OWNER, spec).api_key == "sk-secret"
    assert not models.set_address(OWNER, remote, "http://127.0.0.1:9/other/v1")
    assert models.get(OWNER, remote)["has_key"]
    assert models.set_address(OWNER, remote, "http://127.0.0.1:10/v1", revision="gpt-y")
    row = models.get(OWNER, remote)
    assert (row["has_key"], row["revision"]) == (False, "gpt-y")
    assert models.load(OWNER, models.resolve(OWNER, remote)).api_key == ""
    trail = json.dumps(workbench.audit.list(OWNER), default=str)
    assert "sk-secret" not in trail


def test_an_old_spec_does_not_carry_the_key_to_the_old_host(
    workbench: Workbench, remote: str
) -> None:
    old = workbench.models.resolve(OWNER, remote)
    workbench.models.set_address(OWNER, remote, "https://elsewhere.example/v1")
    workbench.models.set_key(OWNER, remote, "sk-new")
    assert workbench.models.load(OWNER, old).api_key == ""


def test_keys_can_be_set_and_cleared_for_endpoints_only(
    workbench: Workbench, remote: str, tmp_path: Path
) -> None:
    models = workbench.models
    models.clear_key(OWNER, remote)
    assert not models.get(OWNER, remote)["has_key"]
    models.set_key(OWNER, remote, " sk-2 ")
    assert models.load(OWNER, models.resolve(OWNER, remote)).api_key == "sk-2"
    with pytest.raises(Invalid, match="empty"):
        models.set_key(OWNER, remote, " ")
    folder = models.add(OWNER, "Mine", "directory", str(folder_of(tmp_path / "model")))
    with pytest.raises(Conflict, match="not an endpoint"):
        models.set_key(OWNER, folder, "sk")


def test_an_endpoint_that_is_not_there_says_so(workbench: Workbench, remote: str) -> None:
    with pytest.raises(Upstream, match="could not be reached"):
        workbench.models.check(OWNER, remote)


def test_an_endpoint_can_be_another_lathe_worker(workbench: Workbench, scripted: str) -> None:
    models = workbench.models
    served = models.load(OWNER, models.resolve(OWNER, scripted))
    far = models.add(
        OWNER, "Far", "endpoint", served.base_url, revision=served.model, key=served.api_key
    )
    found = models.check(OWNER, far)
    assert (found["models"], found["has_model"]) == (["Parrot"], True)
    endpoint = models.endpoint(OWNER, models.resolve(OWNER, far))
    answer = stream(endpoint, [{"role": "user", "content": "?"}], Generation())
    assert answer.text == "one two three"
    models.clear_key(OWNER, far)
    with pytest.raises(Upstream, match="answered 401"):
        models.check(OWNER, far)


def test_a_hub_model_is_refused_while_lathe_is_offline(workbench: Workbench) -> None:
    commit = "12fd25f77366fa6b3b4b768ec3050bf629380bac"
    with pytest.raises(Forbidden, match="set to work offline") as caught:
        workbench.models.add(OWNER, "Hub", "hub", "owner/name", revision=commit)
    assert "LATHE_OFFLINE=0" in str(caught.value.hint)
    with pytest.raises(Invalid, match="pinned revision"):
        workbench.models.add(OWNER, "Hub", "hub", "owner/name", revision="main")
    assert workbench.models.list(OWNER) == []


def test_resolve_says_why_and_refuses_what_cannot_be(workbench: Workbench, tmp_path: Path) -> None:
    models = workbench.models
    gguf = models.add(OWNER, "Small", "gguf", str(gguf_of(tmp_path / "small.gguf")))
    spec = models.resolve(OWNER, gguf)
    assert (spec.engine, spec.quantization, spec.device) == ("llama.cpp", "gguf", "cpu")
    assert spec.why == "llama.cpp Q8_0: the only way to load it."
    assert spec.context_length == 64  # the model's own, below the default
    assert models.resolve(OWNER, gguf, engine="llama.cpp", quantization="gguf").why.endswith(
        "as asked."
    )
    with pytest.raises(Invalid, match="Convert the GGUF"):
        models.resolve(OWNER, gguf, quantization="nf4")
    with pytest.raises(Invalid, match="cannot be loaded by"):
        models.resolve(OWNER, gguf, engine="vllm")
    with pytest.raises(NotFound):
        models.resolve(OWNER, "model_none")


def test_two_specs_of_one_way_are_one_worker_whatever_the_reason(
    workbench: Workbench, tmp_path: Path
) -> None:
    models = workbench.models
    gguf = models.add(OWNER, "Small", "gguf", str(gguf_of(tmp_path / "small.gguf")))
    auto = models.resolve(OWNER, gguf)
    asked = models.resolve(OWNER, gguf, engine="llama.cpp", quantization="gguf")
    assert auto.key == asked.key
    assert auto == asked


def test_what_cannot_fit_is_refused_before_a_process_starts(home: Path, tmp_path: Path) -> None:
    tight = Settings(home=home, memory_limit_gb=0.3)
    with Workbench.open(tight, background=False) as workbench:
        folder = folder_of(tmp_path / "model")
        model_id = workbench.models.add(OWNER, "Mine", "directory", str(folder))
        spec = workbench.models.resolve(OWNER, model_id)
        assert "nothing fits" in spec.why
        for load in (workbench.models.load, workbench.models.start):
            with pytest.raises(OutOfMemory, match=r"300\.0 MB|0\.30 GB"):
                load(OWNER, spec)
        assert workbench.models.states(OWNER) == []


def test_a_loaded_model_shows_and_unloads(workbench: Workbench, scripted: str) -> None:
    models = workbench.models
    spec = models.resolve(OWNER, scripted)
    models.start(OWNER, spec)
    wait_for(lambda: models.states(OWNER, model_id=scripted)[0]["state"] == "ready")
    (state,) = models.states(OWNER)
    assert (state["model_id"], state["key"], state["engine"]) == (scripted, spec.key, "scripted")
    assert state["resident_bytes"] > 10_000_000
    assert models.states(OWNER, model_id="model_other") == []
    models.unload(OWNER, spec.key)
    assert models.states(OWNER)[0]["state"] == "unloaded"


def test_archiving_unloads(workbench: Workbench, scripted: str) -> None:
    models = workbench.models
    models.load(OWNER, models.resolve(OWNER, scripted))
    models.archive(OWNER, scripted)
    assert models.states(OWNER)[0]["state"] == "unloaded"


def test_a_killed_worker_leaves_its_last_words_and_restarts_on_demand(
    workbench: Workbench, scripted: str
) -> None:
    import os
    import signal

    models = workbench.models
    spec = models.resolve(OWNER, scripted)
    endpoint = models.load(OWNER, spec)
    os.kill(models.states(OWNER)[0]["pid"], signal.SIGKILL)
    wait_for(lambda: models.states(OWNER)[0]["state"] == "crashed")
    with pytest.raises(ModelUnavailable):
        stream(endpoint, [{"role": "user", "content": "?"}], Generation())
    again = models.endpoint(OWNER, spec)
    assert stream(again, [{"role": "user", "content": "?"}], Generation()).text


def test_a_folder_that_is_gone_fails_with_words(workbench: Workbench, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model")
    models = workbench.models
    model_id = models.add(OWNER, "Mine", "directory", str(folder))
    spec = models.resolve(OWNER, model_id)
    (folder / "model.safetensors").unlink()
    with pytest.raises(LatheError, match=r"."):
        models.load(OWNER, spec)
    (state,) = models.states(OWNER)
    assert state["state"] in ("failed", "crashed")
    assert state["last_words"]


def test_a_calibration_is_kept_and_its_newest_counts(workbench: Workbench, remote: str) -> None:
    models = workbench.models
    for speed in (1.0, 2.0):
        models.record_calibration(
            OWNER,
            remote,
            {
                "engine": "endpoint",
                "quantization": "remote",
                "device": "remote",
                "concurrency": 4,
                "single_tokens_per_s": speed,
                "decode_tokens_per_s": 8.0,
            },
        )
    (row,) = models.calibration(OWNER, remote)
    assert row["single_tokens_per_s"] == 2.0


def test_measuring_is_a_job_whose_rows_arrive_through_the_spool(
    workbench: Workbench, scripted: str
) -> None:
    models = workbench.models
    job_id = models.calibrate(OWNER, scripted)
    wait_for(lambda: workbench.jobs.get(OWNER, job_id)["state"] in ("succeeded", "failed"))
    assert workbench.jobs.get(OWNER, job_id)["state"] == "succeeded"
    wait_for(lambda: models.calibration(OWNER, scripted))
    (row,) = models.calibration(OWNER, scripted)
    assert (row["engine"], row["device"]) == ("scripted", "cpu")
    assert row["decode_tokens_per_s"] > 0
    assert row["load_ms"] > 0
    assert 0 <= row["busy_percent"] <= 100
    assert models.states(OWNER)[0]["state"] == "unloaded"  # as it was before


def test_measuring_does_not_unload_a_model_that_somebody_asks_meanwhile(
    workbench: Workbench,
) -> None:
    script = json.dumps(
        {"default": "one two three", "replies": {"slowly": "w " * 400}, "delay_ms": 20}
    )
    models = workbench.models
    model_id = models.add(OWNER, "Slow parrot", "scripted", script)
    job_id = models.calibrate(OWNER, model_id)
    wait_for(lambda: [s for s in models.states(OWNER) if s["state"] == "ready"])
    endpoint = models.endpoint(OWNER, models.resolve(OWNER, model_id))
    stop, answers = threading.Event(), []
    asking = threading.Thread(
        target=lambda: answers.append(
            stream(
                endpoint,
                [{"role": "user", "content": "slowly"}],
                Generation(max_tokens=400),
                cancelled=stop.is_set,
            )
        )
    )
    asking.start()
    try:
        wait_for(lambda: workbench.jobs.get(OWNER, job_id)["state"] == "succeeded")
        assert asking.is_alive()
        assert models.states(OWNER)[0]["state"] == "ready"
    finally:
        stop.set()
        asking.join()
        models.unload(OWNER, endpoint.spec.key)
    assert len(answers) == 1


def test_there_is_nothing_to_measure_of_an_endpoint(workbench: Workbench, remote: str) -> None:
    with pytest.raises(Invalid, match="nothing to measure"):
        workbench.models.calibrate(OWNER, remote)
    with pytest.raises(Conflict, match="needs no preparing"):
        workbench.models.prepare(OWNER, remote)


def test_a_conversion_that_cannot_be_fails_as_a_job_and_shows_in_the_states(
    workbench: Workbench, tmp_path: Path
) -> None:
    models = workbench.models
    gguf = models.add(OWNER, "Small", "gguf", str(gguf_of(tmp_path / "small.gguf")))
    job_id = models.prepare(OWNER, gguf)
    assert models.states(OWNER)[0]["state"] == "converting"
    wait_for(lambda: workbench.jobs.get(OWNER, job_id)["state"] == "failed")
    (state,) = models.states(OWNER)
    assert (state["state"], state["job_id"]) == ("failed", job_id)
    assert state["error"]["message"]
    assert not list((workbench.settings.home / "models").glob("*"))  # nothing half is left
    assert models.get(OWNER, gguf)["path"] is None


@pytest.mark.parametrize("actor", [LEAD, REVIEWER])
def test_roles_that_only_read_change_nothing(
    workbench: Workbench, remote: str, actor: Actor
) -> None:
    models = workbench.models
    spec = WorkerSpec(remote, "Far", "endpoint", "remote")
    for act in (
        lambda: models.add(actor, "X", "endpoint", URL, revision="m"),
        lambda: models.set_key(actor, remote, "k"),
        lambda: models.set_address(actor, remote, "http://evil.example/v1"),
        lambda: models.archive(actor, remote),
        lambda: models.load(actor, spec),
        lambda: models.start(actor, spec),
        lambda: models.unload(actor, spec.key),
        lambda: models.calibrate(actor, remote),
        lambda: models.prepare(actor, remote),
        lambda: models.check(actor, remote),
        lambda: models.register_starter(actor),
    ):
        with pytest.raises(Forbidden):
            act()
    if actor is REVIEWER:
        with pytest.raises(Forbidden):
            models.list(actor)
    else:
        assert models.list(actor)


def test_the_settings_reach_the_spec(home: Path, tmp_path: Path) -> None:
    chosen = dataclasses.replace(
        Settings(home=home), threads=1, idle_unload_minutes=3.0, device="cpu"
    )
    with Workbench.open(chosen, background=False) as workbench:
        folder = folder_of(tmp_path / "model")
        model_id = workbench.models.add(OWNER, "Mine", "directory", str(folder))
        spec = workbench.models.resolve(OWNER, model_id, quantization="int8")
    assert (spec.threads, spec.idle_minutes, spec.device) == (1, 3.0, "cpu")
