"""Annotations become a JSON Schema, and JSON arguments become the annotated types."""

from __future__ import annotations

import datetime
import decimal
import enum
import functools
import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Optional, Union

import jsonschema
import pydantic
import pytest
from typing_extensions import TypedDict

from agentd.core.errors import OptionError
from agentd.core.tools import JSON
from agentd.tools.schema import ArgumentsError, Interface

if TYPE_CHECKING:
    from nowhere import Unknown  # pyright: ignore[reportMissingImports]


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Point:
    x: int
    color: Color = Color.RED
    next: Point | None = None


class Options(pydantic.BaseModel):
    limit: int = pydantic.Field(ge=1)
    tags: list[str] = []


class Movie(TypedDict):
    title: str


class Pair(NamedTuple):
    left: int
    right: str = "r"


def face(function: Callable[..., object]) -> Interface:
    return Interface(function, "f", {})


def bound(function: Callable[..., object], **arguments: JSON) -> dict[str, object]:
    interface = face(function)
    jsonschema.Draft202012Validator.check_schema(interface.input_schema)
    result = interface.bind(arguments)
    assert result.positional == ()
    return result.named


def refusal(function: Callable[..., object], arguments: dict[str, JSON]) -> str:
    with pytest.raises(ArgumentsError) as caught:
        face(function).bind(arguments)
    return str(caught.value)


@pytest.mark.parametrize(
    ("annotation", "given", "expected"),
    [
        (int, "5", 5),
        (int, 5.0, 5),
        (float, 3, 3.0),
        (str, 7, "7"),
        (bool, "true", True),
        (list[int], ["1", 2], [1, 2]),
        (dict[str, float], {"a": 1}, {"a": 1.0}),
        (dict[int, str], {"1": "a"}, {1: "a"}),
        (tuple[int, str], [1, "a"], (1, "a")),
        (tuple[int, ...], [1, 2], (1, 2)),
        (set[int], [1, 1], {1}),
        (frozenset[str], ["a"], frozenset("a")),
        (Literal["a", 2], 2, 2),
        (Optional[int], None, None),  # noqa: UP045  # as users write it
        (Union[int, str], "5", "5"),  # noqa: UP007
        (int | list[int], [1], [1]),
        (Color, "blue", Color.BLUE),
        (Point, {"x": "1", "color": "blue", "next": {"x": 2}}, Point(1, Color.BLUE, Point(2))),
        (list[Point], [{"x": 1}], [Point(1)]),
        (Options, {"limit": 2}, Options(limit=2)),
        (Movie, {"title": "M"}, {"title": "M"}),
        (Pair, {"left": 1}, Pair(1)),
        (Pair, [1, "x"], Pair(1, "x")),
        (datetime.datetime, "2026-01-02T03:04:05", datetime.datetime(2026, 1, 2, 3, 4, 5)),
        (datetime.date, "2026-01-02", datetime.date(2026, 1, 2)),
        (datetime.timedelta, "PT1H", datetime.timedelta(hours=1)),
        (uuid.UUID, str(uuid.UUID(int=1)), uuid.UUID(int=1)),
        (Path, "a/b", Path("a/b")),
        (decimal.Decimal, "1.10", decimal.Decimal("1.10")),
        (bytes, "é", "é".encode()),
        (Any, {"a": [1]}, {"a": [1]}),
        (object, None, None),
    ],
    ids=str,
)  # fmt: skip
def test_conversion(annotation: object, given: JSON, expected: object) -> None:
    def function(value): ...

    function.__annotations__["value"] = annotation
    value = bound(function, value=given)["value"]
    assert value == expected
    assert type(value) is type(expected)


def test_string_annotations_and_descriptions() -> None:
    def function(
        point: Point,
        level: Annotated[int, "How high."] = 3,
        *,
        mode: Annotated[Literal["a", "b"], pydantic.Field(description="How.")] = "a",
        where: Path = Path("x"),
    ) -> list[Point]:
        """Go.

        Args:
            point: Where to.
            level: not this
        """
        return []

    interface = face(function)
    schema = interface.input_schema
    properties = schema["properties"]
    assert isinstance(properties, dict)
    assert list(properties) == ["point", "level", "mode", "where"]
    assert properties["point"] == {"$ref": "#/$defs/Point", "description": "Where to."}
    assert properties["level"] == {"type": "integer", "description": "How high.", "default": 3}
    assert properties["mode"] == {"enum": ["a", "b"], "type": "string", "description": "How.", "default": "a"}
    assert properties["where"] == {"format": "path", "type": "string"}
    assert schema["required"] == ["point"]
    assert schema["additionalProperties"] is False
    assert interface.output_schema is not None
    assert interface.output_schema["type"] == "array"
    assert "$defs" in interface.output_schema
    assert interface.description == "Go."
    assert interface.signature == (
        "f(point: Point, level: int = 3, *, mode: Literal['a', 'b'] = 'a', where: Path = ...) -> list[Point]"
    )


