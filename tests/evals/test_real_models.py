"""One run on the real starter model, by both engines, with real embeddings."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.evals.variants import Variant
from core.generation import Generation
from core.workbench import OWNER, Workbench
from tests.evals.conftest import wait_for

ROWS = b"""\
{"text": "What is the capital of France?", "label": "The capital of France is Paris."}
{"text": "What colour is the sky on a clear day?", "label": "The sky is blue."}
{"text": "How many legs does a dog have?", "label": "A dog has four legs."}
"""


@pytest.mark.starter
@pytest.mark.slow
def test_a_run_on_real_models_by_two_engines(starter_home: Path, workbench: Workbench) -> None:
    workbench.models.register_starter(OWNER)
    [chat] = workbench.models.list(OWNER, kind="chat")
    version = workbench.datasets.import_rows(
        OWNER,
        name="facts",
        filename="facts.jsonl",
        data=ROWS,
        mapping={"text": "input", "label": "expected"},
    )
    prompt_id = workbench.prompts.create(OWNER, "ask")
    prompt = workbench.prompts.save_version(
        OWNER, prompt_id, system_template="Answer in one sentence.", user_template="{{text}}"
    )
    variants = [
        Variant(
            prompt["id"],
            chat["id"],
            engine=engine,
            quantization=quantization,
            generation=Generation(max_tokens=24),
            name=engine,
        )
        for engine, quantization in (("transformers", "fp32"), ("llama.cpp", "auto"))
    ]
    scorers = [
        {"kind": "embedding_similarity", "name": "meaning", "threshold": 0.6},
        {"kind": "contains", "name": "word", "text": "Paris"},
    ]
    run_id = workbench.runs.create(OWNER, "real", version["id"], variants, scorers)
    wait_for(lambda: workbench.runs.get(OWNER, run_id)["state"] not in ("queued", "running"), 240)
    run = workbench.runs.get(OWNER, run_id)
    assert run["state"] == "succeeded", (run["error"], workbench.jobs.log(OWNER, run["job_id"]))
    workbench.ingest.drain()
    for variant in workbench.runs.summary(OWNER, run_id)["variants"]:
        assert variant["ok_count"] == 3
        scores = {score["name"]: score for score in variant["scores"]}
        assert scores["word"]["passed_count"] >= 1, "it knows the capital of France"
        assert scores["meaning"]["mean"] > 0.5
        assert variant["compute_s"] > 0
        assert variant["prompt_token_count"] > 3 * 10
    grid = workbench.runs.grid(OWNER, run_id)
    [(_, cell), *_] = grid["rows"][0]["cells"].items()
    assert "Paris" in cell["output"]
    found = workbench.runs.cell(OWNER, run_id, run["variants"][0]["id"], grid["rows"][0]["row_id"])
    assert "<|im_start|>user\nWhat is the capital of France?" in found["trace"]["rendered_prompt"]
