"""The Versions tab as people use it: two beside each other, tags, the way back, lineage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from app import charts_versions, dataset_diff
from app.dataset_lineage import link
from core.curation.findings import findings_folder
from core.store.database import Row
from core.store.files import write_json
from core.workbench import OWNER, Workbench
from tests.pages_runner import Pages

Versions = tuple[Row, Row]


def load(workbench: Workbench, rows: list[dict[str, Any]], message: str, **more: str) -> Row:
    roles = {"question": "input", "answer": "expected", **more}
    return workbench.datasets.import_rows(
        OWNER, name="Questions", filename="questions.jsonl", message=message,
        data="".join(json.dumps(row) + "\n" for row in rows).encode(), mapping=roles,
    )  # fmt: skip


@pytest.fixture
def versions(workbench: Workbench) -> Versions:
    """60 rows; then one answer and one question edited, two rows added, one gone, a column new."""
    rows: list[dict[str, Any]] = [
        {"question": f"What is {n} plus {n}?", "answer": str(2 * n)} for n in range(60)
    ]
    first = load(workbench, rows, "As they came")
    later = [{**row, "topic": "sums"} for row in rows]
    later[3]["answer"] = "six"
    later[7]["question"] = "What, please, is 7 plus 7?"
    del later[20]
    later[30:30] = [{"question": f"Name a colour of {n}", "answer": "red", "topic": "art"}
                    for n in ("apples", "roofs")]  # fmt: skip
    return first, load(workbench, later, "Corrected", topic="metadata")


def opened(pages: Pages, one: Row, **query: str) -> AppTest:
    page = pages.open("datasets", dataset=one["dataset_id"], view="Versions", **query)
    assert not page.exception
    return page


def button(page: AppTest, label: str) -> Any:
    return next(found for found in page.button if found.label == label)


def texts(page: AppTest) -> str:
    return "\n".join(m.value for m in [*page.markdown, *page.caption])


def html(page: AppTest) -> str:
    return "\n".join(found.proto.body for found in page.get("html"))


def test_the_newest_is_compared_with_the_one_before(pages: Pages, versions: Versions) -> None:
    page = opened(pages, versions[1])
    assert "**From v1 to v2:** 2 rows added, 1 removed, 2 changed." in texts(page)
    assert {m.label: m.value for m in page.metric} == {
        "Added": "2", "Removed": "1", "Changed": "2", "The same": "57",
    }  # fmt: skip
    columns = page.dataframe[1].value
    assert list(columns["name"]) == ["question", "answer", "topic"]
    assert "New column" in columns["state"].iloc[2]
    assert "input edited" in texts(page)
    assert "<del style" in html(page)
    assert ">six</ins>" in html(page)


def test_kinds_of_rows_are_links(pages: Pages, versions: Versions) -> None:
    added = opened(pages, versions[1], diff_rows="Added")
    assert "of 2 added rows" in texts(added)
    assert list(added.dataframe[2].value["question"]) == [
        "Name a colour of apples", "Name a colour of roofs",
    ]  # fmt: skip
    removed = opened(pages, versions[1], diff_rows="Removed")
    assert list(removed.dataframe[2].value["_number"]) == [21]
    answers = opened(pages, versions[1], diff_column="answer")
    assert "1 changed row" in texts(answers)


def test_an_older_version_and_what_it_is_compared_with_are_links(
    pages: Pages, versions: Versions
) -> None:
    page = opened(pages, versions[1], version=versions[0]["id"])
    assert "### v1" in texts(page)
    assert "**From v1 to v2:**" in texts(page)  # always from the older to the newer
    again = opened(
        pages, versions[1], version=versions[1]["id"], against=versions[0]["id"], part="Drift"
    )
    assert "**From v1 to v2:** no column drifted." in texts(again)
    stale = opened(pages, versions[1], version="dsversion_gone", against="dsversion_gone")
    assert "### v2" in texts(stale)


def test_a_rollback_says_what_it_does_and_makes_a_version(
    pages: Pages, workbench: Workbench, versions: Versions
) -> None:
    page = opened(pages, versions[1], version=versions[0]["id"])
    assert "This makes **v3** with the 60 rows of v1" in texts(page)
    page.text_input(key=f"rollback-{versions[0]['id']}").input("Answers were right").run()
    button(page, "Make v3 from v1").click().run()
    assert not page.exception
    newest = workbench.datasets.versions(OWNER, versions[0]["dataset_id"])[0]
    assert (newest["number"], newest["message"]) == (3, "Answers were right")
    assert page.query_params["version"] == newest["id"]
    assert "### v3" in texts(page)
    assert not [b for b in page.button if "from v3" in b.label and "Make" in b.label]


def test_tags_are_set_moved_and_removed(
    pages: Pages, workbench: Workbench, versions: Versions
) -> None:
    workbench.versions.tag(OWNER, versions[0]["id"], "approved")
    page = opened(pages, versions[1])
    page.selectbox(key=f"tag-of-{versions[1]['id']}").select("approved").run()
    button(page, "Move approved from v1 to v2").click().run()
    assert not page.exception
    assert workbench.datasets.find(OWNER, "Questions@approved")["number"] == 2
    assert ":material/sell: approved" in texts(page)
    button(page, "Remove approved from v2").click().run()
    assert workbench.datasets.versions(OWNER, versions[0]["dataset_id"])[0]["tags"] == []


def test_a_single_version_says_what_will_stand_here(pages: Pages, workbench: Workbench) -> None:
    page = opened(pages, load(workbench, [{"question": "a", "answer": "b"}], ""))
    assert "the only version" in page.info[0].value
    lineage = opened(pages, workbench.datasets.find(OWNER, "Questions"), part="Lineage")
    assert lineage.get("plotly_chart")


def test_lineage_is_a_figure_and_a_table(
    pages: Pages, workbench: Workbench, versions: Versions
) -> None:
    workbench.store.insert(
        "runs",
        {"id": "run_1", "name": "Nightly", "dataset_version_id": versions[1]["id"],
         "dataset_label": "", "row_count": 61, "scorers": "[]", "plan": "{}",
         "created_by": "me", "created_at": "2026-01-01"},
    )  # fmt: skip
    page = opened(pages, versions[1], part="Lineage")
    table = page.dataframe[1].value
    assert ("v2", "used by", "Nightly") in set(
        zip(table["from"], table["how"], table["to"], strict=True)
    )
    assert "/compare?run=run_1" in set(table["link"])


def test_drift_shows_the_distribution_of_the_worst_column(
    pages: Pages, workbench: Workbench, versions: Versions
) -> None:
    rows = [{"question": f"Say {'very ' * 20}much about {n}", "answer": "x"} for n in range(60)]
    load(workbench, rows, "Something else")
    page = opened(pages, versions[0], part="Drift")
    assert "**From v2 to v3:** 2 columns drifted" in texts(page)
    assert page.dataframe[1].value["name"].iloc[0] == "question"
    assert "How many characters have the texts of question?" in texts(page)
    newest = workbench.datasets.versions(OWNER, versions[0]["dataset_id"])[0]
    assert f"[v3](/curate?version={newest['id']}&area=Explore)" in texts(page)
    embed(versions[1], 0.0)
    embed(newest, 2.0)
    workbench.store.revision += 1
    page = opened(pages, versions[0], part="Drift")
    assert not page.exception
    assert "the rows mean something else" in texts(page)
    assert "embedded by mini" in texts(page)


def embed(version: Row, shift: float) -> None:
    """Files of a map as core.curation.atlas writes them."""
    import numpy as np

    folder = findings_folder(Path(version["path"]))
    folder.mkdir(parents=True)
    size = (version["row_count"], 8)
    np.save(folder / "vectors.npy", np.random.default_rng(1).normal(shift, size=size))
    write_json(folder / "map.json", {"row_count": size[0], "model": "/models/mini"})


def test_a_lead_compares_and_changes_nothing(pages: Pages, versions: Versions) -> None:
    page = pages.open("datasets", role="lead", dataset=versions[0]["dataset_id"],
                      view="Versions", version=versions[0]["id"])  # fmt: skip
    assert not page.exception
    assert {found.label for found in page.button} == {"Datasets"}
    assert "rows added" in texts(page)


def test_a_file_that_is_gone_is_an_error_in_words(pages: Pages, versions: Versions) -> None:
    import os

    os.unlink(versions[0]["path"])
    page = opened(pages, versions[1])
    assert "is missing" in page.error[0].value


def test_a_long_cell_is_cut_before_its_first_difference() -> None:
    old, new = "a" * 50_000 + "old" + "b" * 10_000, "a" * 50_000 + "new" + "b" * 10_000
    before, after, said = dataset_diff.around(old, new)
    assert len(before) == len(after) == dataset_diff.MOST_SHOWN
    assert ("old" in before, "new" in after) == (True, True)
    assert said == "after 49,700 characters that are the same, 6,303 more not shown"
    assert dataset_diff.around("short", "other") == ("short", "other", "")
    assert dataset_diff.around("x" * 5_000, "")[0] == "x" * 4_000


@settings(deadline=None)
@given(st.text(max_size=30), st.text(max_size=30))
def test_an_exchange_keeps_no_word(old: str, new: str) -> None:
    if dataset_diff._is_exchange(old, new):
        assert old.strip()
        assert not set(old.lower().split()) & set(new.lower().split())
    assert dataset_diff._is_exchange("bug", "billing")
    assert not dataset_diff._is_exchange("a bug", "a feature")


def test_what_changed_reads_as_a_sentence() -> None:
    def told(added: int, removed: int, changed: int) -> str:
        return dataset_diff.told(
            {"counts": {"added": added, "removed": removed, "changed": changed, "same": 1}}
        )

    assert told(1, 0, 0) == "1 row added"
    assert told(1200, 1, 3) == "1,200 rows added, 1 removed, 3 changed"
    assert told(0, 0, 0) == "Every row is the same"


def nodes(count: int) -> dict[str, list[Row]]:
    versions = [
        {"id": f"v{n}", "kind": "version", "title": f"v{n}", "detail": "3 rows", "at": None,
         "tags": ["<b>"] if n == 1 else [], "message": ""}
        for n in range(1, count + 1)
    ]  # fmt: skip
    runs = [
        {"id": f"r{n}", "kind": "run", "title": f"Run <{n}>", "detail": "", "at": None}
        for n in range(5)
    ]
    source = {"id": "s", "kind": "source", "title": "a.csv", "detail": "", "at": None}
    edges = [{"from": "s", "to": "v1", "kind": "imported", "title": "import"}]
    edges += [{"from": f"v{n}", "to": f"v{n + 1}", "kind": "derived", "title": "2 steps"}
              for n in range(1, count)]  # fmt: skip
    edges += [{"from": f"v{count}", "to": f"r{n}", "kind": "used", "title": ""} for n in range(5)]
    edges += [{"from": "v1", "to": f"v{count}", "kind": "restored", "title": "rolled back"}]
    return {"nodes": [source, *versions, *runs], "edges": edges}


@pytest.mark.parametrize("count", [2, 5, 40])
def test_the_figure_shows_the_last_versions_and_escapes_names(count: int) -> None:
    figure = charts_versions.lineage(nodes(count), selected="v2", theme="dark")
    points = {trace.marker.symbol: trace for trace in figure.data if trace.mode == "markers+text"}
    assert len(points["circle"].x) == min(count, charts_versions.MOST_VERSIONS)
    assert len(points["triangle-up"].x) == charts_versions.MOST_USES
    assert ("square" in points) == (count <= charts_versions.MOST_VERSIONS)
    labels = [*points["circle"].text, *points["triangle-up"].text]
    assert not [label for label in labels if "<b>" in label or "Run <" in label]
    assert points["circle"].customdata[-1][0] == f"v{count}"


def test_a_node_leads_to_its_page() -> None:
    dataset = {"id": "d"}
    assert link(dataset, {"kind": "version", "id": "v"}) == (
        "/datasets?dataset=d&version=v&view=Versions"
    )
    assert link(dataset, {"kind": "run", "id": "r"}) == "/compare?run=r"
    assert link(dataset, {"kind": "source", "id": "s"}) is None
