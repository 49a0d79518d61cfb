"""Settings: what this app was started with, and the versions it stands on."""

from __future__ import annotations

import importlib.metadata
import os
import platform

import streamlit as st

from app import tables, text, ui
from core.settings import SETTINGS

PACKAGES = ("streamlit", "duckdb", "torch", "transformers", "bitsandbytes", "xllamacpp", "pandas")
COLUMNS = {
    "variable": tables.text("Variable", width="medium"),
    "value": tables.text("Value", width="medium"),
    "from": tables.text("From", width="small"),
    "meaning": tables.text("Meaning", width="large"),
}


def version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def shown(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


page = ui.page(
    "Settings",
    "What this app was started with. Set a variable and restart to change it.",
    key="settings",
)
settings, store = ui.workbench().settings, ui.workbench().store
rows = [
    {
        "variable": setting.variable,
        "value": shown(getattr(settings, name)) or "not set",
        "from": "environment" if os.environ.get(setting.variable) else "default or flag",
        "meaning": setting.meaning,
    }
    for name, setting in SETTINGS.items()
]
tables.show(rows, COLUMNS, alt="Every setting with its value and meaning", height="content")

database = store.home / "lathe.duckdb"
left, right = st.columns(2)
with left:
    st.subheader("Workspace", anchor=False)
    ui.facts(
        {
            "Folder": f"`{store.home}`",
            "Database": text.size(database.stat().st_size if database.exists() else None),
            "Process": str(os.getpid()),
            "Machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        }
    )
with right:
    st.subheader("Versions", anchor=False)
    ui.facts({"python": platform.python_version(), **{name: version_of(name) for name in PACKAGES}})
