"""Nothing is reachable that the one table does not name, and the table names nothing else."""

from __future__ import annotations

import dataclasses

import pytest

from app import navigation, server
from core.errors import Forbidden
from core.governance.permissions import (
    ACTIONS,
    JOB_KINDS,
    NEWCOMER,
    OWNER,
    PAGES,
    PERMISSIONS,
    PUBLIC,
    ROLES,
    ROUTES,
    Actor,
    action,
    open_action,
    permits,
    public_methods,
    require,
)
from core.jobs.kinds import KINDS
from core.settings import PROJECT_ROOT
from core.workbench import Workbench


def services(workbench: Workbench) -> dict[str, object]:
    fields = (getattr(workbench, field.name) for field in dataclasses.fields(workbench))
    return {service.noun: service for service in fields if hasattr(service, "noun")}


def test_every_public_method_is_guarded_and_in_the_table(workbench: Workbench) -> None:
    for noun, service in services(workbench).items():
        for name, guarded in public_methods(service).items():
            assert guarded, f"{noun}.{name} asks nobody's permission"
            assert f"{noun}.{name}" in ACTIONS, f"{noun}.{name} is missing from ACTIONS"


def test_every_action_in_the_table_exists(workbench: Workbench) -> None:
    there = services(workbench)
    for name in ACTIONS:
        noun, verb = name.split(".")
        assert noun in there, f"ACTIONS names {name}, the workbench has no {noun}"
        assert verb in public_methods(there[noun]), f"ACTIONS names {name}, there is none"


def test_services_carry_the_name_they_have_on_the_workbench(workbench: Workbench) -> None:
    for noun, service in services(workbench).items():
        assert getattr(workbench, noun) is service


def test_every_route_is_in_the_table_and_the_table_names_no_other(workbench: Workbench) -> None:
    found = {
        f"{method} {route.path}"
        for route in server.routes(workbench, "token")
        for method in route.methods or ()
        if method != "HEAD"
    }
    assert found == set(ROUTES)


def test_every_page_file_is_in_the_table_and_in_the_navigation() -> None:
    files = {path.stem for path in (PROJECT_ROOT / "pages").glob("*.py")}
    assert set(PAGES) == files
    assert set(navigation.ENTRIES) == set(PAGES)


def test_every_page_asks_for_its_own_permission() -> None:
    for path in (PROJECT_ROOT / "pages").glob("*.py"):
        assert f'key="{path.stem}"' in path.read_text(), f"{path.stem} does not call ui.page"


def test_every_job_kind_is_in_the_table() -> None:
    assert set(KINDS) == set(JOB_KINDS)


def test_every_entry_asks_for_a_permission_that_exists() -> None:
    asked = {*PAGES.values(), *ROUTES.values(), *JOB_KINDS.values(), *ACTIONS.values()}
    assert asked - {PUBLIC} == set(PERMISSIONS)


def test_only_signing_in_is_public() -> None:
    assert {name for name, needed in ACTIONS.items() if needed == PUBLIC} == {
        "sessions.sign_in",
        "sessions.redeem_link",
        "sessions.actor",
    }


@pytest.mark.parametrize("role", [NEWCOMER, "", "root", "ADMIN"])
def test_who_has_no_role_yet_may_do_nothing_but_the_own_account(role: str) -> None:
    allowed = {name for name in PERMISSIONS if permits(role, name)}
    assert allowed == ({"account.self"} if role == NEWCOMER else set())


def test_an_admin_may_everything_and_a_lead_changes_nothing() -> None:
    assert all(permits("admin", name) for name in PERMISSIONS)
    assert not any(permits("lead", name) for name in PERMISSIONS if name.endswith(".write"))
    assert {name for name in PERMISSIONS if permits("reviewer", name)} == {"account.self"}


def test_what_is_missing_from_the_table_is_denied_to_everybody() -> None:
    class Loose:
        noun = "loose"

        @action
        def act(self, actor: Actor) -> None:
            raise AssertionError("reached")

        @open_action
        def ask(self) -> None:
            raise AssertionError("reached")

    with pytest.raises(Forbidden):
        Loose().act(OWNER)
    with pytest.raises(Forbidden):
        Loose().ask()
    assert not permits("admin", "no.such.permission")
    for role in ROLES:
        with pytest.raises(Forbidden):
            require(Actor("u", "u", role), None, "x")
