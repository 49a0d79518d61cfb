"""The card of a dataset: read, edited, downloaded; licences and how long it may be kept.

Knows: the tab and its forms. Does not know: how a card is made, what licences ask.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import queries, text, ui
from core.curation.card_text import SECTIONS
from core.curation.licenses import LICENSES, USES, warnings
from core.store.database import Row

EDITING = "card-editing"
ICONS = {"conflict": ":material/error:", "limit": ":material/warning:", "duty": ":material/edit:"}
WORDS = {"conflict": "Does not go together", "limit": "Limits", "duty": "To do"}
SOURCE_COLUMNS = {
    "name": st.column_config.TextColumn("Source", required=True, width=170),
    "license": st.column_config.SelectboxColumn("Licence", options=list(LICENSES), width=130),
    "url": st.column_config.LinkColumn("Address", width=170),
    "note": st.column_config.TextColumn("Note", width=170),
}


def show(dataset: Row, version: Row) -> None:
    """The tab: facts and licences, then the card of this version as it reads."""
    card = queries.read("cards", "get", dataset["id"])
    markdown = queries.read("cards", "render", version["id"])
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"
    ):
        st.markdown(f"**Card of v{version['number']}**", width="content")
        with st.container(horizontal=True, gap="small", width="content"):
            st.download_button(
                "Download card",
                markdown,
                file_name="README.md",
                mime="text/markdown",
                icon=":material/download:",
                help="Put it beside the exported files: on the Hugging Face hub it is their page.",
            )
            if ui.may("datasets.write"):
                st.button(
                    "Edit card",
                    icon=":material/edit_note:",
                    key="edit-card",
                    on_click=_open,
                    args=(dataset["id"],),
                )
    if st.session_state.get(EDITING) == dataset["id"]:
        ui.drawer("Card", width="large", on_dismiss=_close)(_edit)(dataset, card)
    _retention(dataset, card)
    left, right = st.columns([5, 3], gap="large")
    with left:
        st.markdown(_body(markdown))
    with right, st.container(border=True):
        _licenses(card)


def _open(dataset_id: str) -> None:
    st.session_state[EDITING] = dataset_id


def _close() -> None:
    st.session_state.pop(EDITING, None)


def overdue() -> None:
    """On the list of datasets: those whose time is over."""
    rows = queries.read("cards", "overdue")
    if not rows:
        return
    names = ", ".join(
        f"[{text.escape(row['name'])}](/datasets?dataset={row['id']}&view=Card)"
        f" (until {row['retention_until'].isoformat()})"
        for row in rows[:10]
    )
    more = f" and {text.count(len(rows) - 10)} more" if len(rows) > 10 else ""
    count = text.plural(len(rows), "dataset is", "datasets are")
    st.warning(
        f"{count} kept longer than its date permits: {names}{more}.",
        icon=":material/event_busy:",
    )


def _body(markdown: str) -> str:
    """Without the front matter, which is for the hub, and the title, which the page has."""
    _, _, body = markdown.partition("---\n")[2].partition("---\n")
    _, _, rest = body.lstrip().partition("\n")
    return rest.replace("$", "\\$").replace("\n## ", "\n#### ").replace("\n### ", "\n##### ")


def _retention(dataset: Row, card: Row) -> None:
    until = card["retention_until"]
    if until is None:
        return
    if not card["is_overdue"]:
        st.caption(f"May be kept until {until.isoformat()}.")
        return
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(
            f":material/event_busy: **Its time is over**: it was to be kept until"
            f" {until.isoformat()}.",
            width="stretch",
        )
        if ui.may("data.erase"):
            ui.confirm(
                "Delete rows",
                f"This deletes the rows of **every version of {text.escape(dataset['name'])}**, "
                "what was computed of them, their exports, and the texts in runs over them. "
                "Versions, scores and timings stay as a record, and a certificate is written. "
                "It cannot be undone.",
                _delete,
                key="delete-rows",
                args=(dataset,),
            )


def _delete(dataset: Row) -> None:
    reason = "Retention date has passed"
    made = ui.workbench().erasure.delete_dataset(ui.actor(), dataset["id"], reason)
    ui.done(f"The rows of {dataset['name']} are deleted: {made['id']}")


def _licenses(card: Row) -> None:
    st.markdown("**Licences**")
    names = dict.fromkeys(LICENSES[license_id].name for license_id in card["licenses"])
    st.markdown(f":gray[{text.escape(', '.join(names))}]")
    if not card["sources"]:
        st.caption("No source has been named yet.")
    use = st.selectbox("Meant for", list(USES), format_func=USES.__getitem__, index=2, key="use")
    found = warnings([source["license"] for source in card["sources"]], use)
    for warning in found:
        st.markdown(
            f"{ICONS[warning.severity]} **{WORDS[warning.severity]}.** {warning.message}  \n"
            f":gray[{warning.why}]"
        )
    if not found:
        st.markdown(":material/check: Nothing stands in the way.")
    st.caption("A help for reading licences, no legal advice.")


def _edit(dataset: Row, card: Row) -> None:
    with st.form("card-form", border=False):
        left, right = st.columns(2)
        purpose = left.text_area("Purpose", card["purpose"], placeholder="What is it for?")
        contact = right.text_input(
            "Contact", card["contact"], placeholder="Who answers questions about it?"
        )
        until = right.date_input(
            "Keep until", card["retention_until"], help="After that day it is listed as overdue."
        )
        st.markdown("**Sources**")
        sources = st.data_editor(
            [{name: source[name] for name in SOURCE_COLUMNS} for source in _listed(card)],
            column_config=SOURCE_COLUMNS,
            num_rows="dynamic",
            hide_index=True,
            key="card-sources",
        )
        sections = {
            name: st.text_area(name.capitalize(), card["sections"][name], placeholder=question)
            for name, question in SECTIONS.items()
        }
        if st.form_submit_button("Save card", type="primary"):
            with ui.errors():
                ui.workbench().cards.save(
                    ui.actor(),
                    dataset["id"],
                    purpose=purpose,
                    contact=contact,
                    retention_until=until or "",
                    sources=[_plain(source) for source in sources if source.get("name")],
                    sections=sections,
                )
                _close()
                ui.done("Card saved")
                st.rerun()


def _listed(card: Row) -> list[dict[str, Any]]:
    """With licences as the list has them; one empty line where there is no source."""
    found = [
        {**source, "license": license_id}
        for source, license_id in zip(card["sources"], card["licenses"], strict=True)
    ]
    return found or [{"name": "", "license": "unknown", "url": "", "note": ""}]


def _plain(source: dict[str, Any]) -> dict[str, str]:
    return {name: str(source.get(name) or "") for name in SOURCE_COLUMNS}
