"""Scorers: what passes, what does not, and what a person is told."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from core.evals.patterns import LIMIT_S
from core.evals.scorers import (
    KINDS,
    Answer,
    EmbeddingSimilarity,
    Verdict,
    parse,
    parse_all,
    to_dict,
)
from core.evals.text import normalise, parse_json

texts = st.text(max_size=60)


def score(
    kind: str, output: str, expected: str | None = None, *, e2e_ms: float = 10.0, **options: Any
) -> Verdict:
    return parse({"kind": kind, **options}).score(Answer(output, expected, e2e_ms))


@pytest.mark.parametrize(
    ("output", "expected", "options", "passed"),
    [
        ("billing", "billing", {}, True),
        (" billing\n", "billing", {}, True),
        (" billing\n", "billing", {"ignore_whitespace": False}, False),
        ("Billing", "billing", {}, False),
        ("Billing", "billing", {"ignore_case": True}, True),
        ("Billing.", "billing", {"ignore_case": True}, False),
        ("«Billing».", "billing", {"ignore_case": True, "ignore_punctuation": True}, True),
        ("STRASSE", "straße", {"ignore_case": True}, True),
        ("cafe\u0301", "caf\u00e9", {}, True),
        ("two  words", "two words", {}, True),
        ("twowords", "two words", {}, False),
        ("", "", {}, True),
    ],
)
def test_exact_match(output: str, expected: str, options: dict[str, Any], passed: bool) -> None:
    verdict = score("exact_match", output, expected, **options)
    assert (verdict.passed, verdict.value) == (passed, float(passed))
    assert (verdict.explanation is None) == passed


def test_a_wrong_answer_says_what_was_wanted() -> None:
    verdict = score("exact_match", "shipping " * 30, "billing")
    assert verdict.explanation is not None
    assert "Expected 'billing', got 'shipping shipping" in verdict.explanation
    assert len(verdict.explanation) < 200


@pytest.mark.parametrize("kind", ["exact_match", "contains", "embedding_similarity"])
def test_without_an_expected_answer_there_is_no_verdict(kind: str) -> None:
    verdict = score(kind, "anything", None)
    assert (verdict.value, verdict.passed) == (None, None)
    assert verdict.explanation == "The row has no expected answer."


@given(texts, st.booleans(), st.booleans(), st.booleans())
def test_normalising_twice_changes_nothing_more(
    text: str, case: bool, punctuation: bool, whitespace: bool
) -> None:
    once = normalise(text, case=case, punctuation=punctuation, whitespace=whitespace)
    assert normalise(once, case=case, punctuation=punctuation, whitespace=whitespace) == once


@given(texts, texts)
def test_ignoring_more_never_turns_a_match_into_a_miss(output: str, expected: str) -> None:
    strict = score("exact_match", output, expected, ignore_whitespace=False)
    loose = score("exact_match", output, expected, ignore_case=True, ignore_punctuation=True)
    assert not strict.passed or loose.passed
    same = score("exact_match", output, output)
    assert same.passed


def test_contains_looks_for_the_expected_answer_or_a_given_text() -> None:
    assert score("contains", "The capital is Paris.", "paris").passed
    assert not score("contains", "The capital is Paris.", "paris", ignore_case=False).passed
    assert score("contains", "I am sorry", None, text="sorry").passed
    refusal = score("contains", "I am sorry", "x", text="sorry", absent=True)
    assert (refusal.passed, refusal.explanation) == (False, "The answer contains 'sorry'.")


def test_regex_searches_or_matches_the_whole() -> None:
    found = score("regex", "Order 4711 shipped", pattern=r"\d+")
    assert (found.passed, found.text) == (True, "4711")
    assert not score("regex", "Order 4711", pattern=r"\d+", whole=True).passed
    assert score("regex", " 4711\n", pattern=r"\d+", whole=True).passed
    assert score("regex", "URGENT", pattern="urgent", ignore_case=True).passed
    assert score("regex", "calm", pattern="urgent", absent=True).passed


def test_a_pattern_that_explodes_is_stopped_and_gives_no_verdict() -> None:
    started = time.monotonic()
    verdict = score("regex", "a" * 5000 + "!", pattern=r"(a|a)*$|(a+)+$", whole=True)
    assert time.monotonic() - started < LIMIT_S + 2
    assert verdict.passed is None
    assert "took longer" in (verdict.explanation or "")


@pytest.mark.parametrize(
    "pattern", ["", "(", "a{99999999999999999999}", "x" * 3000, "(?P<a>.)(?P="]
)
def test_a_pattern_that_cannot_be_read_is_refused_before_the_run(pattern: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse({"kind": "regex", "pattern": pattern})
    assert caught.value.field == "pattern"


@pytest.mark.parametrize(
    ("output", "passed"),
    [
        ('{"a": 1}', True),
        (" [1, 2]\n", True),
        ("null", True),
        ("{'a': 1}", False),
        ('{"a": 1} and more', False),
        ("NaN", False),
        ("", False),
        ("[" * 100_000, False),
        ("1" * 10_000, False),  # more digits than Python turns into a number
        ('```json\n{"a": 1}\n```', False),
    ],
)
def test_is_json_takes_one_value_and_nothing_else(output: str, passed: bool) -> None:
    assert score("is_json", output).passed is passed


def test_a_fence_is_taken_off_when_asked() -> None:
    assert score("is_json", '```json\n{"a": 1}\n```', fenced=True).passed
    assert score("is_json", '{"a": 1}', fenced=True).passed
    assert not score("is_json", "Sure!\n```json\n{}\n```", fenced=True).passed


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_every_json_value_is_read_back_fenced_or_not(value: Any) -> None:
    written = json.dumps(value)
    assert parse_json(written) == value
    assert parse_json(f"```json\n{written}\n```", fenced=True) == value


@given(texts)
def test_no_text_makes_a_scorer_raise(text: str) -> None:
    for kind in KINDS:
        options = {"pattern": "a+"} if kind == "regex" else {}
        score(kind, text, text, **options)


SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {
            "label": {"enum": ["billing", "shipping"]},
            "code": {"type": "string", "pattern": "^(a+)+$"},
        },
        "required": ["label"],
        "additionalProperties": False,
    }
)


def test_a_schema_is_followed_or_the_first_problem_is_named() -> None:
    assert score("json_schema", '{"label": "billing"}', schema=SCHEMA).passed
    wrong = score("json_schema", '{"label": "cats"}', schema=SCHEMA)
    assert wrong.explanation == "$.label: 'cats' is not one of ['billing', 'shipping']"
    assert not score("json_schema", '{"label": "billing", "x": 1}', schema=SCHEMA).passed
    prose = score("json_schema", "The label is billing", schema=SCHEMA)
    assert (prose.passed, (prose.explanation or "")[:9]) == (False, "Not JSON:")


def test_a_schema_pattern_runs_within_the_time_limit() -> None:
    answer = json.dumps({"label": "billing", "code": "a" * 5000 + "!"})
    started = time.monotonic()
    verdict = score("json_schema", answer, schema=SCHEMA)
    assert time.monotonic() - started < LIMIT_S + 2
    assert not verdict.passed
    keys = json.dumps({"patternProperties": {"^x": {"type": "integer"}}})
    assert not score("json_schema", '{"x1": "one"}', schema=keys).passed
    assert score("json_schema", '{"y1": "one"}', schema=keys).passed


def test_a_schema_never_reaches_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a schema opened a socket")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    schema = json.dumps({"$ref": "http://example.com/schema.json"})
    verdict = score("json_schema", "{}", schema=schema)
    assert not verdict.passed
    assert "not in it" in (verdict.explanation or "")


@pytest.mark.parametrize(
    "schema", ["", "[1]", '{"type": "banana"}', '{"pattern": "("}', '"text"', "{"]
)
def test_what_is_no_schema_is_refused_before_the_run(schema: str) -> None:
    with pytest.raises(Invalid):
        parse({"kind": "json_schema", "schema": schema})


def test_length_counts_words_or_characters_and_judges_with_limits() -> None:
    plain = score("length", " three short words ")
    assert (plain.value, plain.passed) == (3.0, None)
    assert score("length", "three short words", unit="words", min=1, max=3).passed
    long = score("length", "abcdef", unit="chars", max=5)
    assert (long.passed, long.explanation) == (False, "6 chars, wanted 0 to 5.")
    assert score("length", "", min=1).explanation == "0 words, wanted at least 1."


def test_latency_judges_with_a_limit_and_measures_without() -> None:
    assert score("latency", "x", e2e_ms=900).passed is None
    assert score("latency", "x", e2e_ms=900, max_ms=1000).passed
    assert score("latency", "x", e2e_ms=1900, max_ms=1000).explanation == (
        "1900 ms, wanted at most 1000 ms."
    )
    assert parse({"kind": "latency"}).score(Answer("x")).value is None


def test_similarity_judges_a_cosine() -> None:
    scorer = parse({"kind": "embedding_similarity", "threshold": 0.8})
    assert isinstance(scorer, EmbeddingSimilarity)
    assert scorer.judge(0.81).passed
    assert not scorer.judge(0.79).passed
    assert scorer.judge(1.0000001).value == 1.0
    assert scorer.score(Answer("", "expected")).passed is False
    assert scorer.score(Answer("text", "expected")).explanation == "Not measured yet."


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"kind": "magic"}, "kind"),
        ({}, "kind"),
        ({"kind": "exact_match", "ignore_cases": True}, "ignore_cases"),
        ({"kind": "exact_match", "ignore_case": "yes"}, "ignore_case"),
        ({"kind": "exact_match", "decides": False}, "decides"),
        ({"kind": "exact_match", "name": ""}, "name"),
        ({"kind": "length", "min": True}, "min"),
        ({"kind": "length", "min": 1.5}, "min"),
        ({"kind": "length", "min": 5, "max": 1}, "min"),
        ({"kind": "length", "max": -1}, "min"),
        ({"kind": "length", "unit": "lines"}, "unit"),
        ({"kind": "latency", "max_ms": 0}, "max_ms"),
        ({"kind": "embedding_similarity", "threshold": 2}, "threshold"),
    ],
)
def test_a_wrong_option_is_refused_by_name(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(spec)
    assert caught.value.field == field


def test_two_scorers_cannot_share_a_name() -> None:
    with pytest.raises(Invalid, match="Two scorers are named 'length'"):
        parse_all([{"kind": "length"}, {"kind": "length", "max": 5}])


def test_every_kind_is_written_out_and_read_back() -> None:
    for kind in KINDS:
        options = {"pattern": "a+"} if kind == "regex" else {}
        scorer = parse({"kind": kind, "name": f"my {kind}", **options})
        assert parse(to_dict(scorer)) == scorer
