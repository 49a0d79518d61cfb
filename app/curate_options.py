"""How faults are looked for: the tokenizer, perplexity, and what counts as a duplicate.

    chosen(version_id)   {part: settings}, as Curation.analyse takes them

Knows: the settings of a person for one version, what they cost. Does not know: what they do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from app import queries, text, ui
from core.curation.analysis import PARTS
from core.curation.duplicates import NEAR, SEMANTIC, THRESHOLDS
from core.curation.signals import PERPLEXITY_ROWS
from core.store.database import Row

CHOSEN = "look-options"
Options = dict[str, dict[str, Any]]
TUNED = ("profile", "signals", NEAR, SEMANTIC)
"""The parts that have settings here."""
SETTINGS = ("model_id", "perplexity", "threshold")


def chosen(version_id: str) -> Options:
    """What was chosen for this version; nothing for parts that are to be as usual."""
    kept: dict[str, Options] = st.session_state.get(CHOSEN, {})
    return kept.get(version_id, {})


def popover(version: Row, status: Mapping[str, Any]) -> None:
    """The settings, and where the version was looked at, what looking with them again would do."""
    used = {p["name"]: p["options"] or {} for p in status["parts"] if p["state"] != "none"}
    with st.popover("Options", icon=":material/tune:", width="content"):
        asked = _asked(version, {**used, **chosen(version["id"])})
        st.session_state.setdefault(CHOSEN, {})[version["id"]] = asked
        changed = [
            name for name in TUNED if name in used and asked.get(name, {}) != _own(used[name])
        ]
        if not used:
            st.caption(f"With these it takes {_cost(version, asked)}.")
            return
        if not changed:
            st.caption("The version was looked at with these.")
            return
        names = ", ".join(PARTS[name].label.lower() for name in changed)
        estimate = ui.workbench().curation.estimate(
            ui.actor(), version["id"], detectors=changed, options=asked
        )
        st.caption(f"Looks again for: {names}. It takes {text.about(estimate['seconds'])}.")
        st.button(
            "Look again", type="primary", icon=":material/troubleshoot:", key="look-again",
            on_click=ui.guarded(_again), args=(version["id"], changed),
        )  # fmt: skip


def _own(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a part's options that are set here."""
    return {name: value for name, value in options.items() if name in SETTINGS and value}


def _asked(version: Row, before: Options) -> Options:
    """The form; its values by part."""
    key = version["id"]
    found: Options = {}
    models = {row["model_id"]: row for row in queries.read("curation", "tokenizers")}
    was = before.get("profile", {}).get("model_id")
    names = list(models)
    model_id = st.selectbox(
        "Tokenizer", names, index=names.index(was) if was in names else None,
        format_func=lambda id_: models[id_]["name"], placeholder="Of the starter model",
        key=f"look-tokenizer-{key}", help="Whose tokens the profile and the signals count.",
    )  # fmt: skip
    if model_id:
        found = {"profile": {"model_id": model_id}, "signals": {"model_id": model_id}}
    speaks = model_id is None or models[model_id]["perplexity"]
    rows = min(version["row_count"], PERPLEXITY_ROWS)
    wants = st.toggle(
        "Perplexity", before.get("signals", {}).get("perplexity", False),
        key=f"look-perplexity-{key}", disabled=not speaks,
        help="How surprised a language model is by the text of a row: high for broken text.",
    )  # fmt: skip
    st.caption(
        f"Reads {text.plural(rows, 'row')}{_spread(version, rows)} with the language model: the "
        "dearest signal."
        if speaks
        else "This model is no language model: perplexity cannot be told."
    )
    if wants and speaks:
        found["signals"] = {**found.get("signals", {}), "perplexity": True}
    usual, least, most = THRESHOLDS[NEAR]
    near = st.slider(
        "Nearly the same from", least, most, before.get(NEAR, {}).get("threshold", usual), 0.01,
        key=f"look-near-{key}", help="Jaccard index of the texts' character n-grams. Lower finds "
        "more, and takes longer where texts are alike.",
    )  # fmt: skip
    if near != usual:
        found[NEAR] = {"threshold": near}
    return found | _meaning(key, before)


def _meaning(key: str, before: Options) -> Options:
    usual, least, most = THRESHOLDS[SEMANTIC]
    was = before.get(SEMANTIC, {}).get("threshold")
    own = st.toggle(
        "Own threshold for the same meaning", was is not None, key=f"look-own-{key}",
        help="Otherwise it follows how alike the texts are anyway: 0.7 for ordinary language, up "
        "to 0.95 where all come from one template.",
    )  # fmt: skip
    if not own:
        return {}
    chosen_one = st.slider(
        "Same meaning from", least, most, was or usual, 0.01, key=f"look-semantic-{key}",
        help="Cosine of the embeddings.",
    )  # fmt: skip
    return {SEMANTIC: {"threshold": chosen_one}}


def _cost(version: Row, asked: Options) -> str:
    estimate = ui.workbench().curation.estimate(ui.actor(), version["id"], options=asked)
    return text.about(estimate["seconds"])


def _spread(version: Row, rows: int) -> str:
    return f" of {text.count(version['row_count'])}" if rows < version["row_count"] else ""


def _again(version_id: str, parts: list[str]) -> None:
    ui.workbench().curation.analyse(
        ui.actor(), version_id, detectors=parts, options=chosen(version_id)
    )
