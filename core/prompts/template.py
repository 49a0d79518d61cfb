"""Templates: a logic-less subset of Mustache, parsed once and rendered with plain values.

    {{name}}                      the value; unknown or missing is an error, never an empty string
    {{#name}} ... {{/name}}       once when there is a value, once for each item of a list
    {{^name}} ... {{/name}}       only when there is no value
    {{.}}                         the item at hand inside a section
    {{! comment }}                left out
    \\{{                           two literal braces; in front of them `\\\\` is one backslash

A section or comment tag alone on its line takes the line with it. Values are inserted as they
are: nothing is escaped, evaluated, or parsed again, and a dot in a name is not a path.

Knows: syntax and values. Does not know: prompts as stored things, models, datasets.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from core.errors import Invalid

MAX_CHARACTERS = 200_000
MAX_DEPTH = 32  # nested sections; rendering recurses this deep at most

_OPEN = re.compile(r"(\\*)\{\{")
_REST_OF_LINE = re.compile(r"[ \t]*(\r?\n|\Z)")
_NAME = re.compile(r"\w(?:[\w -]{0,62}\w)?|\.")
_UNSUPPORTED = {">": "partials", "=": "other delimiters", "&": "unescaped values"}


@dataclass(frozen=True, slots=True)
class Variable:
    """`{{name}}`; the name `.` is the item at hand."""

    name: str


@dataclass(frozen=True, slots=True)
class Section:
    """`{{#name}} body {{/name}}`, or `{{^name}}` when inverted."""

    name: str
    inverted: bool
    body: tuple[Node, ...]


Node = str | Variable | Section


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template. `variables` have to be given; `inner_variables` stand only inside
    sections, where an item of a list may bring them along."""

    source: str
    nodes: tuple[Node, ...]
    variables: tuple[str, ...]
    inner_variables: tuple[str, ...]

    def render(self, values: Mapping[str, Any], *, row: int | None = None) -> str:
        """The text with the values in place; Invalid names the first value that is not there."""
        return "".join(_rendered(self.nodes, (values,), row))


def render(
    system_template: str,
    user_template: str,
    values: Mapping[str, Any],
    *,
    row: int | None = None,
) -> list[dict[str, str]]:
    """The messages of a chat; a system text that comes out blank gives no system message."""
    system = parse(system_template).render(values, row=row)
    user = {"role": "user", "content": parse(user_template).render(values, row=row)}
    return [{"role": "system", "content": system}, user] if system.strip() else [user]


def escape(text: str) -> str:
    """A template that renders to exactly this text."""
    return _OPEN.sub(lambda match: match[1] * 2 + r"\{{", text)


@functools.lru_cache(maxsize=256)
def parse(text: str) -> Template:
    """Parse a template; Invalid says in which line it goes wrong. Cached: templates are shared."""
    if len(text) > MAX_CHARACTERS:
        raise Invalid(
            f"The template has {len(text):,} characters; the most is {MAX_CHARACTERS:,}.",
            field="template",
        )
    nodes = _parse(text)
    outer = tuple(dict.fromkeys(_names(nodes, inside=False)))
    every = dict.fromkeys(_names(nodes, inside=True))
    return Template(text, nodes, outer, tuple(name for name in every if name not in outer))


@dataclass(slots=True)
class _Frame:
    """A section still open while parsing; the outermost frame is the template itself."""

    name: str = ""
    inverted: bool = False
    start: int = 0
    nodes: list[Node] = field(default_factory=list)

    def add_text(self, text: str) -> None:
        if text and self.nodes and isinstance(self.nodes[-1], str):
            self.nodes[-1] += text
        elif text:
            self.nodes.append(text)


