"""Secrets are found by their form or by what they are called, and are never shown whole."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.curation import encoding, quality
from core.curation.secrets import ANCHORS, TYPES, detect, entropy, find, looks_random
from core.curation.spans import possible
from core.curation.tools import Tools
from core.settings import PROJECT_ROOT
from tests.curation.planted import CLEAN, NO_SECRETS, PERSONAL, SECRETS, TOKEN
from tests.curation.versions import table_of, table_with


@pytest.mark.parametrize(("text", "type_", "secret"), SECRETS, ids=[s[0][:24] for s in SECRETS])
def test_a_planted_secret_is_found_exactly(text: str, type_: str, secret: str) -> None:
    assert [(s.type, text[s.start : s.end]) for s in find(text)] == [(type_, secret)]
    assert possible(pa.array([text]), ANCHORS) == [True]


@pytest.mark.parametrize("text", [*NO_SECRETS, *CLEAN])
def test_texts_about_secrets_hold_none(text: str) -> None:
    assert [text[s.start : s.end] for s in find(text)] == []


def test_every_type_but_one_is_planted_and_personal_data_is_no_secret() -> None:
    assert TYPES.keys() - {type_ for _, type_, _ in SECRETS} == {"pypi_token"}
    assert [text for text, _ in PERSONAL if find(text)] == []


def test_the_samples_hold_no_secrets() -> None:
    for path in sorted((PROJECT_ROOT / "data" / "samples").glob("s*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            for value in json.loads(line).values():
                assert not isinstance(value, str) or find(value) == []


def test_the_secret_of_an_access_key_nearby_is_found_without_a_name() -> None:
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    text = f"AKIAIOSFODNN7EXAMPLE\n{secret}"
    assert [s.type for s in find(text)] == ["aws_access_key", "aws_secret_key"]
    assert find(secret) == []


def test_a_column_of_keys_says_what_its_cells_are() -> None:
    assert [s.type for s in find("k3yN0oneKnows", "api_key")] == ["generic_secret"]
    assert find("k3yN0oneKnows", "title") == []
    assert find("see the manual", "api_key") == []


def test_findings_show_the_ends_and_never_the_secret(tmp_path: Path) -> None:
    texts = [text for text, _, _ in SECRETS]
    findings = detect(table_of(tmp_path, texts), Tools(cache=tmp_path))
    assert [f.rows for f in findings] == [(index,) for index in range(len(texts))]
    told = json.dumps([finding.to_dict() for finding in findings])
    for _, _, secret in SECRETS:
        assert secret not in told
        assert len(secret) < 12 or secret[3:-3] not in told
    assert {f.kind for f in findings} == {"secret"}
    assert all(len(f.detail["hash"]) == 6 and "…" in f.detail["preview"] for f in findings)


def test_entropy_and_randomness() -> None:
    assert entropy("") == 0.0
    assert entropy("aaaa") == 0.0
    assert entropy("abcd") == 2.0
    assert looks_random(TOKEN)
    assert looks_random("9f86d081884c7d659a2feaa0c55ad015")
    assert not looks_random("authentication-and-authorization")
    assert not looks_random("aaaaaaaaaaaaaaaaaaaa1")
    assert not looks_random("12345678901234567890")


@pytest.mark.parametrize(
    "piece",
    ["eyJ", "password=", "token ", "aws secret ", "http://a:", "-----BEGIN PRIVATE KEY-----A",
     "sk-", "a", "://:", "AccountKey=", "auth", "pass pass", "xoxb-1", "A1a"],
)  # fmt: skip
def test_a_hostile_cell_costs_time_in_proportion_to_its_length(piece: str) -> None:
    def seconds(length: int) -> float:
        text = piece * (length // len(piece))
        began = time.process_time()
        find(text)
        return time.process_time() - began

    small = max(seconds(20_000), 0.02)
    assert seconds(80_000) < small * 12


@given(st.text(alphabet=st.sampled_from("aA1-_=:/@.'\" \npswdtokenkyeJ"), max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_text_gives_spans_inside_it_that_do_not_overlap(text: str) -> None:
    at = 0
    for span in find(text):
        assert at <= span.start < span.end <= len(text)
        assert span.type in TYPES
        at = span.end


def test_no_finding_of_another_detector_holds_a_secret(tmp_path: Path) -> None:
    token = "ghp_" + "Zq7Rt9Kx2Wv4Bn6M" * 2 + "aB3d"
    columns = {
        "same": [token] * 30,
        "broken": [f"CafÃ© opens at nine, the token is {token}"] + ["plain words"] * 29,
    }
    table = table_with(tmp_path, columns)
    findings = [*quality.detect(table, Tools(tmp_path)), *encoding.detect(table, Tools(tmp_path))]
    assert {finding.kind for finding in findings} >= {"quality", "encoding"}
    assert token not in json.dumps([finding.to_dict() for finding in findings])
