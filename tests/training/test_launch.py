"""launch/: files that the launchers read, and folders that really train in several processes."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from core.training.launch import write_launch
from core.training.script import ray_job
from core.training.script.faults import Failure
from core.training.script.world import refuse_lone_process
from tests.models.tiny import save_tiny_model
from tests.training.folders import events, result, run_folder, sft_rows, weights
from tests.training.preference_rows import pairs

ACCELERATE = Path(sys.executable).parent / "accelerate"


@pytest.fixture
def launch(tmp_path: Path) -> Path:
    write_launch(tmp_path)
    return tmp_path / "launch"


def test_accelerate_reads_every_file_and_finds_no_key_it_does_not_know(launch: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    kinds = {
        path.name: str(load_config_from_file(str(path)).distributed_type.value)
        for path in launch.glob("*.yaml")
    }
    assert kinds == {
        "ddp.yaml": "MULTI_GPU",
        "fsdp.yaml": "FSDP",
        "deepspeed.yaml": "DEEPSPEED",
        "deepspeed_zero3.yaml": "DEEPSPEED",
    }


def test_accelerate_makes_a_full_shard_of_layers_from_the_fsdp_file(
    launch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accelerate.utils import FullyShardedDataParallelPlugin

    asked = yaml.safe_load((launch / "fsdp.yaml").read_text())["fsdp_config"]
    for name, value in asked.items():
        monkeypatch.setenv(name.upper(), str(value))
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward is True
    assert "transformer_auto_wrap_policy" in str(plugin.auto_wrap_policy)
    assert str(plugin.state_dict_type).endswith("FULL_STATE_DICT")


@pytest.mark.parametrize(("file", "stage"), [("deepspeed", 2), ("deepspeed_zero3", 3)])
def test_the_deepspeed_file_is_found_from_the_folder_and_leaves_sizes_to_the_script(
    launch: Path, file: str, stage: int
) -> None:
    from accelerate.utils.deepspeed import HfDeepSpeedConfig

    named = yaml.safe_load((launch / f"{file}.yaml").read_text())["deepspeed_config"]
    config = HfDeepSpeedConfig(str(launch.parent / named["deepspeed_config_file"]))
    assert config.is_zero3() is (stage == 3)
    assert config.get_value("train_micro_batch_size_per_gpu") == "auto"
    assert config.get_value("gradient_accumulation_steps") == "auto"


def test_the_readme_names_every_file_and_every_yaml_is_named_in_a_command(launch: Path) -> None:
    readme = (launch / "README.md").read_text()
    for path in launch.iterdir():
        if path.name != "README.md" and path.suffix != ".json":
            assert f"launch/{path.name}" in readme, path.name


def test_writing_it_twice_changes_nothing(launch: Path) -> None:
    before = {path.name: path.read_bytes() for path in launch.iterdir()}
    write_launch(launch.parent)
    assert {path.name: path.read_bytes() for path in launch.iterdir()} == before


def test_accelerate_with_cpu_and_two_processes_is_refused(tmp_path: Path) -> None:
    """The launcher itself, and the environment that it really sets."""
    script = tmp_path / "show.py"
    script.write_text("import json, os\nprint('ENV' + json.dumps(dict(os.environ)))\n")
    done = subprocess.run(
        [str(ACCELERATE), "launch", "--cpu", "--num_processes", "2", str(script)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("ENV")]
    assert len(lines) == 1, "accelerate starts several now: the guard can go"
    with pytest.raises(Failure, match="single process") as refused:
        refuse_lone_process(json.loads(lines[0][3:]))
    assert "launch/ddp.yaml" in refused.value.hint


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"MASTER_PORT": "29500"},
        {"ACCELERATE_USE_CPU": "True"},
        {"ACCELERATE_USE_CPU": "True", "MASTER_PORT": "1", "OMPI_COMM_WORLD_SIZE": "2"},
        {"ACCELERATE_USE_CPU": "False", "MASTER_PORT": "1", "LOCAL_RANK": "0"},
    ],
)
def test_other_ways_of_starting_are_not_refused(environ: dict[str, str]) -> None:
    refuse_lone_process(environ)


def ran_folder(path: Path) -> Path:
    """A folder as it is after a training, with one checkpoint that is not complete."""
    for name in ("adapter", "checkpoints/checkpoint-5", "checkpoints/checkpoint-9"):
        (path / name).mkdir(parents=True)
        (path / name / "adapter_model.safetensors").write_bytes(b"weights")
    (path / "checkpoints/checkpoint-5/complete.json").write_text("{}")
    (path / "events.ndjson").write_text('{"kind":"end"}\n')
    (path / "result.json").write_text('{"state":"succeeded"}')
    return path


def test_what_is_brought_back_is_whole_and_replaces_what_was_there(tmp_path: Path) -> None:
    copy, home = ran_folder(tmp_path / "copy"), tmp_path / "home"
    (home / "adapter").mkdir(parents=True)
    (home / "adapter" / "old").touch()
    ray_job.bring_back(copy, home)
    found = {str(p.relative_to(home)) for p in home.rglob("*") if p.is_file()}
    assert found == {
        "adapter/adapter_model.safetensors",
        "checkpoints/checkpoint-5/adapter_model.safetensors",
        "checkpoints/checkpoint-5/complete.json",
        "events.ndjson",
        "result.json",
    }


def test_a_folder_of_another_submission_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "launch").mkdir()
    (tmp_path / ray_job.MARK_FILE).write_text("theirs")
    monkeypatch.setenv(ray_job.HOME, str(tmp_path))
    monkeypatch.setenv(ray_job.MARK, "ours")
    assert ray_job._home() is None
    (tmp_path / ray_job.MARK_FILE).write_text("ours")
    assert ray_job._home() == tmp_path


def test_a_folder_in_use_is_not_sent(tmp_path: Path) -> None:
    import fcntl

    with (tmp_path / "lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert ray_job.main(["--folder", str(tmp_path)]) == ray_job.LOCKED


# folders that really train


SMALL = {"rank": 4, "alpha": 8, "batch_size": 8, "epochs": 1.0, "threads": 1, "sample_count": 0}
NOTHING_OF_LATHE = """
import importlib.abc, runpy, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in ("core", "app", "pages", "tests"):
            raise ImportError("the folder reached for " + name)

