"""Exports: every format says the same, and no spreadsheet runs what a model wrote."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.datasets.values import escape_formula, unescape_formula
from core.errors import Invalid
from core.evals.export import COLUMNS, write
from core.workbench import OWNER
from tests.evals.conftest import World


def row(**changes: Any) -> dict[str, Any]:
    return {
        "run_id": "r",
        "row_index": 0,
        "row_id": "row_1",
        "output": "billing",
        "passed": True,
        "created_at": datetime(2026, 1, 2),
        "scores": {"label": {"value": 1.0, "passed": True}},
        **changes,
    }


def read_csv(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))


@given(st.text(max_size=40))
def test_no_cell_begins_as_a_formula(text: str) -> None:
    cell = escape_formula(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "＝"))
    assert cell in (text, "'" + text)
    assert unescape_formula(cell) == text


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", '=HYPERLINK("http://x","y")', "＝1"]
)
def test_a_formula_in_an_answer_is_defused_in_csv_and_kept_elsewhere(text: str) -> None:
    [found] = read_csv(write(iter([row(output=text)]), ["label"], "csv"))
    assert found["output"] == "'" + text
    [kept] = [
        json.loads(line) for line in write(iter([row(output=text)]), [], "jsonl").splitlines()
    ]
    assert kept["output"] == text


def test_numbers_stay_numbers_and_a_scorer_cannot_be_a_formula_either() -> None:
    found = read_csv(write(iter([row(e2e_ms=-1.5)]), ["=cmd"], "csv"))
    assert found[0]["e2e_ms"] == "-1.5"
    assert "score:=cmd" in found[0], "the prefix defuses it"


# What csv cannot hold is a lone carriage return's difference from a line end: left out here.
answers = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\x00"), max_size=40
)


@given(st.lists(answers, max_size=5))
def test_all_formats_hold_the_same_answers(outputs: list[str]) -> None:
    rows = [row(row_index=i, output=output) for i, output in enumerate(outputs)]
    as_csv = read_csv(write(iter(rows), ["label"], "csv"))
    as_json = [json.loads(line) for line in write(iter(rows), ["label"], "jsonl").splitlines()]
    table = pq.read_table(io.BytesIO(write(iter(rows), ["label"], "parquet")))
    assert [r["output"] for r in as_json] == outputs
    assert table.column("output").to_pylist() == outputs
    assert [r["output"] for r in as_csv] == [escape_formula(output) for output in outputs]
    assert table.column_names == [*COLUMNS, "score:label", "passed:label"]


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(Invalid, match="no export as 'xlsx'"):
        write(iter([]), [], "xlsx")


def test_a_run_is_exported_in_order_with_whole_inputs_and_scores(world: World) -> None:
    long = "=SUM(1) " + "word " * 300
    version_id = world.import_rows(
        [{"text": long, "label": "a"}, {"text": "short", "label": "short"}], name="long"
    )
    run_id = world.start(
        world.variant(0, name="one"), world.variant(1, name="two"), version_id=version_id
    )
    world.finish(run_id)
    found = read_csv(world.runs.export(OWNER, run_id, "csv"))
    assert [(r["row_index"], r["variant"]) for r in found] == [
        ("0", "one"), ("0", "two"), ("1", "one"), ("1", "two"),
    ]  # fmt: skip
    assert found[0]["input"] == "'" + long
    assert (found[2]["passed"], found[2]["score:label"], found[3]["passed:label"]) == (
        "true", "1.0", "false",
    )  # fmt: skip
    assert found[0]["prompt"] == "plain v1"
    table = pq.read_table(io.BytesIO(world.runs.export(OWNER, run_id, "parquet")))
    assert table.num_rows == 4
