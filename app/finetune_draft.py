"""The draft of a new fine-tune: what it begins with, by itself or as another page asks for it.

Knows: which models can be trained, which prompt fits which rows, the sample's own settings. Does
not know: how a draft is asked for (`finetune_form`), where it is kept.
"""

from __future__ import annotations

from typing import Any

from app import queries, ui
from core.datasets.samples import FOLDER
from core.errors import Invalid, NotFound
from core.store.database import Row
from core.training.script.params import METHODS

SAMPLE = FOLDER / "finetune.yaml"
TRAINABLE = ("starter", "directory", "gguf", "hub", "adapter")


def defaults() -> Row:
    """The newest dataset with the prompt that fits it, over the first base, balanced."""
    draft: Row = {
        "name": "", "base_model_id": None, "dataset_version_id": None, "prompt_version_id": None,
        "hold_out": {"share": 0.25}, "train_split": None, "preset": "balanced",
        "params": {"method": "sft"}, "sweep": {}, "start_from": None, "evaluate": True,
    }  # fmt: skip
    if missing():
        return draft
    draft["base_model_id"] = bases()[0]["id"]
    versions = [
        queries.read("datasets", "version", dataset["newest_version_id"])
        for dataset in queries.read("datasets", "list", limit=20)
    ]
    made = [for_rows(version) for version in versions]
    return {**draft, **next((one for one in made if one["prompt_version_id"]), made[0])}


def asked(
    *,
    dataset: str | None = None,
    prompt: str | None = None,
    base: str | None = None,
    method: str | None = None,
) -> Row:
    """The draft for a dataset version, a prompt version, a base or a method, as another page
    asks for it; what is not named is as it fits."""
    draft = defaults()
    version = dataset_version(dataset)
    if version is not None:
        draft.update(for_rows(version))
    if prompt:
        draft["prompt_version_id"] = prompt
    if base in {row["id"] for row in bases()}:
        draft["base_model_id"] = base
    if method in METHODS:
        draft["params"] = {"method": method}
    return draft


def sample() -> Row:
    """The draft as the sample's own file has it: sample tickets, prompt, and settings that were
    measured to learn them. Adds what of these is not there yet."""
    import yaml

    file = yaml.safe_load(SAMPLE.read_text(encoding="utf-8"))
    workbench, actor = ui.workbench(), ui.actor()
    version = workbench.datasets.import_sample(actor, file["dataset"])
    workbench.prompts.create_samples(actor)
    if not bases() and not workbench.models.register_starter(actor):
        raise Invalid(
            "The starter model is not in this workspace.", title="Nothing to train",
            hint="Run `lathe models fetch` in a terminal once, or add a model on the Models page.",
        )  # fmt: skip
    named = [model["id"] for model in bases() if model["name"] == file["base"]]
    return {
        **defaults(),
        **{name: file[name] for name in ("name", "hold_out", "preset")},
        "base_model_id": (named or [bases()[0]["id"]])[0],
        "dataset_version_id": version["id"],
        "prompt_version_id": workbench.prompts.find(actor, file["prompt"])["id"],
        "params": {"method": "sft", **file["params"]},
    }


def asked_by(run: Row) -> dict[str, str]:
    """The URL's parameters that open the form for a run's dataset, prompt and model."""
    variant = next(v for v in run["variants"] if v["id"] == run["baseline_variant_id"])
    named = {
        "new": "1", "dataset": run["dataset_version_id"], "prompt": variant["prompt_version_id"],
        "base": variant["model_id"],
    }  # fmt: skip
    return {name: value for name, value in named.items() if value}


def missing() -> list[str]:
    """What has to be there before a fine-tune can be: names of pages."""
    needs = {"Datasets": queries.read("datasets", "list"), "Models": bases()}
    return [page for page, found in needs.items() if not found]


def bases() -> list[Row]:
    """What can be trained: chat models with a folder of safetensors, then adapters over them."""
    models: list[Row] = queries.read("models", "list", kind="chat")
    found = [m for m in models if m["source"] in TRAINABLE and m["path"]]
    return sorted(found, key=lambda model: model["source"] == "adapter")


def splits_of(version: Row) -> list[str]:
    """The names of a version's splits, where it has such a column."""
    if not any(column["name"] == "split" for column in version["columns"]):
        return []
    with ui.errors():
        found = queries.read(
            "explore", "query", version["id"],
            "SELECT DISTINCT split AS name FROM rows WHERE split IS NOT NULL ORDER BY 1 LIMIT 20",
        )  # fmt: skip
        return [str(row["name"]) for row in found["rows"]]
    return []


def for_rows(version: Row) -> Row:
    """What of a draft goes by the rows: the version, what is held out, the prompt that fits."""
    inputs = {column["name"] for column in version["columns"] if column["role"] == "input"}
    prompts = [p for p in queries.read("prompts", "list") if p["version_count"]]
    fits = next((p for p in prompts if p["variables"] and inputs >= {*p["variables"]}), None)
    newest = queries.read("prompts", "versions", fits["id"])[0]["id"] if fits else None
    return {
        "dataset_version_id": version["id"], "hold_out": hold_out_of(version), "train_split": None,
        "prompt_version_id": newest,
    }  # fmt: skip


def dataset_version(version_id: str | None) -> Row | None:
    if not version_id:
        return None
    try:
        found: Row = queries.read("datasets", "version", version_id)
        dataset = queries.read("datasets", "get", found["dataset_id"])
    except NotFound:
        return None  # a draft may be older than what it names
    return None if dataset["archived_at"] else {**found, "dataset_name": dataset["name"]}


def prompt_version(version_id: str | None) -> Row | None:
    if not version_id:
        return None
    try:
        found: Row = queries.read("prompts", "version", version_id)
    except NotFound:
        return None
    return found


def hold_out_of(version: Row) -> dict[str, Any]:
    """The split that is meant for it, else a quarter of the rows."""
    splits = splits_of(version)
    named = next((name for name in ("test", "validation", "eval") if name in splits), None)
    return {"split": named} if named else {"share": 0.25}
