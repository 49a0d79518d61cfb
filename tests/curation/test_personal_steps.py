"""Redact, mask and pseudonymise: what was found is gone, the rest stands, and it replays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.curation import personal, pseudonyms, secrets
from core.curation.arguments import check_step
from core.curation.spans import mark
from core.curation.steps.personal import TYPES, mask, masked, pseudonymise, redact
from core.curation.tools import Tools
from core.errors import Invalid
from tests.curation.planted import CLEAN, PERSONAL, SECRETS
from tests.curation.versions import rows_of, table_of, table_with, values_of

STEPS = {"redact": redact, "mask": mask, "pseudonymise": pseudonymise}
PLANTED = [text for text, _ in PERSONAL] + [text for text, _, _ in SECRETS]


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    """As a job has them: the cache is inside of a workspace."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "lathe.lock").touch()
    return Tools(cache=home / "cache" / "curation")


def after(tmp_path: Path, tools: Tools, step: str, cells: list[str], **arguments: Any) -> list[str]:
    rows = rows_of(table_of(tmp_path, cells))
    STEPS[step](rows, arguments, tools)
    return values_of(rows)


def left_in(text: str, column: str = "text") -> list[Any]:
    return [*personal.find(text, column), *secrets.find(text, column)]


@pytest.mark.parametrize("step", STEPS)
def test_afterwards_a_fresh_look_finds_nothing(tmp_path: Path, tools: Tools, step: str) -> None:
    cells = after(tmp_path, tools, step, PLANTED)
    assert {cell: left_in(cell) for cell in cells if left_in(cell)} == {}
    assert all(cell != before for cell, before in zip(cells, PLANTED, strict=True))


@pytest.mark.parametrize("step", STEPS)
def test_clean_text_stays_as_it_is(tmp_path: Path, tools: Tools, step: str) -> None:
    clean = [text for text in CLEAN if not left_in(text)]
    assert len(clean) >= len(CLEAN) - 1
    assert after(tmp_path, tools, step, clean) == clean


