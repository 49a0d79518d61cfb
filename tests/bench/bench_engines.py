"""Throughput of the engines on the sample tickets: 100 rows x 2 prompt versions, 48 new tokens.

Baselines, in the same run on the same machine: a plain `model.generate` loop over single prompts
and a padded static batch loop of 32, both fp32; and llama.cpp's own server at its best number of
slots. Ours is asked as a run asks it: over HTTP, with as many requests in flight as it has slots.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from core.generation import Generation
from core.models import client, starter
from core.models.pool import WorkerPool
from core.models.sources import Inspection
from core.models.spec import Endpoint, WorkerSpec
from core.prompts.samples import sample_prompts
from core.prompts.template import render
from core.settings import PROJECT_ROOT, Settings
from tests.jobs.test_jobs import wait_for

pytestmark = [pytest.mark.bench, pytest.mark.starter]

ROWS = 100
NEW_TOKENS = 48
ALONE = 20
"""Single prompts that the plain loop is timed on: every tenth, the time of all is the tenfold."""
PADDED = 32
SLOTS_TRIED = (4, 8, 16)

Messages = list[dict[str, str]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Inspection:
    home = tmp_path_factory.mktemp("bench")
    starter.ensure_starter(home, cache=Settings.from_env().cache)
    return starter.inspection(home, starter.STARTERS[0].slug)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerPool]:
    made = WorkerPool(tmp_path_factory.mktemp("workers"))
    yield made
    made.stop_all()


@pytest.fixture(scope="module")
def prompts() -> list[Messages]:
    """The rows through the first version, then through the second: the order of a run."""
    lines = (PROJECT_ROOT / "data/samples/support-tickets.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines][:ROWS]
    versions = next(p for p in sample_prompts() if "ticket" in p.name.lower()).versions
    return [render(v.system_template, v.user_template, row) for v in versions[:2] for row in rows]


def clock(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def ask_all(endpoint: Endpoint, prompts: Sequence[Messages], in_flight: int) -> list[str]:
    generation = Generation(max_tokens=NEW_TOKENS)
    with ThreadPoolExecutor(in_flight) as threads:
        return list(
            threads.map(
                lambda messages: client.stream(endpoint, messages, generation).text, prompts
            )
        )


def test_transformers_against_generate(
    model: Inspection, pool: WorkerPool, prompts: list[Messages]
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    spec = WorkerSpec("m", "starter", "transformers", "fp32", path=model.path)
    endpoint = pool.ensure(spec)
    ask_all(endpoint, prompts[:2], 2)
    answers: list[str] = []
    ours_s = clock(lambda: answers.extend(ask_all(endpoint, prompts, endpoint.slots)))
    pool.stop(spec.key)

    tokenizer = AutoTokenizer.from_pretrained(model.path, padding_side="left")
    plain = AutoModelForCausalLM.from_pretrained(model.path, dtype=torch.float32).eval()

    def generate(batch: Sequence[Messages]) -> list[str]:
        texts = [
            tokenizer.apply_chat_template(m, tokenize=False, add_generation_prompt=True)
            for m in batch
        ]
        inputs = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        with torch.inference_mode():
            out = plain.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)
        new = out[:, inputs["input_ids"].shape[1] :]
        return [str(text) for text in tokenizer.batch_decode(new, skip_special_tokens=True)]

    generate(prompts[:1])
    chosen = prompts[:: len(prompts) // ALONE]
    alone_s = clock(lambda: [generate([m]) for m in chosen]) * len(prompts) / len(chosen)
    batches = [prompts[i : i + PADDED] for i in range(0, len(prompts), PADDED)]
    padded: list[str] = []
    padded_s = clock(lambda: [padded.extend(generate(batch)) for batch in batches])
    same = sum(a == b for a, b in zip(answers, padded, strict=True))
    print(
        f"\n{len(prompts)} answers of at most {NEW_TOKENS} tokens, fp32"
        f"\n  one at a time, generate   {alone_s:8.1f} s   1.00x (from {len(chosen)} of them)"
        f"\n  padded batches of {PADDED}     {padded_s:8.1f} s  {alone_s / padded_s:5.2f}x"
        f"\n  Lathe over HTTP           {ours_s:8.1f} s  {alone_s / ours_s:5.2f}x,"
        f" {padded_s / ours_s:.2f}x the padded batches"
        f"\n  {same} of {len(prompts)} answers equal the padded ones letter by letter"
    )
    assert alone_s / ours_s >= 12
    assert padded_s / ours_s >= 1.3


OWN_SERVER = """
import sys, time, xllamacpp
p = xllamacpp.CommonParams()
p.model.path, slots, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
p.n_parallel, p.n_ctx = slots, 2048 * slots
p.cpuparams.n_threads = p.cpuparams_batch.n_threads = threads
p.ui, p.verbosity, p.n_threads_http = False, 0, slots + 4
server = xllamacpp.Server(p)
with open(sys.argv[4], "w") as told:
    told.write(server.listening_address)
time.sleep(3600)
"""


def own_server_s(gguf: Path, slots: int, prompts: Sequence[Messages], tmp: Path) -> float:
    """llama.cpp's own HTTP server with that many slots and as many clients."""
    threads = len(os.sched_getaffinity(0))
    told = tmp / f"address-{slots}-{time.monotonic_ns()}"
    arguments = [str(gguf), str(slots), str(threads), str(told)]
    with subprocess.Popen(
        [sys.executable, "-c", OWN_SERVER, *arguments],
        stdout=subprocess.DEVNULL,  # it logs there, and stands still when nobody reads
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            wait_for(lambda: told.exists() and told.read_text(), seconds=60)
            address = told.read_text()
            spec = WorkerSpec("m", "own", "endpoint", "remote", base_url=f"{address}/v1")
            endpoint = Endpoint(f"{address}/v1", "", "own", spec, slots)
            ask_all(endpoint, prompts[:2], 2)
            taken = clock(lambda: ask_all(endpoint, prompts, slots))
        finally:
            process.kill()
    return taken


def test_llama_cpp_against_its_own_server(
    model: Inspection, pool: WorkerPool, prompts: list[Messages], tmp_path: Path
) -> None:
    gguf = Path(str(model.gguf_path))
    prompts = prompts[::4]
    few = prompts[::2]
    tried = {slots: own_server_s(gguf, slots, few, tmp_path) for slots in SLOTS_TRIED}
    best = min(tried, key=lambda slots: tried[slots])
    own_s = own_server_s(gguf, best, prompts, tmp_path)
    spec = WorkerSpec("m", "starter", "llama.cpp", "gguf", gguf_path=str(gguf))
    endpoint = pool.ensure(spec)
    ask_all(endpoint, prompts[:2], 2)
    ours_s = clock(lambda: ask_all(endpoint, prompts, endpoint.slots))
    pool.stop(spec.key)
    again_s = own_server_s(gguf, best, prompts, tmp_path)
    print(
        f"\n{len(prompts)} answers of at most {NEW_TOKENS} tokens, llama.cpp"
        f"\n  its own server by slots   "
        + ", ".join(f"{slots}: {seconds:.1f} s" for slots, seconds in tried.items())
        + f" ({len(few)} answers)"
        f"\n  its own server, {best} slots  {own_s:8.1f} s and {again_s:.1f} s   1.00x"
        f"\n  Lathe, {endpoint.slots} slots          {ours_s:8.1f} s"
        f"  {(own_s + again_s) / 2 / ours_s:5.2f}x"
    )
    assert (own_s + again_s) / 2 / ours_s >= 0.95
