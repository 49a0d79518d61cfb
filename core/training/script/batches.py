"""Batches: which rows go together, and how a batch lies in memory.

Knows: lengths, order, padding, packing. Does not know: models, losses, templates.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import Sampler

from .rows import IGNORED, Encoded

Row = dict[str, Any]
"""input_ids and labels, as lists; or "rows", several of these in one sequence."""
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


def folded(groups: Sequence[Sequence[Row]], pad_id: int, *, share: bool) -> Batch:
    """Each group of rows in one sequence, none of which sees another.

    With `share`, what all rows of a group begin with stands there once and all see it: the same
    states as if each had its own, in less work. Positions count on from it in each row, so a state
    is what it is when the row stands alone; the mask (rows, 1, tokens, tokens) says who sees whom.
    """
    laid = [_lay(rows, share) for rows in groups]
    longest = max(len(one.ids) for one in laid)
    shape = (len(laid), longest)
    ids, places = torch.full(shape, pad_id), torch.zeros(shape, dtype=torch.long)
    # who sees whom: a token those of its own part and of the shared one that are not after it;
    # padding is a part of its own, for a token that sees nothing has no softmax
    part = torch.full(shape, -1)
    positions, targets = [], []
    for number, one in enumerate(laid):
        count = len(one.ids)
        ids[number, :count] = torch.tensor(one.ids)
        places[number, :count] = torch.tensor(one.places)
        part[number, :count] = torch.tensor(one.parts)
        positions += [number * longest + at for at in one.positions]
        targets += one.targets
    mask = part[:, :, None] == part[:, None, :]
    mask |= (part[:, None, :] == 0) & (part[:, :, None] > 0)
    mask &= torch.ones(longest, longest, dtype=torch.bool).tril()
    return {
        "input_ids": ids,
        "attention_mask": mask[:, None],
        "position_ids": places,
        "seen": torch.tensor(sum(len(row["input_ids"]) for rows in groups for row in rows)),
        "positions": torch.tensor(positions, dtype=torch.long),
        "targets": torch.tensor(targets, dtype=torch.long),
    }


@dataclass(slots=True)
class _Laid:
    """Rows in one sequence; part 0 is what they share."""

    ids: list[int]
    places: list[int]
    parts: list[int]
    positions: list[int]
    targets: list[int]


def _lay(rows: Sequence[Row], share: bool) -> _Laid:
    shared = _shared(rows) if share else 0
    ids = list(rows[0]["input_ids"][:shared])
    made = _Laid(ids, list(range(shared)), [0] * shared, [], [])
    for part, row in enumerate(rows, 1):
        own, labels = row["input_ids"][shared:], row["labels"]
        offset = len(made.ids) - shared
        for at in range(1, len(labels)):
            if labels[at] != IGNORED:  # predicted by the state before it, shared or own
                made.positions.append(at - 1 if at - 1 < shared else at - 1 + offset)
                made.targets.append(labels[at])
        made.ids += own
        made.places += range(shared, shared + len(own))
        made.parts += [part] * len(own)
    return made


def _shared(rows: Sequence[Row]) -> int:
    """How many tokens all rows begin with."""
    if len(rows) < 2:
        return 0
    least, most = (pick(row["input_ids"] for row in rows) for pick in (min, max))
    count = 0
    for one, other in zip(least, most, strict=False):
        if one != other:
            break
        count += 1
    return count


def pack(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Rows, by number, put together so that each pack has at most `room` tokens.

    Best fit, the longest first: a row goes where it leaves least room; as TRL's "bfd".
    """
    packs: list[list[int]] = []
    left: list[tuple[int, int]] = []  # (room left, pack), sorted
    for number in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        at = bisect_left(left, (lengths[number], -1))
        if at == len(left):
            packs.append([number])
            insort(left, (room - lengths[number], len(packs) - 1))
            continue
        rest, chosen = left.pop(at)
        packs[chosen].append(number)
        insort(left, (rest - lengths[number], chosen))
    return packs


class Collator:
    """Batches in the layout that is least work.

    Padded rows waste their padding; folded ones attend over a long sequence most of which is
    masked. Which is less follows from the lengths, what the rows share and the model's width.
    A row with "rows" is a pack of several, and always folded.
    """

    def __init__(self, pad_id: int, width: int, *, fold: bool, share: bool) -> None:
        self.pad_id, self.width, self.fold, self.share = pad_id, width, fold, share

    def __call__(self, rows: Sequence[Row]) -> Batch:
        if "rows" in rows[0]:
            return folded([row["rows"] for row in rows], self.pad_id, share=False)
        if not self.fold or len(rows) == 1:
            return padded(rows, self.pad_id)
        lengths = [len(row["input_ids"]) for row in rows]
        shared = _shared(rows) if self.share else 0
        best, least = 0, self._work(len(rows), max(lengths))
        count = 1
        while count < len(rows):
            groups = _split(rows, count)
            longest = max(shared + sum(len(r["input_ids"]) - shared for r in g) for g in groups)
            work = self._work(count, longest)
            if work < 0.97 * least:
                best, least = count, work
            count *= 2
        if not best:
            return padded(rows, self.pad_id)
        return folded(_split(rows, best), self.pad_id, share=self.share)

    def _work(self, sequences: int, tokens: int) -> float:
        """Products for tokens, and for pairs of them: about 12 width^2 and 2 width a layer."""
        return sequences * tokens * (1 + tokens / (6 * self.width))


def _split(rows: Sequence[Row], count: int) -> list[list[Row]]:
    """The rows in `count` groups of about as many tokens each."""
    groups: list[list[Row]] = [[] for _ in range(count)]
    sizes = [0] * count
    for row in sorted(rows, key=lambda row: -len(row["input_ids"])):
        at = sizes.index(min(sizes))
        groups[at].append(row)
        sizes[at] += len(row["input_ids"])
    return groups


def packed(rows: Sequence[Row], room: int) -> list[Row]:
    """Packs of rows, each an item of a dataset."""
    packs = pack([len(row["input_ids"]) for row in rows], room)
    return [{"rows": [rows[number] for number in one]} for one in packs]


def length(row: Row) -> int:
    """Tokens of a row or a pack."""
    if "rows" in row:
        return sum(len(one["input_ids"]) for one in row["rows"])
    return len(row["input_ids"])


def as_rows(rows: Sequence[Encoded]) -> list[Row]:
    """The rows as a collator takes them."""
    return [{"input_ids": row.input_ids, "labels": row.labels} for row in rows]


def table(rows: Sequence[Encoded]) -> Any:
    """The rows as a dataset in memory: nothing is cached on disk."""
    from datasets import Dataset

    return Dataset.from_list(as_rows(rows))
