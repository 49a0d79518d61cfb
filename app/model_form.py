"""The drawer that adds a model: one form for each kind of source.

Knows: what each source asks for. Does not know: how a source is inspected.
"""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from app import ui

KINDS = {"chat": "Chat", "embedding": "Embeddings"}


@dataclass(frozen=True, slots=True)
class Field:
    """One source's fields, in words."""

    label: str
    place: str
    example: str
    says: str
    revision: str | None = None
    revision_example: str = ""
    hash: bool = False
    key: bool = False
    kinds: bool = True


SOURCES: dict[str, Field] = {
    "directory": Field(
        "Folder",
        "Folder on this machine",
        "/models/Qwen3-0.6B",
        "Holds config.json, .safetensors files, a tokenizer and a chat template. Read in place.",
        hash=True,
    ),
    "gguf": Field(
        "GGUF file",
        "File on this machine",
        "/models/qwen3-0.6b-q8_0.gguf",
        "llama.cpp runs it as it is; converted once, transformers can load it too.",
        hash=True,
        kinds=False,
    ),
    "hub": Field(
        "Model hub",
        "Hub id",
        "owner/name",
        "Downloaded once, safetensors only. A commit is pinned, because a branch can change.",
        revision="Commit",
        revision_example="40 characters, from the model's page",
    ),
    "endpoint": Field(
        "Endpoint",
        "Address",
        "http://127.0.0.1:8000/v1",
        "Anything that speaks OpenAI's HTTP: vLLM, llama.cpp, Ollama, a cloud. "
        "Prompts and rows are sent there.",
        revision="Model there",
        revision_example="the name to send as model",
        key=True,
        kinds=False,
    ),
}


def close() -> None:
    """Forget in the URL that the form is open."""
    ui.set_params(add=None)


@ui.drawer("Add a model", width=560, on_dismiss=close)
def drawer() -> None:
    """Pick a source, fill its fields; what is wrong with it is said here."""
    source = st.segmented_control(
        "Source",
        list(SOURCES),
        default="directory",
        required=True,
        format_func=lambda name: SOURCES[name].label,
        key="add-source",
    )
    fields = SOURCES[source]
    st.caption(fields.says)
    if source == "hub" and ui.workbench().settings.offline:
        st.warning(
            "Lathe is set to work offline. Start it with LATHE_OFFLINE=0 to allow downloads.",
            icon=":material/cloud_off:",
        )
    with st.form("add-model", border=False):
        name = st.text_input("Name", key="add-name", placeholder="How people call it")
        location = st.text_input(
            fields.place, key=f"add-location-{source}", placeholder=fields.example
        )
        revision = key = sha256 = None
        if fields.revision:
            revision = st.text_input(
                fields.revision, key=f"add-revision-{source}", placeholder=fields.revision_example
            )
        kind = "chat"
        if fields.kinds:
            kind = st.radio(
                "Used for", list(KINDS), format_func=KINDS.get, horizontal=True,
                key=f"add-kind-{source}",
            )  # fmt: skip
        if fields.key:
            key = st.text_input(
                "Key", type="password", key="add-key", placeholder="None",
                help="Kept in a file that only Lathe's user can read, and never shown again.",
            )  # fmt: skip
        if fields.hash:
            sha256 = st.text_input(
                "sha256, if you know it", key=f"add-hash-{source}",
                help="Of the weights file; of several, of their sha256sum lines.",
            )  # fmt: skip
        asked = st.form_submit_button("Inspect and add", type="primary")
    if not asked:
        return
    with ui.errors(), st.spinner("Reading headers"):
        model_id = ui.workbench().models.add(
            ui.actor(), name, source, location,
            kind=kind, revision=revision or None, sha256=sha256 or None, key=key or None,
        )  # fmt: skip
        ui.set_params(model=model_id, add=None)
        ui.done(f"{name.strip()} added")
        st.rerun()
