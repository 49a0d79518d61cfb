"""The Profile area: what each column holds, and how the signals of the rows are spread.

Knows: tables with small charts, a drawer for one column and one signal. Does not know: how
anything is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from app import charts_profile, curate_job, panels, queries, tables, text, ui
from app.observe import theme
from core.curation.language import NAMES
from core.curation.signals import SIGNALS
from core.datasets.values import text_of
from core.store.database import Row

PARTS = ["profile", "signals"]
WORST = 20
TEXT_SHOWN = 300
BIN_COLUMNS = {"bin": tables.text("Range"), "rows": tables.number("Rows")}
VALUE_COLUMNS = {
    "value": tables.text("Value", width=260),
    "count": tables.number("Rows", width=90),
    "share": tables.percent("Share", width=90),
}


def _spark(label: str, **options: Any) -> Any:
    return st.column_config.BarChartColumn(label, y_min=0, **options)


COLUMNS = {
    "name": tables.text("Column", width=118),
    "role": tables.text("Role", width=74),
    "type": tables.text("Type", width=62),
    "spread": _spark("Spread", width=110, help="Of numbers by value, of text by length"),
    "filled": tables.progress("Filled", width=84, help="Rows with a value that is not blank"),
    "distinct": tables.text("Distinct", width=70),
    "typical": tables.text("Typical", width=95, help="Half of the rows have less: the median"),
    "most": tables.text("95 % / most", width=110, help="95 % of the rows have less / the largest"),
    "tokens": tables.text("Tokens", width=112, help="Median / 95 % / most"),
}
SIGNAL_COLUMNS = {
    "label": tables.text("Signal", width=138),
    "spread": _spark("Spread", width=120),
    "typical": tables.text("Median", width=74),
    "p95": tables.text("95 %", width=74),
    "most": tables.text("Most", width=74),
    "over": tables.number("Over limit", width=82, help="Rows beyond Gopher's limit for it"),
    "meaning": tables.text("What it says", width=275),
}


def show(version: Row) -> None:
    """Draw the area."""
    status = curate_job.status(version)
    profile = queries.read("curation", "profile", version["id"])
    if curate_job.is_running(status):
        curate_job.progress(version["id"])
    elif profile is None:
        _first(version)
    if profile is None:
        return
    _columns(version, profile)
    signals = queries.read("curation", "signals", version["id"])
    if signals is not None:
        _signals(version, signals)
    elif not curate_job.is_running(status):
        curate_job.notes(version, status, PARTS)


def _first(version: Row) -> None:
    rows = text.plural(version["row_count"], "row")
    curation, actor = ui.workbench().curation, ui.actor()
    seconds = curation.estimate(actor, version["id"], detectors=PARTS)["seconds"]
    ui.empty_state(
        "Not profiled yet",
        "Here stands what each column holds: missing and distinct values, lengths in characters "
        "and tokens, labels; and how readable, repetitive and long the rows are. It takes "
        f"{text.about(seconds)}.",
        f"Profile {rows}" if ui.may("datasets.write") else None,
        curate_job.start,
        icon=":material/monitoring:",
        args=(version["id"], PARTS),
        key="profile-first",
    )


def _columns(version: Row, profile: Mapping[str, Any]) -> None:
    st.markdown(f"**Columns** of {text.plural(profile['row_count'], 'row')}")
    key = f"profile-{version['id']}"
    picked = tables.pick(
        [_as_column(column) for column in profile["columns"]],
        COLUMNS,
        key=key,
        alt=f"Columns of {version['label']}: how filled, how varied, how long",
        height="content",
    )
    st.caption(_counted(profile) + " Select a column for its charts.")
    if picked is not None:
        column = next(c for c in profile["columns"] if c["name"] == picked["name"])
        drawer = ui.drawer(text.escape(column["name"]), width="medium", clears=key)
        drawer(column_detail)(column, profile)


def column_detail(column: Mapping[str, Any], profile: Mapping[str, Any]) -> None:
    """One column: its charts, its most frequent values, its numbers."""
    total = profile["row_count"]
    spread = column["histogram"]
    if spread is not None:
        unit = "characters" if spread["of"] == "characters" else column["name"]
        title = "How long the cells are" if spread["of"] == "characters" else "How values spread"
        panels.chart(
            title,
            charts_profile.histogram(spread, unit=unit, theme=theme()),
            rows=[
                {"bin": label, "rows": count}
                for label, count in zip(
                    charts_profile.bin_labels(spread), spread["counts"], strict=True
                )
            ],
            columns=BIN_COLUMNS,
            key="column-spread",
        )
    repeated = [row for row in column["top"] if row["count"] > 1 or column["is_label"]]
    if repeated:
        title = "How often each label occurs" if column["is_label"] else "Most frequent values"
        _values(title, repeated[:20], total, key="column-top", of=column["distinct"])
    ui.facts(_facts(column, total))


def _values(title: str, rows: list[Row], total: int, *, key: str, of: int | None = None) -> None:
    more = None
    if of is not None and of > len(rows) > 1:
        more = f"The {len(rows)} most frequent."
    panels.chart(
        title,
        charts_profile.top_values(rows, total=total, theme=theme()),
        rows=[{**row, "share": row["count"] / max(1, total)} for row in rows],
        columns=VALUE_COLUMNS,
        key=key,
        note=more,
    )


def _signals(version: Row, signals: Mapping[str, Any]) -> None:
    st.markdown("**Signals** of each row's text")
    key = f"signals-{version['id']}"
    listed = [
        _as_signal(name, spread) for name, spread in signals["signals"].items() if spread["rows"]
    ]
    picked = tables.pick(
        listed,
        SIGNAL_COLUMNS,
        key=key,
        alt="Signals of the rows: median, 95th percentile, most, rows over the limit",
        height="content",
    )
    st.caption(
        "Limits of repetition are Gopher's (Rae et al. 2021). Select a signal to see the worst "
        "rows by it."
    )
    if signals["languages"]:
        counted = signals["language_rows"]
        some = counted < signals["row_count"]
        title = "Languages" + (f" of {text.count(counted)} rows, spread evenly" if some else "")
        told = [{**row, "value": NAMES.get(row["value"], row["value"])}
                for row in signals["languages"][:12]]  # fmt: skip
        _values(title, told, max(1, counted), key="signal-languages")
    if picked is not None:
        name = picked["name"]
        drawer = ui.drawer(SIGNALS[name].label, clears=key)
        drawer(signal_detail)(version, name, signals["signals"][name])


def signal_detail(version: Row, name: str, spread: Mapping[str, Any]) -> None:
    """One signal: how it is spread, and the rows at either end."""
    signal = SIGNALS[name]
    st.markdown(text.escape(signal.meaning) + ".")
    if spread["histogram"] is not None:
        panels.chart(
            f"{signal.label} of {text.plural(spread['rows'], 'row')}",
            charts_profile.histogram(
                spread["histogram"], unit=signal.label.lower(), theme=theme(),
                limit=spread["limit"],
            ),
            rows=[
                {"bin": label, "rows": count}
                for label, count in zip(
                    charts_profile.bin_labels(spread["histogram"]),
                    spread["histogram"]["counts"], strict=True,
                )
            ],
            columns=BIN_COLUMNS,
            key="signal-spread",
            note="The dotted line is Gopher's limit." if spread["limit"] is not None else None,
        )  # fmt: skip
    ends = ["Highest", "Lowest"] if signal.worst == "high" else ["Lowest", "Highest"]
    end = st.segmented_control("Rows", ends, default=ends[0], required=True, key="signal-end")
    found = queries.read(
        "curation", "worst_by", version["id"], name, descending=end == "Highest", limit=WORST
    )
    names = [c["name"] for c in version["columns"] if c["role"] == "input"] or [
        c["name"] for c in version["columns"]
    ]
    tables.show(
        [
            {
                "number": row["row_index"] + 1,
                "value": _number(row["_signal"], signal.unit),
                **{column: text.shorten(text_of(row[column]), TEXT_SHOWN) for column in names},
            }
            for row in found
        ],
        {
            "number": tables.number("Row", width=60),
            "value": tables.text(signal.label, width=95),
            **{column: tables.text(column) for column in names},
        },
        alt=f"{end} rows by {signal.label}",
        height="content" if len(found) <= 12 else 460,
    )


def _as_column(column: Mapping[str, Any]) -> Row:
    length = column["length"]
    if length is not None:
        typical = f"{_plain(length['p50'])} chars"
        most = f"{_plain(length['p95'])} / {_plain(length['max'])}"
    elif column["type"] in ("integer", "number"):
        typical = _plain(column["p50"])
        most = f"{_plain(column['p95'])} / {_plain(column['max'])}"
    else:
        typical = most = text.NOTHING
    tokens = column["tokens"]
    return {
        "name": column["name"],
        "role": column["role"],
        "type": column["type"],
        "spread": column["histogram"]["counts"] if column["histogram"] else None,
        "filled": 1 - column["missing"] / max(1, column["row_count"]),
        "distinct": ("" if column["is_exact"] else "≈ ") + text.roughly(column["distinct"]),
        "typical": typical,
        "most": most,
        "tokens": " / ".join(_plain(tokens[part]) for part in ("p50", "p95", "max"))
        if tokens
        else text.NOTHING,
    }


def _as_signal(name: str, spread: Mapping[str, Any]) -> Row:
    signal = SIGNALS[name]
    return {
        "name": name,
        "label": signal.label,
        "meaning": signal.meaning,
        "spread": spread["histogram"]["counts"] if spread["histogram"] else None,
        "typical": _number(spread["p50"], signal.unit),
        "p95": _number(spread["p95"], signal.unit),
        "most": _number(spread["max"], signal.unit),
        "over": spread["over"] if spread["limit"] is not None else None,
    }


def _number(value: float | None, unit: str) -> str:
    return text.percent(value) if unit == "share" else _plain(value)


def _plain(value: float | None) -> str:
    """A number with three figures, a whole one without a point."""
    if value is not None and abs(value) < 1_000 and float(value).is_integer():
        return text.count(int(value))
    return text.significant(value)


def _counted(profile: Mapping[str, Any]) -> str:
    if not profile["token_rows"]:
        return "Tokens are not counted: this workspace has no tokenizer."
    some = ""
    if profile["token_rows"] < profile["row_count"]:
        some = f" in {text.count(profile['token_rows'])} rows, spread evenly"
    return f"Tokens as {text.escape(profile['tokenizer'])} counts them{some}."


def _facts(column: Mapping[str, Any], total: int) -> dict[str, str]:
    found = {
        "Missing": f"{text.count(column['missing'])} of {text.count(total)}",
        "Distinct values": ("" if column["is_exact"] else "about ")
        + text.roughly(column["distinct"]),
    }
    if column["length"] is not None:
        parts = ("min", "p50", "mean", "p95", "max")
        told = (_plain(column["length"][part]) for part in parts)
        found["Characters: least, median, mean, 95 %, most"] = " · ".join(told)
    if column["type"] in ("integer", "number"):
        parts = ("min", "p5", "p50", "mean", "sd", "p95", "max")
        told = (_plain(column[part]) for part in parts)
        found["Least, 5 %, median, mean, sd, 95 %, most"] = " · ".join(told)
    if column["tokens"]:
        told = (_plain(column["tokens"][part]) for part in ("p50", "mean", "p95", "max"))
        found["Tokens: median, mean, 95 %, most"] = " · ".join(told)
    return found
