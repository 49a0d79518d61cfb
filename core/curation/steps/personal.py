"""Steps that take personal data and secrets out of the rows: redact, mask, pseudonymise.

Each looks through the rows again as they are now, so that a recipe does the same to new data; what
a person decided comes along as marks of hits (`spans.mark`), never as the words themselves.

Knows: what stands in the place of a hit. Does not know: how hits are found, the store.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from core.curation import personal, pseudonyms, secrets
from core.curation.arguments import Argument
from core.curation.rows import EXAMPLES, Report, Rows, Values
from core.curation.spans import Span, best, mark, named, possible, preview, replaced, strings
from core.curation.spans import textual as textual_columns
from core.curation.tools import Tools
from core.errors import Invalid
from core.settings import Settings

TYPES: dict[str, str] = {
    **{name: label for name, (_, label) in personal.TYPES.items()},
    **{name: label for name, (_, label) in secrets.TYPES.items()},
}
ROUNDS = 5
"""Taking one hit out may uncover another; after this many rounds nothing has ever been left."""
AROUND = 30
"""Characters of context in a report's examples."""

_SHARED = (
    Argument("columns", "columns", "Columns", "All that hold text", required=False),
    Argument("types", "words", "Types", "All there are", required=False),
    Argument(
        "only", "records", "Only these hits", "row_id, column, hash of each", required=False
    ),
    Argument(
        "leave", "records", "Not these hits", "row_id, column, hash of each", required=False
    ),
    Argument(
        "replacements",
        "records",
        "Texts for single hits",
        "row_id, column, hash, text of each",
        required=False,
    ),
    Argument(
        "threshold", "number", "How sure at least", required=False,
        default=personal.THRESHOLD, least=0, most=1,
    ),
)  # fmt: skip
ARGUMENTS = {"redact": _SHARED, "mask": _SHARED, "pseudonymise": _SHARED}

Instead = Callable[[str, str], str]
"""Takes the type and the text of a hit and gives what stands in its place."""


