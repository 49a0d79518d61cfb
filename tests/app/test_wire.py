"""Values between the command line and the app arrive as they were sent."""

from __future__ import annotations

import json
import math
from datetime import date, datetime
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire import decode, encode
from core.generation import Generation
from core.models.spec import WorkerSpec

PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.dates()
    | st.datetimes()
)
KEYS = st.text() | st.integers()
VALUES = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(KEYS, inner)
        | st.frozensets(st.text()).map(set)
    ),
    max_leaves=20,
)


def over(value: Any) -> Any:
    return decode(json.loads(json.dumps(encode(value), allow_nan=False)))


@given(VALUES)
def test_every_value_arrives_equal_and_of_its_type(value: Any) -> None:
    arrived = over(value)
    assert arrived == value
    assert type(arrived) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        Generation(max_tokens=3, stop=("a", "b"), seed=1),
        WorkerSpec(
            model_id="m", model_name="m", engine="llama.cpp", quantization="gguf", why="quick"
        ),
        [{"at": datetime(2026, 1, 2, 3, 4, 5, 6), "on": date(2026, 1, 2)}],
        {"$": "not a tag", "v": 1},
    ],
)
def test_records_and_times_are_rebuilt(value: Any) -> None:
    assert over(value) == value


def test_a_reason_that_does_not_count_in_equality_arrives_too() -> None:
    spec = WorkerSpec(model_id="m", model_name="m", engine="scripted", quantization="", why="so")
    assert over(spec).why == "so"


def test_numbers_that_json_lacks_arrive() -> None:
    assert over([math.inf, -math.inf]) == [math.inf, -math.inf]
    assert math.isnan(over(math.nan))


def test_a_frame_arrives_as_a_frame() -> None:
    frame = pd.DataFrame({"at": [datetime(2026, 1, 1)], "n": [3], "text": ["a"], "none": [None]})
    arrived = over(frame)
    assert arrived.to_dict("records") == frame.to_dict("records")


def test_an_unknown_tag_is_refused() -> None:
    with pytest.raises(ValueError, match=r"os\.system"):
        decode({"$": "os.system", "v": "ls"})


def test_a_value_that_cannot_cross_is_refused() -> None:
    with pytest.raises(TypeError, match="object"):
        encode({"a": object()})


def test_a_class_that_only_has_a_known_name_does_not_cross() -> None:
    from dataclasses import dataclass

    @dataclass
    class Generation:
        max_tokens: int = 1

    with pytest.raises(TypeError):
        encode(Generation())