sys.meta_path.insert(0, Refuse())
sys.path.insert(0, "")
runpy.run_path("train.py", run_name="__main__")
"""


def environment(**changes: str) -> dict[str, str]:
    """What a shell has that knows nothing of this project."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "OMP_NUM_THREADS": "1", **changes}


def run(folder: Path, *command: str, timeout: float = 240, **env: str) -> str:
    """Run a command in the folder; what it printed. AssertionError where it fails."""
    done = subprocess.run(
        command, cwd=folder, env=environment(**env), capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def a_folder(path: Path, base: Path, **params: Any) -> Path:
    """A run folder with its launch files."""
    method = params.get("method", "sft")
    rows, held_out = (sft_rows(48), sft_rows(6, start=48))
    if method == "dpo":
        rows, held_out = pairs(48), pairs(8, seed=1)
    folder = run_folder(path, base=base, rows=rows, held_out=held_out, **{**SMALL, **params})
    write_launch(folder)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("launch") / "base")


@pytest.fixture(scope="module")
def alone(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained by one process in which nothing of Lathe can be imported."""
    folder = a_folder(tmp_path_factory.mktemp("alone") / "run", base)
    run(folder, sys.executable, "-P", "-E", "-s", "-c", NOTHING_OF_LATHE)
    return folder


@pytest.mark.slow
def test_a_folder_trains_by_hand_where_nothing_of_lathe_can_be_imported(alone: Path) -> None:
    assert result(alone)["state"] == "succeeded"
    assert events(alone, "start")[0]["world_size"] == 1
    assert (alone / "adapter" / "adapter_model.safetensors").is_file()
    for path in (alone / "lathe_train").glob("*.py"):
        assert "from core" not in path.read_text(encoding="utf-8")


@pytest.mark.slow
def test_torchrun_trains_in_two_processes_as_one_does_with_the_batch_twice_as_large(
    base: Path, alone: Path, tmp_path: Path
) -> None:
    """Losses agree to 1e-4 of their size, weights to 1e-4: sums are added in another order."""
    import torch

    folder = a_folder(tmp_path / "two", base, batch_size=4)
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    run(folder, sys.executable, *torchrun, "train.py")
    assert [event["world_size"] for event in events(folder, "start")] == [2]
    mine, theirs = (events(path, "step") for path in (folder, alone))
    assert [step["step"] for step in mine] == [step["step"] for step in theirs] == [*range(1, 7)]
    for one, other in zip(mine, theirs, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)
        assert one["tokens"] == other["tokens"]
    evals = [[e["loss"] for e in events(path, "eval")] for path in (folder, alone)]
    assert evals[0] == pytest.approx(evals[1], rel=1e-4)
    left, right = weights(folder / "adapter"), weights(alone / "adapter")
    for name, tensor in left.items():
        torch.testing.assert_close(tensor, right[name], rtol=0, atol=1e-4, msg=name)


@pytest.mark.slow
def test_accelerate_launch_trains_preferences_in_two_processes(base: Path, tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "two", base, method="dpo", batch_size=4, learning_rate=5e-3)
    run(folder, str(ACCELERATE), "launch", "--config_file", "launch/ddp.yaml", "train.py")
    assert [event["world_size"] for event in events(folder, "start")] == [2]
    assert len(events(folder, "step")) == 6
    assert events(folder, "eval")[-1]["margin"] > 0.1
    assert result(folder)["state"] == "succeeded"
    assert len(list((folder / "adapter").glob("*.safetensors"))) == 1


@pytest.fixture(scope="module")
def ray_address() -> Iterator[tuple[str, dict[str, str]]]:
    """A Ray head of one machine on loopback, that asks for a token; and the token's variables."""
    port, dashboard = free_port(), free_port()
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as short:
        head = subprocess.Popen(
            [
                str(ACCELERATE.with_name("ray")), "start", "--head", "--block",
                "--node-ip-address=127.0.0.1", f"--port={port}", "--num-cpus=2",
                "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}",
                "--disable-usage-stats", f"--temp-dir={short}", "--object-store-memory=100000000",
            ],
            env=environment(RAY_USAGE_STATS_ENABLED="0", **token),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            wait_for_jobs(f"http://127.0.0.1:{dashboard}", token, head)
            yield f"http://127.0.0.1:{dashboard}", token
        finally:
            end_tree(head)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_jobs(address: str, token: dict[str, str], head: subprocess.Popen[bytes]) -> None:
    """Until the Jobs API answers."""
    headers = {"Authorization": f"Bearer {token['RAY_AUTH_TOKEN']}"}
    for _ in range(240):
        assert head.poll() is None, "ray has ended"
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{address}/api/jobs/", headers=headers).status_code == 200:
                return
        time.sleep(0.5)
    raise AssertionError("ray's Jobs API does not answer")


def end_tree(head: subprocess.Popen[bytes]) -> None:
    """End the head and all that it started, no other Ray on this machine."""
    started = [*psutil.Process(head.pid).children(recursive=True), psutil.Process(head.pid)]
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    for process in psutil.wait_procs(started, timeout=5)[1]:
        process.kill()
    head.wait(timeout=10)


@pytest.mark.slow
def test_a_ray_cluster_trains_the_folder_and_the_adapter_comes_back(
    base: Path, alone: Path, tmp_path: Path, ray_address: tuple[str, dict[str, str]]
) -> None:
    import torch

    address, token = ray_address
    folder = a_folder(tmp_path / "sent", base)
    said = run(folder, sys.executable, "launch/ray_job.py", "--address", address, **token)
    assert "step 6/6" in said
    assert result(folder)["state"] == "succeeded"
    assert not (folder / ray_job.MARK_FILE).exists()
    left, right = weights(folder / "adapter"), weights(alone / "adapter")
    for name, tensor in left.items():
        torch.testing.assert_close(tensor, right[name], rtol=0, atol=1e-6, msg=name)
