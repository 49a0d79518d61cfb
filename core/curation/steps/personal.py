"""Steps that take personal data and secrets out of the rows: redact, mask, pseudonymise.

Each looks through the rows again as they are now, so that a recipe does the same to new data; what
a person decided comes along as marks of hits (`spans.mark`), never as the words themselves.

A column of numbers out of which something is taken becomes text: [PHONE] stands where the number
was, the other cells read as before. A number in JSON becomes a string, a key another key.

Knows: what stands in the place of a hit. Does not know: how hits are found, the store.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.curation import personal, pseudonyms, secrets
from core.curation.arguments import Argument
from core.curation.cells import Piece, pieces, replaced
from core.curation.name_models import NameModels
from core.curation.rows import EXAMPLES, Report, Rows, Values
from core.curation.rows import TYPES as STORED
from core.curation.spans import Span, best, candidates, mark, preview, searched
from core.curation.tools import Tools
from core.datasets.values import TEXT
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
    Argument("columns", "columns", "Columns", "All with text or numbers", required=False),
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
    Argument(
        "spacy_model", "text", "spaCy model for names", "Name or folder, on this machine",
        required=False,
    ),
    Argument(
        "gliner_model", "text", "GLiNER model for names", "Folder, on this machine", required=False
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

    def __init__(
        self, arguments: Mapping[str, Any], rows: Rows, columns: Sequence[tuple[str, str]]
    ) -> None:
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
        threshold = personal.THRESHOLD if given is None else float(given)
        self._models = NameModels.of(arguments)
        self._look = personal.looking(
            rows.connection, columns, threshold=threshold, models=self._models
        )
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
        """RE2: what a cell must have to be looked at; "" where a model may find more in any."""
        if self._models and self.types & personal.TYPES.keys():
            return ""
        wanted = [part.ANCHORS for part in (personal, secrets) if self.types & part.TYPES.keys()]
        return "|".join(wanted)

    def spans(self, piece: Piece, column: str, row_id: str) -> list[Span]:
        """The hits in a text or number that go."""
        found: list[Span] = []
        text = piece.text
        if self.types & personal.TYPES.keys():
            found += self._look(piece, personal.ALL)
        if self.types & secrets.TYPES.keys() and not piece.figures:
            found += secrets.find(text, piece.name)
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

    def cell(self, cell: Any, kind: str, column: str, row_id: str, row_index: int) -> Any:
        """The cell without its hits; a number that is one becomes text."""
        for _ in range(ROUNDS if self.chosen.every else 1):
            new: dict[Any, str] = {}
            for piece in pieces(cell, kind, column):
                spans = [
                    span
                    for span in self.chosen.spans(piece, column, row_id)
                    if piece.text[span.start : span.end] not in self._written
                ]
                if spans:
                    new[piece.path] = self._without(piece.text, spans, row_id, column, row_index)
            if not new:
                break
            cell = replaced(cell, kind, new)
            kind = TEXT if kind in STORED else kind
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
    """Do it to every column asked for; counts by type, examples that tell nothing."""
    asked = arguments.get("columns")
    if asked is not None:
        for name in asked:
            rows.column(name)
    found = searched(rows.columns, numbers=True)
    kinds = {name: kind for name, kind in found if asked is None or name in asked}
    cleaner = _Cleaner(_Chosen(arguments, rows, list(kinds.items())), instead)
    texts = {name: kind for name, kind in kinds.items() if kind not in STORED}
    report = Report()
    if texts:
        report = rows.map(list(texts), _cleaning(cleaner, texts), check=tools.check)
    for name, kind in kinds.items():
        if kind in STORED:
            _numbers(rows, cleaner, name, kind, tools, report)
    report.counts = {**dict(cleaner.counts.most_common()), **report.counts}
    report.examples = cleaner.examples
    return report


def _cleaning(
    cleaner: _Cleaner, kinds: Mapping[str, str]
) -> Callable[[dict[str, Values]], dict[str, Values]]:
    """The function that takes a batch of rows and gives these columns without their hits."""
    import pyarrow as pa

    anchors = cleaner.chosen.anchors()

    def clean(batch: dict[str, Values]) -> dict[str, Values]:
        ids, indexes = batch["row_id"], batch["row_index"]
        new = {}
        for name, kind in kinds.items():
            values = list(batch[name])
            cells = pa.array(values, None if kind in STORED else pa.string())
            wanted = candidates(cells, anchors, kind, name)
            for at, cell in enumerate(values):
                if cell and wanted[at]:
                    values[at] = cleaner.cell(cell, kind, name, ids[at], indexes[at])
            new[name] = values
        return new

    return clean


def _numbers(
    rows: Rows, cleaner: _Cleaner, name: str, kind: str, tools: Tools, report: Report
) -> None:
    """A column of numbers: it becomes text where a hit goes, and stays what it is where none is."""
    clean = _cleaning(cleaner, {name: kind})
    changed: list[tuple[int, str]] = []
    for batch in rows.batches([name]):
        tools.check()
        new = clean(batch)[name]
        both = zip(batch["row_index"], batch[name], new, strict=True)
        changed += [(at, after) for at, before, after in both if isinstance(after, str)]
    if changed:
        rows.to_text(name)
        rows.set_cells({name: changed})
        report.changed += len(changed)
        report.counts[f"{name} made text"] = 1
