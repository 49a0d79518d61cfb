"""Weighted sums of the values that decoding rows attend to, for fp32 on the CPU.

Knows: torch's embedding bags. Does not know: models, requests.
One query a row makes matrix products so narrow that their kernels spend most of the time on
waiting; an embedding bag streams through the rows of a table, and a head's output is just that: a
bag of value rows with their weights. Past a row's end a bag reads row 0 over and over, with weight
0: what is longest in the batch costs the others no memory traffic.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

CAPABLE = ("AVX2", "AVX512")


def suits(tensor: torch.Tensor) -> bool:
    """True where torch has fast kernels for bags of such a tensor."""
    cpu = tensor.device.type == "cpu" and tensor.dtype == torch.float32
    return cpu and torch.backends.cpu.get_cpu_capability() in CAPABLE


@dataclass(frozen=True, slots=True)
class Bags:
    """Which rows of the values are summed for each head: the same in all layers of a pass."""

    rows: torch.Tensor
    starts: torch.Tensor

    def sums(self, weights: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Weights (rows, heads, queries, own) times values: (rows, heads, queries, size)."""
        out = torch.embedding_bag(
            value.flatten(0, 2),
            self.rows,
            self.starts,
            mode=0,  # sums
            per_sample_weights=weights.reshape(-1),
        )[0]
        return out.view(*weights.shape[:3], value.shape[3])


def make(positions: torch.Tensor, shared: int, value: torch.Tensor, queries: int) -> Bags:
    """Bags for rows in slots 0..n-1 that see tokens shared..position; `queries` share a head."""
    count, (_, heads, tokens, _) = len(positions), value.shape
    steps = torch.arange(shared, int(positions.max()) + 1, dtype=torch.int32)
    slots = torch.arange(count * heads, dtype=torch.int32).view(count, heads, 1, 1)
    beyond = steps > positions[:, None, None, None]
    rows = (slots * tokens + steps).masked_fill_(beyond, 0)
    starts = torch.arange(count * heads * queries, dtype=torch.int32)
    return Bags(rows.expand(count, heads, queries, len(steps)).reshape(-1), starts.mul_(len(steps)))
