"""The samples that come with Lathe: importable as they are, and fit for their prompts."""

from __future__ import annotations

import collections
import json

import pytest

from core.datasets.readers import open_source
from core.datasets.samples import FOLDER, all_samples, preferences
from core.datasets.scan import head
from core.datasets.service import Datasets
from core.errors import NotFound
from core.governance.permissions import OWNER
from core.prompts.samples import sample_prompts
from core.prompts.template import parse, render
from core.settings import PROJECT_ROOT
from core.store.database import Store

LABELS = {"billing", "bug", "feature request", "account access", "shipping", "other"}


@pytest.fixture
def datasets(store: Store) -> Datasets:
    return Datasets(store)


def rows(name: str) -> list[dict[str, str]]:
    lines = (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_a_sample_is_one_call_away_and_importing_it_twice_adds_nothing(datasets: Datasets) -> None:
    for sample in datasets.samples(OWNER):
        version = datasets.import_sample(OWNER, sample["name"])
        assert version["row_count"] == sample["row_count"]
        assert version["dataset_name"] == sample["title"]
        assert datasets.import_sample(OWNER, sample["name"])["id"] == version["id"]
    assert sum(row["row_count"] for row in datasets.list(OWNER)) >= 220
    assert {row["license"] for row in datasets.list(OWNER)} == {"CC0-1.0"}
    with pytest.raises(NotFound, match="There is no sample 'nope'"):
        datasets.import_sample(OWNER, "nope")


def test_the_guess_for_a_sample_is_its_mapping(datasets: Datasets) -> None:
    for sample in all_samples():
        preview = datasets.preview(OWNER, sample.path.name, sample.path)
        assert {name: m["role"] for name, m in preview["mapping"].items()} == sample.mapping
        assert preview["error_count"] == 0


def test_every_example_renders_in_every_version_of_its_prompt(datasets: Datasets) -> None:
    by_dataset = {prompt.dataset: prompt for prompt in sample_prompts()}
    for sample in all_samples():
        version = datasets.import_sample(OWNER, sample.name)
        for example in datasets.examples(OWNER, version["id"]):
            assert example.expected
            for asked in by_dataset[sample.name].versions:
                render(asked.system_template, asked.user_template, example.inputs,
                       row=example.row_index)  # fmt: skip


def test_the_suggested_prompt_asks_for_the_samples_inputs(datasets: Datasets) -> None:
    for sample in datasets.samples(OWNER):
        inputs = [name for name, role in sample["mapping"].items() if role == "input"]
        assert list(parse(sample["prompt"]["user_template"]).variables) == inputs


def test_tickets_carry_six_labels_in_fair_numbers_and_both_prompts_name_them() -> None:
    counts = collections.Counter(row["label"] for row in rows("support-tickets"))
    assert set(counts) == LABELS
    assert min(counts.values()) >= 20
    triage = next(p for p in sample_prompts() if p.dataset == "support-tickets")
    for version in triage.versions:
        assert all(label in version.user_template for label in LABELS)


def test_short_answers_stand_in_their_passages() -> None:
    for row in rows("short-answers"):
        assert row["answer"].lower() in row["context"].lower(), row["id"]
        assert len(row["answer"].split()) <= 9


def test_no_text_occurs_twice() -> None:
    for name, column in (("support-tickets", "body"), ("short-answers", "question")):
        texts = [row[column] for row in rows(name)]
        assert len(set(texts)) == len(texts)


def test_the_first_rows_already_show_variety() -> None:
    """Runs over the first n rows are common; they should not see one label only."""
    assert len({row["label"] for row in rows("support-tickets")[:20]}) >= 5
    assert "CC0" in (FOLDER / "LICENSE.md").read_text(encoding="utf-8")
    first, _ = head(open_source("x.jsonl", FOLDER / "support-tickets.jsonl"))
    assert first == ["id", "channel", "customer_tier", "subject", "body", "label"]


def test_the_sample_to_practise_on_is_imported_by_name_and_has_its_faults_listed(
    datasets: Datasets,
) -> None:
    version = datasets.import_sample(OWNER, "messy-tickets")
    assert version["row_count"] == 152
    assert "messy-tickets" not in {sample["name"] for sample in datasets.samples(OWNER)}
    truth = json.loads((PROJECT_ROOT / "tests/curation/messy_truth.json").read_text())
    rows = {row for groups in truth.values() for group in groups for row in group}
    assert max(rows) < version["row_count"]


def test_the_preferences_go_through_the_prompt_of_their_task_and_share_no_ticket_with_it(
    datasets: Datasets,
) -> None:
    version = datasets.import_sample(OWNER, "ticket-preferences")
    assert version["row_count"] == 80
    pairs = rows("ticket-preferences")
    assert {row["chosen"] for row in pairs} == LABELS
    assert min(collections.Counter(row["chosen"] for row in pairs).values()) >= 10
    assert all(row["chosen"] != row["rejected"] for row in pairs)
    wrong = sum(row["rejected"] in LABELS for row in pairs)
    assert 20 < wrong < 70, "wrong labels and wordy answers both occur"
    assert len({row["body"] for row in pairs}) == 80
    tickets = {row["body"] for row in rows("support-tickets")}
    assert not tickets & {row["body"] for row in pairs}
    found = preferences()[0]
    assert found.prompt_name == "Triage a ticket"
    assert set(parse(found.user_template).variables) == {"subject", "body"}
