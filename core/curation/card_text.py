"""How a card reads: Markdown with the metadata of the Hugging Face hub before it.

What people wrote stands on top; below it what Lathe knows of this version.

Knows: sections, tables, YAML. Does not know: where anything is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.curation.findings import KINDS
from core.curation.licenses import LICENSES
from core.curation.steps import STEPS

SECTIONS: dict[str, str] = {
    "motivation": "Why was it made, by whom, for which task?",
    "composition": "What is a row, what is in it, what is left out?",
    "collection": "How and when was it collected, did people agree?",
    "uses": "What is it good for, what must it not be used for?",
    "limits": "Which errors, gaps and biases are known?",
}
"""The free sections, with what each answers; after Gebru et al. 2018."""
SIZES = (
    (1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B"),
)  # fmt: skip
MOST_LABELS = 20
LANGUAGE_SHARE = 0.02
"""A language of fewer rows is more likely a mistake of the detector."""
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Known:
    """All that a card is made of."""

    dataset: Row
    version: Row
    versions: Sequence[Row]
    card: Row
    warnings: Sequence[Row]
    profile: Row | None
    signals: Row | None
    findings: Mapping[str, int]
    is_analysed: bool
    reviews: Sequence[Row]
    checks: Sequence[Row]
    checked: Row
    lineage: Row


def text_of(known: Known) -> str:
    """The whole card."""
    import yaml

    head = yaml.safe_dump(front_matter(known), sort_keys=False, allow_unicode=True)
    parts = [
        f"---\n{head}---\n",
        f"# {_line(known.dataset['name'])}\n",
        *_edited(known),
        *_sources(known),
        *_rows(known),
        *_quality(known),
        *_history(known),
    ]
    return "\n".join(parts).rstrip() + "\n"


def front_matter(known: Known) -> dict[str, Any]:
    """The hub's metadata: https://huggingface.co/docs/hub/datasets-cards."""
    licenses = list(dict.fromkeys(known.card["licenses"])) or ["unknown"]
    ids = [LICENSES[name].hub for name in licenses]
    found: dict[str, Any] = {
        "pretty_name": known.dataset["name"],
        "license": ids[0] if len(ids) == 1 else ids,
    }
    if languages := _languages(known):
        found["language"] = languages
    rows = known.version["row_count"]
    size = next((name for limit, name in SIZES if rows < limit), "n>1B")
    found["size_categories"] = [size]
    if tags := known.version["tags"]:
        found["tags"] = list(tags)
    stem = re.sub(r"[^\w-]+", "-", known.dataset["name"].lower()).strip("-") or "dataset"
    stem = f"{stem}-v{known.version['number']}"
    splits = [name for name, _ in _splits(known)]
    files = [{"split": name, "path": f"{stem}-{name}.*"} for name in splits]
    files = files or [{"split": "train", "path": f"{stem}.*"}]
    found["configs"] = [{"config_name": "default", "data_files": files}]
    return found


def _edited(known: Known) -> Iterator[str]:
    card = known.card
    if known.dataset["description"]:
        yield f"{known.dataset['description']}\n"
    told = {
        "Purpose": _line(card["purpose"]),
        "Contact": _line(card["contact"]),
        "Kept until": str(card["retention_until"] or ""),
    }
    lines = [f"- **{name}**: {text}" for name, text in told.items() if text]
    if lines:
        yield "\n".join(lines) + "\n"
    for name, text in card["sections"].items():
        if text:
            yield f"## {name.capitalize()}\n\n{text}\n"


def _sources(known: Known) -> Iterator[str]:
    sources = known.card["sources"]
    if sources:
        rows = [
            (
                f"[{_cell(s['name'])}]({s['url']})" if s["url"] else _cell(s["name"]),
                _cell(s["license"]),
                _cell(s["note"]),
            )
            for s in sources
        ]
        yield "## Sources and licences\n\n" + _table(("source", "licence", "note"), rows)
    else:
        yield "## Sources and licences\n\nNo source has been named.\n"
    if known.warnings:
        yield "\n".join(
            f"- **{warning['message']}** {warning['why']}" for warning in known.warnings
        ) + "\n"  # fmt: skip


def _rows(known: Known) -> Iterator[str]:
    version = known.version
    profile = {c["name"]: c for c in (known.profile or {}).get("columns", ())}
    columns = [
        (
            _cell(column["name"]),
            column["role"],
            column["type"],
            _number(profile.get(column["name"], {}).get("missing")),
            _number(profile.get(column["name"], {}).get("distinct")),
        )
        for column in version["columns"]
    ]
    yield (
        f"## Rows\n\nVersion {version['number']}: {_rows_of(version['row_count'])},"
        f" {len(columns)} column{'' if len(columns) == 1 else 's'}.\n"
    )
    if profile:
        yield _table(("column", "role", "type", "missing", "distinct"), columns, right=2)
    else:  # nobody has counted
        yield _table(("column", "role", "type"), [column[:3] for column in columns], right=0)
    if splits := _splits(known):
        yield "### Splits\n\n" + _counts("split", splits)
    label = (known.profile or {}).get("label_column")
    if label:
        top = [(v["value"], v["count"]) for v in profile[label]["top"][:MOST_LABELS]]
        yield f"### Labels\n\nIn the column {_cell(label)}:\n\n" + _counts("label", top)
    languages = (known.signals or {}).get("languages") or []
    if languages:
        found = [(v["value"], v["count"]) for v in languages[:MOST_LABELS]]
        yield "### Languages\n\n" + _counts("language", found)


