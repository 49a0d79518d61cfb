"""Chats: messages in a cell, and what can be wrong with how they follow each other.

Knows: OpenAI's messages (role, content, tool_calls). Does not know: other formats; those are
converted when they are imported.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

Turns = list[dict[str, Any]]


def turns_of(cell: Any) -> Turns:
    """The messages of a chat cell, JSON text or a list; empty when it is no chat."""
    try:
        found = json.loads(cell) if isinstance(cell, str) else cell
    except (ValueError, RecursionError):
        return []
    if isinstance(found, dict):
        found = found.get("messages")
    if not isinstance(found, list) or not all(isinstance(turn, dict) for turn in found):
        return []
    return found


def roles_alternate(turns: Turns) -> bool:
    """An optional system turn, then user and assistant in turn, beginning with the user.

    After an assistant's call come tool turns, and then the assistant speaks again.
    """
    roles = [str(turn.get("role")) for turn in turns]
    if roles[0] in ("system", "developer"):
        roles = roles[1:]
    if not roles or roles[0] != "user" or set(roles) - {"user", "assistant", "tool"}:
        return False
    follows = {"user": {"assistant"}, "assistant": {"user", "tool"}, "tool": {"tool", "assistant"}}
    return all(after in follows[before] for before, after in itertools.pairwise(roles))


def no_empty_turns(turns: Turns) -> bool:
    """Every turn says something, or calls a tool."""
    return all(_says(turn.get("content")) or turn.get("tool_calls") for turn in turns)


def ends_with_assistant(turns: Turns) -> bool:
    """The last turn is an answer: what a trainer can learn from."""
    return turns[-1].get("role") == "assistant"


def _says(content: Any) -> bool:
    return bool(content.strip()) if isinstance(content, str) else bool(content)
