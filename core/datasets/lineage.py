"""The lineage of a dataset: sources, versions, and what used them, as nodes and edges.

Knows: versions as `Datasets.versions` gives them. Does not know: the tables, how it is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SOURCE, VERSION = "source", "version"
IMPORTED, DERIVED, RESTORED, FOLLOWS, USED = "imported", "derived", "restored", "follows", "used"


def graph(
    versions: Sequence[Mapping[str, Any]], uses: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """`nodes` (id, kind, title, detail, version_id, at) and `edges` (from, to, kind, title).

    A version that came out of a file has an edge from that file (imported) and a weak one from the
    version it replaced (follows); one that a recipe made has one from its parent (derived, with
    the number of steps); a rollback has one from the version it brought back (restored). Files of
    one name are one node. Nodes come in the order of time.
    """
    nodes: dict[str, dict[str, Any]] = {}
    edges: list[dict[str, Any]] = []
    ids = {version["id"] for version in versions}
    for version in sorted(versions, key=lambda version: version["number"]):
        for source, edge in _origins(version, ids):
            if source is not None:
                nodes.setdefault(source["id"], source)
            edges.append(edge)
        nodes[version["id"]] = _node(version)
    for use in uses:
        named = ("id", "kind", "title", "detail", "version_id", "at", "left_out")
        nodes[use["id"]] = {name: use.get(name) for name in named}
        edges.append(_edge(use["version_id"], use["id"], USED, ""))
    return {"nodes": list(nodes.values()), "edges": edges}


def step_count(version: Mapping[str, Any]) -> int:
    """How many steps of a recipe made it from its parent or its source."""
    return len((version.get("recipe") or {}).get("steps") or [])


def restored_from(version: Mapping[str, Any]) -> str | None:
    """The id of the version that a rollback brought back; None for any other version."""
    found = (version.get("report") or {}).get("rollback_of")
    return str(found) if found else None


def _node(version: Mapping[str, Any]) -> dict[str, Any]:
    rows = version["row_count"]
    return {
        "id": version["id"],
        "kind": VERSION,
        "title": f"v{version['number']}",
        "detail": f"{rows:,} row{'' if rows == 1 else 's'}",
        "version_id": version["id"],
        "at": version["created_at"],
        "tags": list(version["tags"]),
        "message": version["message"],
    }


def _origins(
    version: Mapping[str, Any], ids: set[str]
) -> list[tuple[dict[str, Any] | None, dict[str, Any]]]:
    """The edges into a version, each with the source's node where it is a new one."""
    to, parent = version["id"], version["parent_id"]
    known = parent is not None and parent in ids
    restored = restored_from(version)
    if restored in ids:
        follows = [(None, _edge(parent, to, FOLLOWS, ""))] if parent != restored and known else []
        return [(None, _edge(str(restored), to, RESTORED, "rolled back")), *follows]
    steps = step_count(version)
    words = f"{steps} step{'' if steps == 1 else 's'}"
    if known and steps and "import" not in version["recipe"]:
        return [(None, _edge(parent, to, DERIVED, words))]
    source = {
        "id": f"source:{version['source']}",
        "kind": SOURCE,
        "title": version["source"],
        "detail": "",
        "version_id": None,
        "at": None,
    }
    edge = _edge(source["id"], to, IMPORTED, f"import, {words}" if steps else "import")
    return [(source, edge), *([(None, _edge(parent, to, FOLLOWS, ""))] if known else [])]


def _edge(start: str, end: str, kind: str, title: str) -> dict[str, Any]:
    return {"from": start, "to": end, "kind": kind, "title": title}
