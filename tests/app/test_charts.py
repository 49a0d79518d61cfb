"""Figures from rows alone: gaps, pale buckets, stable colours, one look for both themes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import chart_style, charts

HOUR = timedelta(hours=1)
NOON = datetime.fromisoformat("2026-03-01T12:00:00")
LATER = NOON + timedelta(days=9)
THEMES = get_args(chart_style.Theme)


def buckets(count: int, **values: Any) -> list[dict[str, Any]]:
    """Hourly rows from noon on; a list gives one value per row."""
    return [
        {
            "bucket": NOON + n * HOUR,
            "series": "all",
            **{k: v[n] if isinstance(v, list) else v for k, v in values.items()},
        }
        for n in range(count)
    ]


def drawn(**changes: Any) -> dict[str, Any]:
    return {"bucket": HOUR, "now": LATER, "theme": "light", **changes}


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES)
def test_texts_can_be_read_on_the_page(theme: chart_style.Theme) -> None:
    ink = chart_style.INK[theme]
    for name in ("text", "muted", "accent"):
        assert contrast(ink[name], ink["paper"]) >= 4.5


def test_the_palette_is_the_one_of_the_theme() -> None:
    import tomllib

    from core.settings import PROJECT_ROOT

    config = tomllib.loads((PROJECT_ROOT / ".streamlit" / "config.toml").read_text())
    for theme in THEMES:
        assert list(chart_style.PALETTE[theme]) == config["theme"][theme]["chartCategoricalColors"]
        assert chart_style.INK[theme]["paper"] == config["theme"][theme]["backgroundColor"]
        assert chart_style.INK[theme]["text"] == config["theme"][theme]["textColor"]


@given(st.lists(st.text(min_size=1), min_size=1, max_size=20, unique=True), st.integers(0, 20))
def test_a_model_keeps_its_colour_when_others_come(names: list[str], known: int) -> None:
    before = chart_style.model_colours(names[:known], "light")
    after = chart_style.model_colours(names, "light")
    assert all(after[name] == colour for name, colour in before.items())


def test_a_model_has_the_same_place_in_both_palettes() -> None:
    light, dark = (chart_style.model_colours(["a", "b"], theme) for theme in THEMES)
    assert chart_style.PALETTE["light"].index(light["b"]) == chart_style.PALETTE["dark"].index(
        dark["b"]
    )


def test_requests_are_stacked_by_how_they_ended() -> None:
    rows = buckets(2, request_count=[10, 4], error_count=[1, 0], cancelled_count=0)
    figure = charts.request_counts(rows, **drawn())
    assert {bar.name: list(bar.y) for bar in figure.data} == {
        "Succeeded": [9, 4],
        "Failed": [1, 0],
    }
    assert figure.layout.barmode == "stack"
    assert figure.layout.template.layout.yaxis.rangemode == "tozero"


def test_the_unfinished_bucket_is_pale() -> None:
    rows = buckets(3, request_count=5, error_count=0, cancelled_count=0)
    figure = charts.request_counts(rows, **drawn(now=NOON + 2.5 * HOUR))
    assert list(figure.data[0].marker.opacity) == [1.0, 1.0, chart_style.PALE]


def test_a_missing_percentile_breaks_its_line() -> None:
    rows = buckets(3, n=[500, 4, 500], p50=[10.0, 11.0, 12.0], p95=[20.0, None, 22.0], p99=None)
    figure = charts.percentiles(rows, **drawn())
    p95 = next(line for line in figure.data if line.name == "p95")
    assert list(p95.y) == [20.0, None, 22.0]
    assert p95.connectgaps is False
    assert "n 500" in p95.text[0]


def test_the_unfinished_end_of_a_line_is_drawn_again_pale_and_joined() -> None:
    rows = buckets(3, n=100, p50=[1.0, 2.0, 3.0], p95=[1.0, 2.0, 3.0], p99=None)
    figure = charts.percentiles(rows, **drawn(now=NOON + 2.5 * HOUR))
    solid, pale = [line for line in figure.data if line.name == "p95"]
    assert list(solid.y) == [1.0, 2.0]
    assert list(pale.y) == [2.0, 3.0]
    assert pale.opacity == chart_style.PALE
    assert "still filling" in pale.text[1]


@pytest.mark.parametrize(("slowest", "unit", "drawn_as"), [(1_500.0, "ms", 1_500), (4e3, "s", 4)])
def test_long_durations_are_drawn_in_seconds(slowest: float, unit: str, drawn_as: float) -> None:
    figure = charts.percentiles(buckets(1, n=100, p50=1.0, p95=slowest, p99=None), **drawn())
    assert figure.layout.yaxis.title.text == unit
    assert figure.data[1].y[0] == drawn_as


def test_models_have_their_colours_and_other_series_differ_in_dash() -> None:
    rows = [
        {**row, "series": name}
        for name in ("a", "b", "c")
        for row in buckets(2, n=100, p95=[1.0, 2.0])
    ]
    known = charts.latency_by(rows, colours={"a": "#111111", "b": "#222222"}, **drawn())
    assert [line.line.color for line in known.data][:2] == ["#111111", "#222222"]
    unknown = charts.latency_by(rows, colours={}, **drawn())
    assert len({(line.line.color, line.line.dash) for line in unknown.data}) == 3


def test_pass_rates_have_bands_that_break_where_the_rate_does() -> None:
    rows = buckets(
        5,
        n=20,
        rate=[0.5, 0.6, None, 0.7, 0.8],
        low=[0.4, 0.5, None, 0.6, 0.7],
        high=[0.6, 0.7, None, 0.8, 0.9],
    )
    figure = charts.pass_rates(rows, colours={}, **drawn())
    bands = [trace for trace in figure.data if trace.fill == "toself"]
    assert [len(band.x) for band in bands] == [4, 4]
    assert list(bands[0].y) == [0.6, 0.7, 0.5, 0.4]
    assert figure.layout.yaxis.range[0] == 0


def test_neighbouring_marks_share_a_label_and_show_names_as_typed() -> None:
    rows = buckets(24, n=100, p50=1.0, p95=1.0, p99=1.0)
    marks = [
        {"label": "<b>x</b> v1", "first_at": NOON + HOUR},
        {"label": "y v1", "first_at": NOON + 1.5 * HOUR},
        {"label": "y v2", "first_at": NOON + 12 * HOUR},
    ]
    labels = charts.percentiles(rows, marks=marks, **drawn()).layout.annotations
    assert [label.text for label in labels] == ["&lt;b>x&lt;/b> v1 +1", "y v2"]


def test_the_time_axis_shows_the_whole_window_even_when_it_is_empty() -> None:
    rows = buckets(24, request_count=0, error_count=0, cancelled_count=0)
    figure = charts.request_counts(rows, **drawn())
    assert list(figure.layout.xaxis.range) == [NOON, NOON + 24 * HOUR]
    assert list(figure.data[0].y) == [0] * 24


def test_a_waterfall_starts_every_span_at_its_own_time() -> None:
    spans = [
        {"name": "request", "started_at": NOON, "duration_ms": 100.0},
        {"name": "decode", "started_at": NOON + timedelta(milliseconds=40), "duration_ms": 60.0},
    ]
    figure = charts.waterfall(spans, theme="dark")
    assert list(figure.data[0].base) == [0.0, 40.0]
    assert list(figure.data[0].x) == [100.0, 60.0]
    assert figure.layout.yaxis.autorange == "reversed"


def test_gaps_are_numbered_by_the_token_they_came_before() -> None:
    figure = charts.gaps([10.0, 30.0], theme="light")
    assert list(figure.data[0].x) == [2, 3]


def test_met_and_missed_add_up_to_all_requests() -> None:
    figure = charts.met(buckets(2, request_count=[5, 3], met_count=[4, 0]), **drawn())
    assert [list(bar.y) for bar in figure.data] == [[4, 0], [1, 3]]
