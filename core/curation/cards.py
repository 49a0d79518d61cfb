"""Cards: what a dataset is for, where it comes from, how long it may be kept; with what is known.

After "Datasheets for Datasets" (Gebru et al. 2018, https://arxiv.org/abs/1803.09010). The edited
part is kept by dataset, the rest is made anew for every version (`card_text`).

Knows: the table dataset_cards. Does not know: how a card reads, how rows are deleted (erasure).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from core.clock import utc_now
from core.curation.card_text import SECTIONS, Known, text_of
from core.curation.checking import Checks
from core.curation.licenses import known, warnings
from core.curation.reviews import Reviews
from core.curation.service import Curation
from core.datasets.service import Datasets
from core.datasets.versions import Versions
from core.errors import Invalid
from core.governance.audit import record
from core.governance.permissions import Actor, action
from core.store.database import Row, Store

SOURCE_FIELDS = ("name", "url", "license", "note")
MOST_CHARACTERS = 20_000
MOST_SOURCES = 100
Rows = list[Row]
Sources = list[dict[str, str]]


class Cards:
    """The cards of datasets."""

    noun = "cards"

    def __init__(
        self,
        store: Store,
        datasets: Datasets,
        versions: Versions,
        curation: Curation,
        reviews: Reviews,
        checks: Checks,
    ) -> None:
        self._store = store
        self._datasets = datasets
        self._versions = versions
        self._curation = curation
        self._reviews = reviews
        self._checks = checks

    @action
    def get(self, actor: Actor, dataset_id: str) -> Row:
        """The edited part: `purpose`, `contact`, `retention_until` (a date or None), `is_overdue`,
        `sources` (name, url, license, note), `sections` (of SECTIONS), `licenses` (ids),
        `changed_by`, `changed_at`.

        Without sources of its own a card has one, with the licence that the import named.
        """
        dataset = self._datasets.get(actor, dataset_id)
        row = self._store.row("SELECT * FROM dataset_cards WHERE dataset_id = $id",
                              {"id": dataset_id}) or {}  # fmt: skip
        card = json.loads(row["card"]) if row else {}
        until = row.get("retention_until")
        sources = card.get("sources") or _imported(dataset)
        return {
            "dataset_id": dataset_id,
            "purpose": card.get("purpose", ""),
            "contact": card.get("contact", ""),
            "retention_until": until,
            "is_overdue": until is not None and until < utc_now().date(),
            "sources": sources,
            "sections": {name: card.get("sections", {}).get(name, "") for name in SECTIONS},
            "licenses": [known(source["license"]) for source in sources],
            "changed_by": row.get("changed_by"),
            "changed_at": row.get("changed_at"),
        }

    @action
    def save(
        self,
        actor: Actor,
        dataset_id: str,
        *,
        purpose: str | None = None,
        contact: str | None = None,
        retention_until: date | str | None = None,
        sources: Sequence[Mapping[str, Any]] | None = None,
        sections: Mapping[str, str] | None = None,
    ) -> None:
        """Change what is given; `retention_until` is a date, in words `2027-01-31`, and "" takes
        it away. Invalid names a field, section or date that is wrong."""
        before = self.get(actor, dataset_id)
        until = before["retention_until"] if retention_until is None else _date(retention_until)
        card = {
            "purpose": _text("purpose", before["purpose"] if purpose is None else purpose),
            "contact": _text("contact", before["contact"] if contact is None else contact),
            "sources": before["sources"] if sources is None else _sources(sources),
            "sections": {**before["sections"], **_sections(sections or {})},
        }
        with self._store.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO dataset_cards VALUES ($id, $card, $until, $by, $at)",
                {
                    "id": dataset_id,
                    "card": json.dumps(card, ensure_ascii=False),
                    "until": until,
                    "by": actor.id,
                    "at": utc_now(),
                },
            )
        changed = [name for name in card if card[name] != before[name]]
        if until != before["retention_until"]:
            changed.append("retention_until")
        record(self._store, actor, "cards.save", dataset_id, changed=changed,
               retention_until=until)  # fmt: skip

    @action
    def render(self, actor: Actor, version_id: str) -> str:
        """The whole card of a version as Markdown, with the front matter of the Hugging Face hub:
        saved as README.md beside an export it is the dataset's page there."""
        version = self._datasets.version(actor, version_id)
        dataset_id = version["dataset_id"]
        return text_of(
            Known(
                dataset=self._datasets.get(actor, dataset_id),
                version=version,
                versions=self._datasets.versions(actor, dataset_id),
                card=self.get(actor, dataset_id),
                warnings=[
                    warning.to_dict() for warning in warnings(licenses_of(self._store, dataset_id))
                ],
                profile=self._curation.profile(actor, version_id),
                signals=self._curation.signals(actor, version_id),
                findings=self._curation.finding_counts(actor, version_id)["kinds"],
                is_analysed=self._curation.status(actor, version_id)["analysed"],
                reviews=self._reviews.report(actor, version_id),
                checks=self._checks.list(actor, dataset_id),
                checked=self._checks.result(actor, version_id),
                lineage=self._versions.lineage(actor, dataset_id),
            )
        )

    @action
    def overdue(self, actor: Actor) -> Rows:
        """Datasets whose date has passed and whose rows are here still, longest first: `id`,
        `name`, `retention_until`, `archived_at`, `version_count`."""
        return self._store.rows(
            """
            SELECT d.id, d.name, d.archived_at, c.retention_until, count(v.id) AS version_count
            FROM dataset_cards c JOIN datasets d ON d.id = c.dataset_id
            JOIN dataset_versions v ON v.dataset_id = d.id
            WHERE c.retention_until < $today
              AND (v.report->'$.deleted') IS NULL
            GROUP BY ALL ORDER BY c.retention_until, d.name
            """,
            {"today": utc_now().date()},
        )


