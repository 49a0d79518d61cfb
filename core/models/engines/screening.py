"""The likeliest token without all scores: a cheap product in bf16, then fp32 for what is close.

Knows: how far a product in bf16 can be off. Does not know: sampling, requests.
The head is a large part of a small model: on a CPU with bf16 units its product takes half the time
in bf16. Every token whose approximate score could still be the best is then scored in fp32, a few
of tens of thousands, so the choice is that of fp32.

Proof. h is a hidden state, w a row of the weights, h' and w' the same rounded to bf16, s = w.h the
score, a the approximate one, E the largest |w - w'|, N the largest |w| or |w'|, g = d * 2**-23 a
bound on the relative error of a sum of d products in fp32 (products of bf16 numbers are exact in
it), u = 2**-8 a bound on that of rounding to bf16. By Cauchy-Schwarz

    |s - a| <= e + u |a|   with   e = E |h| + N |h - h'| + g N |h'|.

Plain fp32 scores are off by at most g N |h|; so its choice v has s(v) >= s(t) - 2 g N |h| for any
other token t, in particular for the one with the largest a. With both bounds put in,

    a(v) + u |a(v)| >= L   with   L = a(t) - u |a(t)| - 2 e - 2 g N |h|,

and so a(v) >= L - 2 u |L|, whatever the signs. All tokens from there on are compared in fp32, and v
is one of them: the choice differs from that of plain fp32 scores only where two of these are
closer than their own rounding.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from core.models.engines.packing import PackedLinear, has_kernels, suits

KNOWN = {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"}
"""Models whose scores are their head's product and nothing more."""
BLOCK = 512
"""Scores of which the largest is taken at a time, to look into few of them."""
MOST_CLOSE = 256
"""More close tokens a row than this on average, and all scores are computed after all."""
ROUNDING_BF16 = 2.0**-8
ROUNDING_FP32 = 2.0**-23
TRIED_ROWS = 16
WORTH_SHARE = 0.8


class ScreenedHead(torch.nn.Module):  # type: ignore[misc]
    """A packed head that can also be asked for nothing but the best token of each row.

    While `choosing` it leaves the tokens in `chosen`, (rows,), and returns no scores worth reading.
    """

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        self.choosing = False
        self.chosen = torch.empty(0, dtype=torch.long)
        self._plain = PackedLinear(linear)
        self._weight = linear.weight.detach()
        rounded = self._weight.bfloat16()
        self._packed: Any = torch.ops.mkldnn._reorder_linear_weight(rounded)
        self._largest, self._off = _norms(self._weight, rounded)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Scores of all tokens; while choosing the first channel of `rows`."""
        if not self.choosing:
            return self._plain(rows)
        self.chosen = self.best(rows.reshape(-1, rows.shape[-1]))
        return rows[..., :1]

    def best(self, rows: torch.Tensor) -> torch.Tensor:
        """The likeliest token of each row, (rows, width) -> (rows,); of equals the first."""
        blocks = self._about(rows).view(len(rows), -1, BLOCK)
        tops = blocks.amax(dim=-1).float()
        floor = self._floor(rows, tops.amax(dim=-1))
        row, number = (tops >= floor[:, None]).nonzero(as_tuple=True)
        hit, inside = (blocks[row, number] >= floor[row, None]).nonzero(as_tuple=True)
        row, token = row[hit], number[hit] * BLOCK + inside
        counts = torch.bincount(row, minlength=len(rows))
        if len(row) > MOST_CLOSE * len(rows) or not bool(counts.all()):  # all() fails on NaN
            return self._plain(rows).argmax(dim=-1)
        scores = (self._weight[token] * rows[row]).sum(dim=-1)
        starts = counts.cumsum(0) - counts
        close = rows.new_full((len(rows), int(counts.max())), float("-inf"))
        close[row, torch.arange(len(row)) - starts[row]] = scores
        return token[starts + close.argmax(dim=-1)]

    def is_faster(self) -> bool:
        """Measured once, by turns, as time on one processor: whatever else the machine is doing.

        In a thread of its own, since a thread that has computed alone lets its OpenMP team go.
        """
        threads = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(1) as thread:
                plain_s, best_s = thread.submit(self._measured).result()
        finally:
            torch.set_num_threads(threads)
        return bool(best_s < WORTH_SHARE * plain_s)

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def _measured(self) -> tuple[float, float]:
        torch.set_num_threads(1)
        rows = self._weight[:TRIED_ROWS].contiguous()
        plain_s, best_s = [], []
        for _ in range(4):
            began = time.thread_time()
            self._plain(rows).argmax(dim=-1)
            between = time.thread_time()
            self.best(rows)
            plain_s.append(between - began)
            best_s.append(time.thread_time() - between)
        return min(plain_s), min(best_s)

    def _about(self, rows: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            rows.bfloat16(), self._packed, None, "none", [], ""
        )
        missing = -found.shape[1] % BLOCK
        if missing:
            found = torch.nn.functional.pad(found, (0, missing), value=float("-inf"))
        return found

    def _floor(self, rows: torch.Tensor, top: torch.Tensor) -> torch.Tensor:
        """The least approximate score that the best token of each row can have, by the largest."""
        length = torch.linalg.vector_norm(rows, dim=-1)
        off = torch.linalg.vector_norm(rows - rows.bfloat16(), dim=-1)
        sums = ROUNDING_FP32 * rows.shape[-1] * self._largest * (length + off)
        slack = self._off * length + self._largest * off + 2 * sums
        least = top - ROUNDING_BF16 * top.abs() - 2 * slack
        return least - 2 * ROUNDING_BF16 * least.abs()


@torch.inference_mode()  # type: ignore[untyped-decorator]
def screen(model: Any) -> bool:
    """Replace the head where that is allowed and faster; call it before `pack`.

    The head's weights must be those of the embedding, which stay in memory anyhow.
    """
    head: Any = getattr(model, "lm_head", None)
    if type(model).__name__ not in KNOWN or type(head) is not torch.nn.Linear:
        return False
    tied = head.weight is model.get_input_embeddings().weight
    if not tied or head.bias is not None or not suits(head.weight) or not has_units():
        return False
    screened = ScreenedHead(head)
    if not screened.is_faster():
        return False
    model.lm_head = screened
    return True


def has_units() -> bool:
    """True where the processor multiplies bf16 by itself."""
    told = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return has_kernels() and told is not None and bool(told())


def _norms(weight: torch.Tensor, rounded: torch.Tensor) -> tuple[float, float]:
    """The largest norm of a row, rounded or not, and the largest norm of what rounding changed."""
    largest = off = 0.0
    for whole, part in zip(weight.split(4096), rounded.split(4096), strict=True):
        near = part.float()
        for tensor in (whole, near):
            largest = max(largest, float(torch.linalg.vector_norm(tensor, dim=-1).max()))
        off = max(off, float(torch.linalg.vector_norm(whole - near, dim=-1).max()))
    # the norms themselves are sums in fp32
    grown = 1 + ROUNDING_FP32 * weight.shape[1]
    return largest * grown, off * grown
