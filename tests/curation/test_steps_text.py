"""What each step that changes text does to cells, and what its report counts."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.curation.asking import Asking
from core.curation.replay import replay
from core.curation.tools import Tools
from core.errors import Invalid
from core.models.pool import WorkerPool
from core.models.spec import WorkerSpec
from tests.curation.replaying import cells, do, rows_of


def test_trim_takes_white_space_off_both_ends() -> None:
    rows = rows_of([{"a": "  x\t"}, {"a": "y"}, {"a": None}, {"a": "\u00a0z\n"}])
    report = do(rows, "trim", columns=["a"])
    assert cells(rows, "a") == ["x", "y", None, "z"]
    assert report.changed == 2
    assert report.examples[0] == {
        "row_id": "r0", "row_index": 0, "column": "a", "before": "  x\t", "after": "x",
    }  # fmt: skip


def test_normalise_counts_each_rule() -> None:
    rows = rows_of([{"a": "e\u0301"}, {"a": "one\r\ntwo"}, {"a": "a  b"}, {"a": "zero\u200bwidth"}])
    report = do(rows, "normalise", columns=["a"])
    assert cells(rows, "a") == ["é", "one\ntwo", "a b", "zerowidth"]
    assert report.counts == {"NFC": 1, "line ends": 1, "white space": 1, "invisible characters": 1}


def test_normalise_leaves_emoji_together() -> None:
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    rows = rows_of([{"a": family}])
    assert do(rows, "normalise", columns=["a"]).changed == 0


@given(st.text())
def test_normalise_twice_is_normalise_once(text: str) -> None:
    rows = rows_of([{"a": text.replace("\0", "")}])
    do(rows, "normalise", columns=["a"])
    once = cells(rows, "a")
    assert unicodedata.is_normalized("NFC", once[0]) or "\u0338" in text
    do(rows, "normalise", columns=["a"])
    assert cells(rows, "a") == once


def test_repair_encoding_mends_mojibake_and_leaves_the_rest() -> None:
    rows = rows_of([{"a": "cafÃ©"}, {"a": "café"}, {"a": "plain"}])
    assert do(rows, "repair_encoding", columns=["a"]).changed == 1
    assert cells(rows, "a") == ["café", "café", "plain"]


def test_replace_counts_each_rule_and_keeps_the_order() -> None:
    rows = rows_of([{"a": "colour and colour"}, {"a": "Color 42"}, {"a": "$1.50"}])
    report = do(
        rows, "replace", columns=["a"],
        rules=[
            {"pattern": "colour", "with": "color"},
            {"pattern": r"(?P<n>\d+)", "with": r"<\g<n>>", "regex": True, "name": "numbers"},
            {"pattern": "COLOR", "with": "hue", "ignore_case": True},
        ],
    )  # fmt: skip
    assert cells(rows, "a") == ["hue and hue", "hue <42>", "$<1>.<50>"]
    assert report.counts == {"colour": 2, "numbers": 3, "COLOR": 3}
    assert report.changed == 3


def test_a_literal_replacement_is_not_a_template() -> None:
    rows = rows_of([{"a": "x.y"}])
    do(rows, "replace", columns=["a"], rules=[{"pattern": ".", "with": r"\1"}])
    assert cells(rows, "a") == [r"x\1y"]


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"pattern": "(", "regex": True}, "rules.0.pattern"),
        ({"pattern": "(a)", "with": r"\2", "regex": True}, "rules.0.with"),
        ({"pattern": ""}, "rules.0.pattern"),
        ({"pattern": "a", "with": 3}, "rules.0.with"),
        ({"pattern": "a", "by": "b"}, "rules.0.by"),
    ],
)
def test_a_rule_that_cannot_work_is_named(rule: dict[str, object], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        do(rows_of([{"a": "x"}]), "replace", columns=["a"], rules=[rule])
    assert caught.value.field == f"steps.0.{field}"


def test_a_pattern_that_would_take_for_ever_is_stopped() -> None:
    rows = rows_of([{"a": "a" * 40 + "!"}])
    with pytest.raises(Invalid, match="takes more than 1 s") as caught:
        do(rows, "replace", columns=["a"],
           rules=[{"pattern": r"(a|aa|a.)+(b|c)\1$", "regex": True}])  # fmt: skip
    assert caught.value.field == "steps.0.rules.0.pattern"


def test_template_writes_a_new_column_and_counts_what_lacks_a_value() -> None:
    rows = rows_of([{"q": "One?", "a": "1"}, {"q": "Two?", "a": None}])
    report = do(rows, "template", column="both", template="Q: {{q}} A: {{a}}")
    assert cells(rows, "both") == ["Q: One? A: 1", None]
    assert report.changed == 1
    assert report.counts == {"lacks a value": 1}
    assert rows.columns[-1].role == "metadata"


def test_template_refuses_columns_that_are_not_there() -> None:
    with pytest.raises(Invalid, match="'z', which is no column") as caught:
        do(rows_of([{"q": "x"}]), "template", column="n", template="{{z}}")
    assert caught.value.field == "steps.0.template"
    with pytest.raises(Invalid) as caught:
        do(rows_of([{"q": "x"}]), "template", column="row_id", template="{{q}}")
    assert caught.value.field == "steps.0.column"


def test_strings_in_nested_values_are_changed_one_by_one() -> None:
    chat = [{"role": "user", "content": "  hi  "}]
    rows = rows_of([{"m": chat}, {"m": [{"role": "user", "content": "hi"}]}], {"m": "json"})
    assert do(rows, "trim", columns=["m"]).changed == 1
    assert json.loads(cells(rows, "m")[0]) == [{"role": "user", "content": "hi"}]


def test_case_and_a_column_that_is_no_text() -> None:
    rows = rows_of([{"a": "heLLO World", "n": 1}], {"a": "text", "n": "integer"})
    do(rows, "case", columns=["a"], to="sentence")
    assert cells(rows, "a") == ["Hello world"]
    with pytest.raises(Invalid, match="holds integer, not text"):
        do(rows, "case", columns=["n"], to="lower")


def test_a_column_goes_through_a_prompt_and_nothing_is_asked_twice(tmp_path: Path) -> None:
    """On a real worker of the scripted engine."""
    home = tmp_path / "home"
    home.mkdir()
    script = json.dumps({"replies": {"One": "first", "Two": "second"}})
    spec = WorkerSpec("m1", "tiny", "scripted", "fp32", script=script)
    tools = Tools(cache=tmp_path / "cache", answer=Asking(home, {"tiny": spec.to_dict()}))
    step = {"step": "prompt", "column": "topic", "model": "tiny", "prompt": "About: {{q}}"}
    values = [{"q": "One?"}, {"q": "One?"}, {"q": None}, {"q": "Two?"}]
    try:
        rows = rows_of(values)
        report = replay(rows, [step], tools)[0]
        assert report.counts == {"asked": 2, "lacks a value": 1}
        assert cells(rows, "topic") == ["first", "first", None, "second"]
        again = rows_of(values)
        assert replay(again, [step], tools)[0].counts == {"known already": 3, "lacks a value": 1}
        assert cells(again, "topic") == cells(rows, "topic")
        with pytest.raises(Invalid, match="'other' is not at hand"):
            replay(rows_of(values), [{**step, "model": "other"}], tools)
    finally:
        WorkerPool(home).stop_all()
