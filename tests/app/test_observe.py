"""The Observe pages over real traces: figures, filters from the URL, the drawer by its link."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app import observe
from core.clock import utc_now
from core.monitoring.traces import Trace
from core.workbench import OWNER, Workbench
from tests.monitoring.synthetic import fill
from tests.pages_runner import Pages

PAGES = ("overview", "latency", "quality", "traces")


@pytest.fixture
def week(workbench: Workbench) -> Workbench:
    """1,000 traces of the last days, with texts and scores."""
    fill(workbench.store, 1_000, end=utc_now(), span=timedelta(days=3), texts=True, scores=True)
    return workbench


@pytest.mark.parametrize("name", PAGES)
def test_an_empty_workspace_is_invited_to_the_playground(pages: Pages, name: str) -> None:
    page = pages.open(name)
    assert not page.exception
    assert [button.label for button in page.button] == ["Open the playground"]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_draws_itself_over_real_traces(pages: Pages, week: Workbench, name: str) -> None:
    page = pages.open(name, period="7d")
    assert not page.exception
    assert not page.error


@pytest.mark.parametrize("name", PAGES)
def test_a_reviewer_may_not_look(pages: Pages, week: Workbench, name: str) -> None:
    page = pages.open(name, role="reviewer")
    assert "does not permit" in page.error[0].value
    assert not page.metric


def test_filters_come_from_the_url(pages: Pages, week: Workbench) -> None:
    everything = pages.open("overview", period="7d")
    only = pages.open("overview", period="7d", model_is="Qwen3-0.6B")
    assert everything.metric[0].value == "1,000"
    rows = week.store.row("SELECT count(*) AS n FROM traces WHERE model_name = 'Qwen3-0.6B'")
    assert rows == {"n": int(only.metric[0].value)}


def test_filters_that_leave_nothing_say_so(pages: Pages, week: Workbench) -> None:
    page = pages.open("traces", period="7d", q="no such words")
    assert "matches these filters" in page.info[0].value


def test_older_and_newer_page_through_the_list(pages: Pages, week: Workbench) -> None:
    page = pages.open("traces", period="7d")
    assert page.button("newer").disabled
    first = page.dataframe[0].value
    page.button("older").click().run()
    assert "**41 to 80** of 1,000 requests" in [text.value for text in page.markdown][-1]
    assert page.dataframe[0].value["input_preview"][0] != first["input_preview"][0]
    page.button("newer").click().run()
    assert page.dataframe[0].value["input_preview"][0] == first["input_preview"][0]


def test_a_link_to_a_trace_opens_its_drawer(pages: Pages, workbench: Workbench) -> None:
    trace_id = workbench.traces.record(
        OWNER,
        Trace(
            started_at=utc_now(),
            source="playground",
            state="failed",
            error="the *worker* died",
            model_name="starter",
            messages=({"role": "user", "content": "Where is my parcel?"},),
            output="On its",
            e2e_ms=40.0,
        ),
    )
    workbench.ingest.drain()
    page = pages.open("traces", trace=trace_id)
    assert not page.exception
    assert page.error[0].value == r"the \*worker\* died"
    texts = [code.value for code in page.code]
    assert "Where is my parcel?" in texts
    assert "On its" in texts
    assert any(trace_id in text for text in texts)  # copy as Python


def test_a_link_to_a_trace_that_is_gone_says_so(pages: Pages, week: Workbench) -> None:
    page = pages.open("traces", trace="trace_gone")
    assert "no trace with the id" in page.error[0].value


def test_targets_decide_the_goodput(pages: Pages, week: Workbench) -> None:
    loose = pages.open("latency", period="7d", ttft_target="600000", tpot_target="60000")
    strict = pages.open("latency", period="7d", ttft_target="1", tpot_target="1")
    assert float(loose.metric[0].value.split()[0]) > 95
    assert strict.metric[0].value == "0.0 %"


@pytest.mark.parametrize(
    ("now", "before", "said"),
    [
        (12, 10, "+20 %"), (5, 10, "-50 %"), (10, 10, 0), (0, 10, "-100 %"),
        (5, 0, None), (None, 3, None), (3, None, None), (500, 10, "+50×"),
    ],
)  # fmt: skip
def test_a_change_is_said_against_the_period_before(
    now: float | None, before: float | None, said: float | str | None
) -> None:
    assert observe.change(now, before) == said


def test_rates_differ_only_when_their_intervals_do_not_meet() -> None:
    high, low = {"low": 0.8, "high": 0.9}, {"low": 0.6, "high": 0.79}
    assert observe.differ(high, low)
    assert observe.differ(low, high)
    assert not observe.differ(high, {"low": 0.7, "high": 0.85})
    assert not observe.differ(high, None)


@pytest.mark.parametrize(
    ("number", "said"), [(845, "845"), (9_999, "9,999"), (12_345, "12.3 k"), (4_560_000, "4.56 M")]
)
def test_large_counts_are_said_shortly(number: int, said: str) -> None:
    assert observe.compact(number) == said
