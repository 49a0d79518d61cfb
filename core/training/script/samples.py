"""Answers to a few held-out rows, by the base model and by the adapter as it is.

Knows: prompts, greedy generation. Does not know: files, events, when it is time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .params import Params
from .rows import TemplateMismatch, render


class Samples:
    """The prompts of the first rows, answered in one batch.

    An answer gets four times the tokens of the longest expected one, 16 at least and
    `sample_tokens` at most: a base model that rambles must not cost more than the training.
    """

    def __init__(self, tokenizer: Any, rows: Sequence[dict[str, Any]], params: Params) -> None:
        self.tokenizer = tokenizer
        self.rows: list[dict[str, Any]] = []
        for row in rows[: params.sample_count] if params.sample_count else []:
            prompt, expected = prompt_and_answer(row)
            try:
                text = render(tokenizer, prompt, prompt=True) if prompt else ""
            except TemplateMismatch:
                continue
            ids = tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
            if ids and len(ids) <= params.max_length:
                self.rows.append(
                    {"row_id": row.get("id"), "prompt": text, "expected": expected, "ids": ids}
                )
        lengths = [len(tokenizer(row["expected"] or "")["input_ids"]) for row in self.rows]
        self.most = min(params.sample_tokens, max(16, 4 * max(lengths, default=0)))

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def answers(self, model: Any) -> list[dict[str, Any]]:
        """{"row_id", "prompt", "expected", "text"} of each row, greedy; the mode is kept."""
        if not self.rows:
            return []
        was_training, cached = model.training, model.config.use_cache
        model.eval()
        model.config.use_cache = True
        longest = max(len(row["ids"]) for row in self.rows)
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (longest - len(r["ids"])) + r["ids"] for r in self.rows])
        mask = torch.tensor(
            [[0] * (longest - len(r["ids"])) + [1] * len(r["ids"]) for r in self.rows]
        )
        try:
            made = model.generate(
                input_ids=ids.to(model.device),
                attention_mask=mask.to(model.device),
                max_new_tokens=self.most,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                pad_token_id=pad,
            )
        finally:
            model.train(was_training)
            model.config.use_cache = cached
        texts = self.tokenizer.batch_decode(made[:, longest:], skip_special_tokens=True)
        return [
            {key: row[key] for key in ("row_id", "prompt", "expected")} | {"text": text.strip()}
            for row, text in zip(self.rows, texts, strict=True)
        ]


def prompt_and_answer(row: dict[str, Any]) -> tuple[list[dict[str, Any]], str | None]:
    """The turns before the last answer, and that answer; of preferences the chosen one."""
    if "messages" in row:
        turns = row["messages"]
        last = max((i for i, m in enumerate(turns) if m.get("role") == "assistant"), default=None)
        if last is None:
            return list(turns), None
        return list(turns[:last]), _text(turns[last].get("content"))
    answer = row.get("chosen")
    if answer is None and row.get("label"):
        answer = row.get("completion")
    turn = answer[-1] if isinstance(answer, list) and answer else {}
    return list(row.get("prompt") or []), _text(turn.get("content"))


def _text(content: Any) -> str | None:
    return content if isinstance(content, str) else None
