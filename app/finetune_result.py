"""What came out of a fine-tune: base against adapter, the adapter, its exports, its card.

Knows: how a comparison reads in one line, what loads an export. Does not know: how any is made.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import streamlit as st

from app import compare_head, playground_draft, queries, run_drawer, text, ui
from app import job_progress as progress
from core.errors import LatheError
from core.store.database import Row

UNFINISHED = ("failed", "cancelled", "interrupted")
"""Ways in which a run ends with answers missing."""
KINDS = {
    "peft": ("adapter for PEFT", "the adapter alone: a few MB, beside its base"),
    "merged": ("merged safetensors", "base and adapter in one: transformers, vLLM"),
    "gguf": ("GGUF", "base and adapter in one file: llama.cpp"),
}


def is_comparing(row: Row) -> bool:
    """Whether the comparison with the base is at work, or its last answers are still to come."""
    if row["state"] != "succeeded" or row["comparison"]:
        return False
    run = _run(row)
    return run is not None and run["state"] not in UNFINISHED


def show(row: Row) -> None:
    """Base against adapter, then what can be done with the adapter."""
    _comparison(row)
    _actions(row)
    if row["adapter_model_id"]:
        exports(row["adapter_model_id"], key=row["id"])


def _comparison(row: Row) -> None:
    st.markdown("##### Is it better than its base?")
    found = row["comparison"]
    run = _run(row) if found is None else None
    if run is not None and run["state"] not in UNFINISHED:
        with st.container(border=True):
            st.markdown("Base and adapter answer every held-out row.")
            run_drawer.progress(run)
        return
    if found is None:
        _not_compared(row, run)
        return
    with st.container(border=True):
        left, middle, right = st.columns([3, 3, 5], gap="medium")
        with left:
            _rate(f"Base :gray[{text.escape(str(row['base_name']))}]", found["base"])
        with middle:
            _rate("Adapter", found["adapter"])
        with right:
            _difference(found["versus"])


def _rate(title: str, side: Row) -> None:
    interval, judged = side["interval"], side["judged"]
    st.markdown(f"**{title}**")
    if interval is None:
        st.markdown("### " + text.NOTHING)
        st.caption("Nothing is judged.")
        return
    low, high = interval["low"] * 100, interval["high"] * 100
    rate = text.percent(side["pass_rate"])
    st.markdown(f"### {rate} :gray[:small[\\[{low:.0f}, {high:.0f}\\]]]")
    st.caption(f"{text.count(side['passed'])} of {text.count(judged)} held-out rows pass")


def _difference(found: Row | None) -> None:
    if found is None or found["difference"] is None:
        st.markdown("**Difference**")
        st.caption(compare_head.surely(found))
        return
    st.markdown("**Difference**")
    st.markdown(f"### {compare_head.points(found)}".replace("[", ":gray[:small[\\[")
                .replace("]", "\\]]]"))  # fmt: skip
    st.markdown(
        f":green[▲ {text.count(found['fixed'])} fixed] :red[▼ {text.count(found['broke'])} broke] "
        f":gray[{text.count(found['same'])} the same. {compare_head.surely(found)}]"
    )


def _not_compared(row: Row, run: Row | None) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center", gap="medium"):
        said = "It has not been compared with its base yet."
        if run is not None:
            said = f"The comparison is {run['state']}: rows are missing."
        st.markdown(said, width="stretch")
        if run is not None and st.button("Open the run", key=f"run-{row['id']}"):
            st.switch_page("../pages/runs.py", query_params={"run": row["run_id"]})
        if run is None and ui.may("training.write") and row["adapter_model_id"]:
            st.button("Compare with base", type="primary", icon=":material/compare:",
                      key=f"compare-{row['id']}", on_click=ui.guarded(_compare), args=(row["id"],),
                      help="Asks base and adapter every held-out row")  # fmt: skip


def _actions(row: Row) -> None:
    model_id = row["adapter_model_id"]
    with st.container(horizontal=True, gap="small"):
        if row["comparison"] and st.button(
            "Open the comparison", type="primary", icon=":material/compare:",
            key=f"comparison-{row['id']}", help="Every held-out row: what was fixed, what broke",
        ):  # fmt: skip
            st.switch_page("../pages/compare.py", query_params={"run": row["run_id"]})
        if model_id is None:
            return
        if ui.may("models.use") and st.button(
            "Try in the playground", icon=":material/science:", key=f"try-{row['id']}",
            help="Base and adapter side by side, with the prompt it was trained with",
        ):  # fmt: skip
            to_playground(row)
            st.switch_page("../pages/playground.py")
        if st.button("Open in Models", icon=":material/deployed_code:", key=f"model-{row['id']}"):
            st.switch_page("../pages/models.py", query_params={"model": model_id})


def to_playground(row: Row) -> None:
    """Two columns with the prompt it was trained with: the base, and the adapter."""
    version = None
    if row.get("prompt_version_id"):
        with contextlib.suppress(LatheError):
            version = queries.read("prompts", "version", row["prompt_version_id"])
    draft = playground_draft.load()
    models = (row["base_model_id"], row["adapter_model_id"])
    draft["columns"] = [{**playground_draft.new_column(version), "model_id": m} for m in models]
    draft["dataset"], draft["row"] = row["dataset_version_id"], 0
    playground_draft.save(draft)


def _compare(finetune_id: str) -> None:
    ui.workbench().finetunes.compare(ui.actor(), finetune_id)
    ui.done("Comparing: base and adapter answer every held-out row")


def exports(model_id: str, *, key: str) -> None:
    """What was exported, with what loads it; a button for each kind; the job while it works."""
    made = ui.workbench().finetunes.exports(ui.actor(), model_id)
    with st.expander("Take it elsewhere: PEFT, merged safetensors, GGUF", key=f"exports-{key}"):
        ui.tell()  # in a drawer too
        job = _export_job(model_id)
        going = progress.is_going(job)
        if job is not None and going:
            progress.follow(job["id"], "Waiting for its turn", key=f"export-stop-{model_id}")
        elif job is not None and job["state"] == "failed" and (error := job["error"]):
            ui.error_box(error["title"], error["message"], error.get("hint"))
        if ui.may("training.write"):
            with st.container(horizontal=True, gap="small"):
                for kind, (label, words) in KINDS.items():
                    st.button(
                        f"Export {label}", key=f"export-{kind}-{key}",
                        help=f"{words[:1].upper()}{words[1:]}",
                        on_click=ui.guarded(_export), args=(model_id, kind),
                        disabled=going,
                    )  # fmt: skip
        for export in made:
            label = KINDS.get(export["kind"], (export["kind"], ""))[0]
            st.markdown(f"**{label[:1].upper()}{label[1:]}** :gray[{_told(export)}]")
            st.code(str(export["path"]), language=None, wrap_lines=True)
            st.code(snippet(export["kind"], str(export["path"]), _base_path(model_id)),
                    language="bash" if export["kind"] == "gguf" else "python")  # fmt: skip
        card = _card(model_id)
        if card:
            with st.popover("Model card", icon=":material/description:"):
                st.markdown(card)


def _told(export: Row) -> str:
    """Size, age, and how far its answers are from those of base and adapter, where measured."""
    parts = [text.size(export["bytes"]), text.relative(export["created_at"])]
    apart = export.get("max_logit_difference")
    if apart is not None:
        parts.append(f"logits differ from base and adapter by at most {text.significant(apart, 2)}")
    return ", ".join(parts)


def snippet(kind: str, path: str, base_path: str) -> str:
    """What loads an export, outside of Lathe."""
    if kind == "gguf":
        file = path if path.endswith(".gguf") else f"{path}/model.gguf"
        return f"llama-server -m {file}"
    if kind == "peft":
        return (
            "from peft import PeftModel\n"
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
            f'base = AutoModelForCausalLM.from_pretrained("{base_path}")\n'
            f'model = PeftModel.from_pretrained(base, "{path}")\n'
            f'tokenizer = AutoTokenizer.from_pretrained("{path}")\n'
        )
    return (
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f'model = AutoModelForCausalLM.from_pretrained("{path}")\n'
        f'tokenizer = AutoTokenizer.from_pretrained("{path}")\n'
        f"# or: vllm serve {path}\n"
    )


def _export(model_id: str, kind: str) -> None:
    ui.workbench().finetunes.export(ui.actor(), model_id, kind)
    ui.done("Exporting in the background")


def _export_job(model_id: str) -> Row | None:
    """The newest export of this model."""
    jobs = ui.workbench().jobs.list(ui.actor(), kind="adapter.export")
    newest = next((job["id"] for job in jobs if job["subject_id"] == model_id), None)
    return progress.found(newest)


def _base_path(model_id: str) -> str:
    model: dict[str, Any] = queries.read("models", "get", model_id)
    return str(model.get("path") or model.get("location") or "")


def _card(model_id: str) -> str | None:
    """The card that lies beside the adapter's weights."""
    model = queries.read("models", "get", model_id)
    path = Path(model["adapter_path"]) / "README.md" if model.get("adapter_path") else None
    if path is None or not path.is_file():
        return None
    said = path.read_text(encoding="utf-8")
    return said.split("---\n", 2)[-1] if said.startswith("---\n") else said


def _run(row: Row) -> Row | None:
    if not row["run_id"]:
        return None
    with contextlib.suppress(LatheError):
        found: Row = ui.workbench().runs.get(ui.actor(), row["run_id"])
        return found
    return None
