"""launch/: files that the launchers read, and folders that really train in several processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from core.training.launch import write_launch
from core.training.script import ray_job
from core.training.script.faults import Failure
from core.training.script.world import refuse_lone_process

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
