"""Prompts and their versions, through the service that everybody uses."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.generation import Generation
from core.governance.audit import Audit
from core.governance.permissions import OWNER, Actor
from core.prompts.samples import sample_prompts
from core.prompts.service import Prompts
from core.prompts.template import render
from core.store.database import Store

LEAD = Actor("lead", "Lea", "lead")


@pytest.fixture
def prompts(store: Store) -> Prompts:
    return Prompts(store)


def save(prompts: Prompts, prompt_id: str, user: str, **more: Any) -> dict[str, Any]:
    return prompts.save_version(
        OWNER, prompt_id, system_template="", user_template=user, generation=Generation(), **more
    )


def names(prompts: Prompts, **filters: Any) -> list[str]:
    return [row["name"] for row in prompts.list(OWNER, **filters)]


def test_versions_are_numbered_and_keep_what_they_were_saved_with(prompts: Prompts) -> None:
    prompt_id = prompts.create(OWNER, "  Triage  it ", description="sorts")
    first = save(prompts, prompt_id, "Sort {{body}}", message="first try")
    second = prompts.save_version(
        OWNER,
        prompt_id,
        system_template="Be {{tone}}",
        user_template="{{#docs}}{{title}}{{/docs}}",
        generation=Generation(max_tokens=9, stop=("\n",)),
    )
    assert [v["number"] for v in prompts.versions(OWNER, prompt_id)] == [2, 1]
    read = prompts.version(OWNER, second["id"])
    assert read["label"] == "Triage it v2"
    assert read["variables"] == ["tone", "docs"]
    assert read["inner_variables"] == ["title"]
    assert Generation.from_dict(read["generation"]) == Generation(max_tokens=9, stop=("\n",))
    assert prompts.version(OWNER, first["id"])["message"] == "first try"
    assert first["content_hash"] != second["content_hash"]


def test_saving_the_same_content_again_adds_nothing(prompts: Prompts) -> None:
    prompt_id = prompts.create(OWNER, "a")
    first = save(prompts, prompt_id, "x {{a}}")
    again = save(prompts, prompt_id, "x {{a}}", message="another message")
    assert (first["is_new"], again["is_new"]) == (True, False)
    assert again["id"] == first["id"]
    save(prompts, prompt_id, "y {{a}}")
    assert save(prompts, prompt_id, "x {{a}}")["number"] == 3  # back to the old text is a step


def test_savers_at_the_same_time_get_numbers_of_their_own(prompts: Prompts) -> None:
    prompt_id = prompts.create(OWNER, "a")
    threads = [
        threading.Thread(target=save, args=(prompts, prompt_id, f"text {n}")) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = [v["number"] for v in prompts.versions(OWNER, prompt_id)]
    assert numbers == [8, 7, 6, 5, 4, 3, 2, 1]


def test_a_template_with_a_mistake_is_not_saved(prompts: Prompts) -> None:
    prompt_id = prompts.create(OWNER, "a")
    with pytest.raises(Invalid, match=r"In the user template: Line 2: A .. is never closed") as bad:
        save(prompts, prompt_id, "one\n{{two")
    assert bad.value.field == "user_template"
    with pytest.raises(Invalid, match="user template is empty"):
        save(prompts, prompt_id, " \n")
    assert prompts.versions(OWNER, prompt_id) == []


def test_names_are_unique_and_checked(prompts: Prompts) -> None:
    prompt_id = prompts.create(OWNER, "Triage")
    with pytest.raises(Conflict, match="named 'triage' already"):
        prompts.create(OWNER, "triage")
    for bad in ("", "  ", "x" * 121, "a@b"):
        with pytest.raises(Invalid):
            prompts.create(OWNER, bad)
    other = prompts.create(OWNER, "other")
    with pytest.raises(Conflict):
        prompts.rename(OWNER, other, "Triage")
    prompts.rename(OWNER, prompt_id, "TRIAGE", description="new")
    assert prompts.get(OWNER, prompt_id)["description"] == "new"


def test_search_looks_at_name_description_and_the_newest_text(prompts: Prompts) -> None:
    first = prompts.create(OWNER, "Summaries", description="for the Weekly mail")
    save(prompts, first, "Condense {{text}} kindly")
    save(prompts, first, "Shorten {{text}} 100%")
    second = prompts.create(OWNER, "Empty one")
    assert names(prompts, search="weekly SUMM") == ["Summaries"]
    assert names(prompts, search="shorten 100%") == ["Summaries"]
    assert names(prompts, search="condense") == []
    assert names(prompts, search="%") == ["Summaries"]
    assert names(prompts, search="no'such") == []
    row = next(row for row in prompts.list(OWNER) if row["id"] == second)
    assert (row["version_count"], row["newest_version_id"], row["variables"]) == (0, None, [])


def test_tags_move_filter_and_go(prompts: Prompts) -> None:
    prompt_id = prompts.create(OWNER, "a")
    one, two = save(prompts, prompt_id, "one"), save(prompts, prompt_id, "two")
    prompts.tag(OWNER, prompt_id, "production", one["id"])
    prompts.tag(OWNER, prompt_id, "production", two["id"])
    prompts.tag(OWNER, prompt_id, "best", two["id"])
    assert prompts.version(OWNER, two["id"])["tags"] == ["best", "production"]
    assert prompts.version(OWNER, one["id"])["tags"] == []
    assert prompts.get(OWNER, prompt_id)["tags"] == {"best": 2, "production": 2}
    assert names(prompts, tag="best") == ["a"]
    prompts.untag(OWNER, prompt_id, "best")
    assert names(prompts, tag="best") == []
    with pytest.raises(NotFound):
        prompts.untag(OWNER, prompt_id, "best")


def test_a_tag_has_to_be_a_word_and_its_version_the_prompts_own(prompts: Prompts) -> None:
    prompt_id = prompts.create(OWNER, "a")
    version = save(prompts, prompt_id, "one")
    for bad in ("", "Two Words", "2", "x" * 41):
        with pytest.raises(Invalid):
            prompts.tag(OWNER, prompt_id, bad, version["id"])
    with pytest.raises(Invalid, match="another prompt"):
        prompts.tag(OWNER, prompts.create(OWNER, "b"), "best", version["id"])


def test_a_reference_finds_by_newest_number_or_tag(prompts: Prompts) -> None:
    prompt_id = prompts.create(OWNER, "Triage")
    with pytest.raises(NotFound, match="no version yet"):
        prompts.find(OWNER, "triage")
    one, two = save(prompts, prompt_id, "one"), save(prompts, prompt_id, "two")
    prompts.tag(OWNER, prompt_id, "production", one["id"])
    assert prompts.find(OWNER, "triage")["id"] == two["id"]
    assert prompts.find(OWNER, "triage@1")["id"] == one["id"]
    assert prompts.find(OWNER, "Triage@production")["id"] == one["id"]
    with pytest.raises(NotFound, match="no version '9'"):
        prompts.find(OWNER, "triage@9")
    with pytest.raises(NotFound, match="no prompt named"):
        prompts.find(OWNER, "nope")


def test_an_archived_prompt_leaves_the_list_and_comes_back(prompts: Prompts) -> None:
    prompt_id = prompts.create(OWNER, "a")
    version = save(prompts, prompt_id, "one")
    prompts.archive(OWNER, prompt_id)
    assert names(prompts) == []
    assert names(prompts, archived=True) == ["a"]
    assert prompts.version(OWNER, version["id"])["number"] == 1
    with pytest.raises(Conflict, match="archived"):
        save(prompts, prompt_id, "two")
    other = prompts.create(OWNER, "A")
    with pytest.raises(Conflict):
        prompts.restore(OWNER, prompt_id)
    prompts.archive(OWNER, other)
    prompts.restore(OWNER, prompt_id)
    assert names(prompts) == ["a"]


def test_what_is_not_there_is_not_found(prompts: Prompts) -> None:
    for ask in (prompts.get, prompts.versions, prompts.version, prompts.archive):
        with pytest.raises(NotFound):
            ask(OWNER, "nope")


def test_a_lead_reads_and_changes_nothing(prompts: Prompts) -> None:
    prompt_id = prompts.create(OWNER, "a")
    assert prompts.get(LEAD, prompt_id)["name"] == "a"
    with pytest.raises(Forbidden):
        prompts.create(LEAD, "b")
    with pytest.raises(Forbidden):
        prompts.create_samples(LEAD)


def test_every_change_is_in_the_audit_log(prompts: Prompts, store: Store) -> None:
    prompt_id = prompts.create(OWNER, "a")
    version = save(prompts, prompt_id, "one")
    prompts.tag(OWNER, prompt_id, "best", version["id"])
    prompts.untag(OWNER, prompt_id, "best")
    prompts.rename(OWNER, prompt_id, "b")
    prompts.archive(OWNER, prompt_id)
    prompts.restore(OWNER, prompt_id)
    verbs = [line["action"] for line in reversed(Audit(store).list(OWNER))]
    assert verbs == [
        f"prompts.{verb}"
        for verb in ("create", "save_version", "tag", "untag", "rename", "archive", "restore")
    ]


def test_the_sample_prompts_come_in_two_versions_once(prompts: Prompts) -> None:
    made = prompts.create_samples(OWNER)
    assert [row["label"] for row in made] == [
        "Triage a ticket v1",
        "Triage a ticket v2",
        "Answer from context v1",
        "Answer from context v2",
    ]
    assert {tuple(row["variables"]) for row in made} == {
        ("subject", "body"),
        ("context", "question"),
    }
    assert prompts.create_samples(OWNER) == []
    assert len(names(prompts)) == 2


def test_the_sample_prompts_render_and_keep_answers_short() -> None:
    values = {"subject": "s", "body": "b", "context": "c", "question": "q"}
    for sample in sample_prompts():
        for version in sample.versions:
            messages = render(version.system_template, version.user_template, values)
            assert messages[-1]["role"] == "user"
            assert version.generation.max_tokens <= 32
