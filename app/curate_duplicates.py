"""The Duplicates area: groups of rows that are the same, nearly the same, or mean the same.

Knows: the kinds, the rule, the pages of groups. Does not know: how one group looks
(`duplicate_group`), how duplicates are found.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import curate_job, curate_recipe, duplicate_group, paging, queries, text, ui
from core.curation.groups import RULES
from core.store.database import Row

KINDS = {"exact": "Same text", "near": "Nearly the same", "semantic": "Same meaning"}
PER_PAGE = 4
LINKS = {"near": "Jaccard index of their character n-grams", "semantic": "cosine of their meaning"}


def show(version: Row) -> None:
    """Draw the area."""
    with ui.errors(stop=True):
        status = curate_job.status(version)
        counted = queries.read("curation", "finding_counts", version["id"])
    parts = {part["name"]: part for part in status["parts"] if part["name"] in KINDS}
    if curate_job.is_running(status):
        curate_job.progress(version["id"])
    elif not any(part["state"] in ("done", "failed") for part in parts.values()):
        _not_yet(version)
        return
    kind = _choose_kind(counted["kinds"], parts)
    _problems(parts[kind])
    total = counted["kinds"].get(f"{kind}_duplicate", 0)
    if not total:
        if parts[kind]["state"] == "done":
            st.success(f"No groups: {KINDS[kind].lower()} is said of no two rows.",
                       icon=":material/check:")  # fmt: skip
        return
    _metrics(counted["rows"], f"{kind}_duplicate")
    _groups(version, kind, counted)


def _groups(version: Row, kind: str, counted: dict[str, Any]) -> None:
    """The rule and its button in a row, below it a page of groups."""
    own = [row for row in counted["rows"] if row["kind"] == f"{kind}_duplicate"]
    groups, rows = (sum(row[name] for row in own) for name in ("finding_count", "row_count"))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        rule, column = _choose_rule(version, kind)
        clashing = _only_clashing(own, kind)
        if ui.may("datasets.write"):
            _apply_to_all(version, kind, rule, column, groups, rows)
    severity = "high" if clashing else None
    total = sum(row["finding_count"] for row in own if severity in (None, row["severity"]))
    note = f" :gray[· similarity is the {LINKS[kind]}]" if kind in LINKS else ""
    key = f"dup-page-{kind}-{clashing}"
    offset = paging.bar(total, PER_PAGE, "group", key=key, note=note)
    with ui.errors(stop=True):
        found = queries.read(
            "curation", "findings", version["id"], kind=f"{kind}_duplicate", severity=severity,
            offset=offset, limit=PER_PAGE,
        )  # fmt: skip
        members = _members(version, found)
    pending = queries.read("recipes", "pending", version["id"])
    for finding in found:
        listed = [members[row] for row in finding["rows"] if row in members]
        if listed:
            duplicate_group.show(
                version, finding, listed, rule=rule, column=column, kind=kind,
                on_recipe=_on_recipe(pending, kind, listed),
            )  # fmt: skip


def _members(version: Row, findings: list[Row]) -> dict[int, Row]:
    wanted = sorted({row for finding in findings for row in finding["rows"]})
    found = queries.read("curation", "rows_at", version["id"], tuple(wanted))
    return {row["row_index"]: row for row in found}


def _on_recipe(pending: list[Row], kind: str, members: list[Row]) -> str | None:
    """What the pending recipe does with this group, in words."""
    ids = {row["row_id"] for row in members}
    for row in pending:
        step = row["step"]
        if step["step"] != "deduplicate":
            continue
        if step.get("groups") is None:
            if step.get("kind", "near") == kind:
                return "One row stays, by the rule on the recipe"
            continue
        for decision in step["groups"]:
            if decision["keep"] in ids and ids & set(decision["drop"]):
                return f"On the recipe: {text.plural(len(decision['drop']), 'row')} go"
    return None


def _choose_kind(counts: dict[str, int], parts: dict[str, Row]) -> str:
    def label(kind: str) -> str:
        state = parts[kind]["state"]
        count = counts.get(f"{kind}_duplicate", 0)
        told = {"done": text.count(count), "none": "not looked for"}.get(state, state)
        return f"{KINDS[kind]} ({told})"

    chosen = st.segmented_control(
        "Kind of duplicates", list(KINDS), format_func=label, default=_first_kind(counts),
        key="dup-kind", label_visibility="collapsed", required=True,
    )  # fmt: skip
    return str(chosen)


def _first_kind(counts: dict[str, int]) -> str:
    return next((kind for kind in KINDS if counts.get(f"{kind}_duplicate")), "exact")


def _choose_rule(version: Row, kind: str) -> tuple[str, str | None]:
    rule = st.selectbox(
        "What stays of a group", list(RULES), format_func=RULES.__getitem__, key="dup-rule",
        width=310,
    )  # fmt: skip
    if rule != "newest":
        return rule, None
    names = [column["name"] for column in version["columns"]]
    return rule, st.selectbox("Column", names, key="dup-column", width=200)


def _only_clashing(own: list[Row], kind: str) -> bool:
    if not any(row["severity"] == "high" for row in own):
        return False
    return st.toggle("Only where labels disagree", key=f"dup-clash-{kind}")


def _apply_to_all(
    version: Row, kind: str, rule: str, column: str | None, groups: int, rows: int
) -> None:
    pending = queries.read("recipes", "pending", version["id"])
    with st.popover(
        f"Apply rule to all {text.plural(groups, 'group')}" if groups > 1 else "Apply the rule",
        icon=":material/rule:",
        key=f"dup-rule-{kind}-{len(pending)}",  # another one, closed, once the step is there
    ):
        st.markdown(
            f"Of each group one row stays: {RULES[rule].lower()}. About "
            f"**{text.plural(rows - groups, 'row')}** go. It becomes a step of the recipe that "
            "looks for duplicates again; this version stays as it is."
        )
        reason = st.text_input("Reason", key=f"dup-reason-all-{kind}", placeholder="Kept in the "
                               "recipe")  # fmt: skip
        st.button(
            f"Drop {text.plural(rows - groups, 'row')}", type="primary", key=f"dup-all-{kind}",
            on_click=ui.guarded(_add_rule), args=(version, kind, rule, column, reason),
        )  # fmt: skip


def _add_rule(version: Row, kind: str, rule: str, column: str | None, reason: str) -> None:
    step: dict[str, Any] = {"step": "deduplicate", "kind": kind, "keep": rule}
    found = ui.workbench().curation.findings(
        ui.actor(), version["id"], kind=f"{kind}_duplicate", limit=1
    )
    if found and "threshold" in found[0]["detail"]:
        step["threshold"] = found[0]["detail"]["threshold"]
    if column:
        step["column"] = column
    if reason.strip():
        step["reason"] = reason.strip()
    curate_recipe.add(version, step)


def _metrics(rows: list[Row], kind: str) -> None:
    own = [row for row in rows if row["kind"] == kind]
    groups, members = (sum(row[name] for row in own) for name in ("finding_count", "row_count"))
    clashing = sum(row["finding_count"] for row in own if row["severity"] == "high")
    ui.metric_strip(
        [
            ui.Metric("Groups", text.count(groups)),
            ui.Metric("Rows in them", text.count(members)),
            ui.Metric("Rows that could go", text.count(members - groups),
                      help="When one row of each group stays"),
            ui.Metric("Labels disagree", text.count(clashing),
                      help="Groups of rows that are alike and have different expected answers"),
        ]
    )  # fmt: skip


def _problems(part: Row) -> None:
    """Why there may be less to see than there is."""
    if part["state"] == "failed" and part["error"]:
        error = part["error"]
        st.warning(
            f"**{text.escape(error.get('title') or 'It could not be looked for')}**  \n"
            f"{text.escape(error.get('message') or '')} {text.escape(error.get('hint') or '')}",
            icon=":material/warning:",
        )
    elif part["state"] == "none":
        st.info("This kind has not been looked for yet.", icon=":material/search:")


def _not_yet(version: Row) -> None:
    ui.empty_state(
        "No duplicates looked for yet",
        "Here are groups of rows that have the same text, differ in a few words, or say the same "
        "in other words, with how alike they are. You choose which row of a group stays; the "
        "choice is recorded with its reason and replays on new data.",
        "Look for duplicates" if ui.may("datasets.write") else None,
        _look,
        icon=":material/content_copy:",
        args=(version["id"],),
        key="dup-look",
    )


def _look(version_id: str) -> None:
    ui.workbench().curation.analyse(ui.actor(), version_id, detectors=list(KINDS))
