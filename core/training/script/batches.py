"""Batches: which rows go together, and how a batch lies in memory.

Knows: lengths, order, padding, packing. Does not know: models, losses, templates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import Sampler

from .rows import IGNORED, Encoded

Row = dict[str, Any]
"""input_ids and labels, as lists."""
POOL = 32
"""Batches whose rows are sorted by length among themselves: enough to pad little, few enough that
rows meet others by chance."""


class Order(Sampler[int]):  # type: ignore[misc]
    """The order of the rows in an epoch, a function of seed and epoch alone: so a run that was
    resumed sees what an unbroken one sees.

    With lengths, rows of like length stand together in groups of `group`; the groups come in any
    order, the one with the longest row first: what does not fit fails at once.
    """

    def __init__(self, lengths: Sequence[int], group: int, seed: int, *, by_length: bool) -> None:
        self.lengths, self.group, self.seed, self.by_length = lengths, group, seed, by_length
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Which epoch comes next, from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        drawn = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=drawn).tolist()
        if not self.by_length:
            yield from order
            return
        groups: list[list[int]] = []
        for at in range(0, len(order), self.group * POOL):
            pool = sorted(order[at : at + self.group * POOL], key=lambda i: -self.lengths[i])
            groups += [pool[i : i + self.group] for i in range(0, len(pool), self.group)]
        # a short group anywhere but at the end would shift the borders of all batches after it
        short = groups.pop() if groups and len(groups[-1]) < self.group else []
        if groups:
            longest = max(range(len(groups)), key=lambda i: self.lengths[groups[i][0]])
            first = groups.pop(longest)
            yield from first
            for place in torch.randperm(len(groups), generator=drawn).tolist():
                yield from groups[place]
        yield from short


Batch = dict[str, torch.Tensor]
"""input_ids (rows, tokens), attention_mask, what else the model takes; and for the loss `positions`
of the states that predict, counted through all rows of the batch, with their `targets`."""
FOR_THE_LOSS = ("positions", "targets")


def padded(rows: Sequence[Row], pad_id: int) -> Batch:
    """Rows one below the other, padded on the right."""
    longest = max(len(row["input_ids"]) for row in rows)
    ids = torch.full((len(rows), longest), pad_id)
    labels = torch.full((len(rows), longest), IGNORED)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for number, row in enumerate(rows):
        length = len(row["input_ids"])
        ids[number, :length] = torch.tensor(row["input_ids"])
        labels[number, :length] = torch.tensor(row["labels"])
        mask[number, :length] = 1
    labels[:, 0] = IGNORED  # nothing predicts the first token
    where = labels.reshape(-1).ne(IGNORED).nonzero().squeeze(-1)
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "seen": mask.sum(),
        "positions": where - 1,
        "targets": labels.reshape(-1)[where],
    }


class Collator:
    """Rows of a batch as tensors."""

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, rows: Sequence[Row]) -> Batch:
        return padded(rows, self.pad_id)


def as_rows(rows: Sequence[Encoded]) -> list[Row]:
    """The rows as a collator takes them."""
    return [{"input_ids": row.input_ids, "labels": row.labels} for row in rows]


def table(rows: Sequence[Encoded]) -> Any:
    """The rows as a dataset in memory: nothing is cached on disk."""
    from datasets import Dataset

    return Dataset.from_list(as_rows(rows))
