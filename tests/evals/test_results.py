"""Results against a second implementation: whatever was written, the figures are these."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.clock import utc_iso
from core.evals.differences import differences
from core.evals.results import Results, pass_rates
from core.evals.scorers import parse_all
from core.store.database import Store, insert_missing

SCORERS = parse_all(
    [
        {"kind": "exact_match", "name": "label"},
        {"kind": "contains", "name": "word"},
        {"kind": "length", "name": "words"},
    ]
)
VARIANTS = ("v0", "v1", "v2")

verdicts = st.sampled_from([True, False, None])
attempts = st.fixed_dictionaries(
    {
        "state": st.sampled_from(["ok", "ok", "ok", "failed"]),
        "output": st.sampled_from(["billing", "Bug", "it's a bug", ""]),
        "label": verdicts,
        "word": st.one_of(verdicts, st.just("missing")),
        "e2e_ms": st.floats(1, 10_000),
    }
)
grids = st.dictionaries(
    st.tuples(st.sampled_from(VARIANTS), st.integers(0, 5)),
    st.lists(attempts, min_size=1, max_size=2),
    max_size=18,
)


@pytest.fixture(scope="module")
def shared() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        yield store
        store.close()


def fill(store: Store, grid: dict[tuple[str, int], list[dict[str, Any]]]) -> None:
    results, scores = [], []
    for (variant, row), tries in grid.items():
        for number, one in enumerate(tries, start=1):
            key = {"run_id": "r", "variant_id": variant, "row_id": f"row{row}", "attempt": number}
            ok = one["state"] == "ok"
            results.append(
                {
                    **key,
                    "row_index": row,
                    "state": one["state"],
                    "output": one["output"] if ok else None,
                    "input_preview": f"ticket {row}",
                    "e2e_ms": one["e2e_ms"] if ok else None,
                    "created_at": utc_iso(),
                }
            )
            for name in ("label", "word", "words"):
                passed = None if name == "words" else one[name]
                if ok and passed != "missing":
                    scores.append(
                        {
                            **key,
                            "name": name,
                            "value": None if passed is None else float(passed),
                            "passed": passed,
                            "annotator_kind": "CODE",
                            "annotator": "x",
                            "created_at": utc_iso(),
                        }
                    )
    store.execute("DELETE FROM results")
    store.execute("DELETE FROM scores")
    with store.transaction() as connection:
        if results:
            insert_missing(connection, "results", results)
        if scores:
            insert_missing(connection, "scores", scores)


def passed(one: dict[str, Any]) -> bool | None:
    """The verdict of a row, said once more in Python."""
    if one["state"] == "failed":
        return False
    if one["word"] == "missing":
        return None
    given = [one[name] for name in ("label", "word") if one[name] is not None]
    return all(given) if given else None


@given(grids)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_figures_are_what_a_second_implementation_says(
    shared: Store, grid: dict[tuple[str, int], list[dict[str, Any]]]
) -> None:
    fill(shared, grid)
    results = Results(shared, "r", SCORERS)
    last = {key: tries[-1] for key, tries in grid.items()}
    figures = results.by_variant()
    assert set(figures) == {variant for variant, _ in last}
    for variant, found in figures.items():
        own = [one for (name, _), one in last.items() if name == variant]
        judged = [verdict for verdict in map(passed, own) if verdict is not None]
        assert found["result_count"] == len(own)
        assert found["failed_count"] == sum(one["state"] == "failed" for one in own)
        assert (found["judged_count"], found["passed_count"]) == (len(judged), sum(judged))
        times = [one["e2e_ms"] for one in own if one["state"] == "ok"]
        if len(times) < 3:
            assert found["e2e_p50_ms"] is None
        else:
            assert found["e2e_p50_ms"] == pytest.approx(statistics.median(times))
    for variant, paired in results.versus("v0").items():
        pairs = [
            (passed(last["v0", row]), passed(last[variant, row]))
            for row in range(6)
            if ("v0", row) in last and (variant, row) in last
        ]
        assert paired.fixed == pairs.count((False, True))
        assert paired.broke == pairs.count((True, False))
        assert paired.same == pairs.count((True, True)) + pairs.count((False, False))


@given(grids, st.sampled_from(["all", "failures", "different"]), st.sampled_from(["", "BUG", "4"]))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_grid_shows_the_rows_that_it_should_in_pages_that_join_up(
    shared: Store, grid: dict[tuple[str, int], list[dict[str, Any]]], show: str, search: str
) -> None:
    fill(shared, grid)
    last = {key: tries[-1] for key, tries in grid.items()}
    expected = []
    for row in range(6):
        cells = [one for (_, index), one in last.items() if index == row]
        told = {verdict for verdict in map(passed, cells) if verdict is not None}
        outputs = {one["output"] if one["state"] == "ok" else "" for one in cells}
        shown = {
            "all": bool(cells),
            "failures": False in told,
            "different": len(told) > 1 if told else len(outputs) > 1,
        }[show]
        texts = [f"ticket {row}", *(one["output"] for one in cells if one["state"] == "ok")]
        if shown and any(search.lower() in text.lower() for text in texts):
            expected.append(row)
    found: list[int] = []
    after = None
    while True:
        page = Results(shared, "r", SCORERS).grid(
            show=show, search=search, after=after, limit=2, baseline_id="v0"
        )
        found += [row["row_index"] for row in page["rows"]]
        assert page["total_count"] == len(expected)
        for row in page["rows"]:
            for variant, cell in row["cells"].items():
                assert cell["passed"] == passed(last[variant, row["row_index"]])
        after = page["after"]
        if after is None:
            break
    assert found == expected


def test_differences_of_what_is_measured_come_with_intervals(shared: Store) -> None:
    one = {"state": "ok", "output": "x", "label": True, "word": True}
    fill(
        shared,
        {
            (variant, row): [{**one, "e2e_ms": 100.0 + row + shift}]
            for variant, shift in (("v0", 0.0), ("v1", 25.0))
            for row in range(20)
        },
    )
    [latency] = differences(shared, "r", SCORERS, "v0", "v1")
    assert (latency["name"], latency["pair_count"]) == ("end to end", 20)
    assert latency["difference"] == pytest.approx(25)
    assert latency["interval"]["low"] == pytest.approx(25)
    figures = Results(shared, "r", SCORERS).by_variant()
    assert figures["v1"]["e2e_p95_ms"] is not None, "twenty values are enough"


def test_without_a_pass_condition_nothing_is_judged_and_different_means_the_outputs(
    shared: Store,
) -> None:
    one = {"state": "ok", "label": None, "word": None, "e2e_ms": 1.0}
    fill(
        shared,
        {
            ("v0", 0): [{**one, "output": "a"}],
            ("v1", 0): [{**one, "output": "b"}],
            ("v0", 1): [{**one, "output": "a"}],
            ("v1", 1): [{**one, "output": "a"}],
        },
    )
    results = Results(shared, "r", parse_all([{"kind": "length", "name": "words"}]))
    assert results.by_variant()["v0"]["pass_rate"] is None
    assert results.versus("v0") == {}
    assert pass_rates(shared, []) == {}
    page = results.grid(show="different", search="", after=None, limit=9, baseline_id="v0")
    assert [row["row_index"] for row in page["rows"]] == [0]
