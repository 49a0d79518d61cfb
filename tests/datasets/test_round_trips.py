"""Properties: what is written as CSV or JSONL comes back as it was, or is refused in words."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.datasets.faults import BadRows
from core.datasets.mapping import fields_of, guess
from core.datasets.readers import open_source
from core.datasets.service import Datasets
from core.datasets.values import common_kind, kind_of, loaded, stored, text_of
from core.errors import Invalid
from core.governance.permissions import OWNER
from core.store.database import Store

# No null bytes and no lone surrogates: those are refused. Not blank: that is refused for an input.
CLEAN = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
FILLED = CLEAN.filter(str.strip)
SCALARS = st.one_of(
    st.none(), CLEAN, st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False)
)
NESTED = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(CLEAN, inner, max_size=3)
)
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Datasets]:
    store = Store(tmp_path_factory.mktemp("round") / "home")
    yield Datasets(store)
    store.close()


quick = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def imported(datasets: Datasets, data: bytes, filename: str, mapping: Any) -> list[Any]:
    version = datasets.import_rows(
        OWNER, name=f"d{next(NUMBERS)}", filename=filename, data=data, mapping=mapping
    )
    return datasets.examples(OWNER, version["id"])


@quick
@given(st.lists(st.tuples(FILLED, CLEAN), min_size=1, max_size=8), st.sampled_from(",;\t|"))
def test_csv_comes_back_as_it_was_written(
    datasets: Datasets, rows: list[tuple[str, str]], delimiter: str
) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([("question", "answer"), *rows])
    filename = "rows.tsv" if delimiter == "\t" else "rows.csv"
    mapping = {"question": "input", "answer": "expected"}
    found = imported(datasets, buffer.getvalue().encode(), filename, mapping)
    assert [(e.inputs["question"], e.expected) for e in found] == rows


@quick
@given(st.lists(st.fixed_dictionaries({"q": FILLED, "extra": NESTED}), min_size=1, max_size=6))
def test_jsonl_comes_back_as_it_was_written(datasets: Datasets, rows: list[Any]) -> None:
    """One kind of value throughout comes back equal; mixed ones as their text."""
    data = "\n".join(json.dumps(row) for row in rows).encode()
    mapping = {"q": "input", "extra": "metadata"}
    found = imported(datasets, data, "rows.jsonl", mapping)
    assert [e.inputs["q"] for e in found] == [row["q"] for row in rows]
    for example, row in zip(found, rows, strict=True):
        assert example.metadata["extra"] in (row["extra"], text_of(row["extra"]))


@given(st.lists(NESTED, max_size=6))
def test_values_survive_the_kind_of_their_column(values: list[Any]) -> None:
    kind = None
    for value in values:
        kind = common_kind(kind, kind_of(value))
    for value in values:
        again = loaded(stored(value, kind or "text"), kind or "text")
        assert again == value if kind != "text" else again == text_of(value)


@given(st.binary(max_size=200), st.sampled_from(["a.csv", "a.tsv", "a.jsonl", "a.txt", "a.json"]))
def test_any_bytes_are_read_or_refused_in_words(data: bytes, filename: str) -> None:
    try:
        records = list(open_source(filename, data).records())
    except Invalid as error:
        assert error.message  # noqa: PT017
        return
    assert [record.index for record in records] == list(range(len(records)))
    assert all(record.faults or record.values for record in records) or filename == "a.jsonl"


@quick
@given(st.lists(st.sampled_from(["good", "bad"]), min_size=1, max_size=30))
def test_exactly_the_bad_rows_are_reported(datasets: Datasets, rows: list[str]) -> None:
    lines = ['{"q": "x"}' if row == "good" else '{"q": x}' for row in rows]
    bad = [index for index, row in enumerate(rows) if row == "bad"]
    data = "\n".join(lines).encode()
    if not bad:
        assert len(imported(datasets, data, "rows.jsonl", {"q": "input"})) == len(rows)
        return
    with pytest.raises(BadRows) as caught:
        imported(datasets, data, "rows.jsonl", {"q": "input"})
    assert [fault.row for fault in caught.value.errors] == bad


COLUMNS = st.lists(CLEAN.filter(str.strip), min_size=1, max_size=6, unique=True)


@given(COLUMNS, st.data())
def test_a_guessed_mapping_can_always_be_used(columns: list[str], data: st.DataObject) -> None:
    cells = st.one_of(st.none(), CLEAN, st.integers())
    rows = data.draw(st.lists(st.fixed_dictionaries(dict.fromkeys(columns, cells)), max_size=4))
    fields = fields_of(guess(columns, rows))
    assert {field.column for field in fields} <= set(columns)
    assert sum(field.role == "expected" for field in fields) <= 1
