"""The import dialog: a file, which column plays which part, what is wrong with it, and the import.

Knows: one upload on its way. Does not know: formats, or what makes a row bad: core.datasets does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

import pandas as pd
import streamlit as st

from app import dataset_acts, dataset_source, dataset_staged, queries, tables, text, ui
from app.dataset_chosen import Chosen
from core.datasets.formats import FORMATS
from core.datasets.mapping import ROLES
from core.errors import Invalid, LatheError
from core.store.database import Row

Mapped = dict[str, dict[str, Any]]

OPEN, PREVIEWS = "import-open", "import-previews"
LICENSES = ["CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "Apache-2.0", "MIT", "Internal, not to share"]
MAPPING_COLUMNS = {
    "column": st.column_config.TextColumn("Column in the file", disabled=True, width=140),
    "example": st.column_config.TextColumn("First value", disabled=True, width=190),
    "role": st.column_config.SelectboxColumn(
        "Role",
        options=list(ROLES),
        required=True,
        width=100,
        help="; ".join(f"{role} {what}" for role, what in ROLES.items()),
    ),
    "name": st.column_config.TextColumn(
        "Name here", width=140, required=True, help="How templates name it: {{name}}"
    ),
    "optional": st.column_config.CheckboxColumn(
        "Optional", width=95, help="An input that may be blank in some rows"
    ),
}


def start() -> None:
    """Callback: open the dialog."""
    st.session_state[OPEN] = True


def show(dataset: Row | None = None) -> None:
    """The dialog, where `start` has opened it: for a new dataset, or a new version of one.

    It is open until it is dismissed, so that a rerun of the whole page does not close it over a
    file that is being looked at.
    """
    if st.session_state.get(OPEN):
        title = f"New version of {text.escape(dataset['name'])}" if dataset else "Import a dataset"
        st.dialog(title, width="large", on_dismiss=_close)(_body)(dataset)


def _close() -> None:
    dataset_source.forget()
    for key in (OPEN, PREVIEWS, dataset_staged.JOB):
        st.session_state.pop(key, None)


def mapping_of(rows: Iterable[Mapping[str, Any]]) -> Mapped:
    """What core takes, from the rows of the mapping table; an emptied name is the column's own."""
    return {
        row["column"]: {
            "role": row["role"],
            "name": str(row["name"] or row["column"]).strip(),
            "optional": bool(row["optional"]) and row["role"] == "input",
        }
        for row in rows
    }


def as_before(mapping: Mapped, columns: Iterable[Mapping[str, Any]]) -> Mapped:
    """A guessed mapping with the roles that the columns have in an earlier version."""
    roles = {column["name"]: column["role"] for column in columns}
    return {
        column: {**options, "role": roles.get(options["name"], options["role"])}
        for column, options in mapping.items()
    }


def name_for(filename: str) -> str:
    """`support_tickets-2.csv` as `Support tickets 2`."""
    words = PurePath(filename).stem.replace("_", " ").replace("-", " ").replace("@", " ").split()
    return " ".join(words)[:120].capitalize() or "Dataset"


def _body(dataset: Row | None) -> None:
    if job_id := st.session_state.get(dataset_staged.JOB):
        dataset_staged.progress(job_id, _arrived)
        return
    with ui.errors(stop=True):
        chosen = dataset_source.choose()
    if chosen is None:
        if dataset is None and dataset_source.is_upload():
            _samples()
        return
    last: dict[str, Any] = st.session_state.setdefault(PREVIEWS, {}).get(chosen.key, {})
    options = dataset_source.options(chosen, last)
    with ui.errors(stop=True), st.spinner("Reading the rows"):
        try:
            first = _previewed(chosen, None, options)
        except Invalid as error:
            dataset_source.open_options(chosen, error)
            raise
    st.session_state[PREVIEWS][chosen.key] = first
    earlier = queries.read("datasets", "versions", dataset["id"])[0] if dataset else None
    mapping = as_before(first["mapping"], earlier["columns"]) if earlier else first["mapping"]
    mapping = _mapping_table(chosen, first, mapping, options)
    dataset_source.notes(first)
    problem: LatheError | None = None
    checked = first
    try:
        checked = _previewed(chosen, mapping, options)
    except Invalid as error:
        problem = error
        ui.show_error(error)
    _faults(checked)
    with st.expander(f"Preview of {text.plural(len(checked['rows']), 'row')}"):
        shown = [column["name"] for column in checked["columns"]]
        columns = {name: tables.text(f"{name} · {mapping[name]['role']}") for name in shown}
        tables.show(checked["rows"], columns, alt="The first rows of the file", height=280)
    ready = problem is None and not checked["error_count"]
    _finish(chosen, checked, mapping, options, dataset, ready=ready)


def _samples() -> None:
    """What to take when there is no file at hand."""
    st.caption("Or start with a sample, written for this project:")
    for sample in queries.read("datasets", "samples"):
        with st.container(
            horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"
        ):
            st.markdown(
                f"**{text.escape(sample['title'])}** :gray[· {sample['task']} · "
                f"{sample['license']}]",
                width="content",
            )
            if st.button(
                f"Import {text.plural(sample['row_count'], 'row')}", key=f"sample-{sample['name']}"
            ):
                with ui.errors():
                    version = ui.workbench().datasets.import_sample(ui.actor(), sample["name"])
                    _leave(version)


