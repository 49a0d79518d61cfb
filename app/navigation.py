"""The navigation: every page of the permissions table in its section, as the role may see it.

Knows: sections, titles, icons, order. Does not know: what is on a page.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import NotFound
from core.governance.permissions import PAGES, Actor, permits, require
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
    "datasets": Entry("Data", "Datasets", "dataset"),
    "curate": Entry("Data", "Curate", "cleaning_services"),
    "prompts": Entry("Prompts", "Prompts", "edit_note"),
    "playground": Entry("Prompts", "Playground", "science"),
    "runs": Entry("Prompts", "Runs", "play_circle"),
    "compare": Entry("Prompts", "Compare", "compare"),
    "models": Entry("Models", "Models", "deployed_code"),
    "finetune": Entry("Models", "Fine-tune", "model_training"),
    "loop": Entry("Feedback", "Loop", "autorenew"),
    "overview": Entry("Observe", "Overview", "monitoring"),
    "latency": Entry("Observe", "Latency", "speed"),
    "quality": Entry("Observe", "Quality", "verified"),
    "traces": Entry("Observe", "Traces", "timeline"),
    "jobs": Entry("Admin", "Jobs", "checklist"),
    "users": Entry("Admin", "Users", "group"),
    "audit": Entry("Admin", "Audit log", "history"),
    "privacy": Entry("Admin", "Privacy", "shield_person"),
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
    """What st.navigation takes. Every page has a path of its own; `/` leads to the overview.

    A page that the role may not open is there too, unseen, and says just that.
    """
    import streamlit as st

    permitted = names_for(actor)
    sections: dict[str, list[StreamlitPage]] = {"": []}
    for name, entry in ENTRIES.items():
        if name in permitted:
            script = FOLDER / f"{name}.py"
            page = st.Page(
                script, title=entry.title, icon=f":material/{entry.icon}:", url_path=name
            )
            sections.setdefault(entry.section, []).append(page)
        else:
            refusal = functools.partial(_refuse, actor, name)
            sections[""].append(
                st.Page(refusal, title=entry.title, url_path=name, visibility="hidden")
            )
    shown = {page.url_path: page for key, pages in sections.items() if key for page in pages}
    first = shown.get("overview") or next(iter(shown.values()))

    def start() -> None:
        st.switch_page(first)

    home = st.Page(start, title="Lathe", url_path="start", default=True, visibility="hidden")
    sections[""].insert(0, home)
    return sections


def _refuse(actor: Actor, name: str) -> None:
    from app import ui

    title = ENTRIES[name].title
    with ui.errors():
        require(actor, PAGES.get(name), f"opening the page {title}")
        raise NotFound(f"This Lathe has no page {title}.")
