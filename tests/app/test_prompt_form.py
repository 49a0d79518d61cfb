"""The form for a prompt's text: what goes in comes out, and every mistake is named."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from app import prompt_form
from core.generation import Generation


def script() -> None:
    from app import prompt_form

    if not prompt_form.loaded("p"):
        prompt_form.load("p", prompt_form.empty())
    prompt_form.templates("p")
    prompt_form.generation("p")


def content(user: str = "Hi {{name}}", system: str = "", **generation: Any) -> dict[str, Any]:
    return {
        "system_template": system,
        "user_template": user,
        "generation": {**Generation().to_dict(), **generation},
    }


def test_what_is_typed_is_read_back_as_versions_hold_it() -> None:
    page = AppTest.from_function(script).run()
    system, user, stop, schema = page.text_area
    system.input("Be brief.")
    user.input("Hi {{name}}")
    stop.input("\\n\nEND")
    schema.input('{"type": "object"}')
    page.number_input[0].set_value(12)
    page.number_input[3].set_value(7)
    page.run()
    assert not page.exception
    values = {name: page.session_state[f"p-{name}"] for name in prompt_form._WIDGETS}
    st_state = {f"p-{name}": value for name, value in values.items()}
    assert prompt_form.read_from(st_state, "p") == content(
        system="Be brief.", max_tokens=12, seed=7, stop=["\n", "END"],
        json_schema='{"type": "object"}',
    )  # fmt: skip


@given(st.lists(st.text(alphabet="ab\\nt\n\t\r é", min_size=1, max_size=8), max_size=4))
@settings(max_examples=150, deadline=None)
def test_stop_texts_survive_being_typed(stop: list[str]) -> None:
    state: dict[str, Any] = {}
    prompt_form.load_into(state, "p", content(stop=stop))
    assert prompt_form.read_from(state, "p") == content(stop=stop)


def test_variables_are_found_in_both_templates_once() -> None:
    found = prompt_form.check(content("{{b}} {{a}} {{#list}}{{item}}{{/list}}", "As {{a}}"))
    assert found.ok
    assert found.variables == ("a", "b", "list")
    assert found.inner_variables == ("item",)
    shown = prompt_form.variables(found, frozenset({"a", "list"}))
    assert ":blue-badge[a]" in shown
    assert ":orange-badge[:material/warning: b]" in shown


def test_every_mistake_is_named_with_its_place() -> None:
    found = prompt_form.check(content("one\n{{#a}}", "{{x", temperature=3.0))
    assert [m.field for m in found.mistakes] == ["system_template", "user_template", "temperature"]
    assert "user template: Line 2" in found.mistakes[1].message


def test_an_emptied_number_is_a_mistake_and_not_a_crash() -> None:
    assert not prompt_form.check(content(max_tokens=None)).ok
