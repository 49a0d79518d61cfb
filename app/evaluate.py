"""An evaluation as a YAML file: from what it says to a finished run, on a terminal or in CI.

    name: Triage, two wordings
    dataset: support-tickets            # a dataset's name (name@2: that version), a sample's name,
                                        # or a CSV, JSONL or Parquet file beside this one
    rows: 100                           # all of them when left out
    variants:
      - name: terse
        prompt: Triage a ticket@1       # name, name@number or name@tag; or {system, user} in place
        model: SmolLM2-135M-Instruct    # name or id
        engine: auto                    # these three are auto when left out
        quantization: auto
        device: auto
        generation: {max_tokens: 8}     # the prompt version's own when left out
    scorers:
      - {kind: exact_match, ignore_case: true}
    baseline: terse                     # the first variant when left out
    require: {pass_rate: 0.6}           # exit code 1 when a variant passes less

Knows: this file's words, waiting, the summary in text. Does not know: how a run is done.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click
import yaml

from app.cli_nouns import AnyWorkbench, pick
from app.listing import table, to_json
from app.remote import Remote, open_workbench
from core.errors import Conflict, Invalid, JobFailed, NotFound
from core.generation import Generation
from core.settings import Settings
from core.workbench import OWNER

KEYS = {"name", "dataset", "rows", "variants", "scorers", "baseline", "require"}
VARIANT_KEYS = {"name", "prompt", "model", "engine", "quantization", "device", "generation"}
POLL_S = 0.3
INGEST_S = 30.0  # the last rows reach the database a moment after the job has ended

COLUMNS = {
    "name": "VARIANT",
    "rows": "ROWS",
    "failed": "FAILED",
    "passed": "PASS RATE [95%]",
    "p50": "P50 MS",
    "p95": "P95 MS",
    "speed": "TOKENS/S",
    "compute": "COMPUTE S",
    "versus": "AGAINST THE BASELINE",
}


def run_config(path: str, *, as_json: bool = False, detach: bool = False) -> int:
    """Do what the file says; the exit code is 1 when a variant misses what it requires."""
    config = read_config(Path(path))
    with open_workbench(Settings.from_env(), background=True) as workbench:
        if detach and not isinstance(workbench, Remote):
            raise Conflict(
                "--detach leaves the run to the app, and the app is not running.",
                hint="Start it with `lathe app`, or leave --detach out and wait here.",
            )
        run_id = start(workbench, config, Path(path).parent)
        if detach:
            click.echo(to_json({"run_id": run_id}) if as_json else run_id)
            return 0
        summary = wait(workbench, run_id)
    missed = misses(summary, config)
    if as_json:
        click.echo(to_json({**summary, "missed": missed}))
    else:
        click.echo(report(summary))
    for text in missed:
        click.echo(text, err=True)
    return 1 if missed else 0


def read_config(path: Path) -> dict[str, Any]:
    """Parse the file; raises Invalid naming a word that is not known or missing."""
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Invalid(f"{path.name} is not YAML: {error}.", title="Cannot read the file") from None
    _check_keys(config, KEYS, path.name, needed=("dataset", "variants"))
    if not isinstance(config["variants"], list) or not config["variants"]:
        raise Invalid("`variants` is a list of at least one.", field="variants")
    for at, variant in enumerate(config["variants"], start=1):
        _check_keys(variant, VARIANT_KEYS, f"variant {at}", needed=("prompt", "model"))
    names = [str(variant.get("name") or "") for variant in config["variants"]]
    if config.get("baseline") and str(config["baseline"]) not in names:
        raise Invalid(
            f"The baseline {config['baseline']!r} is no variant's name.",
            field="baseline",
            hint=f"There are: {', '.join(name for name in names if name) or 'none with a name'}.",
        )
    require = config.get("require") or {}
    _check_keys(require, {"pass_rate"}, "`require`")
    rate = require.get("pass_rate", 0)
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
        raise Invalid(f"pass_rate lies between 0 and 1, not {rate!r}.", field="pass_rate")
    return {**config, "name": str(config.get("name") or path.stem)}


def _check_keys(found: Any, known: set[str], what: str, *, needed: tuple[str, ...] = ()) -> None:
    if not isinstance(found, dict):
        raise Invalid(f"{what} must be names with values, not {type(found).__name__}.")
    for name in found:
        if name not in known:
            raise Invalid(
                f"{what} has no {name!r}.",
                field=str(name),
                hint=f"It may have {', '.join(sorted(known))}.",
            )
    for name in needed:
        if not found.get(name):
            raise Invalid(f"{what} needs a {name}.", field=name)


def start(workbench: AnyWorkbench, config: dict[str, Any], folder: Path) -> str:
    """Look everything up, start the run, set the baseline; the run's id."""
    version = find_dataset(workbench, str(config["dataset"]), folder)
    models = workbench.models.list(OWNER)
    variants = [
        {
            "name": str(asked.get("name") or ""),
            "prompt_version_id": find_prompt(workbench, asked, config["name"])["id"],
            "model_id": pick(models, str(asked["model"]), "model")["id"],
            **{k: str(asked.get(k) or "auto") for k in ("engine", "quantization", "device")},
            "generation": asked.get("generation"),
        }
        for asked in config["variants"]
    ]
    scorers = config.get("scorers") or []
    run_id = str(
        workbench.runs.create(
            OWNER, config["name"], version["id"], variants, scorers, config.get("rows")
        )
    )
    if config.get("baseline"):
        columns = workbench.runs.get(OWNER, run_id)["variants"]
        chosen = pick(columns, str(config["baseline"]), "variant")
        workbench.runs.set_baseline(OWNER, run_id, chosen["id"])
    return run_id


