"""The drawer of one trace: what was asked and answered, and where the time went.

Knows: how a trace is laid out, `?trace=ID`. Does not know: which list led here.

    row = tables.pick(rows, ..., key=trace_drawer.list_key("traces"))
    trace_drawer.show(row)                         # last thing on the page
"""

from __future__ import annotations

import json
from typing import Any

import streamlit as st

from app import charts, observe, panels, tables, text, ui
from core.store.database import Row

SPAN_COLUMNS = {
    "name": tables.text("Span"),
    "after": tables.text("Starts after", width="small"),
    "took": tables.text("Takes", width="small"),
    "attributes": tables.text("Attributes", width="large"),
}


def list_key(name: str) -> str:
    """A key for the list; it changes when the drawer closes, which takes the selection away."""
    return f"{name}-{st.session_state.get('trace-closed', 0)}"


def show(picked: Row | None) -> None:
    """Open the drawer for the row that was just picked, else for the trace that the URL names."""
    if picked is not None:
        ui.set_params(trace=picked["id"])
    trace_id = picked["id"] if picked is not None else ui.param("trace")
    if trace_id is not None:
        drawer(trace_id)


def close() -> None:
    """Forget the trace in the URL and the selection in the list."""
    ui.set_params(trace=None)
    st.session_state["trace-closed"] = st.session_state.get("trace-closed", 0) + 1


@ui.drawer("Trace", width=780, on_dismiss=close)
def drawer(trace_id: str) -> None:
    """Head, metrics, waterfall, texts."""
    with ui.errors(stop=True):
        trace = ui.workbench().traces.get(ui.actor(), trace_id)
    _head(trace)
    _figures(trace)
    _time(trace)
    _texts(trace)
    _more(trace)


def _head(trace: Row) -> None:
    parts = [text.state_badge(trace["state"])]
    parts += [
        f":gray-badge[{text.escape(str(trace[name]))}]"
        for name in ("model_name", "quantization", "engine", "device", "prompt_label", "source")
        if trace[name]
    ]
    st.markdown(" ".join(parts))
    st.caption(f"{text.relative(trace['started_at'])} · {text.absolute(trace['started_at'])}")
    if trace["error"]:
        st.error(text.escape(trace["error"]), icon=":material/error:")


def _figures(trace: Row) -> None:
    tokens_per_s = 1000 / trace["tpot_ms"] if trace["tpot_ms"] else None
    ui.metric_strip(
        [
            ui.Metric("E2E", text.milliseconds(trace["e2e_ms"]), help="The whole request"),
            ui.Metric(
                "TTFT",
                text.milliseconds(trace["ttft_ms"]),
                help="Request sent to first non-empty token",
            ),
            ui.Metric(
                "TPOT",
                text.milliseconds(trace["tpot_ms"]),
                help=f"(E2E − TTFT) / (output tokens − 1); {text.rate(tokens_per_s)}",
            ),
            ui.Metric(
                "Tokens in / out",
                f"{text.count(trace['prompt_token_count'])} / "
                f"{text.count(trace['completion_token_count'])}",
                help=f"It ended by: {trace['finish_reason'] or 'no reason given'}",
            ),
        ]
    )


def _time(trace: Row) -> None:
    spans = trace["spans"]
    if spans:
        st.markdown("**Where did the time go?**")
        st.plotly_chart(
            charts.waterfall(spans, theme=observe.theme()), theme=None, key="trace-waterfall",
            config=panels.CONFIG,
            alt="; ".join(f"{s['name']} {text.milliseconds(s['duration_ms'])}" for s in spans),
        )  # fmt: skip
    if trace["itl_ms"]:
        st.markdown(
            f"**How even was the stream?** Gaps: median {text.milliseconds(trace['itl_p50_ms'])}, "
            f"p95 {text.milliseconds(trace['itl_p95_ms'])}, "
            f"longest {text.milliseconds(trace['itl_max_ms'])}"
        )
        st.plotly_chart(
            charts.gaps(trace["itl_ms"], theme=observe.theme()), theme=None, key="trace-gaps",
            config=panels.CONFIG, alt="Every gap between two tokens, in order",
        )  # fmt: skip


def _texts(trace: Row) -> None:
    answer, messages, rendered, parameters, spans = st.tabs(
        ["Output", "Messages", "Exact prompt", "Parameters", "Spans"]
    )
    with answer:
        _text(trace["output"], "No output was recorded.")
    with messages:
        for message in trace["messages"] or []:
            st.caption(str(message.get("role", "")))
            _text(_content(message.get("content")), "Empty.")
        if not trace["messages"]:
            st.caption("No messages were recorded.")
    with rendered:
        st.caption("What the model read, after its chat template.")
        _text(trace["rendered_prompt"], "This engine does not tell its chat template's output.")
    with parameters:
        if trace["generation"]:
            ui.facts({name: _plain(value) for name, value in trace["generation"].items()})
        else:
            st.caption("No generation parameters were recorded.")
    with spans:
        tables.show(_span_rows(trace), SPAN_COLUMNS, alt="Spans of this trace", height="content")


def _more(trace: Row) -> None:
    named = {
        "Trace": trace["id"],
        "Finish reason": trace["finish_reason"],
        "Run": trace["run_id"],
        "Variant": trace["variant_id"],
        "Row": trace["row_id"],
        "User": trace["user_id"],
        "Conversation": trace["conversation_id"],
    }
    ui.facts({name: f"`{value}`" for name, value in named.items() if value})
    if trace["run_id"] and st.button(
        "Compare the answers of its run", icon=":material/compare:", key="trace-run"
    ):
        st.switch_page("../pages/compare.py", query_params={"run": trace["run_id"]})
    with st.expander("Copy as Python"):
        st.code(
            "from core.workbench import OWNER, Workbench\n\n"
            "with Workbench.open() as workbench:\n"
            f'    trace = workbench.traces.get(OWNER, "{trace["id"]}")\n',
            language="python",
        )


def _span_rows(trace: Row) -> list[Row]:
    begin = trace["started_at"]
    return [
        {
            "name": span["name"],
            "after": text.milliseconds((span["started_at"] - begin).total_seconds() * 1000),
            "took": text.milliseconds(span["duration_ms"]),
            "attributes": ", ".join(f"{k} = {v}" for k, v in span["attributes"].items()),
        }
        for span in trace["spans"]
    ]


def _text(value: str | None, missing: str) -> None:
    if value:
        st.code(value, language=None, wrap_lines=True)
    else:
        st.caption(missing)


def _content(content: Any) -> str:
    """Plain text as it is, parts (images, tool calls) as JSON."""
    if content is None or isinstance(content, str):
        return content or ""
    return json.dumps(content, ensure_ascii=False, indent=1)


def _plain(value: Any) -> str:
    return text.NOTHING if value in (None, []) else f"`{value}`"