def _previewed(chosen: Chosen, mapping: Mapped | None, options: dict[str, Any]) -> dict[str, Any]:
    """core's preview; the last ones are kept, since a dialog runs again at every keystroke."""
    kept: dict[str, Any] = st.session_state.setdefault(PREVIEWS, {})
    key = f"{chosen.key} {json.dumps([mapping, options])}"
    if key not in kept:
        found = ui.workbench().datasets.preview(
            ui.actor(), chosen.filename, chosen.data, mapping=mapping, options=options,
            most_bytes=dataset_source.PREVIEW_BYTES, password=chosen.password,
        )  # fmt: skip
        for old in list(kept)[:-2]:
            del kept[old]
        kept[key] = found
    return kept[key]  # type: ignore[no-any-return]


def _mapping_table(
    chosen: Chosen, first: dict[str, Any], mapping: Mapped, options: dict[str, Any]
) -> Mapped:
    rows = len(first["mapping"])
    counted = text.plural(first["row_count"], "row")
    st.markdown(
        f"**{counted if first['complete'] else f'The first {counted}'}**, "
        f"{text.plural(rows, 'column')}, {FORMATS[first['format']].title}. "
        "What is each column for?"
    )
    examples = {
        name: next((row[name] for row in first["rows"] if row[name] not in (None, "")), None)
        for name in mapping
    }
    table = pd.DataFrame(
        [
            {
                "column": column,
                "example": text.shorten(str(examples[column] or ""), 80),
                **{name: options[name] for name in ("role", "name", "optional")},
            }
            for column, options in mapping.items()
        ]
    )
    edited = st.data_editor(
        table,
        column_config=MAPPING_COLUMNS,
        hide_index=True,
        key=f"mapping-{chosen.key}-{json.dumps(options)}",
        height="content" if rows <= 8 else 320,
        alt="Columns of the file, their role and name",
    )
    return mapping_of(edited.to_dict("records"))


def _faults(checked: dict[str, Any]) -> None:
    """Every row and field that stands against the import."""
    count, listed = checked["error_count"], checked["errors"]
    if not count:
        return
    rows = [fault.to_dict() for fault in listed]
    bad = len({row["row"] for row in rows})
    st.error(
        f"**{text.plural(bad, 'row')} cannot be imported.** Nothing is imported "
        "until every row is right. Mend the file, or change a column's role above.",
        icon=":material/error:",
    )
    dataset_staged.faults(rows)
    if count > len(rows):
        st.caption(f"The first {text.count(len(rows))} of {text.count(count)} faults.")


def _finish(
    chosen: Chosen,
    checked: dict[str, Any],
    mapping: Mapped,
    options: dict[str, Any],
    dataset: Row | None,
    *,
    ready: bool,
) -> None:
    """Name, licence and message, and the button that says how many rows it imports."""
    description, license = "", ""
    if dataset is None:
        left, right = st.columns(2, gap="small")
        name = left.text_input("Name", name_for(chosen.filename), max_chars=120)
        license = right.selectbox(
            "Licence", LICENSES, index=None, accept_new_options=True,
            placeholder="Whether others may use it", help="Stays with the dataset",
        ) or ""  # fmt: skip
        description = st.text_input("Description", max_chars=1000, placeholder="What the rows are")
    else:
        name = dataset["name"]
    message = st.text_input("Message", max_chars=200, placeholder="Where this version comes from")
    taken = None if dataset else _taken(name)
    if taken is not None:
        st.caption(
            f"There is a dataset of this name: the rows become its v{taken['version_count'] + 1}, "
            "once you have seen what differs."
        )
    if not checked["complete"]:
        st.caption(
            "There is more than the beginning, which was looked at. The import looks at every "
            "row, and imports none when one is wrong."
        )
    count = checked["row_count"]
    if st.button(
        f"Import {text.plural(count, 'row')}" if checked["complete"] else "Import every row",
        type="primary",
        icon=":material/upload:",
        disabled=not ready or not name.strip() or not count,
        key="import",
    ):
        words = {"description": description, "license": license, "message": message}
        target = dataset or taken
        with ui.errors(), st.spinner("Importing"):
            if target is None and isinstance(chosen.data, bytes):
                version = ui.workbench().datasets.import_rows(
                    ui.actor(), name=name, filename=chosen.filename, data=chosen.data,
                    mapping=mapping, options=options, **words,
                )  # fmt: skip
                _leave(version)
            else:
                _begin(chosen, target["id"] if target else name, mapping, options, words)


def _begin(
    chosen: Chosen, dataset: str, mapping: Mapped, options: dict[str, Any], words: dict[str, str]
) -> None:
    """Hand the file to a job; the dialog goes on as its progress."""
    datasets, actor = ui.workbench().datasets, ui.actor()
    path = chosen.data
    if isinstance(path, bytes):
        path = datasets.keep_upload(actor, chosen.filename, path)
    st.session_state[dataset_staged.JOB] = datasets.start_import(
        actor, path, dataset=dataset, mapping=mapping, options=options,
        password=chosen.password, **words,
    )  # fmt: skip
    st.rerun()


def _arrived(outcome: dict[str, Any]) -> None:
    """The job has succeeded: to the version, or to the dataset where it waits."""
    staged, version = outcome["staged"], outcome["version"]
    if staged is not None:
        _close()
        ui.done("The new version waits: see what differs, then accept it")
        dataset_acts.open_dataset(staged["dataset_id"])
        st.rerun()
    elif version is not None:
        _leave(version)


def _taken(name: str) -> Row | None:
    wanted = " ".join(name.split()).lower()
    rows = queries.read("datasets", "list")
    return next((row for row in rows if row["name"].lower() == wanted), None)


def _leave(version: Row) -> None:
    """Out of the dialog, to the rows that were imported."""
    _close()
    if version["is_new"]:
        ui.done(f"Imported {text.plural(version['row_count'], 'row')} as {version['label']}")
    else:
        ui.done(f"These rows are {version['label']} already; nothing was added")
    dataset_acts.open_dataset(version["dataset_id"], version["id"])
    st.rerun()
