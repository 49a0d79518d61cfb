"""Erasure of a person: every place is looked through and cleared, and nothing else changes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.waiting import until_done
from core.curation.embeddings import Cache, key_of
from core.curation.findings import Finding, findings_folder, write_findings
from core.curation.pseudonyms import Book, writing
from core.datasets.files import Column
from core.datasets.snapshots import content_hash_of
from core.erasure.tables import PLAIN, TEXTS
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.governance.permissions import Actor
from core.monitoring.traces import Trace
from core.settings import Settings
from core.store.database import Row
from core.workbench import OWNER, Workbench
from tests.evals.conftest import World, open_world

EMAIL = "zelda.quince@example.org"
NAME = "Zelda Quince"
ROWS = [
    {"text": f"Write to {EMAIL} please", "label": "billing"},
    {"text": "ticket 1", "label": "bug"},
    {"text": "ticket 2", "label": "account"},
    {"text": f"It was {NAME.upper()} who called", "label": "bug"},
    {"text": "Not Zelda Quincey", "label": "bug"},
]


@pytest.fixture
def world(settings: Settings) -> Iterator[World]:
    with open_world(settings) as made:
        yield made


def imported(workbench: Workbench, rows: list[dict[str, Any]] = ROWS, name: str = "Mail") -> Row:
    return workbench.datasets.import_rows(
        OWNER,
        name=name,
        filename="rows.jsonl",
        data="\n".join(map(json.dumps, rows)).encode(),
        mapping={"text": "input", "label": "expected"},
    )


def texts(workbench: Workbench, version_id: str) -> list[str]:
    return [row["text"] for row in workbench.datasets.page(OWNER, version_id)]


def places(workbench: Workbench, identifier: str) -> dict[str, int]:
    found = workbench.erasure.find(OWNER, identifier)
    return {place["place"]: place["count"] for place in found["places"]}


def test_a_row_goes_from_every_version_and_the_others_keep_their_ids(workbench: Workbench) -> None:
    first = imported(workbench)
    second = imported(workbench, ROWS[:4])
    other = imported(workbench, ROWS[:1], "Archived")
    workbench.datasets.archive(OWNER, other["dataset_id"])
    ids = [row["row_id"] for row in workbench.datasets.page(OWNER, first["id"])]
    assert places(workbench, EMAIL) == {"Dataset rows": 3}
    made = workbench.erasure.erase(OWNER, EMAIL, "asked by letter")
    assert made["found"] == {"Dataset rows": 3}
    assert made["verification"]["found"] == {}
    assert made["verification"]["raw_files"] == []
    after = workbench.datasets.version(OWNER, first["id"])
    assert (after["number"], after["row_count"]) == (1, 4)
    page = workbench.datasets.page(OWNER, first["id"])
    assert [row["row_id"] for row in page] == ids[1:]
    assert [row["row_index"] for row in page] == [0, 1, 2, 3]
    assert after["report"]["erased"][0]["rows"] == 1
    columns = [Column(**column) for column in after["columns"]]
    assert content_hash_of(Path(after["path"]), columns) == (after["content_hash"], 4)
    manifest = json.loads(Path(after["path"]).with_suffix(".json").read_text())
    assert manifest["content_hash"] == after["content_hash"]
    assert not Path(first["path"]).exists()
    assert not Path(first["path"]).with_suffix(".json").exists()
    assert texts(workbench, second["id"]) == [row["text"] for row in ROWS[1:4]]
    assert workbench.datasets.version(OWNER, other["id"])["row_count"] == 0


def test_names_are_whole_words_in_any_case_and_versions_that_become_equal_share_a_file(
    workbench: Workbench,
) -> None:
    first = imported(workbench, ROWS[1:])
    second = imported(workbench, [ROWS[1], ROWS[2], ROWS[4]])
    workbench.erasure.erase(OWNER, NAME)
    one, two = (workbench.datasets.version(OWNER, row["id"]) for row in (first, second))
    assert one["content_hash"] == two["content_hash"] == second["content_hash"]
    assert texts(workbench, first["id"])[-1] == "Not Zelda Quincey"


def test_what_lies_beside_a_version_goes_with_its_rows(workbench: Workbench) -> None:
    version = imported(workbench)
    other = imported(workbench, ROWS[1:3], "Clean")
    folder = findings_folder(Path(version["path"]))
    write_findings(folder / "personal.parquet", [Finding("personal_data", "high", "an address",
                                                         (0,), "text")])  # fmt: skip
    leak = findings_folder(Path(other["path"])) / "leakage.parquet"
    write_findings(leak, [Finding("leakage", "high", f"Also in Mail: {EMAIL}", (0,))])
    workbench.versions.diff(OWNER, version["id"], other["id"])
    export = workbench.exports.write(OWNER, version["id"], format="parquet")
    kept = workbench.exports.write(OWNER, other["id"])
    cache = Cache(workbench.settings.home / "cache" / "embeddings" / "model.sqlite")
    import numpy as np

    keys = [key_of(row["text"]) for row in ROWS[:2]]
    cache.write([(key, np.ones(3, np.float32)) for key in keys])
    log = workbench.settings.home / "workers" / "abc" / "output.log"
    log.parent.mkdir(parents=True)
    log.write_text(f"prompt: {EMAIL}\n")
    assert places(workbench, EMAIL) == {
        "Dataset rows": 1, "Exports": 1, "Findings and comparisons": 1,
        "Logs and other files": 1,
    }  # fmt: skip
    workbench.erasure.erase(OWNER, EMAIL)
    assert not folder.exists()
    assert not leak.exists()
    assert not list((workbench.settings.home / "datasets").glob("*/*.diffs/*"))
    assert not Path(export["folder"]).exists()
    assert Path(kept["folder"]).exists()
    assert [key for found, _ in cache.read(keys) for key in found] == keys[1:]
    assert log.read_text() == ""


def test_runs_and_traces_lose_their_texts_and_stay_readable(world: World) -> None:
    version_id = world.import_rows(ROWS)
    run_id = world.start(world.variant(), world.variant(1, default="b"), version_id=version_id)
    before = world.finish(run_id)
    world.workbench.traces.record(
        OWNER,
        Trace(started_at=datetime.now(UTC).replace(tzinfo=None), source="playground",
              messages=[{"role": "user", "content": f"Who is\n{NAME}?"}], output="A person"),
    )  # fmt: skip
    found = places(world.workbench, NAME)
    assert found["Dataset rows"] == 1
    assert found["Run results"] == 2  # one of each variant
    assert found["Traces"] == 3
    assert found["Jobs"] == 1
    job_id = world.job_id(run_id)
    made = world.workbench.erasure.erase(OWNER, NAME)
    assert made["verification"]["found"] == {}
    assert made["verification"]["raw_files"] == []
    after = world.runs.summary(OWNER, run_id)
    figures = [("result_count", "passed_count", "e2e_p50_ms")]
    for one, two in zip(before["variants"], after["variants"], strict=True):
        assert [one[name] for name in figures[0]] == [two[name] for name in figures[0]]
    results = world.results(run_id)
    echoed = [row["output"] for row in results if row["row_index"] == 0]
    assert f"Write to {EMAIL} please" in echoed
    erased = [row for row in results if row["row_index"] == 4]
    assert {row["output"] for row in erased} == {"[erased]"}  # the row's own, both variants
    assert {row["expected"] for row in erased} == {"[erased]"}
    exported = world.runs.export(OWNER, run_id, "jsonl").decode().splitlines()
    inputs = {json.loads(line)["row_index"]: json.loads(line)["input"] for line in exported}
    assert inputs[3] == "Not Zelda Quincey"
    assert inputs[4] is None
    assert not (world.home / "jobs" / job_id).exists()
    assert world.workbench.jobs.get(OWNER, job_id)["state"] == "succeeded"
    again = world.start(world.variant(default="c"), version_id=version_id)
    assert world.finish(again)["variants"][0]["result_count"] == 4


def test_prompts_drafts_recipes_reviews_and_the_audit_log(workbench: Workbench) -> None:
    version = imported(workbench, name=f"Mail of {NAME}")
    prompt_id = workbench.prompts.create(OWNER, f"Mail to {NAME}")
    saved = workbench.prompts.save_version(
        OWNER, prompt_id, system_template=f"You are {NAME}.", user_template="{{text}}"
    )
    workbench.drafts.put(OWNER, "playground", {"user": f'say "hi" to\n{NAME}'})
    row = workbench.datasets.page(OWNER, version["id"])[3]
    workbench.recipes.add(OWNER, version["id"], {
        "step": "edit_cells",
        "cells": [{"row_id": row["row_id"], "column": "text", "before": row["text"],
                   "value": f"{NAME} called"}],
    })  # fmt: skip
    with writing(workbench.settings.home) as book:
        assert book.name("person", NAME) == "person_0001"
        book.name("person", "Someone Else")
    found = places(workbench, NAME)
    assert found["Prompts"] == 2
    assert found["Drafts and pending recipes"] == 2
    assert found["Pseudonyms"] == 1
    assert found["Names, descriptions and cards"] == 1
    assert found["Audit log"] >= 2
    lines = len(workbench.audit.list(OWNER))
    made = workbench.erasure.erase(OWNER, NAME, f"{NAME} wrote to us")
    assert made["verification"]["found"] == {}
    assert made["verification"]["raw_files"] == []
    assert made["reason"] == "[erased] wrote to us"
    assert made["versions"][0]["label"] == "Mail of [erased] v1"
    assert workbench.prompts.get(OWNER, prompt_id)["name"] == "Mail to [erased]"
    after = workbench.prompts.version(OWNER, saved["id"])
    assert after["system_template"] == "You are [erased]."
    same = workbench.prompts.save_version(
        OWNER, prompt_id, system_template="You are [erased].", user_template="{{text}}"
    )
    assert same["is_new"] is False
    assert workbench.drafts.get(OWNER, "playground") == {"user": 'say "hi" to\n[erased]'}
    (step,) = json.loads(
        workbench.store.rows("SELECT steps FROM pending_recipes ORDER BY number DESC")[0]["steps"]
    )
    assert step["cells"][0] == {
        "row_id": row["row_id"], "column": "text", "before": "[erased]", "value": "[erased]",
    }  # fmt: skip
    assert Book(workbench.settings.home).people() == ["Someone Else"]
    assert len(workbench.audit.list(OWNER)) == lines + 1
    assert NAME not in json.dumps(workbench.audit.list(OWNER), default=str)


def waiting(workbench: Workbench, path: Path, rows: list[dict[str, Any]]) -> str:
    """The job of an import into Mail that waits to be accepted."""
    path.write_text("\n".join(map(json.dumps, rows)))
    mapping: dict[str, Any] = {"text": "input", "label": "expected"}
    job_id = workbench.datasets.start_import(OWNER, path, dataset="Mail", mapping=mapping)
    until_done(workbench, job_id)
    assert workbench.datasets.import_outcome(OWNER, job_id)["staged"]["diff"]
    return job_id


def test_imports_that_wait_go_with_a_person_or_lose_a_comparison_that_holds_no_more(
    settings: Settings, tmp_path: Path
) -> None:
    with Workbench.open(settings) as workbench:
        version = imported(workbench, ROWS[:3])
        clean = waiting(workbench, tmp_path / "clean.jsonl", [ROWS[2], ROWS[4]])
        holds = waiting(workbench, tmp_path / "holds.jsonl", [ROWS[0], ROWS[4]])
        folder = Path(version["path"]).parent
        assert len(list(folder.glob(".differs-*"))) == 4
        made = workbench.erasure.erase(OWNER, EMAIL)
        assert made["found"]["Imports that wait"] == 1
        assert made["verification"]["found"] == {}
        assert list(folder.glob(".differs-*")) == []
        (staged,) = workbench.datasets.staged(OWNER, version["dataset_id"])
        assert (staged["job_id"], staged["diff"]) == (clean, None)
        assert workbench.datasets.staged_rows(OWNER, clean) == []
        with pytest.raises(NotFound):
            workbench.datasets.accept(OWNER, holds)
        assert workbench.datasets.accept(OWNER, clean)["row_count"] == 2


def test_a_dataset_that_is_deleted_leaves_nothing_that_waits(
    settings: Settings, tmp_path: Path
) -> None:
    with Workbench.open(settings) as workbench:
        version = imported(workbench, ROWS[:3])
        waiting(workbench, tmp_path / "more.jsonl", ROWS)
        workbench.erasure.delete_dataset(OWNER, version["dataset_id"])
        assert list(Path(version["path"]).parent.glob(".*")) == []


def test_a_phone_number_is_found_however_it_is_written(workbench: Workbench) -> None:
    rows = [{"text": text, "label": "x"} for text in (
        "call +49 (30) 123-4567 now", "call 49301234567", "call 4930123456789", "call 30 123",
    )]  # fmt: skip
    version = imported(workbench, rows)
    workbench.erasure.erase(OWNER, "+49 30 1234567")
    assert texts(workbench, version["id"]) == ["call 4930123456789", "call 30 123"]


def test_a_job_that_runs_stands_in_the_way(world: World) -> None:
    version_id = world.import_rows(ROWS)
    run_id = world.start(world.variant(default="slow", delay_ms=2_000), version_id=version_id)
    found = world.workbench.erasure.find(OWNER, EMAIL)
    assert [job["id"] for job in found["running"]] == [world.job_id(run_id)]
    with pytest.raises(Conflict, match="a run"):
        world.workbench.erasure.erase(OWNER, EMAIL)
    assert places(world.workbench, EMAIL)["Dataset rows"] == 1
    world.workbench.jobs.cancel(OWNER, world.job_id(run_id))


def test_only_an_admin_may_and_a_short_identifier_is_refused(workbench: Workbench) -> None:
    for role in ("engineer", "lead", "reviewer"):
        with pytest.raises(Forbidden):
            workbench.erasure.find(Actor("u", "U", role), NAME)
        with pytest.raises(Forbidden):
            workbench.erasure.erase(Actor("u", "U", role), NAME)
    for text in ("", "Al", "  .. ", "x" * 201, "erased"):
        with pytest.raises(Invalid):
            workbench.erasure.find(OWNER, text)


def test_certificates_name_nobody_and_are_listed(workbench: Workbench) -> None:
    imported(workbench)
    made = workbench.erasure.erase(OWNER, EMAIL, "a letter")
    again = workbench.erasure.erase(OWNER, EMAIL.upper())
    assert again["found"] == {}
    assert again["identifier_hash"] == made["identifier_hash"]
    listed = workbench.erasure.certificates(OWNER)
    assert [row["id"] for row in listed] == [again["id"], made["id"]]
    shown = workbench.erasure.certificate(OWNER, made["id"])
    assert "| Dataset rows | 1 |" in shown["markdown"]
    assert "nothing was found" in shown["markdown"]
    assert EMAIL not in json.dumps(shown)
    folder = workbench.settings.home / "certificates"
    assert len(list(folder.iterdir())) == 4  # two of each form, none pending
    assert (folder / f"{made['id']}.json").stat().st_mode & 0o077 == 0
    for gone in ("certificate_none", ".pending-x"):
        with pytest.raises(NotFound):
            workbench.erasure.certificate(OWNER, gone)


def test_a_dataset_whose_time_is_over_is_deleted_and_its_runs_stay(world: World) -> None:
    version_id = world.import_rows(ROWS)
    run_id = world.start(world.variant(default="bug"), version_id=version_id)
    before = world.finish(run_id)
    version = world.workbench.datasets.version(OWNER, version_id)
    made = world.workbench.erasure.delete_dataset(OWNER, version["dataset_id"], "time is over")
    assert made["found"] == {"Dataset rows": 5}
    assert made["verification"]["found"] == {}
    assert "Certificate of deletion" in world.workbench.erasure.certificate(OWNER, made["id"])[
        "markdown"
    ]  # fmt: skip
    assert not Path(version["path"]).exists()
    assert world.workbench.datasets.get(OWNER, version["dataset_id"])["archived_at"] is not None
    kept = world.workbench.datasets.version(OWNER, version_id)
    assert (kept["row_count"], kept["report"]["deleted"]["certificate"]) == (5, made["id"])
    after = world.runs.summary(OWNER, run_id)
    assert after["variants"][0]["passed_count"] == before["variants"][0]["passed_count"] == 3
    assert {row["input_preview"] for row in world.results(run_id)} == {"[erased]"}
    assert places(world.workbench, EMAIL) == {}
    with pytest.raises(Forbidden):
        world.workbench.erasure.delete_dataset(Actor("u", "U", "engineer"), version["dataset_id"])


def test_every_text_column_of_the_schema_is_looked_through_or_named_as_plain(
    workbench: Workbench,
) -> None:
    """A table of a later version that holds text cannot be forgotten here."""
    columns = workbench.store.rows(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal"
        " AND (data_type IN ('VARCHAR', 'JSON') OR data_type LIKE 'VARCHAR%')"
        " AND table_name NOT IN (SELECT view_name FROM duckdb_views())"
    )
    unknown = []
    for row in columns:
        table, name = row["table_name"], row["column_name"]
        texts, plain = TEXTS.get(table, ("", ()))[1], PLAIN.get(table, ())
        if plain is not None and name not in texts and name not in plain:
            unknown.append(f"{table}.{name}")
    assert unknown == []


def test_a_name_on_two_lines_of_a_log_goes_with_both(world: World) -> None:
    log = world.workbench.settings.home / "old.csv"
    log.write_text("one\ncalled by Zelda\nQuince, twice\nfour\n", encoding="utf-8")
    made = world.workbench.erasure.erase(OWNER, NAME)
    assert log.read_text(encoding="utf-8") == "one\nfour\n"
    assert made["verification"]["found"] == {}


def test_no_job_begins_while_a_person_is_erased(world: World) -> None:
    """A job that is queued in the middle of it waits for its end, and then runs."""
    bench = world.workbench
    with bench.datasets._making():
        job_id = bench.jobs.start(OWNER, "selftest", "Reads", {"steps": 1})
        stepping = threading.Thread(target=bench.supervisor.step)
        stepping.start()
        stepping.join(30)
        time.sleep(1.2)  # two rounds of the supervisor's own thread, where there is one
        assert bench.jobs.get(OWNER, job_id)["state"] == "queued"
        assert bench.erasure.find(OWNER, NAME)["total"] == 0  # others may read
    until_done(bench, job_id)
    assert bench.jobs.get(OWNER, job_id)["state"] == "succeeded"


def test_a_column_named_as_rows_are_is_no_row(world: World) -> None:
    """The mapping of the import stands in the recipe: its keys are whatever a file calls them."""
    bench = world.workbench
    bench.datasets.import_rows(
        OWNER,
        name="Odd",
        filename="rows.jsonl",
        data=json.dumps({"row_id": "r1", "text": f"Write to {EMAIL}"}).encode(),
        mapping={"row_id": {"role": "metadata", "name": "id"}, "text": "input"},
    )
    assert bench.erasure.erase(OWNER, EMAIL)["verification"]["found"] == {}
