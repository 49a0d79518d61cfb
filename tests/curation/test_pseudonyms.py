"""Pseudonyms are the same everywhere, come with a way back, and the way back is kept apart."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.curation.personal import TYPES, find
from core.curation.pseudonyms import FORMS, Book, normal, writing
from core.errors import Conflict, Forbidden, LatheError, NotFound
from core.governance.permissions import OWNER, Actor
from core.workbench import Workbench

LEAD = Actor("lead", "lead", "lead")
ENGINEER = Actor("eng", "eng", "engineer")


def test_a_name_is_the_same_at_every_opening_and_none_comes_twice(home: Path) -> None:
    with writing(home) as book:
        first = book.name("person", "Anna Kowalska")
        assert first == "person_0001"
        assert book.name("person", "Bo Lind") == "person_0002"
        assert book.name("email", "A.K@Example.com") == "user1@pseudonym.example"
    with writing(home) as book:
        assert book.name("person", "Anna  Kowalska") == first
        assert book.name("email", "a.k@example.com") == "user1@pseudonym.example"
        assert book.name("person", "Cy Young") == "person_0003"


def test_the_map_on_disk_is_sealed_and_the_key_is_the_owners(home: Path) -> None:
    with writing(home) as book:
        book.name("person", "Anna Kowalska")
    files = [path for path in home.rglob("*") if path.is_file()]
    assert all(b"Kowalska" not in path.read_bytes() for path in files)
    for name in ("keys/pseudonyms.key", "pseudonyms/map.bin", "pseudonyms/numbers.json"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "keys").stat().st_mode) == 0o700


def test_writers_at_the_same_time_give_everybody_one_name(home: Path) -> None:
    def write(offset: int) -> None:
        for number in range(10):
            with writing(home) as book:
                book.name("person", f"Person {offset + number}")

    threads = [threading.Thread(target=write, args=(offset,)) for offset in (0, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    book = Book(home)
    assert book.counts() == {"person": 15}
    assert len({book.name("person", f"Person {n}") for n in range(15)}) == 15
    assert not book.changed


def test_an_error_in_the_middle_keeps_the_map_as_it_was(home: Path) -> None:
    def stopped() -> None:
        with writing(home) as book:
            book.name("person", "Anna")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stopped()
    assert Book(home).counts() == {}


def test_only_an_admin_goes_back_and_each_time_is_in_the_audit(workbench: Workbench) -> None:
    home = workbench.settings.home
    with writing(home) as book:
        name = book.name("phone", "+44 20 7946 0958")
    assert workbench.pseudonyms.reveal(OWNER, f" {name} ") == {
        "pseudonym": "phone_0001", "type": "phone", "text": "+442079460958",
    }  # fmt: skip
    for actor in (LEAD, ENGINEER):
        with pytest.raises(Forbidden):
            workbench.pseudonyms.reveal(actor, name)
        with pytest.raises(Forbidden):
            workbench.pseudonyms.forget(actor)
    with pytest.raises(NotFound, match="person_9999"):
        workbench.pseudonyms.reveal(OWNER, "person_9999")
    told = workbench.audit.list(OWNER, action_prefix="pseudonyms.reveal")
    assert [row["object_id"] for row in told] == ["person_9999", "phone_0001"]
    assert "7946" not in json.dumps(told, default=str)
    assert workbench.pseudonyms.counts(LEAD) == {"phone": 1}


def test_without_the_key_nobody_goes_back_and_numbers_go_on(workbench: Workbench) -> None:
    home = workbench.settings.home
    with writing(home) as book:
        name = book.name("person", "Anna Kowalska")
    workbench.pseudonyms.forget(OWNER)
    assert not (home / "keys" / "pseudonyms.key").exists()
    with pytest.raises(Conflict, match="the key is gone"):
        workbench.pseudonyms.reveal(OWNER, name)
    with writing(home) as book:
        assert book.name("person", "Anna Kowalska") == "person_0002"
    with pytest.raises(NotFound):
        workbench.pseudonyms.reveal(OWNER, name)
    assert workbench.audit.list(OWNER, action_prefix="pseudonyms.forget")


def test_a_damaged_map_is_said_to_be_damaged_and_not_written_over(home: Path) -> None:
    with writing(home) as book:
        book.name("person", "Anna")
    path = home / "pseudonyms" / "map.bin"
    path.write_bytes(path.read_bytes()[:-9] + b"xxxxxxxxx")
    damaged = path.read_bytes()
    with pytest.raises(LatheError, match="does not open"), writing(home):
        pass
    assert path.read_bytes() == damaged


@given(st.sampled_from(sorted(FORMS)), st.integers(1, 99_999))
@settings(deadline=None)
def test_no_pseudonym_is_personal_data(type_: str, number: int) -> None:
    name = FORMS[type_].format(number)
    for text in (name, f"My name is {name}, call {name}.", f"Regards,\n{name}", f"born {name}"):
        assert find(text) == []
        assert find(text, "customer_name") == []


def test_every_type_of_personal_data_has_a_form() -> None:
    assert FORMS.keys() == TYPES.keys()


@pytest.mark.parametrize(
    ("type_", "one", "other"),
    [
        ("email", "A@B.com", "a@b.com"),
        ("phone", "+44 (20) 7946-0958", "+442079460958"),
        ("credit_card", "4111 1111 1111 1111", "4111-1111-1111-1111"),
        ("iban", "de89 3704", "DE893704"),
        ("person", "Anna \n Kowalska", "Anna Kowalska"),
    ],
)
def test_spellings_of_one_thing_are_one(type_: str, one: str, other: str) -> None:
    assert normal(type_, one) == normal(type_, other)
