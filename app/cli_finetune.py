"""A fine-tune as a YAML file: from what it says to an adapter, compared with its base.

    name: Triage tickets
    base: SmolLM2-135M-Instruct         # a model's name or id
    dataset: support-tickets@1          # a dataset's name, name@2, a sample's, or a file beside it
    prompt: Triage a ticket@1           # or {system, user} in place; none: the rows as they are
    hold_out: {share: 0.25}             # or {split: test}
    train_split: train                  # only these rows
    start_from: an adapter              # goes on from that model
    preset: balanced                    # quick look, balanced, thorough
    params: {epochs: 3, rank: 16}       # what differs from the preset
    sweep: {learning_rate: [1e-4, 3e-4]}
    evaluate: true                      # compare with the base on the rows held out

Knows: this file's words, waiting, the outcome in text. Does not know: how anything is trained.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click
import yaml

from app.cli_nouns import AnyWorkbench, pick
from app.evaluate import find_dataset, find_prompt
from app.listing import to_json
from app.remote import Remote, open_workbench
from core.errors import Conflict, Invalid, JobFailed, NotFound
from core.settings import PROJECT_ROOT, Settings
from core.workbench import OWNER

KEYS = {
    "name", "base", "dataset", "prompt", "hold_out", "train_split", "start_from", "preset",
    "params", "sweep", "evaluate",
}  # fmt: skip
MAPPINGS = ("hold_out", "params", "sweep")
SAMPLE = PROJECT_ROOT / "data" / "samples" / "finetune.yaml"
POLL_S = 0.5
GOING = ("queued", "running")
_DONE = "succeeded"


@click.command("finetune")
@click.argument(
    "config", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--sample", is_flag=True, help="Tune the starter model on the sample tickets.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@click.option("--detach", is_flag=True, help="Start it and return; only while the app runs.")
def finetune(config: Path | None, sample: bool, as_json: bool, detach: bool) -> None:
    """Train an adapter as CONFIG, a YAML file, says; wait, and print how it compares with its base.

    The page Fine-tune exports such a file. A sweep prints each of its fine-tunes. Ctrl+C leaves
    the training going.
    """
    if sample == (config is not None):
        raise click.UsageError("Give CONFIG, or --sample and no CONFIG.")
    path = SAMPLE if config is None else config
    asked = read_config(path)
    settings = Settings.from_env()
    if sample:
        _fetch_starter(settings)
    with open_workbench(settings, background=True) as workbench:
        if detach and not isinstance(workbench, Remote):
            raise Conflict(
                "--detach leaves the fine-tune to the app, and the app is not running.",
                hint="Start it with `lathe app`, or leave --detach out and wait here.",
            )
        ids = workbench.finetunes.start(OWNER, resolved(workbench, asked, path.parent))
        if detach:
            click.echo(to_json({"finetune_ids": ids}) if as_json else "\n".join(ids))
            return
        found = [wait(workbench, one) for one in ids]
    if as_json:
        click.echo(to_json(found[0] if len(found) == 1 else found))
    else:
        click.echo("\n\n".join(report(one) for one in found))


def read_config(path: Path) -> dict[str, Any]:
    """Parse the file; Invalid names a word that is not known, missing, or of the wrong kind."""
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Invalid(f"{path.name} is not YAML: {error}.", title="Cannot read the file") from None
    if not isinstance(config, dict):
        raise Invalid(f"{path.name} must be names with values, not {type(config).__name__}.")
    for name in config:
        if name not in KEYS:
            raise Invalid(
                f"{path.name} has no {name!r}.", field=str(name),
                hint=f"It may have {', '.join(sorted(KEYS))}.",
            )  # fmt: skip
    for name in ("base", "dataset"):
        if not config.get(name):
            raise Invalid(f"{path.name} needs a {name}.", field=name)
    for name in MAPPINGS:
        if not isinstance(config.get(name) or {}, dict):
            raise Invalid(f"`{name}` must be names with values.", field=name)
    for name, tried in (config.get("sweep") or {}).items():
        if not isinstance(tried, list):
            raise Invalid(f"`sweep` tries a list of values: {name}: [..].", field="sweep")
    if not isinstance(config.get("evaluate", True), bool):
        raise Invalid("`evaluate` is true or false.", field="evaluate")
    _check_hold_out(config.get("hold_out") or {})
    return {**config, "name": str(config.get("name") or path.stem)}


def _check_hold_out(held: dict[str, Any]) -> None:
    for name in held:
        if name not in ("split", "share"):
            raise Invalid(f"`hold_out` has no {name!r}.", field="hold_out",
                          hint="It is {share: 0.2} or {split: test}.")  # fmt: skip
    share = held.get("share", 0)
    if isinstance(share, bool) or not isinstance(share, int | float):
        raise Invalid(f"The share held out is a number, not {share!r}.", field="hold_out")


def resolved(workbench: AnyWorkbench, config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The config as `finetunes.start` takes it: ids in place of names."""
    models = workbench.models.list(OWNER, kind="chat")
    kept = {k: v for k, v in config.items() if k not in ("base", "dataset", "prompt")}
    found = {
        **kept,
        "base_model_id": _found(models, config["base"], "model", "base"),
        "dataset_version_id": find_dataset(workbench, str(config["dataset"]), folder)["id"],
    }
    if config.get("prompt"):
        asked = {"prompt": config["prompt"], "name": "prompt"}
        found["prompt_version_id"] = find_prompt(workbench, asked, config["name"])["id"]
    if config.get("start_from"):
        found["start_from"] = _found(models, config["start_from"], "adapter", "start_from")
    return found


def _found(models: list[dict[str, Any]], name: Any, noun: str, field: str) -> str:
    try:
        return str(pick(models, str(name), noun)["id"])
    except NotFound as error:
        raise Invalid(error.message, field=field, title=error.title, hint=error.hint) from None


