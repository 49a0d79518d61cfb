"""The three services over a store, without threads."""

from __future__ import annotations

import pytest

from core.governance.drafts import Drafts
from core.governance.sessions import Sessions
from core.governance.users import Users
from core.store.database import Store


@pytest.fixture
def users(store: Store) -> Users:
    return Users(store)


@pytest.fixture
def sessions(store: Store, users: Users) -> Sessions:
    return Sessions(store, users)


@pytest.fixture
def drafts(store: Store) -> Drafts:
    return Drafts(store)
