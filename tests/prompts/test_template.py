"""Templates: what they render to, what they refuse, and in which words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from core.prompts.template import MAX_DEPTH, escape, parse, render


def rendered(template: str, **values: Any) -> str:
    return parse(template).render(values)


@pytest.mark.parametrize(
    ("template", "values", "text"),
    [
        ("Hello {{name}}.", {"name": "Ada"}, "Hello Ada."),
        ("{{ spaced out }}", {"spaced out": "ok"}, "ok"),
        ("{{größe}}", {"größe": 3}, "3"),
        ("{{n}} {{f}} {{b}}", {"n": 7, "f": 1.5, "b": True}, "7 1.5 true"),
        ("{{d}}", {"d": {"a": [1, "ü"]}}, '{"a": [1, "ü"]}'),
        ("{{a}}", {"a": "<b> & {{c}}"}, "<b> & {{c}}"),
        ("{{a}}", {"a": ""}, ""),
        ("{{#a}}yes {{a}}{{/a}}", {"a": "x"}, "yes x"),
        ("{{#a}}yes{{/a}}{{^a}}no{{/a}}", {"a": "  "}, "no"),
        ("{{#a}}yes{{/a}}{{^a}}no{{/a}}", {"a": None}, "no"),
        ("{{#a}}yes{{/a}}{{^a}}no{{/a}}", {"a": 0}, "yes"),
        ("{{#a}}{{.}}, {{/a}}", {"a": ["x", "y"]}, "x, y, "),
        ("{{#a}}{{#.}}{{.}}{{/.}};{{/a}}", {"a": [[1, 2], [3]]}, "12;3;"),
        ("{{#a}}{{k}}{{z}} {{/a}}", {"a": [{"k": 1}, {"k": 2}], "z": "!"}, "1! 2! "),
        ("{{#a}}{{k}}{{/a}}", {"a": {"k": "v"}}, "v"),
        ("a{{! a note\nover two lines }}b", {}, "ab"),
        (r"\{{name}} \\{{name}}", {"name": "x"}, r"{{name}} \x"),
        ('{"a": {"b": 1}}', {}, '{"a": {"b": 1}}'),
    ],
)
def test_rendering(template: str, values: dict[str, Any], text: str) -> None:
    assert parse(template).render(values) == text


def test_tags_alone_on_a_line_take_the_line_with_them() -> None:
    template = "Notes:\r\n{{#notes}}\r\n- {{.}}\r\n{{/notes}}\r\n  {{! gone }}\r\nEnd"
    assert rendered(template, notes=["a", "b"]) == "Notes:\r\n- a\r\n- b\r\nEnd"
    assert rendered("  {{#a}}\n  x\n  {{/a}}", a=True) == "  x\n"


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("one\ntwo {{name", "Line 2: A {{ is never closed"),
        ("{{#a}}\n{{#b}}{{/b}}", "Line 1: The section {{#a}} is never closed"),
        ("{{#a}}{{#b}}{{/a}}{{/b}}", "{{/a}} stands where {{/b}} has to come first"),
        ("{{/a}}", "was never opened"),
        ("{{}}", "has no name"),
        ("{{user.name}}", "a name has no dots"),
        ("{{x.__class__.__mro__}}", "a name has no dots"),
        ("{{ 1 + 1 }}", "is not a name"),
        ("{{f()}}", "is not a name"),
        ("{{{name}}}", "Triple braces"),
        ("{{> other}}", "have no partials"),
        ("{{=<% %>=}}", "have no other delimiters"),
        ("{{.}}", "only inside a section"),
        ("{{^a}}{{.}}{{/a}}", "only inside a section"),
        ("{{#a}}" * (MAX_DEPTH + 1), f"more than {MAX_DEPTH} deep"),
        ("x" * 200_001, "200,001 characters"),
    ],
)
def test_a_mistake_is_refused_with_its_line(template: str, words: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(template)
    assert words in caught.value.message
    assert caught.value.field == "template"


def test_a_missing_variable_is_named_with_its_row() -> None:
    with pytest.raises(Invalid) as caught:
        render("", "{{questoin}}", {"question": "x", "id": 1}, row=12)
    error = caught.value
    assert (error.row, error.field) == (12, "questoin")
    assert error.message == "Row 12 has no value for {{questoin}}."
    assert error.hint == "Did you mean {{question}}?"


def test_an_unknown_section_is_an_error_too() -> None:
    with pytest.raises(Invalid, match=r"no value for \{\{contxt\}\}"):
        render("", "{{#contxt}}x{{/contxt}}", {"context": "y"})


def test_a_value_of_none_is_missing_outside_of_a_section() -> None:
    with pytest.raises(Invalid, match="Row 3: the value for"):
        render("", "{{a}}", {"a": None}, row=3)


def test_object_attributes_are_out_of_reach() -> None:
    with pytest.raises(Invalid):
        parse("{{#a}}{{__class__}}{{/a}}").render({"a": object()})


def test_variables_come_in_order_and_inner_ones_apart() -> None:
    template = parse("{{b}} {{a}} {{#list}}{{title}} {{a}}{{/list}}{{^list}}{{none}}{{/list}}")
    assert template.variables == ("b", "a", "list", "none")
    assert template.inner_variables == ("title",)


def test_messages_leave_out_a_blank_system_text() -> None:
    assert render("", "hi", {}) == [{"role": "user", "content": "hi"}]
    assert render("{{#s}}be {{s}}{{/s}}", "hi", {"s": ""}) == [{"role": "user", "content": "hi"}]
    assert render("be {{s}}", "hi", {"s": "calm"})[0] == {"role": "system", "content": "be calm"}


SYNTAX = st.lists(
    st.sampled_from(["{{", "}}", "{", "}", "\\", "#", "/", "^", "!", ".", "a", " ", "\n", "{{a}}",
                     "{{#a}}", "{{/a}}", "{{^a}}"]),
    max_size=30,
).map("".join)  # fmt: skip
NAMES = st.from_regex(r"[a-z]{1,8}", fullmatch=True)


@given(st.one_of(st.text(), SYNTAX))
def test_escaped_text_renders_to_itself(text: str) -> None:
    template = parse(escape(text))
    assert template.render({}) == text
    assert template.variables == ()


@given(SYNTAX)
def test_any_text_renders_or_is_refused_in_words(text: str) -> None:
    try:
        template = parse(text)
    except Invalid:
        with pytest.raises(Invalid, match=r"^Line \d+: "):
            parse(text)
        return
    assert isinstance(template.render({"a": "value"}), str)
    with_inner = {*template.variables, *template.inner_variables}
    assert with_inner <= {"a"}


@given(NAMES, st.text(), st.text(), st.text())
def test_values_arrive_untouched_between_literal_texts(
    name: str, before: str, value: str, after: str
) -> None:
    before = before.rstrip("\\{")  # a brace or backslash before a tag would belong to the tag
    template = escape(before) + "{{" + name + "}}" + escape(after)
    assert parse(template).render({name: value}) == before + value + after


@given(st.lists(st.text(), max_size=6))
def test_a_section_repeats_for_each_item(items: list[str]) -> None:
    assert rendered("{{#a}}<{{.}}>{{/a}}", a=items) == "".join(f"<{item}>" for item in items)


@given(st.dictionaries(NAMES, st.text(), max_size=4), NAMES)
def test_rendering_succeeds_exactly_when_all_variables_are_there(
    values: dict[str, str], extra: str
) -> None:
    template = parse(" ".join("{{" + name + "}}" for name in [*values, extra]))
    if extra in values:
        template.render(values)
    else:
        with pytest.raises(Invalid) as caught:
            template.render(values)
        assert caught.value.field == extra