def wait(workbench: AnyWorkbench, finetune_id: str) -> dict[str, Any]:
    """Show progress until adapter and comparison are there; the outcome.

    Raises JobFailed when it was not trained, or not compared though it was asked for.
    """
    row = _until(workbench, finetune_id, lambda one: one["state"] not in GOING, "trains")
    if row["state"] != _DONE:
        error = row["error"] or {}
        kept = f"`lathe jobs resume {row['job_id']}` goes on from the last checkpoint."
        raise JobFailed(
            error.get("message") or f"The fine-tune is {row['state']}.",
            title=error.get("title") or f"{row['name']} is {row['state']}",
            hint=" ".join(part for part in (error.get("hint"), kept) if part),
        )
    if row["run_id"]:
        row = _until(workbench, finetune_id, lambda one: _compared(workbench, one), "compares")
    model = workbench.models.get(OWNER, row["adapter_model_id"])
    return outcome(row, model)


def outcome(row: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    """What a fine-tune amounts to, as JSON."""
    result, found = row["result"] or {}, row["comparison"]
    evaluation = None
    if found is not None:
        versus = found["versus"] or {}
        evaluation = {
            "run_id": found["run_id"],
            "rows": found["rows"],
            "base": found["base"],
            "adapter": found["adapter"],
            "difference": versus.get("difference"),
            "interval": versus.get("interval"),
            "p_value": versus.get("p_value"),
            "fixed": versus.get("fixed"),
            "broke": versus.get("broke"),
        }
    return {
        "finetune_id": row["id"],
        "name": row["name"],
        "adapter": model["adapter_path"],
        "adapter_model_id": row["adapter_model_id"],
        "base": row["base_name"],
        "method": row["method"],
        "steps": result.get("steps"),
        "loss_first": result.get("loss_first"),
        "loss_last": result.get("loss_last"),
        "eval_loss_base": result.get("eval_loss_base"),
        "eval_loss_last": result.get("eval_loss_last"),
        "train_seconds": result.get("train_seconds"),
        "folder": row["folder"],
        "evaluation": evaluation,
    }


def report(found: dict[str, Any]) -> str:
    """The outcome in lines of text."""
    lines = [
        f"{found['name']} ({found['finetune_id']})",
        f"adapter     {found['adapter']}",
        f"base        {found['base']}",
        f"steps       {found['steps']} in {found['train_seconds'] or 0:.0f} s",
        f"loss        {_number(found['loss_first'])} -> {_number(found['loss_last'])}",
    ]
    if found["eval_loss_last"] is not None:
        told = f"{_number(found['eval_loss_base'])} (base) -> {_number(found['eval_loss_last'])}"
        lines.append(f"held out    loss {told}")
    evaluation = found["evaluation"]
    if evaluation is None:
        return "\n".join([*lines, "evaluation  none: no rows that could be compared"])
    lines.append(f"evaluation  {evaluation['rows']} held-out rows, run {evaluation['run_id']}")
    lines += [f"  {side:<9} {_rate(evaluation[side])}" for side in ("base", "adapter")]
    if evaluation["difference"] is not None:
        low, high = (evaluation["interval"][end] * 100 for end in ("low", "high"))
        lines.append(
            f"  difference {evaluation['difference'] * 100:+.1f} points"
            f" [{low:+.1f}, {high:+.1f}], p = {evaluation['p_value']:.3g}"
        )
    return "\n".join(lines)


def _until(workbench: AnyWorkbench, finetune_id: str, done: Any, verb: str) -> dict[str, Any]:
    try:
        while not done(row := dict(workbench.finetunes.get(OWNER, finetune_id))):
            _show_progress(row, verb)
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        click.echo(f"\n{row['name']} goes on: `lathe jobs show {row['job_id']}`.", err=True)
        raise
    return row


def _compared(workbench: AnyWorkbench, row: dict[str, Any]) -> bool:
    """Whether the comparison is complete; JobFailed when it can not become so by waiting."""
    if row["comparison"] is not None:
        return True
    run = workbench.runs.get(OWNER, row["run_id"])
    if run["state"] in (*GOING, _DONE, None):
        return False
    error = run["error"] or {}
    raise JobFailed(
        error.get("message") or f"The comparison with the base is {run['state']}.",
        title=f"{row['name']} was trained, and not compared with its base",
        hint=f"The adapter is kept. `lathe jobs resume {run['job_id']}` goes on comparing.",
    )


def _show_progress(row: dict[str, Any], verb: str) -> None:
    if sys.stderr.isatty():
        done, total = row["progress_done"] or 0, row["progress_total"] or 0
        left = f", about {row['eta_s']:.0f} s left" if row.get("eta_s") else ""
        told = f"{row['state']} {done:,} of {total:,}" if verb == "trains" else "comparing"
        said = f"{row['name']}: {told} {row.get('progress_message') or ''}{left}"
        click.echo(f"\r{said:<100.100}", nl=False, err=True)


def _fetch_starter(settings: Settings) -> None:
    """The sample needs the starter model; it is fetched once."""
    from core.models.starter import ensure_starter

    ensure_starter(settings.home, cache=settings.cache, offline=settings.offline)
    with open_workbench(settings) as workbench:
        workbench.models.register_starter(OWNER)


def _rate(side: dict[str, Any]) -> str:
    interval = side["interval"]
    if interval is None:
        return "nothing judged"
    low, high = interval["low"] * 100, interval["high"] * 100
    rate = f"{side['pass_rate'] * 100:.1f} % [{low:.0f}, {high:.0f}]"
    return f"{rate}, {side['passed']} of {side['judged']}"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"
