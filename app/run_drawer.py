"""The drawer of one run: how far it is, what it asked, and how to stop it or go on.

Knows: the run's states and what can be done in each, `?run=ID`. Does not know: which list led here.
"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from app import tables, text, ui, variant_form
from core.generation import Generation
from core.governance.permissions import OWNER
from core.jobs.folder import ENDED
from core.store.database import Row

VARIANT_COLUMNS = {
    "name": tables.text("Variant", width=270),
    "loads": tables.text("Engine", width=150),
    "parameters": tables.text("Parameters", width=150),
    "pass_rate": tables.text("Pass rate", width=130),
    "failed_count": tables.number("Failed", width=60),
}


def show(run_id: str, on_clone: Callable[[str], None]) -> None:
    """Draw it; by the clock while the run goes on.

    An ended run has no clock: a tick that meets the switch to another page empties that page.
    """
    with ui.errors(stop=True):
        going = ui.workbench().runs.get(ui.actor(), run_id)["state"] not in ENDED
    st.fragment(_draw, run_every=1.5 if going else None)(run_id, on_clone, going)


def _draw(run_id: str, on_clone: Callable[[str], None], going: bool) -> None:
    with ui.errors(stop=True):
        run = ui.workbench().runs.summary(ui.actor(), run_id)
    if going and run["state"] in ENDED:
        st.rerun()
    progress(run)
    _actions(run, on_clone)
    tables.show(
        [_variant_row(variant) for variant in run["variants"]],
        VARIANT_COLUMNS,
        alt="The variants of this run",
        height="content",
    )
    ui.facts(
        {
            "Dataset": text.escape(run["dataset_label"]),
            "Rows": text.count(run["row_count"]),
            "Scorers": text.escape(", ".join(s["name"] for s in run["scorers"])) or "none",
            "Created": text.absolute(run["created_at"]),
            "Started": text.absolute(run["started_at"]),
            "Ended": text.absolute(run["ended_at"]),
            "Job": f"`{run['job_id']}`",
            "Id": f"`{run['id']}`",
        }
    )
    with st.expander("Copy as Python"):
        st.code(
            "from core.workbench import OWNER, Workbench\n\n"
            "with Workbench.open() as workbench:\n"
            f'    summary = workbench.runs.summary(OWNER, "{run["id"]}")\n',
            language="python",
        )


def progress(run: Row) -> None:
    """State, bar and remaining time; what went wrong."""
    message = text.escape(run["progress_message"] or "")
    st.markdown(f"{text.state_badge(run['state'] or 'queued')} {message}")
    total, done = run["progress_total"], run["progress_done"] or 0
    if total and run["state"] != "succeeded":
        left = f", {text.seconds(run['eta_s'])} left" if run["eta_s"] else ""
        st.progress(
            min(1.0, done / total), f"{text.count(done)} of {text.count(total)} answers{left}"
        )
    if run["error"]:
        error = run["error"]
        ui.error_box(error["title"], error["message"], error.get("hint"))


def failed_count(run: Row) -> int:
    """Answers that failed, of all variants."""
    return sum(variant["failed_count"] for variant in run["variants"])


def who(run: Row) -> str:
    """Who started it, as people say it."""
    return OWNER.name if run["created_by"] == OWNER.id else str(run["created_by_name"])


def _actions(run: Row, on_clone: Callable[[str], None]) -> None:
    with st.container(horizontal=True, gap="small"):
        if st.button("Compare", type="primary", icon=":material/compare:", key="run-compare"):
            st.switch_page("../pages/compare.py", query_params={"run": run["id"]})
        if not ui.may("runs.write"):
            return
        if run["state"] not in ENDED:
            _button("Cancel run", "stop", _cancel, run["job_id"],
                    "Stops after the rows it is at. What is done is kept.")  # fmt: skip
        elif run["state"] != "succeeded":
            _button("Resume run", "play_arrow", _resume, run["job_id"],
                    "Asks what has no answer yet; nothing is computed twice.")  # fmt: skip
        elif failed_count(run):
            label = f"Retry {text.plural(failed_count(run), 'failed row')}"
            _button(label, "replay", _retry, run["id"],
                    "Asks only those again; the failed attempts are kept.")  # fmt: skip
        if st.button("Clone", icon=":material/content_copy:", key="run-clone",
                     help="A new run that begins with the values of this one"):  # fmt: skip
            on_clone(run["id"])
            st.rerun()
        if run["state"] in ENDED:
            ui.confirm(
                "Archive",
                "It leaves the list. Its answers and traces stay readable.",
                _archive,
                key="run-archive",
                args=(run["id"],),
            )


def _button(label: str, icon: str, act: Callable[[str], None], one: str, help: str) -> None:
    st.button(
        label, icon=f":material/{icon}:", key=act.__name__, help=help, on_click=ui.guarded(act),
        args=(one,),
    )  # fmt: skip


def _cancel(job_id: str) -> None:
    ui.workbench().jobs.cancel(ui.actor(), job_id)
    ui.done("Asked to stop: it ends after the rows it is at")


def _resume(job_id: str) -> None:
    ui.workbench().jobs.resume(ui.actor(), job_id)
    ui.done("Queued again: what is done is not computed again")


def _retry(run_id: str) -> None:
    count = ui.workbench().runs.retry_failed(ui.actor(), run_id)
    ui.done(f"Asking {text.plural(count, 'failed row')} again")


def _archive(run_id: str) -> None:
    ui.workbench().runs.archive(ui.actor(), run_id)
    ui.set_params(run=None)
    ui.done("Run archived")


def _variant_row(variant: Row) -> Row:
    interval = variant["pass_interval"] or {}
    return {
        **variant,
        "loads": f"{variant['engine']} {variant['quantization']} on {variant['device']}",
        "parameters": variant_form.generation_label(
            Generation.from_dict(variant["generation"]), whole=True
        ),
        "pass_rate": text.percent_interval(
            variant["pass_rate"], interval.get("low"), interval.get("high")
        )
        if variant["judged_count"]
        else text.NOTHING,
    }