def test_local_types_under_string_annotations() -> None:
    from agentd.tools import as_tool

    class Size(enum.Enum):
        BIG = "big"

    @dataclass
    class Box:
        size: Size

    def function(box: Box, sizes: list[Size]) -> Box:
        return box

    tool = as_tool(function)
    properties = tool.spec.input_schema["properties"]
    assert isinstance(properties, dict)
    assert properties["box"] == {"$ref": "#/$defs/Box"}
    bound_to = Interface(function, "f", {"Box": Box, "Size": Size}).bind({"box": {"size": "big"}, "sizes": ["big"]})
    assert bound_to.named == {"box": Box(Size.BIG), "sizes": [Size.BIG]}


def test_no_annotation_takes_anything() -> None:
    def function(a, b=None): ...

    assert bound(function, a={"x": 1}) == {"a": {"x": 1}}
    assert face(function).input_schema["properties"] == {"a": {}, "b": {"default": None}}
    assert face(function).output_schema is None


def test_a_default_is_the_functions_own() -> None:
    def function(a: int = "not an int", b: list[int] = []): ...  # pyright: ignore[reportArgumentType]  # noqa: B006

    assert bound(function) == {}


def test_a_type_that_json_cannot_give_takes_anything(caplog: pytest.LogCaptureFixture) -> None:
    class Opaque: ...

    def function(a: Opaque, b: Unknown, c: Callable[[], int], d: int): ...  # pyright: ignore[reportUnknownParameterType]

    assert bound(function, a=1, b="x", c=[], d="4") == {"a": 1, "b": "x", "c": [], "d": 4}
    assert "the type of 'b' cannot be used" in caplog.text
    assert "'d'" not in caplog.text


def test_star_arguments() -> None:
    def function(first: int, second: int = 2, /, third: int = 3, *rest: int, key: str = "k", **more: float):
        return first, second, third, rest, key, more

    interface = face(function)

    def call(**arguments: JSON) -> object:
        found = interface.bind(arguments)
        return function(*found.positional, **found.named)  # pyright: ignore[reportArgumentType]

    assert call(first=1) == (1, 2, 3, (), "k", {})
    assert call(first=1, rest=["7", 8], key="q", x="1.5") == (1, 2, 3, (7, 8), "q", {"x": 1.5})
    assert call(first=1, third=5) == (1, 2, 5, (), "k", {})
    assert call(first=1, third=5, rest=[]) == (1, 2, 5, (), "k", {})
    assert "argument 'x'" in refusal(function, {"first": 1, "x": "no"})
    assert interface.signature == (
        "f(first: int, second: int = 2, /, third: int = 3, *rest: int, key: str = 'k', **more: float)"
    )


def test_a_wrong_call_says_what_would_be_right() -> None:
    def add(a: int, b: int = 2) -> int:
        return a + b

    signature = "signature: f(a: int, b: int = 2) -> int"
    assert refusal(add, {"a": 1, "c": 2}) == f"f() has no argument 'c'; {signature}"
    assert refusal(add, {}) == f"f() is missing argument 'a'; {signature}"
    text = refusal(add, {"a": "x" * 500})
    assert text.startswith("f() argument 'a': input should be a valid integer")
    assert text.endswith(signature)
    assert len(text) < 300


def test_nested_problems_name_their_place() -> None:
    def function(points: list[Point]): ...

    assert "argument 'points.1.x'" in refusal(function, {"points": [{"x": 1}, {"x": "no"}]})


def test_names_of_parameters_that_pydantic_uses_itself() -> None:
    def function(schema: int, json: int, copy: int, model_config: int, _private: int, self: int): ...

    given: dict[str, JSON] = dict.fromkeys(("schema", "json", "copy", "model_config", "_private", "self"), 1)
    assert bound(function, **given) == given


def test_a_partials_arguments_are_settled_and_hidden() -> None:
    def function(a: int, token: str, b: int = 1): ...

    interface = face(functools.partial(function, token="secret"))
    assert "secret" not in str(interface.input_schema) + interface.signature
    assert interface.bind({"a": 1}).named == {"a": 1}


def test_methods_and_callable_objects() -> None:
    class Adder:
        def __init__(self, base: int) -> None:
            self.base = base

        def add(self, n: int) -> int:
            """Add to the base."""
            return self.base + n

        __call__ = add

    for function in (Adder(1).add, Adder(1)):
        assert face(function).bind({"n": "2"}).named == {"n": 2}
    assert face(Adder(1).add).description == "Add to the base."


def test_a_wrapped_function_keeps_its_signature() -> None:
    def twice(function: Callable[[int], int]) -> Callable[..., int]:
        @functools.wraps(function)
        def wrapper(*args: int, **kwargs: int) -> int:
            return 2 * function(*args, **kwargs)

        return wrapper

    @twice
    def inner(n: int) -> int:
        return n

    assert face(inner).bind({"n": "2"}).named == {"n": 2}


def test_builtins() -> None:
    assert face(math.gcd).bind({"integers": [4, 6]}).positional == (4, 6)
    with pytest.raises(OptionError, match="wrap it"):
        face(max)
