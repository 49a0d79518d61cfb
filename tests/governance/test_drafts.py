"""Drafts: kept by user and key, and nobody else's business."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import Invalid
from core.governance.drafts import Drafts
from core.governance.permissions import Actor
from core.store.database import Store

ANN, BOB = Actor("u1", "ann", "engineer"), Actor("u2", "bob", "engineer")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(value=JSON)
def test_what_is_put_is_got_by_its_owner_alone(drafts: Drafts, value: Any) -> None:
    drafts.put(ANN, "playground", value)
    assert drafts.get(ANN, "playground") == value
    assert drafts.get(BOB, "playground") is None


def test_the_last_one_counts_and_none_removes(drafts: Drafts) -> None:
    drafts.put(ANN, "k", {"a": 1})
    drafts.put(ANN, "k", {"a": 2})
    assert drafts.get(ANN, "k") == {"a": 2}
    drafts.put(ANN, "k", None)
    assert drafts.get(ANN, "k") is None


def test_putting_the_same_again_writes_nothing(drafts: Drafts, store: Store) -> None:
    drafts.put(ANN, "k", [1, 2])
    before = store.revision
    drafts.put(ANN, "k", [1, 2])
    assert store.revision == before


def test_too_large_is_refused(drafts: Drafts) -> None:
    with pytest.raises(Invalid, match="too large"):
        drafts.put(ANN, "k", "x" * 1_000_001)
    with pytest.raises(Invalid):
        drafts.put(ANN, "k" * 201, 1)
