"""What the drawer of a model says of an adapter: its base, its fine-tune, its exports.

Knows: where an adapter came from and where it can go. Does not know: how a model is loaded.
"""

from __future__ import annotations

import contextlib

import streamlit as st

from app import finetune_result, queries, text, ui
from core.errors import LatheError
from core.store.database import Row


def show(model: Row) -> None:
    """Nothing for a model that is no adapter."""
    if model["source"] != "adapter":
        return
    row = _finetune(model)
    with st.container(border=True, gap="small"):
        st.markdown(_origin(model, row))
        with st.container(horizontal=True, gap="small"):
            if row is not None:
                _buttons(row)
            if model.get("base_model_id") and st.button(
                "Open the base",
                icon=":material/deployed_code:",
                type="tertiary",
                key="adapter-base",
            ):
                ui.set_params(model=model["base_model_id"])
                st.rerun()
    finetune_result.exports(model["id"], key=model["id"])


def _finetune(model: Row) -> Row | None:
    """The fine-tune that it came from; an adapter that was added as a folder has none."""
    found = model["details"].get("finetune_id")
    if not found:
        return None
    with contextlib.suppress(LatheError):
        row: Row = queries.read("finetunes", "get", found)
        return row
    return None


def _origin(model: Row, row: Row | None) -> str:
    details = model["details"]
    base = text.escape(str(model.get("base_name") or "its base"))
    parts = [f"Laid over **{base}**"]
    if details.get("adapter_rank"):
        parts.append(f"rank {details['adapter_rank']}")
    if details.get("adapter_bytes"):
        parts.append(text.size(details["adapter_bytes"]))
    said = ", ".join(parts) + "."
    if row is not None:
        data = text.escape(str(row["dataset_label"]))
        said += f" Trained as **{text.escape(row['name'])}** on {data}."
    return said


def _buttons(row: Row) -> None:
    if st.button("Open its fine-tune", icon=":material/model_training:", key="adapter-finetune"):
        st.switch_page("../pages/finetune.py", query_params={"id": row["id"]})
    if not row.get("run_id") and not ui.may("training.write"):
        return
    if st.button("Compare with base", icon=":material/compare:", key="adapter-compare",
                 help="Base and adapter on every held-out row"):  # fmt: skip
        with ui.errors():
            run_id = row.get("run_id") or ui.workbench().finetunes.compare(ui.actor(), row["id"])
            st.switch_page("../pages/compare.py", query_params={"run": run_id})
