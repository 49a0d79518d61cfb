"""Embeddings by the real MiniLM: right, made once, whatever happens to the cache."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core.curation import embeddings
from core.curation.embeddings import Cache, embedded, embedding_model_path, key_of, model_identity
from core.curation.tools import Tools
from core.errors import ModelUnavailable
from core.settings import PROJECT_ROOT

TEXTS = ["Where is my order?", "A much longer text " * 30, "", "Where is my order?", "中文 👍"]


@pytest.fixture
def tools(starter_home: Path, tmp_path: Path) -> Tools:
    return Tools(cache=tmp_path / "cache", embedding_model=embedding_model_path(starter_home))


def files_of(tools: Tools) -> list[Path]:
    return sorted((tools.cache / "embeddings").glob("*.sqlite"))


def refuse_to_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(folder: Path) -> None:
        raise AssertionError("a text was embedded again")

    monkeypatch.setattr(embeddings, "loaded", nobody)


@pytest.mark.starter
def test_vectors_are_those_of_sentence_transformers_in_the_order_of_the_texts(tools: Tools) -> None:
    found = embedded(tools, TEXTS)
    assert tools.embedding_model is not None
    model = embeddings.loaded(tools.embedding_model)
    expected = model.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert embedded(tools, []).shape == (0, 0)


@pytest.mark.starter
def test_a_text_is_embedded_once_ever(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    first = embedded(tools, TEXTS)
    refuse_to_compute(monkeypatch)
    np.testing.assert_array_equal(embedded(tools, TEXTS[::-1]), first[::-1])
    with pytest.raises(AssertionError):
        embedded(tools, ["a new one"])


@pytest.mark.starter
def test_a_text_of_megabytes_is_cut_at_the_models_window(tools: Tools) -> None:
    long = "word " * 1_000_000
    vectors = embedded(tools, [long, "word " * 5_000])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-5)


@pytest.mark.starter
def test_what_is_damaged_in_the_cache_is_made_again(tools: Tools) -> None:
    first = embedded(tools, TEXTS)
    (path,) = files_of(tools)
    with sqlite3.connect(path) as connection:
        broken = bytes(len(first[0].tobytes()))
        connection.execute(
            "UPDATE vectors SET vector = ? WHERE key = ?", (broken, key_of(TEXTS[0]))
        )
        connection.execute("UPDATE vectors SET vector = 'text' WHERE key = ?", (key_of(TEXTS[1]),))
    connection.close()
    np.testing.assert_allclose(embedded(tools, TEXTS), first, atol=1e-5)
    path.write_bytes(b"this is no database" * 1_000)
    np.testing.assert_allclose(embedded(tools, TEXTS), first, atol=1e-5)
    np.testing.assert_allclose(embedded(tools, TEXTS), first, atol=1e-5)
    assert len(dict.fromkeys(TEXTS)) == len(all_keys(path))


def all_keys(path: Path) -> list[bytes]:
    connection = sqlite3.connect(path)
    try:
        return [row[0] for row in connection.execute("SELECT key FROM vectors")]
    finally:
        connection.close()


@pytest.mark.starter
def test_without_a_cache_that_can_be_written_the_vectors_are_made_all_the_same(
    tools: Tools,
) -> None:
    tools.cache.mkdir(parents=True)
    (tools.cache / "embeddings").write_text("a file where the folder should be")
    assert embedded(tools, TEXTS).shape == (len(TEXTS), 384)


@pytest.mark.starter
def test_stopping_keeps_what_was_made(
    tools: Tools, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Stop(Exception):
        pass

    calls = []

    def stop_at_the_second() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise Stop

    monkeypatch.setattr(embeddings, "CHUNK", 2)
    stopping = Tools(tools.cache, tools.embedding_model, check=stop_at_the_second)
    with pytest.raises(Stop):
        embedded(stopping, [f"text {number}" for number in range(6)])
    (path,) = files_of(tools)
    assert len(all_keys(path)) == 2


def write_many(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    cache = Cache(path)
    for _ in range(20):
        vector = rng.normal(size=8).astype(np.float32)
        cache.write([(key_of(f"{seed}-{at}"), vector + at) for at in range(20)])


def test_several_processes_write_and_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    code = "import sys, pathlib; from tests.curation.test_embeddings import write_many; "
    code += "write_many(pathlib.Path(sys.argv[1]), int(sys.argv[2]))"
    workers = [
        subprocess.Popen([sys.executable, "-c", code, str(path), str(seed)], cwd=PROJECT_ROOT)
        for seed in range(3)
    ]
    assert [worker.wait(90) for worker in workers] == [0, 0, 0]
    keys = [key_of(f"{seed}-{at}") for seed in range(3) for at in range(20)]
    found = [key for part, _ in Cache(path).read(keys) for key in part]
    assert sorted(found) == sorted(keys)


@pytest.mark.starter
def test_another_model_has_other_vectors(starter_home: Path, tmp_path: Path) -> None:
    import shutil

    folder = embedding_model_path(starter_home)
    assert folder is not None
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    assert model_identity(folder) == model_identity(other)  # content counts, not the place
    config = other / "sentence_bert_config.json"
    config.write_text(config.read_text().replace("256", "128"))
    assert model_identity(folder) != model_identity(other)


def test_without_a_model_it_says_how_to_get_one(tmp_path: Path) -> None:
    assert embedding_model_path(tmp_path) is None
    with pytest.raises(ModelUnavailable) as caught:
        embedded(Tools(cache=tmp_path), ["a"])
    assert caught.value.hint is not None
    assert "make setup" in caught.value.hint
