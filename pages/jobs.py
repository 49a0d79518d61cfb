"""Jobs: what works in the background, how far it is, and how to stop it or go on."""

from __future__ import annotations

import streamlit as st

from app import tables, text, ui
from core.clock import utc_now
from core.jobs.folder import ENDED, STATES
from core.jobs.kinds import KINDS
from core.store.database import Row

LIMIT = 200
TABLE, OPEN = "job", "job-open"  # the table's key, and which job the drawer shows
COLOURS = {name: text.STATES[name][1] for name in STATES}
COLUMNS = {
    "title": tables.text("Job", width=210),
    "state": tables.badges("State", COLOURS, width=106),
    "share": tables.progress("Progress", width=100),
    "left": tables.text("Left", width=80, help="Time that is left, where the job can tell"),
    "message": tables.text("Now", width=160),
    "took": tables.text("Took", width=90),
    "created_at": tables.time("Created", width=112),
}


def took(job: Row) -> str:
    if job["started_at"] is None:
        return text.NOTHING
    end = job["ended_at"] or utc_now()
    return text.seconds(max(0.0, round((end - job["started_at"]).total_seconds(), 1)))


def remaining_s(job: Row) -> float | None:
    """What the job says itself, else the pace so far; a resumed job's pace would mislead."""
    done, total, started = job["progress_done"], job["progress_total"], job["started_at"]
    if job["eta_s"] is not None or job["state"] != "running":
        return job["eta_s"] if job["state"] == "running" else None
    if not done or not total or started is None or job["attempt"] > 1:
        return None
    return (utc_now() - started).total_seconds() / done * (total - done)


def as_shown(job: Row) -> Row:
    total = job["progress_total"]
    running = job["state"] == "running"
    eta_s = remaining_s(ui.workbench().jobs.get(ui.actor(), job["id"])) if running else None
    return {
        **job,
        "state": [job["state"]],
        "share": round(job["progress_done"] / total, 2) if total else None,
        "left": text.seconds(eta_s),
        "took": took(job),
    }


def close() -> None:
    st.session_state[OPEN] = None
    tables.unpick(TABLE)


def act(job: Row) -> None:
    jobs, actor = ui.workbench().jobs, ui.actor()
    if job["state"] not in ENDED:
        st.caption("Cancelling keeps what is done; resume goes on from there.")
        if st.button("Cancel job", icon=":material/stop:", key="cancel"):
            with ui.errors():
                jobs.cancel(actor, job["id"])
                st.toast("Asked to stop: it ends after what it is at", icon=":material/stop:")
    elif job["state"] != "succeeded":
        st.caption("Resuming does what has no result yet; nothing is computed twice.")
        if st.button("Resume job", icon=":material/play_arrow:", key="resume", type="primary"):
            with ui.errors():
                jobs.resume(actor, job["id"])
                st.rerun(scope="fragment")


@st.fragment(run_every=1.5)
def live_detail(job_id: str) -> None:
    jobs, actor = ui.workbench().jobs, ui.actor()
    job = jobs.get(actor, job_id)
    total, done = job["progress_total"], job["progress_done"]
    st.markdown(f"{text.state_badge(job['state'])} {text.escape(job['message'] or '')}")
    if total:
        eta_s = remaining_s(job)
        left = f", about {text.seconds(eta_s)} left" if eta_s else ""
        st.progress(min(1.0, done / total), f"{text.count(done)} of {text.count(total)}{left}")
    if job["error"]:
        error = job["error"]
        ui.error_box(error["title"], error["message"], error.get("hint"))
    if ui.may("jobs.write"):
        act(job)
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
    if tail:
        st.code(tail, language=None, height=260, wrap_lines=True)
    else:
        st.caption("Nothing was logged.")


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
    picked = tables.pick(rows, COLUMNS, key=TABLE, alt="Jobs, newest first", height="content")
    if picked is not None and st.session_state.get(OPEN) is None:
        st.session_state[OPEN] = picked["id"]
        st.rerun()  # the drawer belongs to the page, not to this fragment that runs by the clock
    if len(rows) == LIMIT:
        st.caption(f"The newest {LIMIT}. Filter to see others.")


page = ui.page(
    "Jobs", "What works in the background, how far it is, and what became of it.", key="jobs"
)
live_list()

job_id = st.session_state.get(OPEN)
if job_id is not None:
    title = ui.workbench().jobs.get(page.actor, job_id)["title"]
    ui.drawer(text.escape(title), on_dismiss=close)(live_detail)(job_id)
