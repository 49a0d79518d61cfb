"""The head of Compare: one card for each variant, and how sure the difference to the baseline is.

Knows: what the figures of a variant mean in words. Does not know: rows, filters, paging.
"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from app import text, ui, variant_form
from app.compare_grid import LETTERS
from core.evals.statistics import values_needed
from core.generation import Generation
from core.jobs.folder import ENDED
from core.store.database import Row

SURE, QUITE_SURE, DOUBTFUL = 0.001, 0.05, 0.2
BASELINE = ":gray-badge[:material/keep: baseline]"


def cards(
    run: Row, on_baseline: Callable[[str], None], *, on_lost: Callable[[str], None] | None = None
) -> None:
    """A card for each variant, beside each other; two rows of them above four. `on_lost` opens the
    rows that a variant broke, for people to vote on."""
    variants = run["variants"]
    per_row = len(variants) if len(variants) <= 4 else 3
    for begin in range(0, len(variants), per_row):
        columns = st.columns(per_row, gap="small")
        for place, column in enumerate(columns[: len(variants) - begin]):
            with column, st.container(border=True, gap="xsmall", height="stretch"):
                _card(run, begin + place, on_baseline, on_lost)


def surely(versus: Row | None) -> str:
    """The paired test in words, with its p."""
    if versus is None or versus["p_value"] is None:
        return "No row was judged for both: nothing to compare."
    if not versus["fixed"] and not versus["broke"]:
        return "The same verdict on every row: no difference to explain."
    p = versus["p_value"]
    said = f"p = {text.significant(p, 2 if p >= 0.1 else 3)}" if p >= SURE else "p < 0.001"
    if p < SURE:
        return f"This difference is hardly chance ({said})."
    if p < QUITE_SURE:
        return f"This difference is unlikely to be chance ({said})."
    if p < DOUBTFUL:
        return f"This difference could be chance ({said})."
    return f"This difference could well be chance ({said})."


def points(versus: Row) -> str:
    """The difference with its interval, in percentage points: `+12.5 points [3, 22]`."""
    interval = versus["interval"]
    said = f"{_signed(versus['difference'] * 100, 1)} points"
    if interval is None:
        return said
    return f"{said} [{_signed(interval['low'] * 100)}, {_signed(interval['high'] * 100)}]"


def _card(
    run: Row, number: int, on_baseline: Callable[[str], None],
    on_lost: Callable[[str], None] | None,
) -> None:  # fmt: skip
    variant = run["variants"][number]
    is_baseline = variant["id"] == run["baseline_variant_id"]
    badge = f" {BASELINE}" if is_baseline else ""
    st.markdown(f"**{LETTERS[number]} · {text.escape(variant['name'])}**{badge}")
    loads = f"{variant['model_name']} · {variant['engine']} {variant['quantization']}"
    parts = [part for part in (variant["prompt_label"], loads) if not _told(part, variant["name"])]
    parts.append(
        variant_form.generation_label(Generation.from_dict(variant["generation"]), whole=True)
    )
    why = text.escape(variant["spec"].get("why") or "")
    st.caption(
        " · ".join([*map(text.escape, parts[:-1]), parts[-1]]),
        help=f"On {text.escape(variant['device'])}. {why}",
    )
    _rate(variant)
    _figures(variant)
    if is_baseline:
        st.caption("The others are measured against this one.")
    else:
        _versus(variant["versus"])
        broke = (variant["versus"] or {}).get("broke")
        if on_lost is not None and broke and ui.may("votes.write") and run["state"] in ENDED:
            st.button("Vote on the lost rows", key=f"lost-{number}", type="tertiary",
                      icon=":material/how_to_vote:", on_click=on_lost, args=(variant["id"],),
                      help="Blind, over the rows that this variant did not pass")  # fmt: skip
    if not is_baseline and ui.may("runs.write"):
        st.button(
            "Use as baseline",
            key=f"baseline-{number}",
            icon=":material/keep:",
            type="tertiary",
            on_click=ui.guarded(on_baseline),
            args=(variant["id"],),
        )


def _rate(variant: Row) -> None:
    interval, judged = variant["pass_interval"], variant["judged_count"]
    if interval is None:
        st.markdown("### " + text.NOTHING)
        st.caption("Nothing is judged: no scorer of this run decides.")
        return
    low, high = interval["low"] * 100, interval["high"] * 100
    st.markdown(
        f"### {text.percent(variant['pass_rate'])} :gray[:small[\\[{low:.0f}, {high:.0f}\\]]]",
        help=f"{text.count(variant['passed_count'])} of {text.count(judged)} answers passed; "
        "in brackets the 95% interval (Wilson). A failed answer does not pass.",
    )
    st.caption(f"pass rate, n = {text.count(judged)}")


def _versus(versus: Row | None) -> None:
    if versus is not None and versus["difference"] is not None:
        st.markdown(
            f":green[▲ {text.count(versus['fixed'])} fixed] "
            f":red[▼ {text.count(versus['broke'])} broke]",
            help="Rows that failed with the baseline and pass now; that passed and fail now; with "
            f"the same verdict. Difference: {points(versus)}, 95%. Exact McNemar test.",
        )
    same = f"{text.count(versus['same'])} the same. " if versus and versus["same"] else ""
    st.caption(same + surely(versus))


def _figures(variant: Row) -> None:
    failed = text.count(variant["failed_count"])
    compute = variant["compute_s"]
    figures = {
        "p50 / p95": latencies(variant["e2e_p50_ms"], variant["e2e_p95_ms"]),
        "Speed": text.rate(variant["tokens_per_s"]),
        "Compute": text.seconds(compute),
        "Errors": f":red[:material/error: {failed}]" if variant["failed_count"] else failed,
    }
    for score in variant["scores"]:
        figures[text.escape(score["name"])] = _score(score)
    ui.facts(figures)


def _score(score: Row) -> str:
    if score["pass_rate"] is not None:
        return f"{text.percent(score['pass_rate'])} of {text.count(score['judged_count'])}"
    if score["mean"] is None:
        return text.NOTHING
    return f"mean {text.significant(score['mean'])}"


def latencies(p50: float | None, p95: float | None) -> str:
    """`229 / 422 ms`, each with its own unit where they differ, or how few values there are."""
    shown = [
        f"n < {values_needed(q)}" if value is None else text.milliseconds(value)
        for q, value in ((0.5, p50), (0.95, p95))
    ]
    first, second = (one.rpartition(" ") for one in shown)
    if first[2] == second[2] and p50 is not None and p95 is not None:
        shown[0] = first[0]
    return " / ".join(shown)


def _told(part: str, name: str) -> bool:
    """Whether a name, made of prompt and model where nobody gave one, says it already."""
    return all(word in name for word in part.split())


def _signed(value: float, decimals: int = 0) -> str:
    return f"{value:+.{decimals}f}".replace("-", "−")
