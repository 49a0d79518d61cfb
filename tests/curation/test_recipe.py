"""The notation of recipes: what parses, what is refused and how, the hash, pending steps."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.curation.conditions import OPERATORS
from core.curation.recipe import Recipe
from core.curation.steps import STEPS
from core.errors import Forbidden, Invalid, NotFound
from core.governance.permissions import Actor
from core.workbench import OWNER, Workbench

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
names = texts.filter(bool)
columns = st.lists(names, min_size=1, max_size=3)
conditions = st.lists(
    st.fixed_dictionaries({
        "column": names,
        "op": st.sampled_from([n for n, o in OPERATORS.items() if o.takes == "text"]),
        "value": texts | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False,
                                                                  allow_infinity=False),
    }),
    min_size=1, max_size=3,
)  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
steps = st.one_of(
    st.fixed_dictionaries({"step": st.just("trim"), "columns": columns}),
    st.fixed_dictionaries({"step": st.just("filter"), "where": conditions}),
    st.fixed_dictionaries(
        {"step": st.just("drop_rows"), "row_ids": st.lists(texts), "reason": texts}
    ),
    st.fixed_dictionaries({"step": st.just("sample"), "share": st.floats(0, 1)}),
    st.fixed_dictionaries({
        "step": st.just("edit_cells"),
        "cells": st.lists(
            st.fixed_dictionaries({"row_id": names, "column": names, "value": values}), max_size=3
        ),
    }),
)  # fmt: skip


def refused(given: Any) -> Invalid | None:
    try:
        Recipe.parse(given)
    except Invalid as error:
        return error
    return None


@example([{"step": "trim", "columns": ["\x85"]}])  # a line break to YAML
@example([{"step": "trim", "columns": ["a\u2028b", "\ufeff", "x\x85 y"]}])
@given(st.lists(steps, max_size=4))
def test_what_is_dumped_parses_as_the_same_recipe(found: list[dict[str, Any]]) -> None:
    recipe = Recipe.parse({"recipe": 1, "steps": found})
    again = Recipe.parse(recipe.dump())
    assert again == recipe
    assert again.content_hash == recipe.content_hash
    assert Recipe.parse(json.dumps(recipe.to_dict())).content_hash == recipe.content_hash


@given(st.text())
def test_any_text_is_a_recipe_or_an_error_that_says_why(text: str) -> None:
    error = refused(text)
    assert error is None or (error.message and error.field)


@given(st.sampled_from(sorted(STEPS)), st.dictionaries(st.sampled_from(
    ["columns", "rules", "where", "row_ids", "rows", "cells", "to", "column", "template", "share",
     "seed", "tags", "split", "by", "role", "type", "prompt", "model", "generation", "value"]
), values, max_size=5))  # fmt: skip
def test_any_arguments_are_taken_or_named(step: str, arguments: dict[str, Any]) -> None:
    error = refused({"recipe": 1, "steps": [{"step": step, **arguments}]})
    assert error is None or error.message.startswith("Step 1")
    assert error is None or (error.field or "").startswith("steps.0")


@pytest.mark.parametrize(
    ("given", "field", "said"),
    [
        ("- a\n- b", "recipe", "`recipe: 1` and a list"),
        ("steps: []", "recipe", "recipe: 1"),
        ("recipe: 1\nextra: 2", "extra", "no 'extra'"),
        ("recipe: 1\nsteps: trim", "steps", "is a list"),
        ("recipe: 1\nsteps: [trim]", "steps.0", "Step 1 is not a step"),
        ("recipe: 1\nsteps: [{step: trim, columns: [a]}, {step: trim}]", "steps.1.columns",
         "Step 2: The step trim needs 'columns'"),
        ("recipe: 1\nsteps: [{step: trim, columns: a}]", "steps.0.columns", "a list of column"),
        ("recipe: 1\nsteps: [{step: trim, column: a}]", "steps.0.column", "takes no 'column'"),
        ("recipe: 1\nsteps: [{step: case, columns: [a], to: loud}]", "steps.0.to", "'loud'"),
        ("recipe: 1\nsteps: [{step: sample, share: 1.5}]", "steps.0.share", "0 to 1"),
        ("recipe: 1\nsteps: [{step: sample, rows: 0}]", "steps.0.rows", "at least 1"),
        ("recipe: 1\nsteps: [{step: sample}]", "steps.0.rows", "not both"),
        ("recipe: 1\nsteps: [{step: sample, share: .nan}]", "steps.0", "finite"),
        ("recipe: 1\nsteps: [{step: add_column, column: a, value: 2020-01-01}]", "steps.0",
         "no notation"),
        ("recipe: 1\nsteps: [{step: drop_rows, row_ids: [1]}]", "steps.0.row_ids", "row ids"),
        ("recipe: 1\nimport: {mapping: {a: boss}}", "a", "not a role"),
        ("recipe: 1\nimport: {file: x}", "import", "mapping"),
    ],
)  # fmt: skip
def test_an_error_names_the_step_and_the_field(given: str, field: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        Recipe.parse(given)
    assert caught.value.field == field
    assert said in f"{caught.value.message} {caught.value.hint}"


def test_yaml_makes_no_objects() -> None:
    with pytest.raises(Invalid, match="is not YAML"):
        Recipe.parse("recipe: !!python/object/apply:os.system ['true']")


@pytest.fixture
def version(workbench: Workbench) -> dict[str, Any]:
    return workbench.datasets.import_sample(OWNER, "support-tickets")


TRIM = {"step": "trim", "columns": ["message"]}
CASE = {"step": "case", "columns": ["message"], "to": "lower"}


def names_of(workbench: Workbench, version_id: str, actor: Actor = OWNER) -> list[str]:
    return [row["step"]["step"] for row in workbench.recipes.pending(actor, version_id)]


def test_steps_are_added_moved_removed_and_each_change_is_undone(
    workbench: Workbench, version: dict[str, Any]
) -> None:
    recipes, id_ = workbench.recipes, version["id"]
    assert not recipes.can_undo(OWNER, id_)
    assert recipes.add(OWNER, id_, TRIM) == 0
    assert recipes.add(OWNER, id_, CASE) == 1
    recipes.move(OWNER, id_, 1, 0)
    assert names_of(workbench, id_) == ["case", "trim"]
    recipes.change(OWNER, id_, 0, {**CASE, "to": "upper"})
    recipes.remove(OWNER, id_, 1)
    recipes.clear(OWNER, id_)
    assert names_of(workbench, id_) == []
    seen = []
    while recipes.can_undo(OWNER, id_):
        recipes.undo(OWNER, id_)
        seen.append(names_of(workbench, id_))
    assert seen == [["case"], ["case", "trim"], ["case", "trim"], ["trim", "case"], ["trim"], []]
    recipes.undo(OWNER, id_)


def test_every_change_is_in_the_audit_log(workbench: Workbench, version: dict[str, Any]) -> None:
    recipes, id_ = workbench.recipes, version["id"]
    cell = {"row_id": "r", "column": "message", "value": "new", "before": "old"}
    recipes.add(OWNER, id_, {"step": "edit_cells", "cells": [cell]})
    recipes.undo(OWNER, id_)
    log = workbench.audit.list(OWNER, action_prefix="recipes.")
    assert [row["action"] for row in log] == ["recipes.undo", "recipes.add"]
    assert log[1]["object_id"] == id_
    assert log[1]["user_id"] == OWNER.id
    assert json.loads(log[1]["detail"])["steps"][0]["cells"] == [cell]


def test_pending_steps_are_the_actors_own(workbench: Workbench, version: dict[str, Any]) -> None:
    other = Actor("u2", "ann", "engineer")
    workbench.recipes.add(OWNER, version["id"], TRIM)
    assert names_of(workbench, version["id"], other) == []
    with pytest.raises(Forbidden):
        workbench.recipes.add(Actor("u3", "lee", "lead"), version["id"], TRIM)
    with pytest.raises(NotFound):
        workbench.recipes.add(OWNER, "dsversion_none", TRIM)
    with pytest.raises(Invalid, match="No step is pending"):
        workbench.recipes.apply(other, version["id"])
    with pytest.raises(Invalid, match="There is no step 2"):
        workbench.recipes.remove(OWNER, version["id"], 1)


def test_a_preview_counts_and_shows_and_changes_nothing(
    workbench: Workbench, version: dict[str, Any]
) -> None:
    recipes, id_ = workbench.recipes, version["id"]
    column = version["inputs"][0]
    rule = {"pattern": "the", "with": "THE"}
    replace = {"step": "replace", "columns": [column], "rules": [rule]}
    recipes.add(OWNER, id_, replace)
    found = recipes.preview(OWNER, id_)
    assert found["row_count"] == found["tried_count"] == version["row_count"]
    (step,) = found["steps"]
    assert step["counts"]["the"] >= step["changed"] > 0
    assert "THE" in step["examples"][0]["after"]
    some = recipes.preview(OWNER, id_, [replace], most_rows=50)
    assert some["tried_count"] <= 50 < some["row_count"]
    two = recipes.preview(OWNER, id_, [replace, {**CASE, "columns": [column]}], 0)
    assert len(two["steps"]) == 1
    assert len(workbench.datasets.versions(OWNER, version["dataset_id"])) == 1


def test_a_recipe_is_pasted_whole_or_not_at_all(
    workbench: Workbench, version: dict[str, Any]
) -> None:
    recipes, id_ = workbench.recipes, version["id"]
    with pytest.raises(Invalid, match="Step 2"):
        recipes.paste(OWNER, id_, Recipe((TRIM, {"step": "melt"})).dump())
    assert recipes.paste(OWNER, id_, Recipe((TRIM, CASE)).dump()) == 2
    assert names_of(workbench, id_) == ["trim", "case"]
    shown = Recipe.parse(recipes.recipe_of(OWNER, id_, include_pending=True))
    assert shown.steps == (TRIM, CASE)
    assert Recipe.parse(recipes.recipe_of(OWNER, id_)).steps == ()
