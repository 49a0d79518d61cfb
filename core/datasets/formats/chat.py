"""Chat files: recognised by their columns and first rows, and turned into columns of Lathe.

Knows: OpenAI messages, ShareGPT, Alpaca, prompt and completion, preferences, traces and run
results of Lathe itself. Does not know: files, mappings.

A turn is {"role", "content"} with role system, user, assistant or tool; tool calls and names stay
on their turn. Columns that a format does not speak of are left as they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.datasets.faults import Fault
from core.datasets.records import Reader, Record
from core.datasets.values import is_blank, text_of, unescape_formula

Values = dict[str, Any]
Turns = list[dict[str, Any]]

ROLES = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "bot": "assistant", "model": "assistant",
    "chatgpt": "assistant", "bing": "assistant", "bard": "assistant", "ai": "assistant",
    "function_call": "assistant", "tool_call": "assistant", "tool": "tool", "function": "tool",
    "observation": "tool", "tool_response": "tool", "ipython": "tool",
}  # fmt: skip
_KEPT = ("name", "tool_calls", "tool_call_id", "reasoning_content", "weight", "function_call")
_ENOUGH = 0.8  # of the rows that have the columns at all


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """A way of writing conversations down."""

    name: str
    """openai, sharegpt, alpaca, completion, preference, traces or results."""
    title: str
    needs: tuple[str, ...]
    """The columns it is known by."""
    gives: Mapping[str, str]
    """The columns that it turns into, and the role that each suggests."""


_ALL = (
    ChatFormat("preference", "Preference pairs", ("chosen", "rejected"),
               {"prompt": "input", "chosen": "expected", "rejected": "metadata"}),
    ChatFormat("traces", "Traces of Lathe", ("messages", "output"),
               {"messages": "input", "expected": "expected"}),
    ChatFormat("openai", "OpenAI messages", ("messages",), {"messages": "input"}),
    ChatFormat("sharegpt", "ShareGPT conversations", ("conversations",), {"messages": "input"}),
    ChatFormat("alpaca", "Alpaca instructions", ("instruction", "output"),
               {"instruction": "input", "input": "input", "expected": "expected"}),
    ChatFormat("completion", "Prompt and completion", ("prompt", "completion"),
               {"prompt": "input", "expected": "expected"}),
    ChatFormat("results", "Run results of Lathe", ("run_id", "variant", "input", "output"),
               {"input": "input", "expected": "expected", "output": "metadata"}),
)  # fmt: skip
CHAT_FORMATS: dict[str, ChatFormat] = {chat.name: chat for chat in _ALL}


def detect_chat(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> ChatFormat | None:
    """The chat format that columns and first rows are in, or None; four rows in five decide."""
    for chat in _ALL:
        if not set(chat.needs) <= set(columns):
            continue
        if chat.name == "alpaca" and "input" not in columns and len(columns) > 3:
            continue  # two common words among many columns say little
        having = [row for row in rows if any(not is_blank(row.get(n)) for n in chat.needs)]
        good = sum(_TESTS[chat.name](row) for row in having)
        if having and good >= _ENOUGH * len(having):
            return chat
    return None


def convert(chat: ChatFormat, values: Mapping[str, Any]) -> Values:
    """One row in the columns of Lathe; ValueError says which column is not what it should be."""
    return _CONVERSIONS[chat.name](dict(values))


def turns_of(value: Any, column: str = "messages") -> Turns:
    """Messages of any dialect, also as JSON text, as turns; ValueError where they are none."""
    value = _parsed(value)
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list):
        raise ValueError(f"{column!r} is not a list of messages")
    return [_turn(item, f"{column!r}, message {n}") for n, item in enumerate(value, start=1)]


@dataclass(frozen=True, slots=True)
class AsChat:
    """A reader whose rows are converted; a row that cannot be is a fault."""

    inner: Reader
    chat: ChatFormat
    spreadsheet: bool = False
    """The cells may carry the apostrophe that keeps a spreadsheet from running them."""

    def columns(self) -> list[str]:
        """None: which there are depends on the rows."""
        return []

    def records(self) -> Iterator[Record]:
        """The rows of the inner reader in the columns of Lathe."""
        for record in self.inner.records():
            if record.faults:
                yield record
                continue
            values = record.values
            if self.spreadsheet and self.chat.name == "results":
                values = {name: unescape_formula(cell) for name, cell in values.items()}
            try:
                yield Record(record.index, record.line, convert(self.chat, values))
            except ValueError as error:
                hint = f"Mend the row, or import the file without reading it as {self.chat.title}."
                fault = Fault(record.index, self.chat.needs[0], str(error), hint, record.line)
                yield Record(record.index, record.line, faults=(fault,))


def _turn(item: Any, where: str) -> dict[str, Any]:
    if not isinstance(item, Mapping):
        raise ValueError(f"{where} is not an object")
    said = item.get("role", item.get("from"))
    role = ROLES.get(str(said).strip().lower()) if said is not None else None
    if role is None:
        raise ValueError(f"{where} has {'no role' if said is None else f'the role {said!r}'}")
    content = item["content"] if "content" in item else item.get("value")
    turn: dict[str, Any] = {"role": role, "content": _content(content)}
    turn |= {name: item[name] for name in _KEPT if not is_blank(item.get(name))}
    if str(said) in ("function_call", "tool_call") and "tool_calls" not in turn:
        turn |= {"content": "", "tool_calls": _called(content)}
    return turn


def _content(content: Any) -> Any:
    """Text as text; parts joined where all of them are text, and kept where one is not."""
    if content is None:
        return ""
    if isinstance(content, list):
        texts = [p.get("text") if isinstance(p, Mapping) else p for p in content]
        kinds = {p.get("type", "text") for p in content if isinstance(p, Mapping)}
        plain = [text for text in texts if isinstance(text, str)]
        if len(plain) == len(texts) and kinds <= {"text", "input_text"}:
            return "".join(plain)
        return content
    return content if isinstance(content, Mapping) else text_of(content)


def _called(content: Any) -> list[Any]:
    """A ShareGPT function call as OpenAI writes it."""
    calls = _parsed(content)
    found = []
    for call in calls if isinstance(calls, list) else [calls]:
        asked = call if isinstance(call, Mapping) else {"name": "unknown", "arguments": call}
        arguments = asked.get("arguments", {})
        text = arguments if isinstance(arguments, str) else json.dumps(
            arguments, ensure_ascii=False
        )  # fmt: skip
        function = {"name": str(asked.get("name", "unknown")), "arguments": text}
        found.append({"type": "function", "function": function})
    return found


def _parsed(value: Any) -> Any:
    """A cell that holds JSON text, as a CSV's has to, as what it says."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _openai(values: Values) -> Values:
    return {**values, "messages": turns_of(values.get("messages"))}


