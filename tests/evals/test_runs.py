"""Runs end to end: a real job process and real model workers that answer from a script."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.evals import done
from core.evals.variants import Variant
from core.generation import Generation
from core.governance.permissions import Actor
from core.jobs.folder import JobFolder
from core.models.pool import WorkerPool
from core.models.spec import WorkerSpec
from core.settings import Settings
from core.workbench import OWNER
from tests.evals.conftest import LABELS, World, open_world, wait_for

RIGHT = {f"ticket {i}": LABELS[i % 4] for i in range(4)}
EMBEDDER = WorkerSpec("embedder", "embedder", "scripted", "fp32", kind="embedding")


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, str]]:
    """Four rows; 'good' gets three of them, 'bad' one, on one model each. Read by many tests."""
    with open_world(Settings(home=tmp_path_factory.mktemp("compared") / "home")) as world:
        run_id = world.start(
            world.variant(0, name="bad", model="bad", default="billing"),
            world.variant(
                1, name="good", model="good", replies=RIGHT | {"ticket 3": "it is a bug"}
            ),
            rows=4,
            scorers=[
                {"kind": "exact_match", "name": "label"},
                {"kind": "length", "name": "words"},
                {"kind": "latency", "name": "soon", "max_ms": 60_000},
            ],
        )
        world.finish(run_id)
        yield world, run_id


def test_the_summary_has_rates_with_intervals_and_the_change_against_the_baseline(
    compared: tuple[World, str],
) -> None:
    world, run_id = compared
    summary = world.runs.summary(OWNER, run_id)
    bad, good = summary["variants"]
    assert (bad["name"], bad["ok_count"], bad["passed_count"], bad["judged_count"]) == (
        "bad", 4, 1, 4,
    )  # fmt: skip
    assert good["pass_rate"] == 0.75
    assert good["pass_interval"]["low"] < 0.75 < good["pass_interval"]["high"]
    assert (good["versus"]["fixed"], good["versus"]["broke"], good["versus"]["same"]) == (2, 0, 2)
    assert good["versus"]["p_value"] == pytest.approx(0.5)
    assert bad["versus"] is None
    [listed] = world.runs.list(OWNER)
    assert listed["pass_rates"] == [bad["pass_rate"], good["pass_rate"]]
    assert listed["created_by_name"] == OWNER.id
    by_name = {score["name"]: score for score in good["scores"]}
    assert by_name["label"]["pass_rate"] == 0.75
    assert (by_name["words"]["pass_rate"], by_name["words"]["mean"]) == (None, 1.75)
    assert good["e2e_p50_ms"] > 0
    assert good["e2e_p95_ms"] is None, "four values are not enough for a p95"
    assert good["tokens_per_s"] > 0
    assert (good["engine"], good["quantization"], good["prompt_label"]) == (
        "scripted", "fp32", "polite v1",
    )  # fmt: skip
    assert "rows are too few" in summary["hint"]


def test_the_baseline_can_be_another_variant(compared: tuple[World, str]) -> None:
    world, run_id = compared
    bad_id, good_id = (v["id"] for v in world.runs.get(OWNER, run_id)["variants"])
    world.runs.set_baseline(OWNER, run_id, good_id)
    bad, good = world.runs.summary(OWNER, run_id)["variants"]
    world.runs.set_baseline(OWNER, run_id, bad_id)
    assert (bad["versus"]["fixed"], bad["versus"]["broke"], good["versus"]) == (0, 2, None)
    with pytest.raises(NotFound):
        world.runs.set_baseline(OWNER, run_id, "variant_of_another_run")


def test_versus_baseline_lists_the_rows_behind_the_counts(compared: tuple[World, str]) -> None:
    world, run_id = compared
    good_id = world.runs.get(OWNER, run_id)["variants"][1]["id"]
    found = world.runs.versus_baseline(OWNER, run_id, good_id, change="fixed")
    assert [(r["row_index"], r["baseline_output"], r["output"]) for r in found["rows"]] == [
        (1, "billing", "shipping"),
        (2, "billing", "account"),
    ]
    assert (found["fixed"], found["differences"]) == (2, []), "four rows are too few to bootstrap"
    with pytest.raises(Invalid):
        world.runs.versus_baseline(OWNER, run_id, good_id, change="better")


def test_the_grid_filters_searches_and_pages(compared: tuple[World, str]) -> None:
    world, run_id = compared
    bad_id, good_id = (v["id"] for v in world.runs.get(OWNER, run_id)["variants"])

    def indexes(**asked: object) -> list[int]:
        return [row["row_index"] for row in world.runs.grid(OWNER, run_id, **asked)["rows"]]

    assert indexes() == [0, 1, 2, 3]
    assert indexes(show="failures") == [1, 2, 3]
    assert indexes(show="different") == [1, 2]
    assert indexes(search="IT IS A BUG") == [3]
    assert indexes(search="ticket 2") == [2]
    assert indexes(search="ticket 2", show="different") == [2]
    first = world.runs.grid(OWNER, run_id, limit=3)
    assert (first["total_count"], first["after"]) == (4, 2)
    rest = world.runs.grid(OWNER, run_id, limit=3, after=first["after"])
    assert ([r["row_index"] for r in rest["rows"]], rest["after"]) == ([3], None)
    cell = first["rows"][1]["cells"][good_id]
    assert (cell["output"], cell["passed"], cell["change"]) == ("shipping", True, "fixed")
    assert cell["scores"]["label"]["passed"] is True
    assert first["rows"][1]["cells"][bad_id]["change"] is None
    assert first["rows"][1]["input_preview"] == "ticket 1"
    with pytest.raises(Invalid):
        world.runs.grid(OWNER, run_id, show="best")


def test_a_cell_has_the_whole_answer_its_scores_and_its_trace(compared: tuple[World, str]) -> None:
    world, run_id = compared
    bad_id = world.runs.get(OWNER, run_id)["variants"][0]["id"]
    row_id = world.runs.grid(OWNER, run_id)["rows"][3]["row_id"]
    cell = world.runs.cell(OWNER, run_id, bad_id, row_id)
    assert cell["result"]["output"] == "billing"
    assert cell["inputs"] == {"text": "ticket 3"}
    assert cell["trace"]["rendered_prompt"] == "<user>ticket 3</>"
    assert cell["trace"]["messages"] == [{"role": "user", "content": "ticket 3"}]
    assert {s["name"]: s["passed"] for s in cell["scores"]} == {
        "label": False, "soon": True, "words": None,
    }  # fmt: skip
    assert cell["scores"][0]["explanation"] == "Expected 'bug', got 'billing'."
    with pytest.raises(NotFound):
        world.runs.cell(OWNER, run_id, bad_id, "row_x")


def test_every_result_has_one_trace_that_says_what_answered(compared: tuple[World, str]) -> None:
    world, run_id = compared
    rows = world.workbench.store.rows(
        "SELECT model_name, prompt_label, source, state, count(*) AS n, count(DISTINCT id) AS d"
        " FROM traces WHERE run_id = $run GROUP BY ALL ORDER BY model_name",
        {"run": run_id},
    )
    assert [(r["model_name"], r["prompt_label"], r["n"], r["d"]) for r in rows] == [
        ("bad", "plain v1", 4, 4),
        ("good", "polite v1", 4, 4),
    ]
    assert {(r["source"], r["state"]) for r in rows} == {("run", "ok")}


def test_each_model_is_loaded_once_and_unloaded_after(world: World) -> None:
    run_id = world.start(
        world.variant(0, name="a1", model="a"),
        world.variant(0, name="b1", model="b"),
        world.variant(1, name="a2", model="a"),
        rows=20,
    )
    world.finish(run_id)
    log = [e["text"] for e in world.workbench.jobs.events(OWNER, world.job_id(run_id))
           if e["kind"] == "log"]  # fmt: skip
    ready = [text for text in log if text.endswith("ready")]
    assert [text.split(" ")[0] for text in ready] == ["a", "b"]
    wait_for(lambda: {s.state for s in WorkerPool(world.home).states()} == {"unloaded"})
    order = world.workbench.store.rows(
        "SELECT v.model_name FROM results r JOIN run_variants v ON v.id = r.variant_id"
        " WHERE r.run_id = $run ORDER BY r.created_at",
        {"run": run_id},
    )
    assert [r["model_name"] for r in order] == ["a"] * 40 + ["b"] * 20


def test_a_model_that_was_loaded_before_stays_loaded(world: World) -> None:
    variant = world.variant(model="busy")
    assert variant.spec is not None
    pool = WorkerPool(world.home)
    pool.ensure(variant.spec)
    world.finish(world.start(variant))
    assert pool.state(variant.spec).state == "ready"
    pool.stop_all()


def test_a_row_that_cannot_be_rendered_has_failed_and_says_which_variable(world: World) -> None:
    version_id = world.import_rows(
        [{"text": "fine", "label": "fine"}, {"text": None, "label": "x"}], name="holes"
    )
    run_id = world.start(world.variant(), version_id=version_id)
    [variant] = world.finish(run_id)["variants"]
    assert (variant["ok_count"], variant["failed_count"], variant["pass_rate"]) == (1, 1, 0.5)
    [failed] = [r for r in world.results(run_id) if r["state"] == "failed"]
    assert "{{text}}" in failed["error"]
    assert failed["trace_id"] is None, "no request was made"


def test_a_prompt_whose_variable_the_dataset_lacks_is_refused_before_the_run(world: World) -> None:
    prompt_id = world.workbench.prompts.create(OWNER, "wrong")
    version = world.workbench.prompts.save_version(
        OWNER, prompt_id, system_template="", user_template="{{question}}"
    )
    with pytest.raises(Invalid, match=r"needs \{\{question\}\}") as caught:
        world.start(Variant(version["id"], "m", spec=world.variant().spec))
    assert caught.value.field == "question"
    assert world.runs.list(OWNER) == []


def test_failed_rows_are_kept_and_retried_alone(world: World) -> None:
    model = world.workbench.models.add(
        OWNER, "flaky", "scripted", json.dumps({"fail_on": "ticket 3"})
    )
    run_id = world.start(Variant(world.prompt_ids[0], model, name="flaky"), rows=10)
    [variant] = world.finish(run_id)["variants"]
    assert (variant["ok_count"], variant["failed_count"]) == (9, 1)
    assert world.runs.grid(OWNER, run_id, show="failures")["total_count"] == 10, "none is right"

    assert world.runs.retry_failed(OWNER, run_id) == 1
    world.finish(run_id)
    attempts = Counter(r["row_index"] for r in world.results(run_id))
    assert attempts == {i: 2 if i == 3 else 1 for i in range(10)}
    [variant] = world.runs.summary(OWNER, run_id)["variants"]
    assert (variant["result_count"], variant["failed_count"]) == (10, 1), "the script still fails"
    row_id = next(r["row_id"] for r in world.results(run_id) if r["row_index"] == 3)
    cell = world.runs.cell(OWNER, run_id, variant["id"], row_id)
    assert (cell["result"]["attempt"], len(cell["attempts"])) == (2, 1)
    assert "The script fails on 'ticket 3'" in cell["result"]["error"]
    assert cell["trace"]["state"] == "failed"


def test_there_is_nothing_to_retry_when_nothing_failed(compared: tuple[World, str]) -> None:
    world, run_id = compared
    with pytest.raises(Conflict, match="No row has failed"):
        world.runs.retry_failed(OWNER, run_id)


def test_similarity_is_scored_after_the_answers_by_one_embedding_model(world: World) -> None:
    run_id = world.start(
        world.variant(name="echo", replies=RIGHT | {"ticket 1": ""}),
        world.variant(name="off", model="off", default="something else entirely"),
        rows=4,
        scorers=[{"kind": "embedding_similarity", "name": "near", "threshold": 0.99}],
        embedding=EMBEDDER,
    )
    echo, off = world.finish(run_id)["variants"]
    assert (echo["passed_count"], echo["judged_count"]) == (3, 4)
    assert off["passed_count"] == 0
    assert echo["scores"][0]["scored_count"] == 4
    assert 0.7 < echo["scores"][0]["mean"] <= 0.75


def test_a_model_that_does_not_load_stops_its_own_rows_only_and_resume_does_the_rest(
    world: World,
) -> None:
    run_id = world.start(world.variant(name="fine"), rows=5)
    world.finish(run_id)
    plan = world.runs._plan(run_id).to_dict()
    fine = plan["variants"][0]
    nowhere = {**fine["spec"], "engine": "llama.cpp", "gguf_path": str(world.home / "no.gguf")}
    plan["variants"] = [{**fine, "id": "variant_broken", "spec": nowhere}, fine]
    job_id = world.workbench.jobs.start(OWNER, "run", "with a broken model", plan)
    wait_for(lambda: world.workbench.jobs.get(OWNER, job_id)["state"] == "failed")
    error = world.workbench.jobs.get(OWNER, job_id)["error"]
    assert error["title"] == "A part of the run could not be done"
    assert error["message"].startswith("5 of 10 results are missing.")
    written = done.read(world.home / "jobs" / job_id / "spool")
    assert {variant_id for variant_id, _ in written.results} == {fine["id"]}


def test_the_estimate_is_measured_or_says_that_it_is_not(world: World) -> None:
    model = world.workbench.models.add(OWNER, "scripted", "scripted", "{}")
    asked = [Variant(world.prompt_ids[0], model, generation=Generation(max_tokens=10))]
    version_id = world.tickets(20)
    before = world.runs.estimate(OWNER, version_id, asked, row_limit=10)
    assert (before["rows"], before["result_count"], before["new_tokens"]) == (10, 10, 100)
    assert (before["minutes"], before["basis"]) == (None, "not calibrated yet")
    assert before["variants"][0]["engine"] == "scripted"
    assert before["prompt_tokens"] == pytest.approx(10 * 8 / 3.5, abs=2)

    calibration = {
        "engine": "scripted",
        "quantization": "fp32",
        "device": "cpu",
        "concurrency": 8,
        "load_ms": 3000.0,
        "prefill_tokens_per_s": 1000.0,
        "decode_tokens_per_s": 50.0,
    }
    world.workbench.models.record_calibration(OWNER, model, calibration)
    measured = world.runs.estimate(OWNER, version_id, asked, row_limit=10)
    assert measured["basis"] == "measured"
    assert measured["minutes"] == pytest.approx((100 / 50 + 0.023 + 3) / 60, rel=0.01)

    run_id = world.runs.create(OWNER, "measure", version_id, asked, [], row_limit=10)
    world.finish(run_id)
    after = world.runs.estimate(OWNER, version_id, asked, row_limit=10)
    assert after["new_tokens"] == 20, "every echo has two words"
    assert after["variants"][0]["new_tokens_basis"] == "earlier results"


def test_auto_is_resolved_and_recorded_before_the_run(world: World) -> None:
    model = world.workbench.models.add(OWNER, "scripted", "scripted", "{}")
    run_id = world.start(Variant(world.prompt_ids[0], model), row_limit=2)
    run = world.runs.get(OWNER, run_id)
    [variant] = run["variants"]
    assert (variant["engine"], variant["quantization"], variant["device"]) == (
        "scripted", "fp32", "cpu",
    )  # fmt: skip
    assert variant["name"] == "plain v1 · scripted · scripted · fp32"
    assert "auto" not in json.dumps(world.runs._plan(run_id).to_dict()["variants"][0]["spec"])
    assert run["row_count"] == 2
    world.finish(run_id)
    [listed] = world.runs.list(OWNER)
    assert (listed["result_count"], listed["state"], listed["dataset_label"]) == (
        2, "succeeded", "tickets v1",
    )  # fmt: skip
    world.runs.archive(OWNER, run_id)
    assert world.runs.list(OWNER) == []
    assert len(world.runs.list(OWNER, archived=True, search="A RUN")) == 1


def test_a_job_holds_no_secret(world: World) -> None:
    model = world.workbench.models.add(
        OWNER, "remote", "endpoint", "http://127.0.0.1:9/v1", revision="m", key="sk-very-secret"
    )
    run_id = world.start(Variant(world.prompt_ids[0], model), rows=2)
    folder = JobFolder(world.home / "jobs" / world.job_id(run_id))
    assert "sk-very-secret" not in (folder.path / "spec.json").read_text()
    world.workbench.jobs.cancel(OWNER, world.job_id(run_id))
    world.finish(run_id, "cancelled")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"variants": []}, "variants"),
        ({"row_limit": 0}, "row_limit"),
        ({"scorers": [{"kind": "magic"}]}, "kind"),
        ({"variants": [{"model_id": "m"}]}, "prompt_version_id"),
        ({"variants": [{"prompt_version_id": "v", "model_id": "m", "spec": {}}]}, "spec"),
        ({"variants": [{"prompt_version_id": "v", "model_id": "m", "colour": 1}]}, "colour"),
    ],
)
def test_what_is_wrong_with_a_request_is_said_before_anything_starts(
    world: World, change: dict[str, object], field: str
) -> None:
    asked = {"variants": [world.variant()], "scorers": [], "row_limit": None, **change}
    with pytest.raises(Invalid) as caught:
        world.runs.create(OWNER, "x", world.tickets(), **asked)
    assert caught.value.field == field
    assert world.workbench.jobs.list(OWNER) == []


def test_two_variants_cannot_share_a_given_name_and_unnamed_twins_get_numbers(world: World) -> None:
    with pytest.raises(Invalid, match="named 'same'"):
        world.start(world.variant(name="same"), world.variant(name="same"))
    run_id = world.start(world.variant(), world.variant(), rows=2)
    names = [v["name"] for v in world.runs.get(OWNER, run_id)["variants"]]
    assert names[1] == names[0] + " (2)"
    world.finish(run_id)


def test_only_the_owner_of_the_files_may_name_a_worker_s_files(world: World) -> None:
    engineer = Actor("u3", "Eng", "engineer")
    with pytest.raises(Forbidden, match="ready-made worker spec"):
        world.runs.create(engineer, "x", world.tickets(), [world.variant()])
    with pytest.raises(Forbidden):
        world.runs.estimate(engineer, world.tickets(), [], embedding=EMBEDDER)


def test_reviewers_see_no_runs_and_leads_change_none(world: World) -> None:
    lead = Actor("u1", "Lea", "lead")
    assert world.runs.list(lead) == []
    with pytest.raises(Forbidden):
        world.runs.create(lead, "x", world.tickets(), [world.variant()])
    with pytest.raises(Forbidden):
        world.runs.list(Actor("u2", "Rey", "reviewer"))
