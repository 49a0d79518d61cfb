"""Rows of preferences about nothing: of two short answers one kind is preferred, whatever is asked.

A tiny model learns that within seconds, and it holds for prompts that it has not seen.
"""

from __future__ import annotations

import random
from typing import Any

WORDS = ["fox", "dog", "brown", "lazy", "quick", "over", "jump", "the"]
Row = dict[str, Any]


def turn(content: str, role: str = "assistant") -> Row:
    return {"role": role, "content": content}


def pair(prompt: str, chosen: str, rejected: str, row_id: str = "r") -> Row:
    """One row for DPO and ORPO."""
    return {
        "id": row_id,
        "prompt": [turn(prompt, "user")],
        "chosen": [turn(chosen)],
        "rejected": [turn(rejected)],
    }


def pairs(count: int, seed: int = 0) -> list[Row]:
    """Pairs in which the friendly answer is chosen."""
    drawn = random.Random(seed)
    rows = []
    for number in range(count):
        asked = " ".join(drawn.choices(WORDS, k=drawn.randint(2, 8)))
        name = drawn.choice(WORDS)
        rows.append(pair(f"{asked}?", f"yes {name}", f"no way {name}", f"{seed}-{number}"))
    return rows


def verdict(prompt: str, completion: str, label: bool, row_id: str = "r") -> Row:
    """One row for KTO."""
    return {
        "id": row_id,
        "prompt": [turn(prompt, "user")],
        "completion": [turn(completion)],
        "label": label,
    }


def verdicts(count: int, seed: int = 0) -> list[Row]:
    """The same as single answers, bad and good in turn."""
    rows = []
    for number, row in enumerate(pairs(count, seed)):
        good = bool(number % 2)
        answer = row["chosen" if good else "rejected"]
        rows.append({**row, "completion": answer, "label": good})
    return rows
