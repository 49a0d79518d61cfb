"""The form of a new fine-tune: base, rows, prompt, what is held out, params; and what it takes.

    finetune_form.begin(config)         # in a callback: with these values, else what was typed last
    started = finetune_form.draw()      # the ids of what was just started, else []

What is typed is a draft in the store at every rerun, so that a reload loses nothing: it is the
config as `finetunes.start` takes it, and the `check` that was asked for it.
Knows: the draft, the order of the form. Does not know: single params (`finetune_params`), what a
check found (`finetune_check`), how a fine-tune works.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import (
    finetune_check,
    finetune_draft,
    finetune_params,
    finetune_takes,
    job_progress,
    queries,
    text,
    ui,
    variant_form,
)
from core.store.database import Row
from core.training.script.params import METHODS

DRAFT = "finetunes.new"
FORM = "finetune-form"
"""Session state: `number` of this form, so that widgets start anew, and the `draft`."""
SHARE = "share"


def begin(config: Row | None = None) -> None:
    """Open the form with these values; None goes on with what was typed last, or the defaults."""
    kept = ui.workbench().drafts.get(ui.actor(), DRAFT) if config is None else config
    _reopen(kept or finetune_draft.defaults())


def begin_empty() -> None:
    """Throw away what was typed."""
    _reopen(finetune_draft.defaults())


def draw() -> list[str]:
    """Draw the form; the ids of the fine-tunes that its button just started."""
    if FORM not in st.session_state:
        begin()
    form = st.session_state[FORM]
    prefix, draft = f"finetune-{form['number']}", form["draft"]
    version = _what(prefix, draft)
    if version is None:
        return []
    _held_out(prefix, draft, version)
    st.markdown("##### How it is trained")
    changed = finetune_params.draw(prefix, draft)
    ui.workbench().drafts.put(ui.actor(), DRAFT, draft)
    if changed:  # the preset or the method: every widget below starts from it
        _reopen(draft)
        st.rerun()
    return _takes(prefix, draft)


def config_of(draft: Row) -> Row:
    """The draft as the service takes it."""
    config = {key: value for key, value in draft.items() if key != "check"}
    return {**config, "name": config["name"].strip() or suggested_name(draft)}


def suggested_name(draft: Row) -> str:
    """What it is called where nobody gave it a name: dataset and base."""
    version = finetune_draft.dataset_version(draft["dataset_version_id"])
    base = next(
        (m["name"] for m in finetune_draft.bases() if m["id"] == draft["base_model_id"]), ""
    )
    return f"{version['dataset_name']} on {base}" if version else str(base)


def apply(changes: Row) -> None:
    """Change params, as a lever or a failed training proposes; for callbacks."""
    draft = st.session_state[FORM]["draft"]
    draft["params"] = {**draft["params"], **changes}
    for name in changes:
        draft["sweep"].pop(name, None)
    ui.workbench().drafts.put(ui.actor(), DRAFT, draft)
    _reopen(draft)


def _what(prefix: str, draft: Row) -> Row | None:
    """Method and base, dataset and prompt; the dataset version."""
    method = draft["params"].get("method", "sft")
    models = {row["id"]: row for row in finetune_draft.bases()}
    first, second, third = st.columns([4, 3, 3], gap="small", vertical_alignment="bottom")
    with first:
        chosen = variant_form.choose(
            "Method", list(METHODS), METHODS.__getitem__, key=f"{prefix}-method", start=method
        )
    with second:
        draft["base_model_id"] = variant_form.choose(
            "Base model", list(models), lambda one: variant_form.model_name(models[one]),
            key=f"{prefix}-base", start=draft["base_model_id"],
            help="A chat model with a folder of safetensors: its own weights are never changed. "
            "An adapter: a new one goes on from it, over the same base.",
        )  # fmt: skip
    if chosen != method:
        draft["params"] = finetune_params.for_method(draft["params"], str(chosen))
        draft["sweep"] = {}
        _reopen(draft)
        st.rerun()
    if draft["start_from"]:
        _goes_on(draft)
    columns = st.columns(4, gap="small", vertical_alignment="bottom")
    version = _dataset(prefix, draft, columns[0], columns[1])
    _prompt(prefix, draft, columns[2], columns[3])
    st.session_state.setdefault(f"{prefix}-name", draft["name"])
    draft["name"] = third.text_input(
        "Name", key=f"{prefix}-name", placeholder=suggested_name(draft)
    )
    return version


def _goes_on(draft: Row) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        names = {row["id"]: row["name"] for row in queries.read("models", "list", kind="chat")}
        name = text.escape(str(names.get(draft["start_from"], "an adapter")))
        st.markdown(f":material/linear_scale: Goes on from **{name}**, not from the base alone.")
        st.button("From the base alone", type="tertiary", on_click=_from_base)


def _from_base() -> None:
    st.session_state[FORM]["draft"]["start_from"] = None


def _dataset(prefix: str, draft: Row, left: Any, right: Any) -> Row | None:
    datasets = {row["id"]: row for row in queries.read("datasets", "list")}
    begun = finetune_draft.dataset_version(draft["dataset_version_id"])
    with left:
        dataset_id = variant_form.choose(
            "Dataset", list(datasets), lambda one: str(datasets[one]["name"]),
            key=f"{prefix}-dataset", start=begun["dataset_id"] if begun else None,
            placeholder="No dataset yet",
        )  # fmt: skip
    if dataset_id is None:
        return None
    versions = {row["id"]: row for row in queries.read("datasets", "versions", dataset_id)}
    with right:
        version_id = variant_form.choose(
            "Version", list(versions), lambda one: _version_label(versions[one]),
            key=f"{prefix}-dataset-version", start=draft["dataset_version_id"],
        )  # fmt: skip
    version = versions[version_id or next(iter(versions))]
    if version["id"] != draft["dataset_version_id"]:
        draft.update(hold_out=finetune_draft.hold_out_of(version), train_split=None)
        for name in ("held", "share", "train-split"):
            st.session_state.pop(f"{prefix}-{name}", None)
    draft["dataset_version_id"] = version["id"]
    return version


def _prompt(prefix: str, draft: Row, left: Any, right: Any) -> None:
    prompts = {row["id"]: row for row in queries.read("prompts", "list") if row["version_count"]}
    begun = finetune_draft.prompt_version(draft["prompt_version_id"])
    with left:
        prompt_id = variant_form.choose(
            "Prompt", ["", *prompts],
            lambda one: str(prompts[one]["name"]) if one else "None: rows as they are",
            key=f"{prefix}-prompt", start=begun["prompt_id"] if begun else "",
            help="What the rows go through. The adapter is to be asked with the same prompt.",
        )  # fmt: skip
    if not prompt_id:
        draft["prompt_version_id"] = None
        return
    versions = {row["id"]: row for row in queries.read("prompts", "versions", prompt_id)}
    with right:
        draft["prompt_version_id"] = variant_form.choose(
            "Prompt version", list(versions), lambda one: _prompt_label(versions[one]),
            key=f"{prefix}-prompt-version", start=draft["prompt_version_id"],
        )  # fmt: skip


def _held_out(prefix: str, draft: Row, version: Row) -> None:
    """The rows that base and adapter are compared on, and those that are trained on."""
    splits = finetune_draft.splits_of(version)
    held = draft["hold_out"]
    columns = iter(st.columns(4, gap="small", vertical_alignment="bottom"))
    with next(columns):
        chosen = variant_form.choose(
            "Held out", [SHARE, *splits],
            lambda one: "A share of the rows" if one == SHARE else f"The split {one}",
            key=f"{prefix}-held", start=held.get("split") or SHARE,
            help="Never trained on: the loss is measured on them, and base and adapter are "
            "compared on them at the end.",
        )  # fmt: skip
    if chosen == SHARE:
        key = f"{prefix}-share"
        st.session_state.setdefault(key, round(100 * held.get("share", 0.25)))
        share = next(columns).number_input("Share, %", 0, 90, step=5, key=key)
        draft["hold_out"] = {"share": share / 100}
    else:
        draft["hold_out"] = {"split": chosen}
    left = [name for name in splits if name != chosen]
    if left:
        with next(columns):
            draft["train_split"] = variant_form.choose(
                "Trained on", ["", *left],
                lambda one: f"The split {one}" if one else "All other rows",
                key=f"{prefix}-train-split", start=draft["train_split"] or "",
            ) or None  # fmt: skip
    st.session_state.setdefault(f"{prefix}-evaluate", draft["evaluate"])
    draft["evaluate"] = next(columns).checkbox(
        "Compare with the base", key=f"{prefix}-evaluate",
        help="When it is done, base and adapter answer every held-out row.",
    )  # fmt: skip


def _takes(prefix: str, draft: Row) -> list[str]:
    """What it takes, the check, and the buttons."""
    config, check = config_of(draft), draft.get("check")
    job = finetune_check.job_of(check)
    found = finetune_check.report(job)
    same = bool(check) and check["key"] == finetune_check.key_of(config)
    report = found if same else None
    outline = finetune_takes.draw(config, report, on_apply=apply)
    if outline is None:
        return []
    finetune_check.draw(job, found, same=same)
    return _buttons(prefix, config, outline, report, checking=job_progress.is_going(job))


def _buttons(
    prefix: str, config: Row, outline: Row, report: Row | None, *, checking: bool
) -> list[str]:
    blocked = report is not None and bool(report["blocks"])
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        start = st.button(
            finetune_takes.start_label(config, outline, report),
            type="primary", icon=":material/play_arrow:", key=f"{prefix}-start",
            disabled=blocked or bool(outline.get("why_not")), shortcut="Ctrl+Enter",
            help="The check found what has to be mended first." if blocked
            else "Trains in the background, one after the other; it can be paused.",
        )  # fmt: skip
        st.button(
            "Check and measure", icon=":material/fact_check:", key=f"{prefix}-check",
            on_click=ui.guarded(_check), args=(config,), disabled=checking,
            help="Looks at every row as it will be tokenized, and times a few real steps.",
        )  # fmt: skip
        with st.popover("Copy as YAML", icon=":material/content_copy:"), ui.errors():
            st.caption("Save it, then `lathe finetune FILE.yaml` does the same in a terminal.")
            st.code(ui.workbench().finetunes.config_yaml(ui.actor(), config), language="yaml")
    if not start:
        return []
    with ui.errors():
        ids: list[str] = ui.workbench().finetunes.start(ui.actor(), config)
        ui.workbench().drafts.put(ui.actor(), DRAFT, None)
        del st.session_state[FORM]
        return ids
    return []


def _check(config: Row) -> None:
    job_id = ui.workbench().finetunes.check(ui.actor(), config, measure=True)
    draft = st.session_state[FORM]["draft"]
    draft["check"] = {"job_id": job_id, "key": finetune_check.key_of(config)}
    ui.workbench().drafts.put(ui.actor(), DRAFT, draft)


def _version_label(row: Row) -> str:
    return f"v{row['number']} · {text.plural(row['row_count'], 'row')}"


def _prompt_label(row: Row) -> str:
    message = f" · {text.shorten(row['message'], 30)}" if row["message"] else ""
    return f"v{row['number']}{message}"


def _reopen(draft: Row) -> None:
    number = st.session_state.get("finetune-form-number", 0) + 1
    st.session_state["finetune-form-number"] = number
    st.session_state[FORM] = {"number": number, "draft": draft}
