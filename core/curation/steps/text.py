"""Steps that change text: white space, Unicode forms, broken encodings, case, words, templates.

Knows: what each rule does to one cell. Does not know: what the text means.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable
from typing import Any

from core.curation.arguments import Argument, checked_column_name
from core.curation.rows import Report, Rows
from core.curation.tools import Tools
from core.datasets.files import Column
from core.datasets.values import JSON, TEXT, loaded
from core.errors import Invalid
from core.prompts.template import Template, parse

REGEX_TIMEOUT_S = 1.0
"""For one cell: a pattern that takes longer would take hours over a dataset."""
CASES: dict[str, Callable[[str], str]] = {
    "lower": str.lower,
    "upper": str.upper,
    "title": str.title,
    "sentence": lambda text: text[:1].upper() + text[1:].lower(),
}
RULE_KEYS = {"pattern", "with", "regex", "ignore_case", "name"}

COLUMNS = Argument("columns", "columns", "Columns", "The text columns that it changes")

ARGUMENTS = {
    "trim": (COLUMNS,),
    "normalise": (
        COLUMNS,
        Argument("unicode", "choice", "Unicode form", "NFC joins letters and their accents; NFKC "
                 "also replaces ligatures, full-width letters and the like", required=False,
                 default="NFC", choices=("NFC", "NFKC", "keep")),
        Argument("lines", "flag", "One kind of line end", "Carriage returns become line feeds",
                 required=False, default=True),
        Argument("spaces", "flag", "Single spaces", "Runs of spaces and tabs become one space, "
                 "three and more line feeds become two", required=False, default=True),
        Argument("invisible", "flag", "No invisible characters", "Zero-width and control "
                 "characters go", required=False, default=True),
    ),
    "repair_encoding": (COLUMNS,),
    "replace": (
        COLUMNS,
        Argument("rules", "records", "Rules", "In order: pattern, with, regex, ignore_case"),
    ),
    "template": (
        Argument("column", "text", "Into the column", "Made where it is not there"),
        Argument("template", "long_text", "Template", "{{column}} stands for a row's value"),
        Argument("role", "choice", "Role of a new column", required=False, default="metadata",
                 choices=("input", "metadata")),
    ),
    "case": (
        COLUMNS,
        Argument("to", "choice", "To", choices=tuple(CASES)),
    ),
}  # fmt: skip


def trim(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Report:
    """Take white space off both ends of each cell."""
    return _each_cell(rows, arguments["columns"], str.strip, tools)


def case(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Report:
    """Small letters, capitals, Title Words, or Sentence case."""
    return _each_cell(rows, arguments["columns"], CASES[arguments["to"]], tools)


def normalise(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Report:
    """One Unicode form, one kind of line end, single spaces, nothing invisible."""
    rules: list[tuple[str, Callable[[str], str]]] = []
    form: Any = arguments.get("unicode") or "NFC"
    if form != "keep":
        rules.append((form, functools.partial(unicodedata.normalize, form)))
    if arguments.get("lines", True):
        rules.append(("line ends", _one_line_end))
    if arguments.get("invisible", True):
        rules.append(("invisible characters", functools.partial(_INVISIBLE.sub, "")))
    if arguments.get("spaces", True):
        rules.append(("white space", _single_spaces))
    counts = {name: 0 for name, _ in rules}

    def change(text: str) -> str:
        for name, rule in rules:
            after = rule(text)
            if after != text:
                counts[name] += 1
                text = after
        return text

    report = _each_cell(rows, arguments["columns"], change, tools)
    report.counts = counts
    return report


def repair_encoding(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Report:
    """Mend text that was decoded wrongly, such as `cafÃ©`, by ftfy."""
    from core.datasets.repair import repair

    return _each_cell(rows, arguments["columns"], repair, tools)


def replace(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Report:
    """Replace words or patterns; counts say how often each rule matched, in how many cells."""
    rules = [_Rule.of(number, rule) for number, rule in enumerate(arguments["rules"])]

    def change(text: str) -> str:
        for rule in rules:
            text = rule.apply(text)
        return text

    report = _each_cell(rows, arguments["columns"], change, tools)
    report.counts = {rule.name: rule.count for rule in rules}
    return report


def check_replace(arguments: dict[str, Any]) -> None:
    """Each rule has a pattern that can be read and a replacement that fits it."""
    if not arguments["rules"]:
        raise Invalid("There is no rule to replace by.", field="rules")
    for number, rule in enumerate(arguments["rules"]):
        _Rule.of(number, rule)


def template(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Report:
    """Write a column from the others; a row that lacks a value keeps its cell and is counted."""
    parsed = parse(arguments["template"])
    target = target_column(rows, arguments["column"], arguments.get("role") or "metadata")
    names = template_columns(rows, parsed)
    lacking = 0

    def change(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        nonlocal lacking
        written = []
        for at, before in enumerate(batch[target.name]):
            try:
                written.append(parsed.render(row_values(rows, names, batch, at)))
            except Invalid:
                lacking += 1
                written.append(before)
        return {target.name: written}

    wanted = list(dict.fromkeys([*names, target.name]))
    report = rows.map(wanted, change, check=tools.check)
    report.counts = {"lacks a value": lacking} if lacking else {}
    return report


def check_template(arguments: dict[str, Any]) -> None:
    """The template can be read, the column named."""
    checked_column_name(arguments["column"])
    try:
        parse(arguments["template"])
    except Invalid as error:
        raise Invalid(error.message, field="template", hint=error.hint) from None


CHECKS = {"replace": check_replace, "template": check_template}


def target_column(rows: Rows, name: str, role: str = "metadata") -> Column:
    """The text column of that name, made where there is none; Invalid for one of another type."""
    found = next((column for column in rows.columns if column.name == name), None)
    if found is None:
        found = Column(checked_column_name(name), role, TEXT)
        rows.add_column(found)
    if found.type != TEXT:
        raise Invalid(
            f"The column {name!r} holds {found.type}, not text.",
            field="column",
            hint="Write into another column, or change its type first.",
        )
    return found


def template_columns(rows: Rows, parsed: Template) -> list[str]:
    """The columns that a template names; Invalid where one is not there."""
    known = {column.name for column in rows.columns}
    for name in parsed.variables:
        if name not in known:
            raise Invalid(f"The template names {name!r}, which is no column.", field="template",
                          hint=f"There are {', '.join(sorted(known))}.")  # fmt: skip
    return [n for n in dict.fromkeys([*parsed.variables, *parsed.inner_variables]) if n in known]


def row_values(
    rows: Rows, names: list[str], batch: dict[str, list[Any]], at: int
) -> dict[str, Any]:
    """One row's values as a template takes them, nested ones as lists and objects."""
    kinds = {column.name: column.type for column in rows.columns}
    return {name: loaded(batch[name][at], kinds[name]) for name in names}


