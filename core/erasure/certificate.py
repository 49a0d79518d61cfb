"""Certificates: what was erased, when, by whom, and that nothing is found any more.

    certificates/<id>.json, .md      no identifier, only its keyed hash
    certificates/.pending-*.json     an erasure that has begun: which rows of which datasets
    keys/erasure.key                 the key of the hashes, mode 0600

Who asks later whether a person was erased types the identifier again: the same key gives the same
hash. Without the key the hash says nothing.

Knows: these files. Does not know: how anything is found or erased.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.erasure.identifier import Identifier
from core.errors import NotFound
from core.store.files import inside, read_json, write_atomic, write_json

FOLDER = "certificates"
STAYS = (
    "Copies outside of this workspace: the files that were imported, exports that were downloaded,"
    " backups. Erase there too, before anything is imported again.",
    "Models that were trained on these rows.",
    "Accounts: a user of this workspace is disabled on the Users page.",
    "Which row of which run it was (an opaque row id), with scores and timings but without text.",
    "Names of columns, tags and models.",
    "What a disk or file system keeps of blocks that were freed: encrypt the disk, or overwrite it"
    " when it is given away.",
)


def keyed_hash(home: Path, identifier: Identifier) -> str:
    """HMAC-SHA256 of the normal form, in hex, with the key of this home."""
    path = home / "keys" / "erasure.key"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomic(path, secrets.token_hex(32), mode=0o600)
    return hmac.new(
        path.read_bytes(), identifier.normal.encode(), hashlib.sha256
    ).hexdigest()  # fmt: skip


def pending_path(home: Path, hashed: str) -> Path:
    """Where an erasure that has begun is noted."""
    return home / FOLDER / f".pending-{hashed[:32]}.json"


def write(home: Path, certificate: Mapping[str, Any]) -> None:
    """Write both forms; the JSON last: it is what is listed."""
    path = home / FOLDER / f"{certificate['id']}.json"
    write_atomic(path.with_suffix(".md"), markdown(certificate), mode=0o600)
    write_json(path, dict(certificate), mode=0o600)


def listed(home: Path) -> list[dict[str, Any]]:
    """Every certificate, newest first."""
    paths = sorted((home / FOLDER).glob("certificate_*.json"), reverse=True)
    return [read_json(path) for path in paths]


def read(home: Path, certificate_id: str) -> dict[str, Any]:
    """One, with its `markdown`; NotFound when there is none."""
    path = inside(home / FOLDER, f"{certificate_id}.json")
    found = read_json(path)
    if found is None or not certificate_id.startswith("certificate_"):
        raise NotFound(f"There is no certificate {certificate_id!r}.")
    return {**found, "markdown": path.with_suffix(".md").read_text(encoding="utf-8")}


def markdown(certificate: Mapping[str, Any]) -> str:
    """The certificate as a document."""
    person = certificate["kind"] == "person"
    title = "Certificate of erasure" if person else "Certificate of deletion"
    lines = [f"# {title}", "", f"- Number: `{certificate['id']}`"]
    if person:
        lines.append(
            f"- Identifier: {certificate['identifier_kind']}, HMAC-SHA256 "
            f"`{certificate['identifier_hash']}`"
        )
    else:
        lines.append(f"- Dataset: {certificate['dataset']} (`{certificate['dataset_id']}`)")
    lines += [
        f"- Begun: {certificate['begun_at']} UTC",
        f"- Completed: {certificate['completed_at']} UTC",
        f"- By: {certificate['actor']['name']} (`{certificate['actor']['id']}`)",
        f"- Reason: {certificate['reason'] or 'none given'}",
        "",
        "## What was erased",
        "",
        "| place | count |",
        "| --- | ---: |",
        *(f"| {place} | {count:,} |" for place, count in certificate["found"].items()),
        "",
    ]
    lines += [
        "| dataset version | rows erased |",
        "| --- | ---: |",
        *(
            f"| {row['label'].replace('|', chr(92) + '|')} | {row['rows']:,} |"
            for row in certificate["versions"]
        ),
        "",
    ] if certificate["versions"] else []  # fmt: skip
    checked = certificate["verification"]
    left = sum(checked["found"].values())
    said = "nothing was found" if not left else f"{left:,} were found still"
    raw = checked.get("raw_files")
    lines += ["## Verification", "", f"Looked for again at {checked['checked_at']} UTC: {said}."]
    if raw is not None:
        files = "in no file" if not raw else f"in {', '.join(raw)}"
        lines.append(f"In the bytes of files up to 64 MB, those of the database too: {files}.")
    lines += ["", "## What this does not reach", "", *(f"- {line}" for line in STAYS), ""]
    return "\n".join(lines)
