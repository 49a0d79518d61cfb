"""The form of a new run: dataset version, variants, scorers, and what it will take.

    run_form.begin(cloned)          # in a callback: open it, empty or with a run's own values
    started = run_form.draw()       # the id of the run that was just started, else None

What is typed is a draft in the store at every rerun, so that a reload loses nothing.
Knows: the draft, its defaults. Does not know: how a run works, the list of runs.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import queries, scorer_form, tables, text, ui, variant_form
from core.store.database import Row

DRAFT = "runs.new"
FORM = "run-form"
"""Session state: `number` of this form, so that widgets start anew, and the `draft`."""
MOST_VARIANTS = 6
LETTERS = "ABCDEF"
ESTIMATE_COLUMNS = {
    "name": tables.text("Variant", width=320),
    "loads": tables.text("Loads", width=160, help="Decided now; the run never changes it"),
    "prompt_tokens": tables.number("Prompt tokens"),
    "new_tokens": tables.number("New tokens", help="At most, until the prompt has run before"),
    "takes": tables.text("Takes", width="small"),
}


def begin(draft: Row | None = None) -> None:
    """Open the form with these values; None goes on with what was typed last, or the defaults."""
    kept = ui.workbench().drafts.get(ui.actor(), DRAFT) if draft is None else draft
    _reopen(kept or _defaults())


def begin_empty() -> None:
    """Throw away what was typed."""
    _reopen(_defaults())


def clone(run: Row) -> Row:
    """The draft that starts `run` once more; engines stay as they were resolved."""
    return {
        "name": f"{run['name']} again",
        "dataset_version_id": run["dataset_version_id"],
        "row_limit": run["row_count"],
        "variants": [
            {
                **{k: v[k] for k in ("prompt_version_id", "model_id", "engine", "quantization")},
                "generation": v["generation"],
                "name": v["name"],
            }
            for v in run["variants"]
        ],
        "scorers": run["scorers"],
    }


def missing() -> list[str]:
    """What has to be there before a run can be: names of pages."""
    needs = {
        "Datasets": queries.read("datasets", "list"),
        "Prompts": [p for p in queries.read("prompts", "list") if p["version_count"]],
        "Models": queries.read("models", "list", kind="chat"),
    }
    return [page for page, found in needs.items() if not found]


def draw() -> str | None:
    """Draw the form; the id of a run that was started by its button."""
    if FORM not in st.session_state:
        begin()
    form = st.session_state[FORM]
    prefix, draft = f"run-{form['number']}", form["draft"]
    version = _dataset(prefix, draft)
    if version is None:
        return None
    _variants(prefix, draft)
    _scorers(prefix, draft, version)
    ui.workbench().drafts.put(ui.actor(), DRAFT, draft)
    if form["ready"]:
        return _start(prefix, draft, version)
    st.info("Complete the form above: then it says how long the run takes.", icon=":material/info:")
    return None


def _dataset(prefix: str, draft: Row) -> Row | None:
    datasets = {row["id"]: row for row in queries.read("datasets", "list")}
    begun = _version(draft["dataset_version_id"])
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        dataset_id = variant_form.choose(
            "Dataset",
            list(datasets),
            lambda one: str(datasets[one]["name"]),
            key=f"{prefix}-dataset",
            start=begun["dataset_id"] if begun else None,
            placeholder="No dataset yet",
            width=230,
        )
        if dataset_id is None:
            return None
        versions = {row["id"]: row for row in queries.read("datasets", "versions", dataset_id)}
        version_id = variant_form.choose(
            "Version",
            list(versions),
            lambda one: (
                f"v{versions[one]['number']} · {text.count(versions[one]['row_count'])} rows"
            ),
            key=f"{prefix}-dataset-version",
            start=draft["dataset_version_id"],
            width=150,
        )
        version = versions[version_id or next(iter(versions))]
        available = version["row_count"]
        key = f"{prefix}-rows"
        asked = st.session_state.get(key, draft["row_limit"]) or available
        st.session_state[key] = max(1, min(asked, available))
        limit = st.number_input(
            "Rows",
            1,
            available,
            step=10,
            key=key,
            width=125,
            help=f"The first so many of {text.count(available)}.",
        )
        st.session_state.setdefault(f"{prefix}-run-name", draft["name"])
        name = st.text_input(
            "Name of the run",
            key=f"{prefix}-run-name",
            placeholder=f"{version['label']}: {len(draft['variants'])} variants",
            width=260,
        )
    if version["id"] != draft["dataset_version_id"] and not draft.get("own_scorers"):
        _replace(draft, scorers=scorer_form.defaults(version))
    draft.update(
        dataset_version_id=version["id"],
        row_limit=None if limit >= available else int(limit),
        name=name.strip(),
    )
    return version


def _variants(prefix: str, draft: Row) -> None:
    st.markdown("##### Variants")
    form = st.session_state[FORM]
    form["ready"] = True
    for number, start in enumerate(draft["variants"]):
        letter = LETTERS[number]
        with st.container(border=True, gap="small"):
            head, remove = st.columns([6, 1], vertical_alignment="center")
            note = " · the first is the baseline" if number == 0 else ""
            head.markdown(f"**{letter}**:gray[{note}]")
            with remove.container(horizontal=True, horizontal_alignment="right"):
                st.button(
                    "Remove",
                    key=f"{prefix}-remove-{number}",
                    icon=":material/close:",
                    type="tertiary",
                    disabled=len(draft["variants"]) < 2,
                    on_click=_remove_variant,
                    args=(number,),
                    help=f"Remove variant {letter}",
                )
            own = f"{prefix}-v{number}"
            asked = variant_form.variant(own, start=start, label=f"variant {letter}")
        if asked is None:
            form["ready"] = False
        else:
            draft["variants"][number] = asked
    st.button(
        "Add a variant",
        icon=":material/add:",
        key=f"{prefix}-add-variant",
        disabled=len(draft["variants"]) >= MOST_VARIANTS,
        on_click=_add_variant,
        help=f"Up to {MOST_VARIANTS}; it begins as a copy of the last.",
    )


def _scorers(prefix: str, draft: Row, version: Row) -> None:
    st.markdown("##### Scorers")
    found = scorer_form.scorers(
        f"{prefix}-s{st.session_state[FORM]['scorer_number']}",
        draft["scorers"],
        has_expected=version["expected"] is not None,
        on_add=_add_scorer,
        on_remove=_remove_scorer,
    )
    if found is None:
        st.session_state[FORM]["ready"] = False
    else:
        draft["scorers"] = found


def _start(prefix: str, draft: Row, version: Row) -> str | None:
    """The estimate, and the button that says what it does."""
    asked: tuple[Any, ...] = (
        draft["dataset_version_id"],
        draft["variants"],
        draft["scorers"],
        draft["row_limit"],
    )
    estimate = None
    st.markdown("##### What it takes")
    with ui.errors():
        estimate = queries.read("runs", "estimate", *asked)
    if estimate is None:
        return None
    ui.metric_strip(estimate_tiles(estimate))
    tables.show(
        [_estimate_row(row) for row in estimate["variants"]],
        ESTIMATE_COLUMNS,
        alt="What each variant takes",
        height="content",
    )
    st.caption(text.escape(estimate["hint"]))
    label = f"Run {text.plural(estimate['rows'], 'row')}"
    if not st.button(
        label,
        type="primary",
        icon=":material/play_arrow:",
        key=f"{prefix}-start",
        help=f"Asks {text.plural(estimate['result_count'], 'answer')}; each model loads once.",
    ):
        return None
    with ui.errors():
        run_id = ui.workbench().runs.create(ui.actor(), draft["name"], *asked)
        ui.workbench().drafts.put(ui.actor(), DRAFT, None)
        del st.session_state[FORM]
        return run_id
    return None


def estimate_tiles(estimate: Row) -> list[ui.Metric]:
    """Rows, tokens, minutes, and whether the minutes were measured."""
    minutes = estimate["minutes"]
    measured = minutes is not None
    return [
        ui.Metric(
            "Answers",
            text.count(estimate["result_count"]),
            help=f"{text.count(estimate['rows'])} rows x {len(estimate['variants'])} variants",
        ),
        ui.Metric("Prompt tokens", f"about {text.roughly(estimate['prompt_tokens'])}"),
        ui.Metric(
            "New tokens",
            f"{_new_tokens_word(estimate)} {text.roughly(estimate['new_tokens'])}",
            help="From earlier results of the prompt, else the most that the parameters allow",
        ),
        ui.Metric(
            "Time, measured here" if measured else "Time, not measured yet",
            f"about {text.seconds(minutes * 60)}" if measured else "not known yet",
            help="From a measurement of this model, engine and quantization on this machine, "
            "loading included. Without one there is no guess: measure it on the Models page.",
        ),
    ]


def _new_tokens_word(estimate: Row) -> str:
    known = all(row["new_tokens_basis"] == "earlier results" for row in estimate["variants"])
    return "about" if known else "at most"


def _estimate_row(row: Row) -> Row:
    minutes = row["minutes"]
    return {
        **row,
        "loads": f"{row['engine']} {row['quantization']} on {row['device']}",
        "takes": "not measured yet" if minutes is None else f"about {text.seconds(minutes * 60)}",
    }


def _defaults() -> Row:
    """The newest dataset, the prompt that fits it in its last two versions, the first model."""
    draft: Row = {
        "name": "", "dataset_version_id": None, "row_limit": None, "scorers": [], "variants": [],
    }  # fmt: skip
    if missing():
        return {**draft, "variants": [{}, {}]}
    prompts = [p for p in queries.read("prompts", "list") if p["version_count"]]
    models = queries.read("models", "list", kind="chat")
    for dataset in queries.read("datasets", "list"):
        inputs = {column["name"] for column in dataset["columns"] if column["role"] == "input"}
        fitting = next((p for p in prompts if p["variables"] and inputs >= {*p["variables"]}), None)
        if fitting is not None:
            break
    else:
        dataset, fitting = queries.read("datasets", "list")[0], prompts[0]
    version = queries.read("datasets", "version", dataset["newest_version_id"])
    newest = queries.read("prompts", "versions", fitting["id"])[:2]
    chosen = [newest[-1], newest[0]]
    return {
        **draft,
        "dataset_version_id": version["id"],
        "scorers": scorer_form.defaults(version),
        "variants": [{"prompt_version_id": v["id"], "model_id": models[0]["id"]} for v in chosen],
    }


def _version(version_id: str | None) -> Row | None:
    known = {row["id"] for row in queries.read("datasets", "list")}
    if version_id is None:
        return None
    found: Row = queries.read("datasets", "version", version_id)
    return found if found["dataset_id"] in known else None


def _version_label(row: Row) -> str:
    return f"v{row['number']} · {text.plural(row['row_count'], 'row')}"


def _reopen(draft: Row) -> None:
    number = st.session_state.get("run-form-number", 0) + 1
    st.session_state["run-form-number"] = number
    st.session_state[FORM] = {
        "number": number, "draft": draft, "ready": False, "scorer_number": 0,
    }  # fmt: skip


def _replace(draft: Row, *, scorers: list[Row]) -> None:
    """Other scorers, with widgets of their own."""
    draft["scorers"] = scorers
    st.session_state[FORM]["scorer_number"] += 1


def _add_variant() -> None:
    draft = st.session_state[FORM]["draft"]
    draft["variants"].append({**draft["variants"][-1], "name": ""})


def _remove_variant(number: int) -> None:
    draft = st.session_state[FORM]["draft"]
    del draft["variants"][number]
    _reopen(draft)


def _add_scorer(kind: str) -> None:
    draft = st.session_state[FORM]["draft"]
    taken = {spec.get("name", "") for spec in draft["scorers"]}
    base = scorer_form.default_name(kind)
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base} {number}"
    draft["scorers"].append({"kind": kind, "name": name})
    draft["own_scorers"] = True


def _remove_scorer(number: int) -> None:
    draft = st.session_state[FORM]["draft"]
    _replace(draft, scorers=[s for n, s in enumerate(draft["scorers"]) if n != number])
    draft["own_scorers"] = True