_INVISIBLE = re.compile("[\u200b\u200c\u2060\ufeff\u00ad\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x9f]")
"""Not the zero-width joiner: it holds emoji and letters of several scripts together."""
_SPACES = re.compile(r"[^\S\n]+")
_SPACE_AT_LINE_END = re.compile(r"[^\S\n]+(?=\n)")
_LINES = re.compile(r"\n{3,}")


def _one_line_end(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n")


def _single_spaces(text: str) -> str:
    return _LINES.sub("\n\n", _SPACE_AT_LINE_END.sub("", _SPACES.sub(" ", text)))


class _Rule:
    """One rule of `replace`, ready to run."""

    def __init__(self, where: str, pattern: str, with_: str, *, is_regex: bool, fold: bool) -> None:
        import regex

        self.where, self._with, self.name, self.count = where, with_, pattern, 0
        self._template = is_regex
        flags = regex.IGNORECASE if fold else 0
        try:
            self._pattern = regex.compile(pattern if is_regex else regex.escape(pattern), flags)
        except regex.error as error:
            raise Invalid(f"The pattern {pattern!r} cannot be read: {error}.",
                          field=f"{where}.pattern") from None  # fmt: skip
        if is_regex:
            self._check_replacement()

    @classmethod
    def of(cls, number: int, rule: Any) -> _Rule:
        """From a recipe; Invalid names the rule."""
        where = f"rules.{number}"
        unknown = set(rule) - RULE_KEYS
        if unknown:
            raise Invalid(f"A rule has no {min(unknown)!r}.", field=f"{where}.{min(unknown)}",
                          hint=f"It has {', '.join(sorted(RULE_KEYS))}.")  # fmt: skip
        pattern, with_ = rule.get("pattern"), rule.get("with", "")
        if not isinstance(pattern, str) or not pattern:
            raise Invalid("A rule needs a pattern.", field=f"{where}.pattern")
        if not isinstance(with_, str):
            raise Invalid("What a rule puts in place has to be text.", field=f"{where}.with")
        made = cls(where, pattern, with_, is_regex=rule.get("regex") is True,
                   fold=rule.get("ignore_case") is True)  # fmt: skip
        made.name = str(rule.get("name") or pattern)
        return made

    def apply(self, text: str) -> str:
        """The text with every match replaced."""
        import regex

        try:
            put = self._with if self._template else (lambda _: self._with)
            changed, count = self._pattern.subn(put, text, timeout=REGEX_TIMEOUT_S)
        except TimeoutError:
            raise Invalid(
                f"The pattern {self._pattern.pattern!r} takes more than {REGEX_TIMEOUT_S:g} s on "
                f"the cell {text[:60]!r}.",
                field=f"{self.where}.pattern",
                hint="Nested repeats such as (a+)+ do that: write it without them.",
            ) from None
        except (regex.error, IndexError) as error:
            raise Invalid(str(error), field=f"{self.where}.with") from None
        self.count += count
        return str(changed)

    def _check_replacement(self) -> None:
        import regex

        try:
            regex.sub(f"(?:{self._pattern.pattern})|", self._with, "")
        except (regex.error, IndexError) as error:
            raise Invalid(f"{self._with!r} does not fit the pattern: {error}.",
                          field=f"{self.where}.with") from None  # fmt: skip


def _each_cell(
    rows: Rows, columns: list[str], change: Callable[[str], str], tools: Tools
) -> Report:
    """Pass every text cell of the columns through a function; JSON columns string by string."""
    report = Report()
    for number, name in enumerate(columns):
        kind = rows.column(name).type
        if kind not in (TEXT, JSON):
            raise Invalid(f"The column {name!r} holds {kind}, not text.", field="columns")
        one = functools.partial(_in_json, change=change) if kind == JSON else change

        def change_batch(
            batch: dict[str, list[Any]], name: str = name, one: Callable[[str], str] = one
        ) -> dict[str, list[Any]]:
            return {name: [None if value is None else one(value) for value in batch[name]]}

        report.merge(rows.map([name], change_batch, check=tools.check))
        tools.tell((number + 1) / len(columns), name)
    return report


def _in_json(cell: str, *, change: Callable[[str], str]) -> str:
    """Every string of a nested value, keys left as they are."""
    import json

    def walk(value: Any) -> Any:
        if isinstance(value, str):
            return change(value)
        if isinstance(value, list):
            return [walk(item) for item in value]
        return {k: walk(v) for k, v in value.items()} if isinstance(value, dict) else value

    before = json.loads(cell)
    after = walk(before)
    return cell if after == before else json.dumps(after, ensure_ascii=False)
