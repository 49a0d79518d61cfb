"""An adapter as a column like any other: runs, exports through a job, llama.cpp, command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli import main
from core.errors import Invalid
from core.evals.variants import Variant
from core.generation import Generation
from core.governance.permissions import OWNER
from core.models.client import stream
from core.workbench import Workbench
from tests.models.test_service import wait_for
from tests.models.tiny import save_tiny_adapter, save_tiny_model

ASKED = [{"role": "user", "content": "fox dog fox"}]


@pytest.fixture
def pair(workbench: Workbench, tmp_path: Path) -> tuple[str, str]:
    """The ids of a tiny base and of an adapter over it, whose answers differ."""
    folder = save_tiny_model(tmp_path / "tiny")
    base = workbench.models.add(OWNER, "Tiny", "directory", str(folder))
    adapter = save_tiny_adapter(tmp_path / "adapter", folder)
    return base, workbench.models.add(OWNER, "Tuned", "adapter", str(adapter), base=base)


def ended(workbench: Workbench, job_id: str) -> str:
    done = ("succeeded", "failed", "cancelled")
    wait_for(lambda: workbench.jobs.get(OWNER, job_id)["state"] in done, 200)
    return str(workbench.jobs.get(OWNER, job_id)["state"])


@pytest.mark.slow
def test_base_and_adapter_are_two_variants_of_a_run(
    workbench: Workbench, pair: tuple[str, str]
) -> None:
    prompt = workbench.prompts.create(OWNER, "p")
    prompt_version = workbench.prompts.save_version(
        OWNER, prompt, system_template="", user_template="{{text}}",
        generation=Generation(max_tokens=12),
    )  # fmt: skip
    rows = b'{"text": "fox dog", "label": "a"}\n{"text": "lazy", "label": "b"}\n'
    version = workbench.datasets.import_rows(
        OWNER, name="d", filename="r.jsonl", data=rows,
        mapping={"text": "input", "label": "expected"},
    )  # fmt: skip
    variants = [
        Variant(prompt_version["id"], model_id, name=name)
        for name, model_id in zip(("base", "adapter"), pair, strict=True)
    ]
    run_id = workbench.runs.create(OWNER, "r", version["id"], variants)
    wait_for(lambda: workbench.runs.get(OWNER, run_id)["state"] == "succeeded", 200)
    workbench.ingest.drain()
    for row in workbench.runs.grid(OWNER, run_id)["rows"]:
        base, adapter = (cell["output"] for cell in row["cells"].values())
        assert base
        assert adapter
        assert base != adapter
    for state in workbench.models.states(OWNER):
        workbench.models.unload(OWNER, state["key"])


@pytest.mark.slow
def test_after_a_gguf_export_llama_cpp_is_a_choice(
    workbench: Workbench, pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    _, adapter = pair
    with pytest.raises(Invalid, match="Export it as GGUF first"):
        workbench.models.resolve(OWNER, adapter, engine="llama.cpp")
    job_id = workbench.finetunes.export(OWNER, adapter, "gguf")
    assert ended(workbench, job_id) == "succeeded", workbench.jobs.log(OWNER, job_id)
    (made,) = workbench.finetunes.exports(OWNER, adapter)
    row = workbench.models.get(OWNER, adapter)
    assert (made["kind"], made["path"]) == ("gguf", row["gguf_path"])
    assert row["details"]["gguf_type"] == "F16"
    assert row["details"]["gguf_bytes"] > 0
    texts = []
    for engine in ("llama.cpp", "transformers"):
        spec = workbench.models.resolve(OWNER, adapter, engine=engine)
        endpoint = workbench.models.load(OWNER, spec)
        texts.append(stream(endpoint, ASKED, Generation(max_tokens=8)).text)
        workbench.models.unload(OWNER, spec.key)
    assert texts[0] == texts[1]
    again = workbench.finetunes.export(OWNER, adapter, "gguf")
    assert ended(workbench, again) == "succeeded", "there already: nothing to do"


def test_the_command_line_adds_and_lists_adapters(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATHE_HOME", str(home))
    base = save_tiny_model(tmp_path / "tiny")
    adapter = save_tiny_adapter(tmp_path / "tuned", base)

    def lathe(*words: str) -> str:
        done = CliRunner().invoke(main, ["models", *words])
        return done.output + (done.stderr or "")

    lathe("add", str(base), "--name", "Tiny")
    assert "Say which model the adapter was trained on" in lathe("add", str(adapter))
    assert lathe("add", str(adapter), "--base", "Tiny").startswith("tuned (")
    heading, *lines = lathe("list").splitlines()
    assert "BASE" in heading
    (line,) = [line for line in lines if "tuned" in line]
    assert "adapter" in line
    assert "Tiny" in line