def find_dataset(workbench: AnyWorkbench, reference: str, folder: Path) -> dict[str, Any]:
    """The version meant: of a dataset, of a sample, or of a file, imported when it is new."""
    try:
        found: dict[str, Any] = workbench.datasets.find(OWNER, reference)
        return found
    except NotFound as error:
        if (folder / reference).is_file():
            from app.cli_import import import_file

            return import_file(workbench, folder / reference)
        if reference in {sample["name"] for sample in workbench.datasets.samples(OWNER)}:
            return dict(workbench.datasets.import_sample(OWNER, reference))
        raise error


def find_prompt(workbench: AnyWorkbench, asked: dict[str, Any], run_name: str) -> dict[str, Any]:
    """The version meant, or one saved now from the text in the file."""
    prompt = asked["prompt"]
    if not isinstance(prompt, dict):
        try:
            return dict(workbench.prompts.find(OWNER, str(prompt)))
        except NotFound:
            workbench.prompts.create_samples(OWNER)  # it may be the name of one
            return dict(workbench.prompts.find(OWNER, str(prompt)))
    _check_keys(prompt, {"system", "user"}, "a prompt", needed=("user",))
    name = f"{run_name}: {asked.get('name') or 'prompt'}"
    known = {row["name"]: row["id"] for row in workbench.prompts.list(OWNER)}
    prompt_id = known.get(name) or workbench.prompts.create(OWNER, name)
    version = workbench.prompts.save_version(
        OWNER,
        prompt_id,
        system_template=str(prompt.get("system") or ""),
        user_template=str(prompt["user"]),
        generation=Generation.from_dict(asked.get("generation") or {}),
        message="From an evaluation file",
    )
    return dict(version)


def wait(workbench: AnyWorkbench, run_id: str) -> dict[str, Any]:
    """Show progress until the run has ended and its rows are there; the summary.

    Raises JobFailed when it did not succeed. Ctrl+C leaves the run going.
    """
    try:
        while (run := workbench.runs.get(OWNER, run_id))["state"] in ("queued", "running"):
            _show_progress(run)
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        click.echo(f"\nThe run goes on. `lathe runs show {run_id}` tells how far.", err=True)
        raise
    if run["state"] != "succeeded":
        error = workbench.jobs.get(OWNER, run["job_id"])["error"] or {}
        raise JobFailed(
            error.get("message") or f"The run is {run['state']}.",
            title=f"{run['name']} is {run['state']}",
            hint=f"What is done is kept: `lathe jobs resume {run['job_id']}` goes on from there.",
        )
    return _when_complete(workbench, run_id)


def _when_complete(workbench: AnyWorkbench, run_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + INGEST_S
    while True:
        summary = dict(workbench.runs.summary(OWNER, run_id))
        wanted = summary["row_count"]
        if all(variant["result_count"] >= wanted for variant in summary["variants"]):
            return summary
        if time.monotonic() > deadline:
            raise JobFailed(
                "The run has ended, and not all of its rows have arrived.",
                hint=f"`lathe runs show {run_id}` has what is there.",
            )
        time.sleep(POLL_S)


def _show_progress(run: dict[str, Any]) -> None:
    if sys.stderr.isatty():
        done, total = run["progress_done"] or 0, run["progress_total"] or 0
        left = f", about {run['eta_s']:.0f} s left" if run.get("eta_s") else ""
        click.echo(f"\r{run['state']} {done:,} of {total:,}{left:<30}", nl=False, err=True)


def misses(summary: dict[str, Any], config: dict[str, Any]) -> list[str]:
    """What is required and not reached, one sentence each."""
    wanted = (config.get("require") or {}).get("pass_rate")
    if wanted is None:
        return []
    return [
        f"{v['name']}: the pass rate is {_percent(v['pass_rate'])}, required is {wanted:.1%}."
        for v in summary["variants"]
        if v["pass_rate"] is None or v["pass_rate"] < wanted
    ]


def report(summary: dict[str, Any]) -> str:
    """The comparison as a table, and what so many rows can show."""
    rows = [
        {
            "name": variant["name"],
            "rows": variant["result_count"],
            "failed": variant["failed_count"],
            "passed": _rate(variant),
            "p50": variant["e2e_p50_ms"],
            "p95": variant["e2e_p95_ms"],
            "speed": variant["tokens_per_s"],
            "compute": variant["compute_s"],
            "versus": _versus(variant["versus"]),
        }
        for variant in summary["variants"]
    ]
    lines = [f"{summary['name']} ({summary['id']})", "", table(rows, COLUMNS)]
    return "\n".join(lines + (["", summary["hint"]] if summary.get("hint") else []))


def _rate(variant: dict[str, Any]) -> str:
    interval = variant["pass_interval"]
    if interval is None:
        return "nothing judged"
    low, high = _percent(interval["low"]), _percent(interval["high"])
    return f"{_percent(variant['pass_rate'])} [{low}, {high}]"


def _versus(paired: dict[str, Any] | None) -> str:
    if paired is None:
        return "-"
    chance = "" if paired["p_value"] is None else f", p = {paired['p_value']:.3f}"
    return f"{paired['fixed']} fixed, {paired['broke']} broke{chance}"


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value * 100:.1f} %"
