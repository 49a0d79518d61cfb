"""Conversations are recognised, however they are written, and come as columns of Lathe."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.datasets.formats.chat import CHAT_FORMATS, convert, detect_chat, turns_of
from core.datasets.readers import open_source
from core.errors import Invalid
from core.evals.export import write
from core.monitoring.traces import Trace
from tests.datasets.making import faults, jsonl, values

HI = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
CALL = {"type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
EXAMPLES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "openai": (
        {"messages": [
            {"role": "developer", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": "1+"}, {"type": "text",
                                          "text": "1"}]},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", **CALL}]},
            {"role": "tool", "tool_call_id": "c1", "content": 2},
            {"role": "assistant", "content": "2", "name": None, "refusal": None},
        ], "tools": [{"type": "function"}]},
        {"messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "1+1"},
            {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", **CALL}]},
            {"role": "tool", "content": "2", "tool_call_id": "c1"},
            {"role": "assistant", "content": "2"},
        ], "tools": [{"type": "function"}]},
    ),
    "sharegpt": (
        {"id": "x", "system": "Be kind.", "conversations": [
            {"from": "human", "value": "Hi"},
            {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 1}}'},
            {"from": "observation", "value": "1"}, {"from": "gpt", "value": "Hello"}]},
        {"id": "x", "messages": [
            {"role": "system", "content": "Be kind."}, HI[0],
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "content": "1"}, HI[1]]},
    ),
    "alpaca": (
        {"instruction": "Add", "input": "", "output": "2", "text": "Below is ..."},
        {"instruction": "Add", "input": "", "expected": "2", "text": "Below is ..."},
    ),
    "completion": (
        {"prompt": HI[:1], "completion": HI[1:], "expected": "kept"},
        {"prompt": HI[:1], "expected": "Hello", "source_expected": "kept"},
    ),
    "preference": (
        {"chosen": HI, "rejected": [HI[0], {"role": "assistant", "content": "Go"}], "score": 3},
        {"prompt": HI[:1], "chosen": "Hello", "rejected": "Go", "score": 3},
    ),
    "traces": (
        {"trace_id": "t", "messages": HI[:1], "output": "Hello"},
        {"trace_id": "t", "messages": HI[:1], "expected": "Hello"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_chat_format_is_recognised_and_converted(name: str) -> None:
    row, wanted = EXAMPLES[name]
    found = detect_chat(list(row), [row])
    assert found is CHAT_FORMATS[name]
    assert convert(found, row) == wanted
    assert set(found.needs) <= set(row)
    source = open_source("a.jsonl", jsonl(row, row), options={"chat": name})
    assert values(source) == [wanted, wanted]
    assert source.details == {"chat": name}


def test_messages_in_the_cells_of_a_csv_are_read_too() -> None:
    cell = json.dumps(HI).replace('"', '""')
    data = f'id,messages\n1,"{cell}"\n'.encode()
    assert (
        detect_chat(*(lambda s: (s.columns(), values(s)))(open_source("a.csv", data)))
        is (CHAT_FORMATS["openai"])
    )
    source = open_source("a.csv", data, options={"chat": "openai"})
    assert values(source) == [{"id": "1", "messages": HI}]


def test_plain_preferences_and_completions_stay_text() -> None:
    row = {"prompt": "Hi", "chosen": "Hello", "rejected": "[no"}
    assert convert(CHAT_FORMATS["preference"], row) == row
    found = convert(CHAT_FORMATS["completion"], {"prompt": "Hi", "completion": "Hello"})
    assert found == {"prompt": "Hi", "expected": "Hello"}
    calling = [{"role": "assistant", "content": "", "tool_calls": [CALL]}]
    assert convert(CHAT_FORMATS["completion"], {"prompt": "Hi", "completion": calling}) == {
        "prompt": "Hi", "expected": calling,
    }  # fmt: skip


def test_what_only_looks_like_a_chat_is_none() -> None:
    assert detect_chat(["question", "answer"], [{"question": "a", "answer": "b"}]) is None
    assert detect_chat(["messages"], [{"messages": "12 new messages"}]) is None
    assert detect_chat(["messages"], []) is None
    assert detect_chat(["conversations"], [{"conversations": [1, 2]}]) is None
    rows = [{"messages": HI}] * 3 + [{"messages": "?"}] * 2
    assert detect_chat(["messages"], rows) is None


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ("text", "'messages' is not a list of messages"),
        ([{"role": "user", "content": "a"}, "b"], "message 2 is not an object"),
        ([{"content": "a"}], "message 1 has no role"),
        ([{"role": "alien", "content": "a"}], "message 1 has the role 'alien'"),
    ],
)
def test_a_row_that_is_no_conversation_is_a_fault(messages: Any, words: str) -> None:
    data = jsonl({"messages": HI}, {"messages": messages})
    found = faults(open_source("a.jsonl", data, options={"chat": "openai"}))
    assert [row for row, _ in found] == [1]
    assert words in found[0][1]


def test_a_trace_as_lathe_writes_it_comes_back_as_a_conversation() -> None:
    trace = Trace(
        started_at=datetime(2026, 1, 2), source="playground", messages=HI[:1], output="Hello"
    )
    texts = dict(trace.rows())["trace_texts"]
    assert detect_chat(list(texts), [texts]) is CHAT_FORMATS["traces"]
    found = values(open_source("traces.jsonl", jsonl(texts), options={"chat": "traces"}))
    assert found == [{"trace_id": trace.id, "messages": HI[:1], "expected": "Hello"}]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_results_as_lathe_exports_them_come_back_as_they_were(kind: str) -> None:
    row = {"run_id": "r", "variant": "v", "input": "=1+1", "expected": "-2", "output": "'=2",
           "row_index": 0, "scores": {}}  # fmt: skip
    data = write(iter([row]), [], kind)
    plain = open_source(f"run.{kind}", data)
    assert detect_chat(plain.columns() or list(row), values(plain)) is CHAT_FORMATS["results"]
    (found,) = values(open_source(f"run.{kind}", data, options={"chat": "results"}))
    assert (found["input"], found["expected"], found["output"]) == ("=1+1", "-2", "'=2")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "from", "value", "content", "name", "text", "tool_calls", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from(sorted(CHAT_FORMATS)), st.data())
def test_any_row_is_converted_or_refused_in_words(name: str, data: st.DataObject) -> None:
    chat = CHAT_FORMATS[name]
    columns = st.sampled_from([*chat.needs, "system", "prompt", "input", "id"])
    row = data.draw(st.dictionaries(columns, JSON))
    detect_chat(list(row), [row])
    before = json.dumps(row)
    try:
        found = convert(chat, row)
    except ValueError as error:
        said = str(error)
    else:
        said = json.dumps(found)
    assert said
    assert json.dumps(row) == before


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant", "system", "tool"]), st.text())))
def test_turns_are_left_as_they_are(turns: list[tuple[str, str]]) -> None:
    written = [{"role": role, "content": content} for role, content in turns]
    assert turns_of(written) == written
    assert turns_of(json.dumps(written)) == written


def test_a_format_that_is_not_there_is_refused() -> None:
    with pytest.raises(Invalid, match="no chat format 'teletype'"):
        open_source("a.jsonl", jsonl({"q": 1}), options={"chat": "teletype"})
