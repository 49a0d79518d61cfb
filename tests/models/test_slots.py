"""Attention over slots: reading a shared beginning once changes nothing but the time."""

from __future__ import annotations

import pytest
import torch

from core.models.engines import bags
from core.models.engines.slots import Plan, Segment, SlotCache, attend, use


@pytest.mark.parametrize("lengths", [[40, 40, 40, 40], [33, 57, 40, 90, 35]])
def test_a_shared_beginning_read_once_gives_the_same(lengths: list[int]) -> None:
    torch.manual_seed(0)
    rows, shared = len(lengths), 32
    key, value = torch.randn(rows, 2, 128, 16), torch.randn(rows, 2, 128, 16)
    key[:, :, :shared] = key[:1, :, :shared]
    value[:, :, :shared] = value[:1, :, :shared]
    query = torch.randn(1, 6, rows, 16)
    outs = []
    for common in (0, shared):
        cache = SlotCache()
        cache.plan = Plan(lengths, [], shared=common)
        cache.plan.place(torch.device("cpu"), torch.float32)
        use(cache)
        outs.append(attend(torch.nn.Identity(), query, key, value, None)[0])
    assert outs[0].shape == (1, rows, 6, 16)
    torch.testing.assert_close(outs[0], outs[1])


@pytest.mark.skipif(not bags.suits(torch.zeros(1)), reason="torch has no fast bags here")
@pytest.mark.parametrize("shared", [0, 32])
def test_sums_over_bags_give_what_products_give(
    shared: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    lengths = [33, 57, 40, 90, 126]
    key, value = torch.randn(2, 8, 2, 128, 16)
    key[:, :, :shared], value[:, :, :shared] = key[:1, :, :shared], value[:1, :, :shared]
    query = torch.randn(1, 6, 5, 16)
    outs = []
    for capable in (bags.CAPABLE, ()):
        monkeypatch.setattr(bags, "CAPABLE", capable)
        cache = SlotCache()
        cache.plan = Plan(lengths, [], shared=shared)
        cache.plan.place(torch.device("cpu"), torch.float32)
        use(cache)
        outs.append(attend(torch.nn.Identity(), query, key, value, None)[0])
        assert (cache.plan.bags is None) is (not capable)
    torch.testing.assert_close(outs[0], outs[1])


def test_slots_grow_and_keep_what_is_in_them() -> None:
    cache = SlotCache()
    cache.reserve(1, 10)
    cache.plan = Plan([], [Segment(slot=0, past=0, size=5)])
    new = torch.randn(1, 2, 5, 16)
    cache.update(new, new, 0)
    saved = cache.snapshot(0, 5)
    cache.reserve(3, 200)
    cache.move(0, 2, 5)
    assert torch.equal(cache.snapshot(2, 5)[0], new[0])
    cache.clear()
    cache.reserve(2, 10)
    cache.restore(1, saved, 3)
    assert torch.equal(cache.snapshot(1, 3)[1], new[0, :, :3])


def test_slots_double_so_that_joining_rows_rarely_copy_everything() -> None:
    cache = SlotCache()
    cache.reserve(1, 10)
    cache.plan = Plan([], [Segment(slot=0, past=0, size=5)])
    cache.update(torch.randn(1, 2, 5, 16), torch.randn(1, 2, 5, 16), 0)
    copies = 0
    for slots in range(1, 65):
        before = cache.slot_count
        cache.reserve(slots, 10)
        copies += cache.slot_count != before
    assert copies <= 6
    assert cache.slot_count == 64


def test_doubling_stays_within_the_memory_that_is_given() -> None:
    cache = SlotCache()
    for slots in range(1, 13):
        cache.reserve(slots, 64, most_tokens=12 * 64)
        assert slots <= cache.slot_count <= 12
    cache.reserve(1, 20 * 64, most_tokens=12 * 64)  # one request may always have its context
    assert cache.slot_count == 12
