"""Settings: what this app was started with, and the versions it stands on."""

from __future__ import annotations

import importlib.metadata
import os
import platform

import streamlit as st

from app import tables, text, ui
from core.settings import SETTINGS, Settings

PACKAGES = ("streamlit", "duckdb", "torch", "transformers", "bitsandbytes", "xllamacpp", "pandas")
COLUMNS = {
    "variable": tables.text("Variable", width=220),
    "value": tables.text("Value", width=150),
    "from": tables.text("From", width=100),
    "meaning": tables.text("Meaning", width="large"),
}


def version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def shown(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def origin(name: str) -> str:
    if getattr(settings, name) != getattr(of_environment, name):
        return "command line"
    return "environment" if os.environ.get(SETTINGS[name].variable) else "default"


page = ui.page(
    "Settings",
    "What this app was started with. Set a variable and restart to change it.",
    key="settings",
)
settings, store = ui.workbench().settings, ui.workbench().store
of_environment = Settings.from_env()
rows = [
    {
        "variable": setting.variable,
        "value": shown(getattr(settings, name)) or "not set",
        "from": origin(name),
        "meaning": setting.meaning,
    }
    for name, setting in SETTINGS.items()
]
tables.show(rows, COLUMNS, alt="Every setting with its value and meaning", height="content")

database_bytes = sum(path.stat().st_size for path in store.home.glob("lathe.duckdb*"))
left, right = st.columns(2)
with left:
    st.subheader("Workspace", anchor=False)
    ui.facts(
        {
            "Folder": f"`{store.home}`",
            "Database": text.size(database_bytes),
            "Process": str(os.getpid()),
            "Machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        }
    )
with right:
    st.subheader("Versions", anchor=False)
    ui.facts({"python": platform.python_version(), **{name: version_of(name) for name in PACKAGES}})