def licenses_of(store: Store, dataset_id: str) -> list[str]:
    """The licence of each source of a dataset, as it was written; [] when none is known."""
    row = store.row(
        "SELECT d.license, c.card FROM datasets d LEFT JOIN dataset_cards c ON c.dataset_id = d.id"
        " WHERE d.id = $id",
        {"id": dataset_id},
    )
    if row is None:
        return []
    card = json.loads(row["card"]) if row["card"] else {}
    return [source["license"] for source in card.get("sources") or _imported(row)]


def _imported(dataset: Row) -> Sources:
    if not dataset["license"]:
        return []
    source = {"name": dataset.get("name") or "", "url": "", "note": ""}
    return [{**source, "license": dataset["license"]}]


def _sources(given: Sequence[Mapping[str, Any]]) -> Sources:
    if len(given) > MOST_SOURCES:
        raise Invalid(f"A card has at most {MOST_SOURCES} sources.", field="sources")
    found = []
    for number, source in enumerate(given, start=1):
        for name in source.keys() - set(SOURCE_FIELDS):
            raise Invalid(f"Source {number} has no field {name!r}.", field="sources",
                          hint=f"There are {', '.join(SOURCE_FIELDS)}.")  # fmt: skip
        told = {name: _text("sources", source.get(name) or "") for name in SOURCE_FIELDS}
        if not told["name"]:
            raise Invalid(f"Source {number} has no name.", field="sources")
        if told["url"] and not told["url"].startswith(("https://", "http://")):
            raise Invalid(f"The address of source {number} does not begin with https://.",
                          field="sources")  # fmt: skip
        found.append({**told, "license": told["license"] or "unknown"})
    return found


def _sections(given: Mapping[str, str]) -> dict[str, str]:
    for name in given:
        if name not in SECTIONS:
            raise Invalid(f"A card has no section {name!r}.", field="sections",
                          hint=f"There are {', '.join(SECTIONS)}.")  # fmt: skip
    return {name: _text(name, text) for name, text in given.items()}


def _text(name: str, given: Any) -> str:
    text = str(given).strip()
    if len(text) > MOST_CHARACTERS:
        raise Invalid(f"{name} has more than {MOST_CHARACTERS:,} characters.", field=name)
    return text


def _date(given: date | str) -> date | None:
    if isinstance(given, date):
        return given
    if not given:
        return None
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise Invalid(f"{given!r} is no date.", field="retention_until",
                      hint="Write it like 2027-01-31.") from None  # fmt: skip
