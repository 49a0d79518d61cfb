"""Jobs: what works in the background, how far it is, and how to stop it or go on."""

from __future__ import annotations

import streamlit as st

from app import tables, text, ui
from core.clock import utc_now
from core.jobs.folder import ENDED, STATES
from core.jobs.kinds import KINDS
from core.store.database import Row

LIMIT = 200
COLOURS = {name: text.STATES[name][1] for name in STATES}
COLUMNS = {
    "title": tables.text("Job", width="medium", pinned=True),
    "kind": tables.text("Kind", width="small"),
    "state": tables.badges("State", COLOURS, width="small"),
    "share": tables.progress("Progress", width="small"),
    "left": tables.text("Left", width="small", help="Time that is left, where the job can tell"),
    "message": tables.text("Now", width="medium"),
    "took": tables.text("Took", width="small"),
    "created_at": tables.time("Created", width="small"),
}


def took(job: Row) -> str:
    if job["started_at"] is None:
        return text.NOTHING
    end = job["ended_at"] or utc_now()
    return text.seconds(max(0.0, round((end - job["started_at"]).total_seconds(), 1)))


def as_shown(job: Row) -> Row:
    total = job["progress_total"]
    running = job["state"] == "running"
    eta_s = ui.workbench().jobs.get(ui.actor(), job["id"])["eta_s"] if running else None
    return {
        **job,
        "state": [job["state"]],
        "share": job["progress_done"] / total if total else None,
        "left": text.seconds(eta_s),
        "took": took(job),
    }


def cancel(job_id: str) -> None:
    ui.workbench().jobs.cancel(ui.actor(), job_id)
    ui.done("Asked to stop: it ends after the row it is at")


def resume(job_id: str) -> None:
    ui.workbench().jobs.resume(ui.actor(), job_id)
    ui.done("Queued again: what is done is not computed again")


@st.fragment(run_every=1.5)
def live_detail(job_id: str) -> None:
    jobs, actor = ui.workbench().jobs, ui.actor()
    job = jobs.get(actor, job_id)
    total, done = job["progress_total"], job["progress_done"]
    st.subheader(text.escape(job["title"]), anchor=False)
    st.markdown(f"{text.state_badge(job['state'])} {text.escape(job['message'] or '')}")
    if total:
        left = f", {text.seconds(job['eta_s'])} left" if job["eta_s"] else ""
        st.progress(min(1.0, done / total), f"{text.count(done)} of {text.count(total)}{left}")
    if job["error"]:
        error = job["error"]
        parts = [f"**{text.escape(error['title'])}**", text.escape(error["message"])]
        parts += [text.escape(error["hint"])] if error.get("hint") else []
        st.error("  \n".join(parts), icon=":material/error:")
    if ui.may("jobs.write"):
        if job["state"] not in ENDED:
            st.button(
                "Cancel job",
                icon=":material/stop:",
                key="cancel",
                on_click=ui.guarded(cancel),
                args=(job_id,),
                help="What is done is kept; resume goes on from there.",
            )
        elif job["state"] != "succeeded":
            st.button(
                "Resume job",
                icon=":material/play_arrow:",
                key="resume",
                type="primary",
                on_click=ui.guarded(resume),
                args=(job_id,),
                help="Does what has no result yet; nothing is computed twice.",
            )
    ui.facts(
        {
            "Kind": job["kind"],
            "Attempt": str(job["attempt"]),
            "Created": text.absolute(job["created_at"]),
            "Started": text.absolute(job["started_at"]),
            "Ended": text.absolute(job["ended_at"]),
            "Took": took(job),
            "Id": f"`{job['id']}`",
        }
    )
    st.markdown("**Log**")
    lines = [
        f"{e['at'][11:19]}  {e['text']}" for e in jobs.events(actor, job_id) if e["kind"] == "log"
    ]
    printed = jobs.log(actor, job_id).strip()
    tail = "\n".join([*lines[-100:], *([printed] if printed else [])])
    st.code(tail or "Nothing was logged.", language=None, height=260, wrap_lines=True)


@ui.drawer("Job", on_dismiss="rerun")
def detail(job_id: str) -> None:
    live_detail(job_id)


@st.fragment(run_every=2)
def live_list() -> None:
    jobs, actor = ui.workbench().jobs, ui.actor()
    with st.container(horizontal=True, gap="small"):
        state = st.selectbox(
            "State",
            STATES,
            index=None,
            placeholder="All states",
            key="state",
            bind="query-params",
            width=220,
        )
        kind = st.selectbox(
            "Kind",
            list(KINDS),
            index=None,
            placeholder="All kinds",
            key="kind",
            bind="query-params",
            width=220,
        )
    rows = [as_shown(job) for job in jobs.list(actor, state=state, kind=kind, limit=LIMIT)]
    if not rows and not (state or kind):
        ui.empty_state(
            "No jobs yet",
            "Runs, conversions and measurements work here in processes of their own: they outlive "
            "this page, show how far they are, and go on after a stop.",
            icon=":material/checklist:",
        )
        return
    if not rows:
        st.info("No job matches these filters.", icon=":material/filter_alt:")
        return
    picked = tables.pick(rows, COLUMNS, key="job", alt="Jobs, newest first", height="content")
    if picked is not None and st.session_state.get("job-open") != picked["id"]:
        st.session_state["job-open"] = picked["id"]
        st.rerun()
    if picked is None:
        st.session_state.pop("job-open", None)
    if len(rows) == LIMIT:
        st.caption(f"The newest {LIMIT}. Filter to see others.")


page = ui.page(
    "Jobs", "What works in the background, how far it is, and what became of it.", key="jobs"
)
live_list()