def redact(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Report:
    """Put the type in place of each hit: [EMAIL]."""
    return _take_out(rows, arguments, tools, placeholder)


def mask(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Report:
    """Cover each hit and keep its shape: a***@e***.com, the last four figures of a card."""
    return _take_out(rows, arguments, tools, masked)


def pseudonymise(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Report:
    """Give each person and number a name of its own, the same everywhere: person_0042.

    Secrets have no pseudonyms: they are redacted.
    """
    with pseudonyms.writing(home_of(tools)) as book:

        def name(type_: str, text: str) -> str:
            if type_ not in pseudonyms.FORMS:
                return placeholder(type_, text)
            return book.name(type_, text)

        return _take_out(rows, arguments, tools, name)


def placeholder(type_: str, text: str) -> str:
    """The type in brackets."""
    return f"[{type_.upper()}]"


def masked(type_: str, text: str) -> str:
    """A hit with most of its characters covered, such that nothing finds it again."""
    if type_ == "email":
        local, _, domain = text.partition("@")
        return f"{local[:1]}***@{domain[:1]}***.{domain.rpartition('.')[2]}"
    if type_ == "url_credentials":
        return f"{text[:1]}***:****"
    if type_ in secrets.TYPES:
        return "****" if type_ in ("password", "private_key") else f"{text[:4]}****"
    if type_ == "person":
        return " ".join(f"{word[:1]}***" for word in text.split())
    if type_ == "ip_address":
        return text.split(":")[0] + ":*" if ":" in text else text.split(".")[0] + ".*.*.*"
    if type_ == "date_of_birth":
        return re.sub(r"\d", "*", text)
    if type_ == "postal_address":
        return re.sub(r"(?<=\w)\w|\d", "*", text)
    covered = re.sub(r"\w", "*", text[:-4])
    return covered + text[-4:] if len(re.findall(r"\w", text)) > 6 else "*" * len(text)


def home_of(tools: Tools) -> Path:
    """The workspace whose map of pseudonyms is used: the one the cache is in, or the settings'."""
    for folder in (tools.cache, *tools.cache.parents):
        if (folder / "lathe.lock").exists():
            return folder
    return Settings.from_env().home


class _Chosen:
    """Which hits a step takes out, and what people want in their place."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        types = arguments.get("types") or list(TYPES)
        unknown = sorted(set(types) - TYPES.keys())
        if unknown:
            raise Invalid(
                f"There is no type {', '.join(unknown)}.",
                field="types",
                hint=f"There are {', '.join(TYPES)}.",
            )
        self.types = frozenset(types)
        given = arguments.get("threshold")
        self.threshold = personal.THRESHOLD if given is None else float(given)
        only = arguments.get("only")
        self._only = None if only is None else _marks(only, "only")
        self._leave = _marks(arguments.get("leave") or (), "leave")
        written = _keyed(arguments.get("replacements") or ())
        self._texts = {key: str(item.get("text", "")) for key, item in written.items()}

    @property
    def every(self) -> bool:
        """Whether all hits of the types go, so that none may be left."""
        return self._only is None

    def anchors(self) -> str:
        """RE2: what a cell must have to be looked at."""
        wanted = [part.ANCHORS for part in (personal, secrets) if self.types & part.TYPES.keys()]
        return "|".join(wanted)

    def spans(self, text: str, column: str, row_id: str) -> list[Span]:
        """The hits in a text that go."""
        found: list[Span] = []
        if self.types & personal.TYPES.keys():
            found += personal.find(text, column, threshold=self.threshold)
        if self.types & secrets.TYPES.keys():
            found += secrets.find(text, column)
        return best(
            span
            for span in found
            if span.type in self.types
            and self._has((row_id, column, mark(row_id, column, text[span.start : span.end])))
        )

    def text(self, row_id: str, column: str, hit: str) -> str | None:
        """What a person wrote for this hit; None where nobody did."""
        return self._texts.get((row_id, column, mark(row_id, column, hit)))

    def written(self) -> frozenset[str]:
        """Every text that a person wrote: it stays, whatever it looks like."""
        return frozenset(self._texts.values())

    def _has(self, key: tuple[str, str, str]) -> bool:
        if self._only is not None:
            return key in self._only or key in self._texts
        return key not in self._leave or key in self._texts


def _marks(items: Iterable[Any], field: str) -> frozenset[tuple[str, str, str]]:
    return frozenset(_keyed(items, field))


def _keyed(
    items: Iterable[Any], field: str = "replacements"
) -> dict[tuple[str, str, str], Mapping[str, Any]]:
    found = {}
    for item in items:
        if not isinstance(item, Mapping) or not {"row_id", "column", "hash"} <= item.keys():
            raise Invalid("Each hit needs row_id, column and hash.", field=field)
        found[str(item["row_id"]), str(item["column"]), str(item["hash"])] = item
    return found


class _Cleaner:
    """One step at work: cell after cell, counting."""

    def __init__(self, chosen: _Chosen, instead: Instead) -> None:
        self.chosen = chosen
        self._instead = instead
        self._written = chosen.written()
        self.counts: Counter[str] = Counter()
        self.examples: list[dict[str, Any]] = []

    def cell(self, cell: str, kind: str, column: str, row_id: str, row_index: int) -> str:
        """The cell without its hits."""
        for _ in range(ROUNDS if self.chosen.every else 1):
            new: dict[Any, str] = {}
            for path, text in strings(cell, kind):
                spans = [
                    span
                    for span in self.chosen.spans(text, column, row_id)
                    if text[span.start : span.end] not in self._written
                ]
                if spans:
                    new[path] = self._without(text, spans, row_id, column, row_index)
            if not new:
                break
            cell = replaced(cell, kind, new)
        return cell

    def _without(
        self, text: str, spans: list[Span], row_id: str, column: str, row_index: int
    ) -> str:
        parts, at = [], 0
        for span in spans:
            hit = text[span.start : span.end]
            written = self.chosen.text(row_id, column, hit)
            put = self._instead(span.type, hit) if written is None else written
            parts += [text[at : span.start], put]
            at = span.end
            self.counts[span.type] += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(_example(text, spans[0], parts[1], row_id, column, row_index))
        return "".join((*parts, text[at:]))


def _example(
    text: str, span: Span, put: str, row_id: str, column: str, row_index: int
) -> dict[str, Any]:
    """Before and after around one hit; a report outlives the rows, so it holds no hit in full."""
    hit = preview(text[span.start : span.end], head=1, tail=1)
    return {
        "row_id": row_id,
        "row_index": row_index,
        "column": column,
        "before": f"{TYPES[span.type]}: {hit}",
        "after": put[: 2 * AROUND],
    }


def _take_out(rows: Rows, arguments: Mapping[str, Any], tools: Tools, instead: Instead) -> Report:
    """Do it to every textual column asked for; counts by type, examples that tell nothing."""
    import pyarrow as pa

    cleaner = _Cleaner(_Chosen(arguments), instead)
    anchors = cleaner.chosen.anchors()
    asked = arguments.get("columns")
    if asked is not None:
        for name in asked:
            rows.column(name)
    kinds = {
        name: kind for name, kind in textual_columns(rows.columns) if asked is None or name in asked
    }

    def clean(batch: dict[str, Values]) -> dict[str, Values]:
        ids, indexes = batch["row_id"], batch["row_index"]
        new = {}
        for name, kind in kinds.items():
            values = list(batch[name])
            wanted = possible(pa.array(values, pa.string()), anchors, kind)
            for at, cell in enumerate(values):
                if cell and (wanted[at] or named(name)):
                    values[at] = cleaner.cell(cell, kind, name, ids[at], indexes[at])
            new[name] = values
        return new

    report = rows.map(list(kinds), clean, check=tools.check) if kinds else Report()
    report.counts = dict(cleaner.counts.most_common())
    report.examples = cleaner.examples
    return report
