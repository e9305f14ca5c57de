"""Any value becomes JSON."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.tools.values import to_json


class Color(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Node:
    name: str
    color: Color = Color.RED
    children: list[Node] = field(default_factory=list)


class Model(pydantic.BaseModel):
    when: datetime.date
    data: bytes = b"ok"
    nan: float = float("nan")


LEAF = {"color": "red", "children": []}


class Nasty:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Node("a", children=[Node("b")]), {"name": "a", "color": "red", "children": [{**LEAF, "name": "b"}]}),
        (Model(when=datetime.date(2026, 1, 2)), {"when": "2026-01-02", "data": "ok", "nan": None}),
        (Level.HIGH, 3),
        (Point(1, 2), {"x": 1, "y": 2}),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", "a"}), ["a", "b"]),
        ((1, (2,)), [1, [2]]),
        (b"text", "text"),
        pytest.param(b"\xff\x00", "/wA=", id="base64"),
        (bytearray(b"x"), "x"),
        ([float("nan"), float("inf"), 1.5], [None, None, 1.5]),
        ({1: "a", None: "b", Color.RED: "d", (1, 2): "e"}, {"1": "a", "null": "b", "red": "d", "[1, 2]": "e"}),
        pytest.param({True: "a", 1.5: "b", b"c": "d"}, {"true": "a", "1.5": "b", "c": "d"}, id="odd-keys"),
        (datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC), "2026-01-02T03:04:00Z"),
        (datetime.timedelta(hours=1), "PT1H"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (decimal.Decimal("1.10"), "1.10"),
        (Path("a/b"), "a/b"),
        (ValueError("x"), "x"),
        (collections.deque([1]), [1]),
        (collections.OrderedDict(a=1).keys(), ["a"]),
        ((n for n in range(3)), [0, 1, 2]),
        (map(str, [1]), ["1"]),
        (int, "<class 'int'>"),
        (Nasty(), "<Nasty>"),
        ("\ud83d", "\ufffd"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_values(value: object, expected: object) -> None:
    assert to_json(value) == expected


def test_a_function_is_its_text() -> None:
    assert "function" in str(to_json(test_values))


def test_a_value_inside_itself_ends() -> None:
    loop: list[object] = [1]
    loop.append(loop)
    assert to_json(loop) == [1, "…"]
    shared = [1]
    assert to_json([shared, shared]) == [[1], [1]]


def test_a_deep_value_ends() -> None:
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    json.dumps(to_json(deep))


leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.dates(), st.decimals(), st.uuids(),
    st.complex_numbers(), st.timedeltas(), st.just(Color.RED), st.builds(Nasty), st.builds(object),
)  # fmt: skip


def collections_of(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    def tuples(items: list[object]) -> object:
        return tuple(items)

    keys = st.one_of(st.text(), st.integers(), st.none(), st.binary())
    make: list[Callable[[list[object]], object]] = [tuples, list, iter]
    return st.one_of(
        st.builds(lambda how, items: how(items), st.sampled_from(make), st.lists(inner, max_size=4)),
        st.dictionaries(keys, inner, max_size=4),
    )


@given(st.recursive(leaves, collections_of, max_leaves=12))
def test_everything_is_strict_json_in_utf8(value: object) -> None:
    plain = to_json(value)
    text = json.dumps(plain, allow_nan=False, ensure_ascii=False)
    assert json.loads(text.encode()) == plain
