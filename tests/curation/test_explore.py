"""The map, search and neighbours of a version, by the real embedding model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core.curation.atlas import clusters_of, keywords, lay_out, write_map
from core.curation.embeddings import embedding_model_path
from core.curation.findings import findings_folder
from core.curation.tools import Tools
from core.datasets.table import Table
from core.errors import Invalid, NotFound
from core.settings import PROJECT_ROOT, Settings
from core.store.database import Row
from core.workbench import OWNER, Workbench

TOPICS = {
    "billing": "My invoice number {n} shows a wrong amount, please correct the payment",
    "crash": "The app crashes with error {n} whenever I open the settings screen",
    "delivery": "Parcel {n} has not arrived, the courier says it was delivered",
}


def imported(workbench: Workbench, count: int) -> Row:
    lines = ["text,topic"]
    for number in range(count):
        for topic, text in TOPICS.items():
            lines.append(f'"{text.format(n=number)}",{topic}')
    return workbench.datasets.import_rows(
        OWNER,
        name="Topics",
        filename="topics.csv",
        data="\n".join(lines).encode(),
        mapping={"text": "input", "topic": "expected"},
    )


def three_clouds(count: int) -> np.ndarray:
    chance = np.random.default_rng(1)
    centres = np.eye(3, 16, dtype=np.float32)
    vectors = centres[np.arange(count) % 3] + chance.normal(0, 0.05, (count, 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_few_rows_are_laid_out_without_clusters() -> None:
    for count in (0, 1, 2, 3, 20):
        points = lay_out(three_clouds(count))
        assert points.shape == (count, 2)
        assert np.isfinite(points).all()
        assert (clusters_of(points) == -1).all()


def test_a_class_is_named_by_the_words_that_tell_it_apart() -> None:
    found = keywords([["red apple pie", "red apple"], ["red car engine", "car"]], count=1)
    assert found == [["apple"], ["car"]]
    assert keywords([["12 34"], ["!!"]]) == [[], []]
    assert keywords([]) == []


@pytest.mark.starter
@pytest.mark.slow
def test_a_version_is_laid_out_searched_and_asked(starter_home: Path) -> None:
    with Workbench.open(Settings(home=starter_home), background=False) as workbench:
        workbench.models.register_starter(OWNER)
        version = imported(workbench, 20)
        explore, folder = workbench.explore, findings_folder(Path(version["path"]))
        assert explore.map(OWNER, version["id"]) is None
        before = explore.search(OWNER, version["id"], "invoice")
        assert before["note"].startswith("By words only: make the map")
        assert len(before["rows"]) == 20
        with pytest.raises(NotFound, match="no vectors"):
            explore.neighbours(OWNER, version["id"], 0)

        tools = Tools(
            cache=starter_home / "cache", embedding_model=embedding_model_path(starter_home)
        )
        assert write_map(Table.of(version), folder, tools) == 3
        first = (folder / "points.parquet").read_bytes()
        write_map(Table.of(version), folder, tools)
        assert (folder / "points.parquet").read_bytes() == first, "the same rows, another map"

        drawn = explore.map(OWNER, version["id"], colour="topic")
        by_cluster: dict[int, set[str]] = {}
        for cluster, topic in zip(drawn["cluster"], drawn["colour"], strict=True):
            by_cluster.setdefault(cluster, set()).add(topic)
        assert all(len(topics) == 1 for cluster, topics in by_cluster.items() if cluster >= 0)
        titles = " ".join(cluster["title"] for cluster in drawn["clusters"])
        assert {"invoice", "parcel"} & set(titles.replace(",", "").split())

        found = explore.search(OWNER, version["id"], "lost package")
        assert found["note"] is None
        assert {row["topic"] for row in found["rows"][:5]} == {"delivery"}
        assert found["rows"][0]["_by"] == "meaning"
        alike = explore.neighbours(OWNER, version["id"], 0, limit=5)
        assert {row["topic"] for row in alike} == {"billing"}
        assert alike[0]["_similarity"] > 0.7
        with pytest.raises(NotFound, match="no row 99"):
            explore.neighbours(OWNER, version["id"], 99)

        assert set(explore.tables(OWNER, version["id"])) == {"rows", "map"}
        counted = explore.query(
            OWNER,
            version["id"],
            "SELECT topic, count(DISTINCT cluster) AS n FROM rows JOIN map USING (row_index)"
            " WHERE cluster >= 0 GROUP BY ALL ORDER BY topic",
        )
        assert [row["n"] for row in counted["rows"]] == [1, 1, 1]
        with pytest.raises(Invalid, match="colour"):
            explore.map(OWNER, version["id"], colour="colour")
        workbench.models.unload(OWNER, workbench.models.states(OWNER)[0]["key"])


@pytest.mark.starter
def test_a_preview_embeds_in_the_models_process_and_not_in_this_one(starter_home: Path) -> None:
    code = """
import sys
from core.settings import Settings
from core.workbench import OWNER, Workbench
rows = ["What is the capital of France?", "Where is my order?", "Which city is France's capital?"]
with Workbench.open(Settings(home=__import__("pathlib").Path(sys.argv[1])), background=False) as w:
    version = w.datasets.import_rows(OWNER, name="Q", filename="q.csv", mapping={"q": "input"},
                                     data=("q\\n" + "\\n".join(rows)).encode())
    step = {"step": "deduplicate", "kind": "semantic", "keep": "longest", "threshold": 0.7}
    try:
        print(w.recipes.preview(OWNER, version["id"], [step])["steps"][0]["removed"])
        print([name for name in ("torch", "sentence_transformers") if name in sys.modules])
    finally:
        for state in w.models.states(OWNER):
            w.models.unload(OWNER, state["key"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(starter_home)],
        cwd=PROJECT_ROOT, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["1", "[]"], done.stderr