def _traces(values: Values) -> Values:
    output = values.pop("output", None)
    return {**_openai(values), "expected": text_of(output)}


def _sharegpt(values: Values) -> Values:
    turns = turns_of(values.pop("conversations", None), "conversations")
    system = values.get("system")
    if isinstance(system, str) and system.strip() and not (turns and turns[0]["role"] == "system"):
        turns.insert(0, {"role": "system", "content": values.pop("system")})
    return {"messages": turns, **values}


def _alpaca(values: Values) -> Values:
    found = {"instruction": text_of(values.pop("instruction", None))}
    found["input"] = text_of(values.pop("input", None)) or ""
    found["expected"] = text_of(values.pop("output", None))
    return {**found, **_free(values, found)}


def _completion(values: Values) -> Values:
    prompt = _said(values.pop("prompt", None), "prompt")
    found = {"prompt": prompt, "expected": _last(values.pop("completion", None), "completion")}
    return {**found, **_free(values, found)}


def _preference(values: Values) -> Values:
    prompt = values.pop("prompt", None)
    chosen = _said(values.pop("chosen", None), "chosen")
    rejected = _said(values.pop("rejected", None), "rejected")
    if isinstance(chosen, list) and isinstance(rejected, list):
        shared = 0
        for one, other in zip(chosen, rejected, strict=False):
            if one != other:
                break
            shared += 1
        if shared and is_blank(prompt):
            prompt = chosen[:shared]
        chosen, rejected = _single(chosen[shared:]), _single(rejected[shared:])
    found = {"prompt": _said(prompt, "prompt"), "chosen": chosen, "rejected": rejected}
    if found["prompt"] is None:
        del found["prompt"]
    return {**found, **values}


def _results(values: Values) -> Values:
    return values


def _free(values: Values, taken: Values) -> Values:
    """The other columns; one whose name is taken now gets another."""
    return {f"source_{name}" if name in taken else name: item for name, item in values.items()}


def _said(value: Any, column: str) -> Any:
    """A text, or messages as turns."""
    parsed = _parsed(value)
    is_messages = isinstance(parsed, list) and parsed and all(_is_message(m) for m in parsed)
    return turns_of(parsed, column) if is_messages else text_of(value)


def _last(value: Any, column: str) -> Any:
    said = _said(value, column)
    return _single(said) if isinstance(said, list) else said


def _single(turns: Turns) -> Any:
    """One answer as its text; more than that, or a call of a tool, as turns."""
    if len(turns) == 1 and set(turns[0]) == {"role", "content"}:
        return turns[0]["content"]
    return turns


def _is_message(item: Any) -> bool:
    return isinstance(item, Mapping) and ("role" in item or "from" in item)


def _has_turns(column: str) -> Callable[[Mapping[str, Any]], bool]:
    def test(row: Mapping[str, Any]) -> bool:
        value = _parsed(row.get(column))
        return isinstance(value, list) and bool(value) and all(_is_message(item) for item in value)

    return test


def _texts(*columns: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda row: all(isinstance(row.get(name), str | list) for name in columns)


_TESTS: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "openai": _has_turns("messages"),
    "traces": lambda row: _has_turns("messages")(row) and "role" not in row,
    "sharegpt": _has_turns("conversations"),
    "alpaca": _texts("instruction", "output"),
    "completion": _texts("prompt", "completion"),
    "preference": _texts("chosen", "rejected"),
    "results": lambda row: True,
}
_CONVERSIONS: dict[str, Callable[[Values], Values]] = {
    "openai": _openai,
    "traces": _traces,
    "sharegpt": _sharegpt,
    "alpaca": _alpaca,
    "completion": _completion,
    "preference": _preference,
    "results": _results,
}
