"""Where an import comes from: an upload, a path on the machine that Lathe runs on, a database, the
hub; and how it is read.

Knows: one file on its way into the import dialog. Does not know: columns, roles, faults.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import streamlit as st

from app import dataset_foreign, text, ui
from app.dataset_chosen import Chosen
from core.datasets.formats import FORMATS, OPTIONS
from core.datasets.readers import SUFFIXES
from core.errors import Invalid

SMALL_BYTES = 8 * 2**20
"""Up to here an upload is checked and imported while one waits; beyond, a job does it."""
PREVIEW_BYTES = 16 * 2**20
UPLOADS, READING = "import-uploads", "import-options"
FROM = ["Upload", "Path on this machine", "Database", "Hugging Face hub"]


def choose() -> Chosen | None:
    """The file that was chosen, if one was."""
    folders = ui.workbench().datasets.import_folders(ui.actor())
    offered = FROM if folders else [name for name in FROM if name != FROM[1]]
    kind = st.segmented_control("From", offered, default=FROM[0], required=True, key="import-from")
    if kind == FROM[2]:
        return dataset_foreign.database(paths=bool(folders))
    if kind == FROM[3]:
        return dataset_foreign.hub(paths=bool(folders))
    if kind == FROM[1]:
        path = st.text_input(
            "Path", key="import-path", placeholder="/data/conversations.jsonl",
            help="Whole, of a file or of a folder of data files. It is read where it lies and has "
            "to stay as it is until it is imported.",
        ).strip()  # fmt: skip
        where = "" if folders == ["/"] else f", in {', '.join(map(text.code, folders))}"
        st.caption(
            f"For files of any size that are on the machine Lathe runs on{where}. Hidden files "
            "and the workspace are left out."
        )
        return Chosen(path, PurePath(path).name, path) if path else None
    upload = st.file_uploader(
        "CSV, JSON, Parquet, a spreadsheet, SQLite or DuckDB",
        type=[suffix.removeprefix(".") for suffix in SUFFIXES],
        key="import-file",
        help="Any number of rows. Text in UTF-8 or another encoding; CSV, TSV and JSON may be "
        "packed. A CSV needs a header. For files beyond a gigabyte take a path.",
    )
    if upload is None:
        return None
    if upload.size <= SMALL_BYTES:
        return Chosen(upload.file_id, upload.name, upload.getvalue())
    return Chosen(upload.file_id, upload.name, _put_down(upload))


def is_upload() -> bool:
    """Whether a file of one's own is asked for."""
    return st.session_state.get("import-from", FROM[0]) == FROM[0]


def options(chosen: Chosen, last: dict[str, Any]) -> dict[str, Any]:
    """How the file is read, where a person says so; `last` is the preview before, or nothing."""
    suffix = PurePath(chosen.filename).suffix.lower()
    name = last.get("format") or chosen.format or SUFFIXES.get(suffix, "csv")
    found: dict[str, Any] = dict(chosen.options)
    asked = st.session_state.get(f"{READING}-{chosen.key}", False)
    with st.expander("How it is read", icon=":material/tune:", expanded=asked):
        columns = st.columns(3, gap="small")
        offered = [OPTIONS[one] for one in _offered(name) if one not in chosen.options]
        if "sql" in chosen.options:  # a query says which table
            offered = [option for option in offered if option.name != "table"]
        for at, option in enumerate(offered):
            key = f"import-{option.name}-{chosen.key}"
            choices = last.get("choices", {}).get(option.name) or option.choices
            with columns[at % 3]:
                if choices:
                    value = st.selectbox(
                        option.title, choices, index=None, placeholder="As it is found",
                        help=option.help, key=key,
                        format_func=lambda choice: {"\t": "Tab"}.get(choice, choice),
                    )  # fmt: skip
                else:
                    value = st.text_input(option.title, help=option.help, key=key).strip()
            if value:
                found[option.name] = value
        if st.checkbox(
            "Repair encoding", key=f"import-repair-{chosen.key}",
            help="Text that was decoded wrongly is put right: cafÃ© becomes café. The report of "
            "the version counts the cells.",
        ):  # fmt: skip
            found["repair_encoding"] = True
    return found


def open_options(chosen: Chosen, error: Invalid) -> None:
    """Show the choices from the next run on, where the file could not be read without one."""
    if error.field in OPTIONS:
        st.session_state[f"{READING}-{chosen.key}"] = True


def notes(first: dict[str, Any]) -> None:
    """What was found out or guessed about the file."""
    for note in first["notes"]:
        st.caption(text.escape(note))
    if first["chat"] is not None:
        st.caption(
            f"These look like conversations: {text.escape(first['chat'].title)}. "
            f"*How it is read* turns them into columns: read as `{first['chat'].name}`."
        )
    for column, hint in list(first["hints"].items())[:5]:
        st.caption(f"{text.code(column)}: {text.escape(hint)}")


def forget() -> None:
    """Let go of what was put down for a dialog that is closed; a week later it is removed."""
    st.session_state.pop(UPLOADS, None)
    dataset_foreign.forget()


def _offered(name: str) -> tuple[str, ...]:
    """A packed file is one of the text formats."""
    return FORMATS[name].options if name in FORMATS else FORMATS["csv"].options


def _put_down(upload: Any) -> str:
    """The path of a large upload: written once, then read from the disk."""
    kept: dict[str, str] = st.session_state.setdefault(UPLOADS, {})
    if upload.file_id not in kept:
        with st.spinner("Putting the file down"):
            path = ui.workbench().datasets.keep_upload(ui.actor(), upload.name, upload)
        kept[upload.file_id] = path
    return kept[upload.file_id]
