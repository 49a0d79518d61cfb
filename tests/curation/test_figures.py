"""Personal data in numbers and in JSON keys is found; ids, times and amounts are left alone."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.curation import personal, recognizers
from core.curation.cells import KEY, pieces, replaced, words
from core.curation.figures import find_figures, is_card, is_health, is_social
from core.curation.spans import mark as sign
from core.curation.steps.personal import mask, redact
from core.curation.tools import Tools
from core.datasets.table import Table
from core.workbench import OWNER, Workbench
from tests.curation.planting import table_of
from tests.curation.versions import analysed, rows_of, values_of

CARDS = [4111111111111111, 5500005555555559, 378282246310005, 6011111111111117, 4012888888881881]
RANDOM = np.random.default_rng(7)


def types_in(
    folder: Path, values: Sequence[Any], name: str, kind: str = "integer"
) -> list[tuple[int, str]]:
    table = table_of(folder, {name: list(values)}, types={name: kind})
    return [(f.rows[0], f.detail["type"]) for f in personal.detect(table, Tools(cache=folder))]


@pytest.mark.parametrize("kind", ["integer", "number"])
def test_a_column_of_cards_is_found_whatever_it_is_called(tmp_path: Path, kind: str) -> None:
    found = types_in(tmp_path, [*CARDS, None, 12], "value", kind)
    assert found == [(row, "credit_card") for row in range(5)]


@pytest.mark.parametrize("name", ["phone", "phone_number", "customerPhone", "mobile", "Tel."])
def test_a_column_of_telephone_numbers_is_found_by_its_name(tmp_path: Path, name: str) -> None:
    numbers = [4155550132, 442079460958, 1511234567, 33142685300, None, 0]
    assert types_in(tmp_path, numbers, name) == [(row, "phone") for row in range(4)]


def test_insurance_and_health_numbers_and_birthdays_need_their_name(tmp_path: Path) -> None:
    assert types_in(tmp_path, [536904399, 1234567, 900123456], "ssn") == [
        (0, "us_ssn"), (1, "us_ssn"),
    ]  # fmt: skip
    assert types_in(tmp_path, [536904399], "number") == []
    assert types_in(tmp_path, [9434765919, 9434765918], "nhs_number") == [(0, "uk_nhs")]
    assert types_in(tmp_path, [19790412, 19791340], "dob") == [(0, "date_of_birth")]


def harmless() -> dict[str, list[int]]:
    """Numbers as they stand in real tables, ten thousand of each kind."""
    count = 10_000
    return {
        "id": list(range(10_000_000, 10_000_000 + count)),
        "order_id": RANDOM.integers(10**15, 9 * 10**15, count).tolist(),
        "value": RANDOM.integers(10**15, 9 * 10**15, count).tolist(),
        "number": RANDOM.integers(10**9, 10**10, count).tolist(),
        "account": RANDOM.integers(10**12, 10**13, count).tolist(),
        "created_at": RANDOM.integers(1_600_000_000, 1_800_000_000, count).tolist(),
        "timestamp_ms": RANDOM.integers(1_600_000_000_000, 1_800_000_000_000, count).tolist(),
        "micros": RANDOM.integers(16 * 10**14, 18 * 10**14, count).tolist(),
        "bytes": RANDOM.integers(0, 10**13, count).tolist(),
        "price": RANDOM.integers(0, 10**8, count).tolist(),
        "phone_id": RANDOM.integers(10**9, 10**10, count).tolist(),
        "phone_calls": RANDOM.integers(0, 10**9, count).tolist(),
        "mobile_users": RANDOM.integers(0, 10**9, count).tolist(),
    }


def test_ids_times_and_amounts_are_no_flood_of_false_alarms(tmp_path: Path) -> None:
    columns = harmless()
    table = table_of(tmp_path, columns, types=dict.fromkeys(columns, "integer"))
    found = personal.detect(table, Tools(cache=tmp_path))
    assert [(f.column, f.detail["type"]) for f in found] == []


def test_a_card_among_ids_is_taken_for_an_id(tmp_path: Path) -> None:
    """One in forty random numbers of 16 figures looks like a card: measured, and left alone."""
    ids = RANDOM.integers(10**15, 9 * 10**15, 20_000).tolist()
    by_chance = sum(is_card(str(value)) for value in ids)
    assert 0.01 < by_chance / len(ids) < 0.05
    assert types_in(tmp_path, [*ids, *CARDS], "value") == []
    assert len(types_in(tmp_path, [*ids[:3], *CARDS], "value")) >= 5


def test_numbers_keys_and_named_texts_in_json_are_looked_at(tmp_path: Path) -> None:
    cells = [
        {"phone": 4155550132, "order": 4155550133, "n": 7},
        {"payment": {"card": 4111111111111111}, "at": 1_700_000_000_000_000},
        {"jane.doe@example.com": {"visits": 3}},
        {"customer": {"name": "Okafor Nneka"}},
        {"function": {"name": "Get Weather"}, "scores": [0.1] * 50},
        [{"user": {"mobileNumber": "4155550132"}}],
        4111111111111111,
    ]
    table = table_of(tmp_path, {"data": [json.dumps(c) for c in cells]}, types={"data": "json"})
    found = personal.detect(table, Tools(cache=tmp_path))
    told = [(f.rows[0], f.detail["type"], f.detail["spans"][0].get("path")) for f in found]
    assert told == [
        (0, "phone", ["phone"]),
        (1, "credit_card", ["payment", "card"]),
        (2, "email", [f"#{sign('row_2', 'data', 'jane.doe@example.com')}", KEY]),
        (3, "person", ["customer", "name"]),
        (5, "phone", [0, "user", "mobileNumber"]),
        (6, "credit_card", None),
    ]
    assert "jane" not in json.dumps([f.to_dict() for f in found])
    rows = rows_of(table)
    report = redact(rows, {}, Tools(cache=tmp_path))
    after = [json.loads(cell) for cell in values_of(rows, "data")]
    assert after[0] == {"phone": "[PHONE]", "order": 4155550133, "n": 7}
    assert after[1] == {"payment": {"card": "[CREDIT_CARD]"}, "at": 1_700_000_000_000_000}
    assert after[2] == {"[EMAIL]": {"visits": 3}}
    assert after[3] == {"customer": {"name": "[PERSON]"}}
    assert after[4] == cells[4]
    assert after[6] == "[CREDIT_CARD]"
    assert report.changed == 6
    assert looked_again(tmp_path, rows) == []


def looked_again(folder: Path, rows: Any) -> list[Any]:
    path = folder / "again.parquet"
    rows.connection.execute(f"COPY rows TO '{path}' (FORMAT parquet)")
    return personal.detect(Table(path, tuple(rows.columns)), Tools(cache=folder))


def test_two_keys_that_become_one_word_are_kept_apart() -> None:
    cell = json.dumps({"a@x.com": 1, "b@x.com": {"c@x.com": 2}, "z": 3})
    new = {p.path: "[EMAIL]" for p in pieces(cell, "json", "d") if "@" in p.text}
    assert json.loads(replaced(cell, "json", new)) == {
        "[EMAIL]": 1, "[EMAIL] 2": {"[EMAIL]": 2}, "z": 3,
    }  # fmt: skip


@pytest.mark.parametrize(("kind", "small"), [("integer", 12), ("number", 12.5)])
def test_a_column_of_numbers_becomes_text_where_something_is_taken_out(
    tmp_path: Path, kind: str, small: float
) -> None:
    values = [4111111111111111, small, None, 378282246310005]
    table = table_of(
        tmp_path, {"card": values, "n": [1, 2, 3, 4]}, types={"card": kind, "n": "integer"}
    )
    rows = rows_of(table)
    report = redact(rows, {}, Tools(cache=tmp_path))
    assert values_of(rows, "card") == ["[CREDIT_CARD]", str(small), None, "[CREDIT_CARD]"]
    assert values_of(rows, "n") == [1, 2, 3, 4]
    assert [column.type for column in rows.columns] == ["text", "integer"]
    assert report.counts == {"credit_card": 2, "card made text": 1}
    assert looked_again(tmp_path, rows) == []
    rows = rows_of(table)
    mask(rows, {}, Tools(cache=tmp_path))
    assert values_of(rows, "card")[0] == "************1111"


def test_a_column_of_numbers_without_a_hit_stays_numbers(tmp_path: Path) -> None:
    rows = rows_of(table_of(tmp_path, {"phone_id": [4155550132]}, types={"phone_id": "integer"}))
    report = redact(rows, {}, Tools(cache=tmp_path))
    assert (report.changed, rows.columns[0].type) == (0, "integer")


def test_names_of_columns_are_read_in_words() -> None:
    assert [words(n) for n in ("phoneNumber", "phone_number", "phone-number", "Phone.number")] == [
        "phone Number", "phone number", "phone number", "Phone number",
    ]  # fmt: skip
    assert personal.find("4155550132", "phoneNumber")[0].type == "phone"


@given(st.integers(0, 10**16))
def test_cards_are_those_that_presidio_says_too(number: int) -> None:
    text = str(number)
    theirs = recognizers.load().CreditCardRecognizer().validate_result(text)
    assert not is_card(text) or theirs


def test_a_check_finds_every_wrong_figure_of_a_health_number() -> None:
    assert is_health("9434765919")
    for at in range(10):
        wrong = "9434765919"[:at] + str((int("9434765919"[at]) + 1) % 10) + "9434765919"[at + 1 :]
        assert not is_health(wrong)
    assert not is_social("000123456")
    assert is_social("1010001")


def test_numbers_that_exist_are_found_in_a_column_of_phones() -> None:
    for region in ("US", "GB", "DE", "FR", "ES", "IT", "NL", "PL", "CH", "IN", "AU", "BR"):
        number = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
        national = str(number.national_number)
        for text in (national, f"{number.country_code}{national}"):
            assert [span.type for span in find_figures(text, "phone")] == ["phone"], (region, text)


def test_many_numbers_take_seconds(tmp_path: Path) -> None:
    columns = {"a": RANDOM.integers(0, 10**15, 200_000), "id": RANDOM.integers(0, 10**15, 200_000)}
    table = table_of(tmp_path, columns, types=dict.fromkeys(columns, "integer"))
    began = time.process_time()
    found = personal.detect(table, Tools(cache=tmp_path))
    assert time.process_time() - began < 15
    assert found == []


def test_the_review_shows_numbers_and_keys_with_what_is_around_them(
    workbench: Workbench,
) -> None:
    version = analysed(
        workbench,
        OWNER,
        [{"phone": 4155550132, "data": {"jane.doe@example.com": {"visits": 3}}}, {"phone": 1}],
    )
    shown = workbench.reviews.queue(OWNER, version["id"])
    assert [(hit["type"], hit["text"], hit["spans"]) for hit in shown] == [
        ("email", "jane.doe@example.com", [{"start": 0, "end": 20}]),
        ("phone", "4155550132", [{"start": 0, "end": 10}]),
    ]
