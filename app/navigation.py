"""The navigation: every page of the permissions table in its section, as the role may see it.

Knows: sections, titles, icons, order. Does not know: what is on a page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.governance.permissions import PAGES, Actor, permits
from core.settings import PROJECT_ROOT

if TYPE_CHECKING:
    from streamlit.navigation.page import StreamlitPage

FOLDER = PROJECT_ROOT / "pages"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the navigation."""

    section: str
    title: str
    icon: str


ENTRIES: dict[str, Entry] = {
    "overview": Entry("Observe", "Overview", "monitoring"),
    "latency": Entry("Observe", "Latency", "speed"),
    "quality": Entry("Observe", "Quality", "verified"),
    "traces": Entry("Observe", "Traces", "timeline"),
    "datasets": Entry("Data", "Datasets", "dataset"),
    "prompts": Entry("Prompts", "Prompts", "edit_note"),
    "playground": Entry("Prompts", "Playground", "science"),
    "runs": Entry("Prompts", "Runs", "play_circle"),
    "compare": Entry("Prompts", "Compare", "compare"),
    "models": Entry("Models", "Models", "deployed_code"),
    "jobs": Entry("Admin", "Jobs", "checklist"),
    "users": Entry("Admin", "Users", "group"),
    "audit": Entry("Admin", "Audit log", "history"),
    "settings": Entry("Admin", "Settings", "tune"),
    "account": Entry("Admin", "Your account", "account_circle"),
}


def names_for(actor: Actor) -> list[str]:
    """The pages that the actor may open, in order; those whose file exists."""
    return [
        name
        for name in ENTRIES
        if permits(actor.role, PAGES.get(name, "")) and (FOLDER / f"{name}.py").is_file()
    ]


def pages_for(actor: Actor) -> dict[str, list[StreamlitPage]]:
    """What st.navigation takes. Every page has a path of its own; `/` leads to the first."""
    import streamlit as st

    sections: dict[str, list[StreamlitPage]] = {}
    for name in names_for(actor):
        entry = ENTRIES[name]
        page = st.Page(
            FOLDER / f"{name}.py", title=entry.title, icon=f":material/{entry.icon}:", url_path=name
        )
        sections.setdefault(entry.section, []).append(page)
    first = next(iter(sections.values()))[0]

    def start() -> None:
        st.switch_page(first)

    home = st.Page(start, title="Lathe", url_path="start", default=True, visibility="hidden")
    return {"": [home], **sections}
