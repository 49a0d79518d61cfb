"""Pseudonyms: the same name for the same person in every version, and the way back kept apart.

    keys/pseudonyms.key        the key, mode 0600: without it nobody can go back
    pseudonyms/map.bin         who is who, encrypted (Fernet: AES-128-CBC with HMAC-SHA256)
    pseudonyms/numbers.json    the last number of each kind, so that none is given twice

Knows: the files, who may look. Does not know: where in a text a person stands (`steps.personal`).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from core.curation.recognizers import PSEUDONYM_DOMAIN
from core.errors import Conflict, LatheError, NotFound
from core.governance.audit import record
from core.governance.permissions import Actor, action
from core.store.database import Store
from core.store.files import locked, read_json, write_atomic, write_json

FORMS: dict[str, str] = {
    "person": "person_{:04d}",
    "email": "user{}@" + PSEUDONYM_DOMAIN,
    "phone": "phone_{:04d}",
    "postal_address": "address_{:04d}",
    "date_of_birth": "birthdate_{:04d}",
    "credit_card": "card_{:04d}",
    "iban": "account_{:04d}",
    "ip_address": "host_{:04d}",
    "crypto": "wallet_{:04d}",
    "us_ssn": "ssn_{:04d}",
    "uk_nhs": "nhs_{:04d}",
    "uk_nino": "nino_{:04d}",
}
"""How a pseudonym of each type reads. None of them is found as personal data again."""


class Book:
    """The open map: gives names, remembers them, finds the way back. See `writing`."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._numbers: dict[str, int] = read_json(_numbers(home)) or {}
        self._names: dict[str, dict[str, str]] = _read(home)
        self.changed = False

    def name(self, type_: str, text: str) -> str:
        """The pseudonym of a text: the one it has, or the next."""
        key = normal(type_, text)
        known = self._names.setdefault(type_, {})
        if key not in known:
            number = self._numbers.get(type_, 0) + 1
            self._numbers[type_] = number
            known[key] = FORMS[type_].format(number)
            self.changed = True
        return known[key]

    def save(self) -> None:
        """Write the map down, whole or not at all; the numbers first, so that none comes twice."""
        write_json(_numbers(self._home), self._numbers, mode=0o600)
        sealed = _cipher(self._home, make=True).encrypt(json.dumps(self._names).encode())
        write_atomic(_map(self._home), sealed, mode=0o600)
        self.changed = False

    def behind(self, pseudonym: str) -> tuple[str, str] | None:
        """Type and text behind a pseudonym, as it was first normalised; None if there is none."""
        for type_, known in self._names.items():
            for text, name in known.items():
                if name == pseudonym:
                    return type_, text
        return None

    def people(self) -> list[str]:
        """Every text that has a pseudonym, as it was first normalised."""
        return [text for known in self._names.values() for text in known]

    def forget(self, matches: Callable[[str], bool]) -> None:
        """Remove the texts that match; their pseudonyms stay in the rows and lead nowhere."""
        for known in self._names.values():
            for text in [text for text in known if matches(text)]:
                del known[text]
                self.changed = True

    def counts(self) -> dict[str, int]:
        """How many of each type are in the map."""
        return {type_: len(known) for type_, known in self._names.items() if known}


@contextlib.contextmanager
def writing(home: Path) -> Iterator[Book]:
    """The map, for one writer at a time, also of another process; saved at the end.

    Saved before the rows are: a crash in between leaves names that nobody uses.
    """
    with locked(home / "pseudonyms" / "lock"):
        book = Book(home)
        yield book
        if book.changed:
            book.save()


def people_like(home: Path, matches: Callable[[str], bool]) -> list[str]:
    """The texts in the map that match; [] without a key."""
    return [text for text in Book(home).people() if matches(text)]


def forget_people(home: Path, matches: Callable[[str], bool]) -> None:
    """Take the texts that match out of the map: nobody can go back from their pseudonyms."""
    if people_like(home, matches):
        with writing(home) as book:
            book.forget(matches)


def normal(type_: str, text: str) -> str:
    """What makes two spellings one: case of an address, spaces of a name, figures of a number."""
    line = " ".join(text.split())
    if type_ == "email":
        return line.lower()
    if type_ == "phone":
        return ("+" if line.startswith("+") else "") + re.sub(r"\D", "", line)
    if type_ in ("credit_card", "iban", "us_ssn", "uk_nhs", "uk_nino"):
        return re.sub(r"[\s.-]", "", line).upper()
    return line


class Pseudonyms:
    """Going back from a pseudonym to a person: for admins, each time in the audit log."""

    noun = "pseudonyms"

    def __init__(self, store: Store) -> None:
        self._store = store

    @action
    def counts(self, actor: Actor) -> dict[str, int]:
        """How many pseudonyms of each type can be gone back from; {} without a key."""
        return Book(self._store.home).counts() if _key(self._store.home).exists() else {}

    @action
    def reveal(self, actor: Actor, pseudonym: str) -> dict[str, str]:
        """`type` and `text` behind a pseudonym. Conflict when the key has been deleted."""
        pseudonym = pseudonym.strip()
        record(self._store, actor, "pseudonyms.reveal", pseudonym)  # also what does not succeed
        if not _key(self._store.home).exists():
            raise Conflict(
                f"Nobody can tell any more who {pseudonym!r} is: the key is gone.",
                title="The key has been deleted",
            )
        found = Book(self._store.home).behind(pseudonym)
        if found is None:
            raise NotFound(f"There is no pseudonym {pseudonym!r} in this workspace.")
        return {"pseudonym": pseudonym, "type": found[0], "text": found[1]}

    @action
    def forget(self, actor: Actor) -> None:
        """Delete the key and the map: the pseudonyms stay, nobody can go back from them again."""
        with locked(self._store.home / "pseudonyms" / "lock"):
            _key(self._store.home).unlink(missing_ok=True)
            _map(self._store.home).unlink(missing_ok=True)
        record(self._store, actor, "pseudonyms.forget")


def _read(home: Path) -> dict[str, dict[str, str]]:
    """The map; a new one where there is none, or where its key is gone."""
    from cryptography.fernet import InvalidToken

    if not _map(home).exists() or not _key(home).exists():
        return {}
    try:
        found: dict[str, dict[str, str]] = json.loads(
            _cipher(home, make=False).decrypt(_map(home).read_bytes())
        )
    except (InvalidToken, ValueError) as error:
        raise LatheError(
            "The map of pseudonyms does not open with the key of this workspace.",
            title="The map of pseudonyms is damaged",
            hint=f"Bring {_map(home).name} or {_key(home).name} back from a copy, or delete the "
            "key on the Curate page: then new pseudonyms begin and nobody can go back.",
        ) from error
    return found


def _cipher(home: Path, *, make: bool) -> Any:
    from cryptography.fernet import Fernet

    path = _key(home)
    if make and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        os.chmod(path.parent, 0o700)
        write_atomic(path, Fernet.generate_key(), mode=0o600)
    return Fernet(path.read_bytes())


def _key(home: Path) -> Path:
    return home / "keys" / "pseudonyms.key"


def _map(home: Path) -> Path:
    return home / "pseudonyms" / "map.bin"


def _numbers(home: Path) -> Path:
    return home / "pseudonyms" / "numbers.json"
