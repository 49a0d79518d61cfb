"""The workbench of a running app, over its HTTP: the same calls as on an open one.

    with open_workbench(settings) as workbench:       # here, or in the app that has the home
        workbench.prompts.list(OWNER)

Knows: the card that the app leaves in its home, the one route for actions, how errors return.
Does not know: what any action does.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from app import wire
from core.errors import LatheError, StoreLocked, Upstream, from_dict
from core.governance.permissions import ACTIONS, Actor
from core.settings import Settings
from core.store.files import read_json, write_json
from core.workbench import Workbench

CARD = "cli-token"
TIMEOUT_S = 600.0  # a model that loads, a large import


@dataclass(frozen=True, slots=True)
class Card:
    """Where the app that has this home answers, and the word that opens it."""

    url: str
    token: str

    def __repr__(self) -> str:  # the token must not end up in a log
        return f"Card({self.url!r})"


def write_card(home: Path, url: str) -> Card:
    """Leave a new card in the home, readable by its owner alone; the app does at its start."""
    card = Card(url, secrets.token_urlsafe(32))
    write_json(home / CARD, {"url": card.url, "token": card.token}, mode=0o600)
    return card


def read_card(home: Path) -> Card | None:
    """The card of the app that started last on this home, or None."""
    found = read_json(home / CARD)
    return Card(found["url"], found["token"]) if found else None


def open_workbench(settings: Settings, *, background: bool = False) -> Workbench | Remote:
    """The home itself, or the running app that has it; raises StoreLocked when neither works."""
    try:
        return Workbench.open(settings, background=background)
    except StoreLocked as locked:
        card = read_card(settings.home)
        if card is None or "newer" in locked.title:
            raise
        remote = Remote(card, settings)
        try:
            remote.ping()
        except Upstream:
            remote.close()
            raise locked from None
        return remote


class Remote:
    """Looks like a Workbench for everything in the table of actions."""

    def __init__(self, card: Card, settings: Settings) -> None:
        self.settings = settings
        self.url = card.url
        self._client = httpx.Client(
            base_url=card.url,
            headers={"Authorization": f"Bearer {card.token}"},
            timeout=TIMEOUT_S,
            trust_env=False,  # the app is on this machine: a proxy has no part in it
        )

    def __getattr__(self, noun: str) -> RemoteService:
        if any(name.startswith(f"{noun}.") for name in ACTIONS):
            return RemoteService(self._client, noun)
        raise AttributeError(noun)

    def ping(self) -> None:
        """Raise Upstream unless an app answers there."""
        _send(self._client, "GET", "/healthz")

    def close(self) -> None:
        """Close the connection; the app goes on."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class RemoteService:
    """One noun: every action of it as a method with the same arguments."""

    def __init__(self, client: httpx.Client, noun: str) -> None:
        self._client = client
        self.noun = noun

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        if f"{self.noun}.{verb}" not in ACTIONS:
            raise AttributeError(f"{self.noun}.{verb}")

        def call(actor: Actor, *args: Any, **kwargs: Any) -> Any:
            # The app acts as the owner of its files: whoever can read the token is that.
            body = {"args": wire.encode(list(args)), "kwargs": wire.encode(kwargs)}
            answer = _send(self._client, "POST", f"/api/actions/{self.noun}/{verb}", body)
            return wire.decode(answer.json()["result"])

        return call


def _send(client: httpx.Client, method: str, path: str, body: Any = None) -> httpx.Response:
    try:
        answer = client.request(method, path, json=body)
    except httpx.HTTPError as error:
        raise Upstream(
            f"The app at {client.base_url} did not answer: {error}.",
            title="The running app does not answer",
            hint="Stop it, and this command opens the workspace itself.",
        ) from None
    if answer.is_success:
        return answer
    raise _error(answer)


def _error(answer: httpx.Response) -> LatheError:
    try:
        data = json.loads(answer.text)
    except ValueError:
        data = None
    if isinstance(data, dict) and "message" in data:
        return from_dict(data)
    return Upstream(f"The app answered {answer.status_code} to {answer.request.url.path}.")