def _parse(text: str) -> tuple[Node, ...]:
    stack = [_Frame()]
    position = 0
    while found := _OPEN.search(text, position):
        slashes = found[1]
        start = found.end() - 2
        stack[-1].add_text(text[position : found.start()] + "\\" * (len(slashes) // 2))
        if len(slashes) % 2:
            stack[-1].add_text("{{")
            position = found.end()
            continue
        position = _tag(text, start, stack)
    stack[-1].add_text(text[position:])
    if len(stack) > 1:
        frame = stack[-1]
        _fail(text, frame.start, f"The section {{{{#{frame.name}}}}} is never closed.")
    return tuple(stack[0].nodes)


def _tag(text: str, start: int, stack: list[_Frame]) -> int:
    """Handle the tag that opens at `start`; returns where the text goes on."""
    end = text.find("}}", start + 2)
    if end < 0:
        _fail(text, start, "A {{ is never closed by }}.", hint=r"For literal braces write \{{.")
    inner = text[start + 2 : end]
    sigil = inner[:1] if inner[:1] in ("#", "^", "/", "!") else ""
    if not sigil:
        name = _name(text, start, inner)
        if name == "." and all(frame.inverted for frame in stack[1:]):
            _fail(text, start, "{{.}} has a meaning only inside a section.")
        stack[-1].nodes.append(Variable(name))
        return end + 2
    position = _drop_line(text, start, end + 2, stack[-1])
    if sigil == "/":
        _close(text, start, _name(text, start, inner[1:]), stack)
    elif sigil != "!":
        if len(stack) > MAX_DEPTH:
            _fail(text, start, f"Sections are nested more than {MAX_DEPTH} deep.")
        stack.append(_Frame(_name(text, start, inner[1:]), sigil == "^", start))
    return position


def _drop_line(text: str, start: int, end: int, frame: _Frame) -> int:
    """Where the text goes on after a tag; one alone on its line takes indent and newline along."""
    line = text.rfind("\n", 0, start) + 1
    rest = _REST_OF_LINE.match(text, end)
    if rest is None or text[line:start].strip(" \t"):
        return end
    indent = start - line
    if indent and frame.nodes and isinstance(frame.nodes[-1], str):
        frame.nodes[-1] = frame.nodes[-1][:-indent]
    return rest.end()


def _close(text: str, start: int, name: str, stack: list[_Frame]) -> None:
    if len(stack) == 1:
        _fail(text, start, f"{{{{/{name}}}}} closes a section that was never opened.")
    frame = stack.pop()
    if frame.name != name:
        _fail(text, start, f"{{{{/{name}}}}} stands where {{{{/{frame.name}}}}} has to come first.")
    stack[-1].nodes.append(Section(frame.name, frame.inverted, tuple(frame.nodes)))


def _name(text: str, start: int, inner: str) -> str:
    name = inner.strip()
    if _NAME.fullmatch(name):
        return name
    literal = r"For literal braces write \{{."
    if not name:
        _fail(text, start, "A tag {{ }} has no name.", hint=literal)
    if name[0] == "{":
        hint = "Write {{name}}: nothing is escaped. A literal brace before a value needs a space."
        _fail(text, start, "Triple braces are not used here.", hint=hint)
    if name[0] in _UNSUPPORTED:
        _fail(text, start, f"Templates here have no {_UNSUPPORTED[name[0]]} ({{{{{name[0]}).")
    if "." in name:
        hint = "Use a section for the parts: {{#item}}{{part}}{{/item}}."
        _fail(text, start, f"{{{{{name}}}}}: a name has no dots, it is not a path.", hint=hint)
    rule = "letters, digits, spaces, _ and - only, at most 64 characters"
    _fail(text, start, f"{name[:60]!r} is not a name: {rule}.", hint=literal)


def _fail(text: str, start: int, message: str, hint: str | None = None) -> NoReturn:
    line = text.count("\n", 0, start) + 1
    raise Invalid(
        f"Line {line}: {message}", field="template", title="The template has a mistake", hint=hint
    )


def _names(nodes: tuple[Node, ...], *, inside: bool) -> Iterator[str]:
    """Names in order; with `inside` also those in sections that bring a value of their own."""
    for node in nodes:
        if isinstance(node, Variable) and node.name != ".":
            yield node.name
        elif isinstance(node, Section):
            if node.name != ".":
                yield node.name
            if inside or node.inverted:
                yield from _names(node.body, inside=inside)


_Scopes = tuple[Any, ...]


def _rendered(nodes: tuple[Node, ...], scopes: _Scopes, row: int | None) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, str):
            yield node
        elif isinstance(node, Variable):
            yield _text(node.name, _look_up(node.name, scopes, row), row)
        else:
            yield from _section(node, scopes, row)


def _section(node: Section, scopes: _Scopes, row: int | None) -> Iterator[str]:
    value = _look_up(node.name, scopes, row)
    if node.inverted or _absent(value):
        if node.inverted and _absent(value):
            yield from _rendered(node.body, scopes, row)
        return
    for item in value if isinstance(value, list | tuple) else (value,):
        yield from _rendered(node.body, (*scopes, item), row)


def _absent(value: Any) -> bool:
    """Nothing to show: None, false, blank text, an empty list or object. 0 is a value."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or value is False or value == [] or value == () or value == {}


def _look_up(name: str, scopes: _Scopes, row: int | None) -> Any:
    if name == ".":
        return scopes[-1]
    for scope in reversed(scopes):
        if isinstance(scope, Mapping) and name in scope:
            return scope[name]
    known = sorted({str(key) for scope in scopes if isinstance(scope, Mapping) for key in scope})
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {{{{{close[0]}}}}}?" if close else f"There is: {', '.join(known)}."
    subject = "There is" if row is None else f"Row {row} has"
    raise Invalid(
        f"{subject} no value for {{{{{name}}}}}.",
        row=row,
        field=name,
        title="A variable is missing",
        hint=hint if known else "No values were given at all.",
    )


def _text(name: str, value: Any, row: int | None) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        where = "" if row is None else f"Row {row}: "
        raise Invalid(
            f"{where}the value for {{{{{name}}}}} is missing.",
            row=row,
            field=name,
            title="A variable is missing",
            hint=f"Fill it in, or make that part optional: {{{{#{name}}}}}...{{{{/{name}}}}}.",
        )
    return json.dumps(value, ensure_ascii=False, default=str)