def _quality(known: Known) -> Iterator[str]:
    yield "## Quality\n"
    if known.findings:
        counts = [(KINDS.get(kind, kind), f"{n:,}") for kind, n in known.findings.items()]
        yield _table(("finding", "count"), counts, right=1)
    elif known.is_analysed:
        yield "No faults were found.\n"
    else:
        yield "Nobody has looked for faults in this version yet.\n"
    if known.reviews:
        rows = [
            (row["type"].replace("_", " "), row["decision"], _cell(row["reviewer"]),
             f"{row['count']:,}")
            for row in known.reviews
        ]  # fmt: skip
        yield "### Personal data and secrets\n\n" + _table(
            ("type", "decision", "reviewer", "count"), rows, right=1
        )
    if known.checks:
        state = known.checked["state"]
        lines = "\n".join(f"- {check['sentence']}" for check in known.checks)
        failed = "".join(f"\n- Failed: {f['message']}" for f in known.checked["failures"])
        yield f"### Checks: {state}\n\n{lines}{failed}\n"


def _history(known: Known) -> Iterator[str]:
    rows = [
        (
            f"v{row['number']}",
            f"{row['row_count']:,}",
            _cell(row["source"]),
            _cell(row["message"]),
            ", ".join(row["tags"]),
            row["created_at"].date().isoformat(),
        )
        for row in known.versions
    ]
    yield "## Versions\n\n" + _table(("version", "rows", "from", "message", "tags", "made"), rows)
    if chain := _chain(known):
        yield "### How this version was made\n\n" + "\n".join(chain) + "\n"
    erased = (known.version["report"] or {}).get("erased") or []
    if erased:
        yield "\n".join(
            f"- {_rows_of(told['rows'])} erased on {told['at'][:10]}: {told['reason']}."
            for told in erased
        ) + "\n"  # fmt: skip
    uses = [node for node in known.lineage["nodes"] if node["kind"] not in ("source", "version")]
    if uses:
        lines = [f"- {node['kind']}: {_line(node['title'])} ({node['detail']})" for node in uses]
        yield "### Used by\n\n" + "\n".join(lines) + "\n"
    if deleted := (known.version["report"] or {}).get("deleted"):
        yield f"The rows of all versions were deleted on {deleted['at'][:10]}.\n"
    yield f"Content hash of this version: `{known.version['content_hash']}`\n"


def _chain(known: Known) -> list[str]:
    """The recipe's steps from the source on, numbered."""
    by_id = {row["id"]: row for row in known.versions}
    at: Row | None = by_id.get(known.version["id"])
    found: list[str] = []
    while at is not None:
        recipe = at["recipe"] or {}
        steps = [_step(step) for step in recipe.get("steps") or []]
        begins = [f"Import of {_line(at['source'])}"] if "import" in recipe else []
        found = [*begins, *steps, *found]
        at = by_id.get(at["parent_id"]) if steps and not begins else None
    return [f"{number}. {text}" for number, text in enumerate(found, start=1)]


def _step(step: Row) -> str:
    label = STEPS[step["step"]].label if step["step"] in STEPS else step["step"]
    columns = step.get("columns") or ([step["column"]] if step.get("column") else [])
    return label + (f" ({', '.join(map(_line, columns))})" if columns else "")


def _splits(known: Known) -> list[tuple[str, int]]:
    for column in (known.profile or {}).get("columns", ()):
        if column["name"] == "split":
            return [(str(v["value"]), v["count"]) for v in column["top"]]
    return []


def _languages(known: Known) -> list[str]:
    found = (known.signals or {}).get("languages") or []
    total = sum(v["count"] for v in found)
    common = [v["value"] for v in found if v["count"] >= LANGUAGE_SHARE * total]
    return [value for value in common if re.fullmatch(r"[a-z]{2,3}", value)]


def _counts(head: str, counts: Sequence[tuple[Any, int]]) -> str:
    total = sum(n for _, n in counts) or 1
    rows = [(_cell(str(value)), f"{n:,}", f"{n / total:.1%}") for value, n in counts]
    return _table((head, "rows", "share"), rows, right=2)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: int = 0) -> str:
    """A Markdown table; the last `right` columns are numbers."""
    marks = ["---"] * (len(head) - right) + ["---:"] * right
    lines = [head, marks, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _rows_of(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def _line(text: str) -> str:
    return " ".join(str(text).split())


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")
