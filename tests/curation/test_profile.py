"""The profile of a version: against Python's own statistics, and for odd columns."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.curation.profile import (
    BINS,
    MOST_LABELS,
    profile_of,
    tokenizer_name,
    write_profile,
)
from core.curation.tools import Tools
from core.datasets.files import Column
from core.datasets.table import Table


def table_of(folder: Path, columns: list[Column], values: dict[str, list[Any]]) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}
    count = len(next(iter(values.values())))
    arrays = {
        "row_id": pa.array([f"row_{at}" for at in range(count)]),
        "row_index": pa.array(list(range(count)), pa.int64()),
        **{c.name: pa.array(values[c.name], kinds.get(c.type, pa.string())) for c in columns},
    }
    pq.write_table(pa.table(arrays), folder / "version.parquet")
    return Table(folder / "version.parquet", tuple(columns))


def column_of(folder: Path, kind: str, values: list[Any], role: str = "metadata") -> dict[str, Any]:
    column = Column("it", role, kind)
    found = profile_of(table_of(folder, [column], {"it": values}), Tools(folder))
    return dict(found["columns"][0])


def test_numbers_are_what_python_s_statistics_say(tmp_path: Path) -> None:
    values = [1.5, 2.0, 2.0, 8.25, -3.0, None]
    there = [value for value in values if value is not None]
    found = column_of(tmp_path, "number", values)
    assert (found["missing"], found["distinct"], found["is_exact"]) == (1, 4, True)
    assert (found["min"], found["max"]) == (-3.0, 8.25)
    assert found["mean"] == pytest.approx(statistics.mean(there))
    assert found["sd"] == pytest.approx(statistics.stdev(there))
    assert found["p50"] == statistics.median(there)
    assert sum(found["histogram"]["counts"]) == 5
    assert found["length"] is None


def test_text_has_lengths_in_characters_and_blank_is_missing(tmp_path: Path) -> None:
    found = column_of(tmp_path, "text", ["a", "bb", "日本語", "  ", None], role="input")
    assert found["missing"] == 2
    assert (found["length"]["min"], found["length"]["max"]) == (1, 3)
    assert found["histogram"]["of"] == "characters"
    assert not found["is_label"]


def test_a_label_has_its_whole_distribution(tmp_path: Path) -> None:
    labels = ["bug"] * 6 + ["billing"] * 3 + ["other"]
    columns = [Column("text", "input", "text"), Column("label", "expected", "text")]
    values = {"text": [f"row {at}" for at in range(10)], "label": labels}
    found = profile_of(table_of(tmp_path, columns, values), Tools(tmp_path))
    assert found["label_column"] == "label"
    assert found["columns"][1]["top"] == [
        {"value": "bug", "count": 6},
        {"value": "billing", "count": 3},
        {"value": "other", "count": 1},
    ]
    assert found["columns"][1]["is_label"]


@pytest.mark.parametrize(
    ("kind", "values", "is_label"),
    [
        ("boolean", [True, False] * 10, True),
        ("integer", [1, 2, 3, 4] * 5, True),
        ("text", [f"unique {at}" for at in range(20)], False),
        ("text", ["same"] * 20, False),
        ("number", [0.5, 1.5] * 10, False),
        ("text", [f"v{at % (MOST_LABELS + 1)}" for at in range(1_000)], False),
    ],
)
def test_which_columns_are_labels(
    tmp_path: Path, kind: str, values: list[Any], is_label: bool
) -> None:
    assert column_of(tmp_path, kind, values)["is_label"] is is_label


def test_one_huge_cell_does_not_hide_the_others_in_one_bin(tmp_path: Path) -> None:
    found = column_of(tmp_path, "text", ["x" * n for n in range(1, 300)] + ["x" * 100_000])
    histogram = found["histogram"]
    assert histogram["open"]
    assert sum(histogram["counts"]) == 300
    assert sum(count > 0 for count in histogram["counts"]) > BINS // 2


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.one_of(
            st.none(),
            st.floats(allow_nan=False, allow_infinity=False, width=64),
            st.integers(-(2**40), 2**40).map(float),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_a_histogram_holds_every_number(
    tmp_path_factory: pytest.TempPathFactory, values: list[float | None]
) -> None:
    found = column_of(tmp_path_factory.mktemp("profile"), "number", values)
    histogram = found["histogram"]
    there = [value for value in values if value is not None]
    if histogram is None:
        assert not there or max(there) - min(there) > 1e300
        return
    assert sum(histogram["counts"]) == len(there)
    assert len(histogram["edges"]) == len(histogram["counts"]) + 1 <= BINS + 1
    assert histogram["edges"] == sorted(histogram["edges"])


@pytest.mark.parametrize("kind", ["text", "integer", "number", "boolean", "json"])
@pytest.mark.parametrize("values", [[], [None, None]])
def test_columns_without_a_value_have_a_profile(
    tmp_path: Path, kind: str, values: list[Any]
) -> None:
    found = column_of(tmp_path, kind, values)
    assert found["missing"] == len(values)
    assert found["distinct"] == 0
    assert found["histogram"] is None
    assert found["top"] == []


def test_odd_names_of_columns_are_names(tmp_path: Path) -> None:
    name = 'it\'s "a"; DROP TABLE rows; -- $x'
    table = table_of(tmp_path, [Column(name, "input", "text")], {name: ["a", "b"]})
    assert profile_of(table, Tools(tmp_path))["columns"][0]["distinct"] == 2


def test_large_data_is_counted_roughly_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.curation.profile.EXACT_ROWS", 100)
    monkeypatch.setattr("core.curation.profile.MOST_GROUPS", 50)
    found = column_of(tmp_path, "text", [f"unique {at}" for at in range(2_000)])
    assert not found["is_exact"]
    assert found["distinct"] == pytest.approx(2_000, rel=0.15)
    assert found["top"] == []


def test_tokens_are_counted_by_the_tokenizer_asked_for(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    path = tmp_path / "models" / "small-words-0123456789ab-1" / "tokenizer.json"
    path.parent.mkdir(parents=True)
    small = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    small.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    small.save(str(path))
    columns = [Column("text", "input", "text")]
    texts = ["a", "a a", "a a a", None, ""]
    table = table_of(tmp_path, columns, {"text": texts})
    count, notes = write_profile(table, tmp_path / "out", Tools(tmp_path), path)
    assert (count, notes) == (0, {"tokenizer": "small-words", "token_rows": 5})
    tokens = profile_of(table, Tools(tmp_path), path)["columns"][0]["tokens"]
    assert tokens == {"p50": 2, "p95": pytest.approx(2.9), "max": 3, "mean": 2}


def test_tokens_of_large_data_are_counted_in_rows_spread_evenly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    monkeypatch.setattr("core.curation.profile.TOKEN_ROWS", 10)
    small = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    small.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    small.save(str(tmp_path / "tokenizer.json"))
    texts = ["one" if at % 10 == 0 else "many many words" for at in range(100)]
    table = table_of(tmp_path, [Column("text", "input", "text")], {"text": texts})
    found = profile_of(table, Tools(tmp_path), tmp_path / "tokenizer.json")
    assert found["columns"][0]["tokens"]["max"] == 1
    assert found["token_rows"] == 10


def test_a_stop_is_heard_between_columns(tmp_path: Path) -> None:
    def stop() -> None:
        raise InterruptedError

    table = table_of(tmp_path, [Column("text", "input", "text")], {"text": ["a"]})
    with pytest.raises(InterruptedError):
        profile_of(table, Tools(tmp_path, check=stop))


def test_a_tokenizer_is_called_as_its_model() -> None:
    assert tokenizer_name(Path("cache/smol-b179c9523d0e-1/safetensors/tokenizer.json")) == "smol"
    assert tokenizer_name(Path("models/mine/tokenizer.json")) == "mine"
