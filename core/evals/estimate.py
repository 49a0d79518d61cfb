"""The estimate before a run: rows, tokens and minutes, and what they rest on.

Knows: how to count ahead. Does not know: models; it never loads one.
Prompt tokens are counted from a sample of rendered prompts at a fixed number of characters a token:
no tokenizer is loaded for an estimate. New tokens are what earlier results with the
prompt version took, else at most `max_tokens`. Minutes come from a calibration of exactly that
model, engine, quantization and device, or from earlier results of it; without either there are
none: a guess is not an estimate.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import Invalid
from core.evals.plan import Plan, VariantPlan
from core.evals.rows import stream_examples
from core.governance.permissions import Actor
from core.prompts.template import render
from core.store.database import Row, Store

if TYPE_CHECKING:
    from core.models.service import Models

SAMPLE_ROWS = 100
CHARACTERS_PER_TOKEN = 3.5
ENOUGH_RESULTS = 5

MEASURED = "measured"
UNKNOWN = "not calibrated yet"


def estimate(home: Path, store: Store, models: Models, actor: Actor, plan: Plan) -> Row:
    """Totals and one entry per variant; `minutes` is None unless all of it is measured."""
    loaded: set[str] = set()
    variants = []
    for variant in plan.variants:
        row = _variant(home, store, models, actor, plan, variant)
        if variant.spec.key in loaded:
            row["load_s"] = 0.0
        loaded.add(variant.spec.key)
        seconds = row.pop("seconds")
        row["minutes"] = None if seconds is None else (seconds + row["load_s"]) / 60
        variants.append(row)
    minutes = [row["minutes"] for row in variants]
    known = all(m is not None for m in minutes)
    return {
        "rows": plan.row_count,
        "result_count": plan.row_count * len(plan.variants),
        "prompt_tokens": sum(row["prompt_tokens"] for row in variants),
        "new_tokens": sum(row["new_tokens"] for row in variants),
        "minutes": sum(minutes) if known else None,
        "basis": MEASURED if known else UNKNOWN,
        "variants": variants,
    }


def _variant(
    home: Path, store: Store, models: Models, actor: Actor, plan: Plan, variant: VariantPlan
) -> Row:
    earlier = _earlier(store, variant)
    characters = _characters(home, plan, variant)
    prompt_tokens = round(characters / CHARACTERS_PER_TOKEN)
    most = variant.generation.max_tokens
    new_each = min(most, earlier.get("new_tokens", most))
    new_tokens = round(new_each * plan.row_count)
    seconds, load_s = _seconds(models, actor, variant, earlier, prompt_tokens, new_tokens)
    return {
        "name": variant.name,
        "engine": variant.spec.engine,
        "quantization": variant.spec.quantization,
        "device": variant.spec.device,
        "why": variant.spec.why,
        "prompt_tokens": prompt_tokens,
        "new_tokens": new_tokens,
        "new_tokens_basis": "earlier results" if "new_tokens" in earlier else "at most",
        "seconds": seconds,
        "load_s": load_s,
        "basis": UNKNOWN if seconds is None else MEASURED,
    }


def _characters(home: Path, plan: Plan, variant: VariantPlan) -> float:
    """Characters of all prompts, from the first rows; rows that do not render count as empty."""
    count, total = 0, 0
    for example in islice(stream_examples(home, plan.rows, plan.row_count, plan.only), SAMPLE_ROWS):
        count += 1
        try:
            messages = render(
                variant.system_template,
                variant.user_template,
                example.inputs,
                row=example.row_index,
            )
        except Invalid:
            continue
        total += sum(len(message["content"]) for message in messages)
    return total / count * plan.row_count if count else 0


def _earlier(store: Store, variant: VariantPlan) -> dict[str, float]:
    """What the last 1,000 results on the same model tell; a key is missing where too few do."""
    spec = variant.spec
    asked = {
        "model": spec.model_id,
        "engine": spec.engine,
        "quantization": spec.quantization,
        "device": spec.device,
        "prompt": variant.prompt_version_id,
    }
    row = store.row(
        """
        WITH own AS (
            SELECT r.*, v.prompt_version_id
            FROM results r JOIN run_variants v ON v.id = r.variant_id
            WHERE v.model_id = $model AND v.engine = $engine AND v.quantization = $quantization
              AND v.device = $device AND r.state = 'ok'
            ORDER BY r.created_at DESC LIMIT 1000
        )
        SELECT count(compute_ms) AS timed_count,
            sum(compute_ms) / 1000
                / nullif(sum(completion_token_count) FILTER (compute_ms IS NOT NULL), 0)
                AS s_per_token,
            count(*) FILTER (prompt_version_id = $prompt) AS prompt_count,
            avg(completion_token_count) FILTER (prompt_version_id = $prompt) AS new_tokens
        FROM own
        """,
        asked,
    )
    found: dict[str, float] = {}
    if row and row["timed_count"] >= ENOUGH_RESULTS and row["s_per_token"]:
        found["s_per_token"] = row["s_per_token"]
    if row and row["prompt_count"] >= ENOUGH_RESULTS and row["new_tokens"]:
        found["new_tokens"] = row["new_tokens"]
    return found


def _seconds(
    models: Models,
    actor: Actor,
    variant: VariantPlan,
    earlier: dict[str, float],
    prompt_tokens: int,
    new_tokens: int,
) -> tuple[float | None, float]:
    """Seconds of computing and of loading; None where nothing was measured."""
    spec = variant.spec
    way = (spec.engine, spec.quantization, spec.device)
    measured = next(
        (
            row
            for row in models.calibration(actor, spec.model_id)
            if (row["engine"], row["quantization"], row["device"]) == way
        ),
        None,
    )
    load_s = ((measured or {}).get("load_ms") or 0.0) / 1000
    if "s_per_token" in earlier:
        return earlier["s_per_token"] * new_tokens, load_s
    if measured is None or not measured["decode_tokens_per_s"]:
        return None, load_s
    seconds = new_tokens / measured["decode_tokens_per_s"]
    if measured["prefill_tokens_per_s"]:
        seconds += prompt_tokens / measured["prefill_tokens_per_s"]
    return seconds, load_s
