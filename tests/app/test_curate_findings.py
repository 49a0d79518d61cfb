"""The Findings and Profile areas as people use them, over real analyses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from app import charts_profile, finding_steps, highlight
from app.curate_findings import as_listed
from app.finding_drawer import at_path
from app.text import about
from core.curation.findings import Finding, write_findings
from core.governance.permissions import Actor
from core.workbench import OWNER, Workbench
from tests.curation.test_analysis import ROWS, ended, folder, imported
from tests.pages_runner import Pages

Version = dict[str, Any]


@pytest.fixture
def version(workbench: Workbench) -> Version:
    return imported(workbench, ROWS)


@pytest.fixture
def looked_at(workbench: Workbench, version: Version) -> Version:
    """The version after one look at it, with what two others would find planted."""
    ended(workbench, workbench.curation.analyse(OWNER, version["id"], detectors=["exact"]))
    broken = Finding("encoding", "medium", "Broken.", (3,), "question", {"piece": "Ã©"})
    write_findings(folder(version) / "encoding.parquet", [broken])
    found = Finding(
        "label_error", "high", "Labelled “other”, but it reads like “bug”.", (3,), "topic",
        {"suggested": "bug"},
    )  # fmt: skip
    write_findings(folder(version) / "labels.parquet", [found])
    return version


@pytest.fixture
def profiled(workbench: Workbench, version: Version) -> Version:
    parts = ["profile", "signals"]
    options = {"signals": {"language": False}}
    job = workbench.curation.analyse(OWNER, version["id"], detectors=parts, options=options)
    ended(workbench, job)
    return version


def button(page: AppTest, label: str) -> Any:
    return next(found for found in page.button if found.label == label)


def texts(page: AppTest) -> str:
    return "\n".join(m.value for m in [*page.markdown, *page.caption])


def listed(page: AppTest) -> Any:
    return next(f.value for f in page.dataframe if "message" in f.value.columns)


def opened(pages: Pages, version: Version, at: int, **query: str) -> AppTest:
    """The page with the finding in that place open in the drawer."""
    page = pages.open("curate", version=version["id"], **query)
    assert not page.exception
    kind = query["kind"].lower().replace(" ", "_") if "kind" in query else None
    filters = {"kind": kind, "search": "", "severity": None, "include_decided": False}
    table = f"findings-{version['id']}-0-{sorted(filters.items())}"
    page.session_state[table] = {"selection": {"rows": [at], "columns": [], "cells": []}}
    page.run()
    assert not page.exception
    return page


def test_one_button_looks_for_everything_and_says_how_long(
    pages: Pages, workbench: Workbench, version: Version
) -> None:
    workbench.supervisor.stop()
    page = pages.open("curate", version=version["id"])
    assert not page.exception
    assert "about" in texts(page)
    button(page, "Look for faults in 5 rows").click().run()
    assert not page.exception
    page.run()
    (job,) = workbench.jobs.list(OWNER, kind="dataset.analyse")
    assert job["subject_id"] == version["id"]
    assert any(found.label == "Stop" for found in page.button)


def test_options_are_chosen_before_the_first_look_and_changed_after_it(
    pages: Pages, workbench: Workbench, version: Version
) -> None:
    page = pages.open("curate", version=version["id"])
    before = next(c.value for c in page.caption if c.value.startswith("With these it takes"))
    page.toggle(key=f"look-perplexity-{version['id']}").set_value(True).run()
    page.slider(key=f"look-near-{version['id']}").set_value(0.9).run()
    assert not page.exception
    after = next(c.value for c in page.caption if c.value.startswith("With these it takes"))
    assert before != after, "perplexity costs something"
    workbench.supervisor.stop()
    button(page, "Look for faults in 5 rows").click().run()
    (job,) = workbench.jobs.list(OWNER, kind="dataset.analyse")
    options = {"signals": {"perplexity": True}, "near": {"threshold": 0.9}}
    spec = workbench.curation._job_folder(job["id"]).spec()
    assert spec.payload["options"] == options


def test_another_threshold_is_looked_for_anew_and_nothing_else_is(
    pages: Pages, workbench: Workbench, version: Version
) -> None:
    asked = {"near": {"threshold": 0.9}}
    names = ["exact", "near"]
    ended(workbench, workbench.curation.analyse(OWNER, version["id"], detectors=names,
                                                options=asked))  # fmt: skip
    page = pages.open("curate", version=version["id"])
    assert not page.exception
    slider = page.slider(key=f"look-near-{version['id']}")
    assert slider.value == 0.9
    assert "The version was looked at with these." in texts(page)
    slider.set_value(0.75).run()
    assert "Looks again for: near duplicates." in texts(page)
    button(page, "Look again").click().run()
    assert not page.exception
    newest = workbench.jobs.list(OWNER, kind="dataset.analyse")[0]
    ended(workbench, newest["id"])
    parts = {p["name"]: p for p in workbench.curation.status(OWNER, version["id"])["parts"]}
    assert parts["near"]["options"] == {"threshold": 0.75}
    assert parts["exact"]["state"] == "done"
    assert not pages.open("curate", role="lead", version=version["id"]).slider


def test_the_tokenizers_of_registered_models_can_count(
    workbench: Workbench, version: Version, tmp_path: Path
) -> None:
    assert workbench.curation.tokenizers(OWNER) == []
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("tokenizer.json", "config.json"):
        (folder / name).write_text("{}")
    workbench.store.insert(
        "models",
        {"id": "mod_1", "name": "Mine", "kind": "chat", "source": "path", "location": str(folder),
         "path": str(folder), "details": "{}", "created_by": "me", "created_at": "2026-01-01"},
    )  # fmt: skip
    (found,) = workbench.curation.tokenizers(OWNER)
    assert found == {"model_id": "mod_1", "name": "Mine", "perplexity": True}
    cheap = workbench.curation.estimate(OWNER, version["id"], detectors=["signals"])
    dear = workbench.curation.estimate(
        OWNER, version["id"], detectors=["signals"], options={"signals": {"perplexity": True}}
    )
    assert dear["seconds"] > cheap["seconds"] + 10


def test_a_lead_reads_and_starts_nothing(
    pages: Pages, version: Version, looked_at: Version
) -> None:
    page = pages.open("curate", role="lead", version=looked_at["id"])
    assert not page.exception
    assert len(listed(page)) == 3
    assert not any("Look for" in found.label for found in page.button)


def test_findings_are_counted_and_listed_worst_first(pages: Pages, looked_at: Version) -> None:
    page = pages.open("curate", version=looked_at["id"])
    assert not page.exception
    assert next(m.value for m in page.metric if m.label == "Findings") == "3"
    kinds = list(listed(page)["kind"])
    assert kinds[0] == "Label error"
    assert set(kinds) == {"Label error", "Exact duplicate", "Encoding"}
    assert "Not looked for yet" in texts(page)
    only = pages.open("curate", version=looked_at["id"], kind="Exact duplicate")
    assert list(listed(only)["numbers"]) == ["1, 3"]
    nothing = pages.open("curate", version=looked_at["id"], said="zebra")
    assert "No finding matches" in nothing.info[0].value


def test_a_label_error_is_mended_by_a_step_on_the_recipe(
    pages: Pages, workbench: Workbench, looked_at: Version
) -> None:
    page = opened(pages, looked_at, 0)
    label = next(b for b in page.button if b.label.startswith("Label it"))
    label.click().run()
    assert not page.exception
    (pending,) = workbench.recipes.pending(admin(workbench), looked_at["id"])
    assert pending["step"]["step"] == "edit_cells"
    (cell,) = pending["step"]["cells"]
    assert (cell["column"], cell["value"], cell["before"]) == ("topic", "bug", "other")


def test_of_a_group_one_row_stays(pages: Pages, workbench: Workbench, looked_at: Version) -> None:
    page = opened(pages, looked_at, 0, kind="Exact duplicate")
    assert "Row 1" in texts(page)
    assert "Row 3" in texts(page)
    button(page, "Keep row 1, drop 1").click().run()
    assert not page.exception
    (pending,) = workbench.recipes.pending(admin(workbench), looked_at["id"])
    ids = [row["row_id"] for row in workbench.curation.rows_at(OWNER, looked_at["id"], [2])]
    assert pending["step"]["row_ids"] == ids


def test_the_arrows_lead_from_finding_to_finding(pages: Pages, looked_at: Version) -> None:
    page = opened(pages, looked_at, 0)
    assert "it reads like" in texts(page)
    button(page, "Next").click().run()
    assert not page.exception
    assert button(page, "Previous").disabled is False


def test_a_part_that_failed_says_why_and_can_be_tried_again(
    pages: Pages, workbench: Workbench, version: Version
) -> None:
    options = {"signals": {"perplexity_rows": -1}}
    parts = ["profile", "signals"]
    job = workbench.curation.analyse(OWNER, version["id"], detectors=parts, options=options)
    ended(workbench, job)
    page = pages.open("curate", version=version["id"], area="Profile")
    assert "perplexity\\_rows is a number of rows" in texts(page)
    workbench.supervisor.stop()
    button(page, "Try again").click().run()
    assert not page.exception
    assert workbench.jobs.list(OWNER, kind="dataset.analyse")[0]["id"] != job


def test_nothing_found_is_said(pages: Pages, workbench: Workbench) -> None:
    version = imported(workbench, [{"question": "One"}, {"question": "Two"}], "Clean")
    ended(workbench, workbench.curation.analyse(OWNER, version["id"], detectors=["exact"]))
    page = pages.open("curate", version=version["id"])
    assert "Nothing was found" in page.success[0].value


def test_the_profile_lists_columns_and_signals(pages: Pages, profiled: Version) -> None:
    page = pages.open("curate", version=profiled["id"], area="Profile")
    assert not page.exception
    columns, signals = (frame.value for frame in page.dataframe[:2])
    assert list(columns["name"]) == ["question", "answer", "topic"]
    assert {"Characters", "Reading ease", "Top 2-gram"} <= set(signals["label"])


def test_a_column_and_a_signal_open_in_the_drawer(pages: Pages, profiled: Version) -> None:
    page = pages.open("curate", version=profiled["id"], area="Profile")
    selection = {"selection": {"rows": [2], "columns": [], "cells": []}}
    page.session_state[f"profile-{profiled['id']}"] = selection
    page.run()
    assert not page.exception
    assert "How long the cells are" in texts(page)
    page.session_state[f"profile-{profiled['id']}"] = {
        "selection": {"rows": [], "columns": [], "cells": []}
    }
    page.session_state[f"signals-{profiled['id']}"] = selection
    page.run()
    assert not page.exception
    assert any("number" in frame.value.columns for frame in page.dataframe)


def test_before_a_profile_there_is_one_button(
    pages: Pages, workbench: Workbench, version: Version
) -> None:
    workbench.supervisor.stop()
    page = pages.open("curate", version=version["id"], area="Profile")
    button(page, "Profile 5 rows").click().run()
    assert not page.exception
    assert workbench.curation.status(OWNER, version["id"])["job"]["state"] == "queued"


def admin(workbench: Workbench) -> Actor:
    """Whom the pages are opened as."""
    row = next(u for u in workbench.users.list(OWNER) if u["name"] == "test-admin")
    return Actor(id=row["id"], name=row["name"], role="admin")


@given(st.text(max_size=30), st.lists(st.tuples(st.integers(-3, 40), st.integers(-3, 40))))
def test_marks_leave_every_character_of_the_text(value: str, places: list[tuple[int, int]]) -> None:
    import html
    import re

    shown = highlight.markup(value, places)
    inner = re.sub(r"<[^>]+>", "", shown)
    assert html.unescape(inner) == (value or "Empty")


def test_of_a_long_text_the_first_place_is_shown() -> None:
    value = "x" * 50_000 + "HERE" + "y" * 50_000
    shown = highlight.markup(value, [(50_000, 50_004)])
    assert ">HERE</mark>" in shown
    assert "49,400 characters before" in shown
    assert len(shown) < 6_000


def test_places_that_overlap_become_one() -> None:
    assert highlight.joined([(4, 8), (0, 2), (6, 10), (3, 3)], 9) == [(0, 2), (4, 9)]


def finding(kind: str, rows: int = 1, column: str | None = None, **detail: Any) -> dict[str, Any]:
    return {
        "id": "find_1", "kind": kind, "severity": "high", "message": "Why.",
        "rows": list(range(rows)), "row_count": rows, "column": column, "detail": detail,
    }  # fmt: skip


def acts(found: dict[str, Any], kind: str = "text", **given: Any) -> list[dict[str, Any]]:
    rows = [{"row_id": f"row_{n}", "row_index": n, "c": "old"} for n in found["rows"]]
    version = {"columns": [{"name": "c", "role": "input", "type": kind}]}
    return [act.step for act in finding_steps.acts(version, found, rows, **given)]


def test_a_group_is_never_dropped_whole() -> None:
    for kind in finding_steps.GROUPS:
        assert [step["step"] for step in acts(finding(kind, rows=3))] == ["tag"]
        drop = acts(finding(kind, rows=3), keep=1)[0]
        assert drop["row_ids"] == ["row_0", "row_2"]


def test_what_leaks_between_splits_is_dropped_on_one_side() -> None:
    found = finding("leakage", rows=3)
    rows = [{"row_id": f"row_{n}", "row_index": n, "split": s} for n, s in enumerate("aab")]
    version = {"columns": [{"name": "split", "role": "metadata", "type": "text"}]}
    steps = [act.step for act in finding_steps.acts(version, found, rows)]
    assert [step.get("row_ids") for step in steps[:2]] == [["row_0", "row_1"], ["row_2"]]


def test_each_kind_has_the_steps_that_mend_it() -> None:
    def steps(found: dict[str, Any]) -> list[str]:
        return [step["step"] for step in acts(found)]

    assert steps(finding("encoding", column="c", repaired="new")) == [
        "repair_encoding", "edit_cells", "drop_rows", "tag"
    ]  # fmt: skip
    redact = acts(finding("personal_data", column="c", type="EMAIL"))[0]
    assert redact == {"step": "redact", "columns": ["c"], "types": ["EMAIL"]}
    assert steps(finding("outlier")) == ["drop_rows", "tag"]


@pytest.mark.parametrize(
    ("suggested", "kind", "value"),
    [("3", "integer", 3), ("x", "integer", None), ("0.5", "number", 0.5), ("True", "boolean", True),
     ("maybe", "boolean", None), ("bug", "text", "bug")],
)  # fmt: skip
def test_a_suggested_label_has_the_column_s_type(suggested: str, kind: str, value: Any) -> None:
    assert finding_steps.fitting(suggested, kind) == value
    found = acts(finding("label_error", column="c", suggested=suggested), kind)
    assert (found[0]["step"] == "edit_cells") is (value is not None)


def test_a_path_leads_into_nested_values() -> None:
    value = {"messages": [{"content": "hello"}]}
    assert at_path(value, ["messages", 0, "content"]) == "hello"
    assert at_path(value, ["nope"]) == value


def test_row_numbers_on_pages_begin_at_one() -> None:
    assert as_listed(finding("secret", rows=5))["numbers"] == "1, 2, 3 +2"


def test_durations_are_rough() -> None:
    assert [about(s) for s in (0.4, 12, 100, 7_200)] == [
        "about 5 s", "about 15 s", "about 2 min", "about 2.0 h"
    ]  # fmt: skip


def test_a_histogram_says_what_each_bar_holds() -> None:
    spread = {"of": "value", "edges": [0.0, 1.0, 2.0], "counts": [5, 2], "open": True}
    assert charts_profile.bin_labels(spread) == ["0 to 1.00", "1.00 and more"]
    figure = charts_profile.histogram(spread, unit="x", theme="dark", limit=1.5)
    assert list(figure.data[0].y) == [5, 2]
    assert len(figure.layout.shapes) == 1
    bars = charts_profile.top_values(
        [{"value": "<b>", "count": 3}, {"value": "", "count": 1}], total=4, theme="light"
    )
    assert list(bars.data[0].x) == [3, 1]
    assert bars.layout.yaxis.ticktext == ("&lt;b>", "(empty)")