@pytest.mark.parametrize("step", STEPS)
@given(
    pieces=st.lists(st.sampled_from([*PLANTED, *CLEAN, "\n", "x", "1", '"', "\\"]), max_size=5),
    joint=st.sampled_from([" ", "\n", ", ", "", "."]),
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_mixture_comes_out_clean_and_json_stays_json(
    tmp_path: Path, tools: Tools, step: str, pieces: list[str], joint: str
) -> None:
    text = joint.join(pieces)
    chat = json.dumps([{"role": "user", "content": text}, 7], ensure_ascii=False)
    table = table_with(tmp_path, {"text": [text], "chat": [chat]}, {"chat": "json"})
    rows = rows_of(table)
    STEPS[step](rows, {}, tools)
    [cell], [value] = values_of(rows), values_of(rows, "chat")
    assert left_in(cell) == []
    read = json.loads(value)
    assert left_in(read[0]["content"], "chat") == []
    assert (read[0]["role"], read[1]) == ("user", 7)


def test_redact_names_the_type_and_counts(tmp_path: Path, tools: Tools) -> None:
    rows = rows_of(table_of(tmp_path, ["jane@example.com or bo@example.com", "pwd=hunter22", None]))
    report = redact(rows, {}, tools)
    assert values_of(rows) == ["[EMAIL] or [EMAIL]", "pwd=[PASSWORD]", None]
    assert report.counts == {"email": 2, "password": 1}
    assert report.changed == 2


def test_a_report_outlives_the_rows_and_holds_no_hit(tmp_path: Path, tools: Tools) -> None:
    for step, function in STEPS.items():
        rows = rows_of(table_of(tmp_path, PLANTED))
        told = json.dumps(function(rows, {}, tools).to_dict())
        assert "jane.doe" not in told, step
        assert "Kowalska" not in told, step
        assert "hunter2" not in told, step


@pytest.mark.parametrize(
    ("type_", "text", "expected"),
    [
        ("email", "anna@example.com", "a***@e***.com"),
        ("credit_card", "4111 1111 1111 1234", "**** **** **** 1234"),
        ("phone", "+44 20 7946 0958", "+** ** **** 0958"),
        ("iban", "DE89370400440532013000", "******************3000"),
        ("person", "Anna Kowalska", "A*** K***"),
        ("ip_address", "203.0.113.7", "203.*.*.*"),
        ("ip_address", "2001:db8::1", "2001:*"),
        ("date_of_birth", "3 March 1984", "* March ****"),
        ("postal_address", "12 Baker Street", "** B**** S*****"),
        ("us_ssn", "536-90-4399", "***-**-4399"),
        ("password", "hunter2", "****"),
        ("github_token", "ghp_abcdefgh", "ghp_****"),
        ("url_credentials", "bob:pw12345", "b***:****"),
    ],
)
def test_a_mask_keeps_the_shape(type_: str, text: str, expected: str) -> None:
    assert masked(type_, text) == expected


def test_one_person_has_one_pseudonym_in_all_rows_columns_and_versions(
    tmp_path: Path, tools: Tools
) -> None:
    texts = ["Mr. Okafor wrote to JANE@example.com", "jane@example.com told Mr. Okafor"]
    table = table_with(tmp_path, {"a": texts, "b": list(reversed(texts))})
    rows = rows_of(table)
    pseudonymise(rows, {}, tools)
    again = "user1@pseudonym.example told Mr. person_0001"
    assert values_of(rows, "a")[1] == values_of(rows, "b")[0] == again
    other = tmp_path / "other"
    other.mkdir()
    later = rows_of(table_of(other, ["Bo: bo@example.com", "jane@example.com"]))
    pseudonymise(later, {}, tools)
    assert values_of(later) == ["Bo: user2@pseudonym.example", "user1@pseudonym.example"]
    home = tools.cache.parent.parent
    assert pseudonyms.Book(home).behind("person_0001") == ("person", "Okafor")


def test_types_columns_and_threshold_narrow_it(tmp_path: Path, tools: Tools) -> None:
    text = "jane@example.com from 192.168.1.24"
    assert after(tmp_path, tools, "redact", [text], types=["email"]) == [
        "[EMAIL] from 192.168.1.24"
    ]
    assert after(tmp_path, tools, "redact", [text], threshold=0.9) == ["[EMAIL] from 192.168.1.24"]
    rows = rows_of(table_with(tmp_path, {"a": [text], "b": [text]}))
    redact(rows, {"columns": ["b"]}, tools)
    assert (values_of(rows, "a"), values_of(rows, "b")) == ([text], ["[EMAIL] from [IP_ADDRESS]"])
    with pytest.raises(Invalid, match="no column"):
        redact(rows, {"columns": ["c"]}, tools)
    with pytest.raises(Invalid, match="no type e_mail"):
        redact(rows, {"types": ["e_mail"]}, tools)


def test_a_threshold_of_nothing_is_a_threshold(
    tmp_path: Path, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.curation.personal.THRESHOLD", 2.0)
    text = "jane@example.com"
    assert after(tmp_path, tools, "redact", [text]) == [text]
    assert after(tmp_path, tools, "redact", [text], threshold=0) == ["[EMAIL]"]


def test_only_the_accepted_all_but_the_rejected_and_what_a_person_wrote(
    tmp_path: Path, tools: Tools
) -> None:
    cells = ["jane@example.com or bo@example.com", "jane@example.com"]

    def hit(row: int, text: str) -> dict[str, str]:
        return {
            "row_id": f"row_{row:04x}",
            "column": "text",
            "hash": mark(f"row_{row:04x}", "text", text),
        }

    jane = hit(0, "jane@example.com")
    bo = hit(0, "bo@example.com")
    assert after(tmp_path, tools, "redact", cells, only=[jane]) == [
        "[EMAIL] or bo@example.com", "jane@example.com",
    ]  # fmt: skip
    assert after(tmp_path, tools, "redact", cells, leave=[bo]) == [
        "[EMAIL] or bo@example.com", "[EMAIL]",
    ]  # fmt: skip
    edited = [{**bo, "text": "desk@example.com"}]
    assert after(tmp_path, tools, "redact", cells, replacements=edited) == [
        "[EMAIL] or desk@example.com", "[EMAIL]",
    ]  # fmt: skip
    assert after(tmp_path, tools, "redact", cells, only=[], replacements=edited) == [
        "jane@example.com or desk@example.com", "jane@example.com",
    ]  # fmt: skip
    with pytest.raises(Invalid, match="row_id, column and hash"):
        after(tmp_path, tools, "redact", cells, only=["jane"])


def test_a_recipe_may_hold_these_steps() -> None:
    for step in STEPS:
        check_step({"step": step})
        check_step({"step": step, "columns": ["a"], "types": ["email"], "leave": []})
        with pytest.raises(Invalid):
            check_step({"step": step, "column": "a"})
    assert len(TYPES) == len(personal.TYPES) + len(secrets.TYPES)
