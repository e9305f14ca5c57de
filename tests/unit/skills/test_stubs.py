"""The generated module defines the functions, and each sends what it was given."""

from __future__ import annotations

import datetime
import inspect
import pydoc
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.tools import JSON, ToolSpec
from agentd.skills import Catalogue
from agentd.skills.parameters import parameters_of
from agentd.skills.signature import brief_signature
from tests.fakes.catalogues import Code, recorded, spec

STRING: JSON = {"type": "string"}
ISSUE = spec(
    "get-issue", required=("owner", "class"),
    page={"type": "integer", "description": "Which page.", "default": 1}, owner=STRING,
    **{"class": STRING, "max-results": {"type": ["integer", "null"]}},
)  # fmt: skip


def code_of(*specs: ToolSpec) -> Code:
    return Code(Catalogue.of(specs))


def sent(*args: object, **kwargs: object) -> dict[str, JSON]:
    code = code_of(ISSUE)
    code.get_issue(*args, **kwargs)
    ((key, arguments),) = code.calls
    assert key == "get-issue"
    return arguments


def test_required_ones_by_place_or_name_and_optional_ones_by_name() -> None:
    both = {"owner": "o", "class": "c"}
    assert sent("o", "c") == both
    assert sent(class_="c", owner="o") == both
    assert sent("o", class_="c", max_results=3) == both | {"max-results": 3}
    assert sent("o", "c", max_results=None, page=2) == both | {"max-results": None, "page": 2}


def test_original_keys_are_taken_too() -> None:
    assert sent("o", **{"class": "c", "max-results": 3}) == {"owner": "o", "class": "c", "max-results": 3}


def test_a_key_that_is_the_name_of_another_parameter() -> None:
    code = code_of(spec("f", "srv", ("class", "class_"), **{"class": STRING, "class_": STRING}))
    code.f(class_="a", class_2="b")
    code.f("a", "b")
    assert code.calls == [("f", {"class": "a", "class_": "b"})] * 2


@pytest.mark.parametrize(
    ("args", "kwargs", "said"),
    [
        ((), {}, "missing 2 required positional arguments: 'owner' and 'class_'"),
        (("o", "c", 1), {}, "takes 2 positional arguments but 3 were given"),
        (("o", "c"), {"pagee": 1}, "got an unexpected keyword argument 'pagee'"),
        (("o",), {"owner": "o"}, "got multiple values for argument 'owner'"),
        (("o", object()), {}, "an argument of type object is not JSON"),
    ],
    ids=["missing", "too-many", "unknown", "twice", "not-json"],
)
def test_a_wrong_call_says_what_would_be_right(args: tuple[object], kwargs: dict[str, object], said: str) -> None:
    code = code_of(ISSUE)
    error: type[Exception] = code.space["ToolError"]
    with pytest.raises(error) as caught:
        code.get_issue(*args, **kwargs)
    assert isinstance(caught.value, TypeError)
    assert said in str(caught.value)
    signature = "get_issue(owner: str, class_: str, *, page: int = ..., max_results: int | None = ...)"
    assert str(caught.value).endswith(f"signature: {signature}")
    assert code.calls == []


def test_help_prints_signature_and_documentation() -> None:
    shown = pydoc.render_doc(code_of(ISSUE).get_issue, renderer=pydoc._PlainTextDoc())  # pyright: ignore[reportAttributeAccessIssue]
    assert "get_issue(owner: str, class_: str, *, page: int = ..., max_results: int | None = ...)" in shown
    assert "    Does get-issue." in shown
    assert "    page: Which page. (default 1)" in shown


def test_help_shows_nested_shapes() -> None:
    edits: JSON = {
        "type": "array",
        "items": {"type": "object", "properties": {"old": STRING, "n": {"type": "integer"}}},
    }
    found = code_of(ToolSpec("edit", "", {"type": "object", "properties": {"edits": edits}}, edits, "s"))
    assert inspect.getdoc(found.edit) == "edits: [{old?, n?:int}]\n\nReturns [{old?, n?:int}]"
    assert str(inspect.signature(found.edit)) == "(*, edits: list[dict[str, Any]] = ...) -> list[dict[str, Any]]"


def test_local_functions_take_optional_ones_by_place_up_to_a_required_one() -> None:
    schema: dict[str, JSON] = {
        "type": "object",
        "properties": {"a": {}, "b": {}, "c": {}, "d": {}},
        "required": ["a", "c"],
    }
    code = code_of(ToolSpec("f", "", schema))
    assert str(inspect.signature(code.f)) == "(a: Any, b: Any = ..., *, c: Any, d: Any = ...)"
    code.f(1, 2, c=3)
    assert code.calls == [("f", {"a": 1, "b": 2, "c": 3})]


@pytest.mark.parametrize(
    ("schema", "is_open"),
    [
        ({}, True),
        ({"type": "object"}, True),
        ({"properties": {}}, False),
        ({"type": "object", "additionalProperties": False}, False),
        ({"properties": {"a": {}}, "additionalProperties": True}, True),
        ({"properties": {"a": {}}, "additionalProperties": {"type": "string"}}, True),
        ({"properties": {"a": {}}}, False),
        ({"required": ["a"]}, False),
    ],
    ids=str,
)
def test_further_keys(schema: dict[str, JSON], is_open: bool) -> None:
    code = code_of(ToolSpec("f", "", schema, None, "s"))
    given = {"a": 1} if "a" in str(schema) else {}
    if not is_open:
        with pytest.raises(TypeError):
            code.f(**given, other=2)
        return
    code.f(**given, other=2, more=3)
    assert code.calls == [("f", {**given, "other": 2, "more": 3})]


def test_arguments_become_json_by_their_content() -> None:
    @dataclass
    class Point:
        x: int
        where: Path

    code = code_of(spec("f", required=("v",), v={}))
    when = datetime.date(2026, 1, 2)
    for value in (Path("a"), {1, 2}, (1, Path("b")), b"t", when, Point(1, Path("p")), {3: Path("q")}):
        code.f(value)
    assert [call[1]["v"] for call in code.calls] == [
        "a", [1, 2], [1, "b"], "t", "2026-01-02", {"x": 1, "where": "p"}, {"3": "q"},
    ]  # fmt: skip
    with pytest.raises(TypeError, match="of type Decimal is not JSON; signature: f"):
        code.f(Decimal(1))


def test_an_error_of_the_tool_passes() -> None:
    def fail(tool: str, arguments: dict[str, JSON]) -> object:
        raise code.space["ToolError"]("no such file")

    code = Code(Catalogue.of([ISSUE]), fail)
    with pytest.raises(code.space["ToolError"], match="no such file"):
        code.get_issue("o", "c")
    assert len(code.calls) == 1


def test_an_error_that_was_put_in_is_used() -> None:
    class ToolError(Exception): ...

    space: dict[str, object] = {"__name__": "lib.tools", "ToolError": ToolError, "_call": print}
    exec(code_of(ISSUE).source, space)
    with pytest.raises(ToolError):
        space["get_issue"]()  # pyright: ignore[reportCallIssue]


def test_importing_it_imports_nothing(tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text(code_of(*recorded()).source)
    script = "import sys; before = set(sys.modules); import made; print(sorted(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-Sc", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "['__future__', 'made']"


def test_it_has_64_functions_of_real_servers() -> None:
    catalogue = Catalogue.of(recorded())
    code = Code(catalogue)
    assert code.public == [tool.name for tool in recorded()]
    for entry in catalogue.entries:
        given = {item.name: 1 for item in entry.parameters.items}
        code.space[entry.name](**given)
        assert code.calls[-1] == (entry.spec.name, {item.key: 1 for item in entry.parameters.items})


def test_short_signatures() -> None:
    entries = {entry.name: brief_signature(entry) for entry in Catalogue.of(recorded()).entries}
    assert entries["get_issue"] == "get_issue(owner, repo, issue_number:float)"
    assert entries["edit_file"] == "edit_file(path, edits:[{oldText, newText}], dryRun?:bool)"
    assert entries["list_allowed_directories"] == "list_allowed_directories()"


KEYS = st.one_of(
    st.sampled_from(["class", "class_", "self", "key", "more", "_unset", "_call", "a-b", "a_b", ""]),
    st.text(max_size=5),
)
TYPES = st.sampled_from(["string", "integer", "number", "boolean", "array", "object", "null", ["string", "null"], "?"])
PROPERTY: st.SearchStrategy[Any] = st.one_of(
    st.booleans(), st.fixed_dictionaries({"type": TYPES}, optional={"description": st.text(), "default": st.text()})
)


@st.composite
def tools(draw: st.DrawFn) -> tuple[ToolSpec, list[str]]:
    """Draw a tool, and the keys that a call of it gives."""
    properties = draw(st.dictionaries(KEYS, PROPERTY, max_size=6))
    required = draw(st.lists(st.sampled_from(list(properties)), unique=True)) if properties else []
    optional = [key for key in properties if key not in required]
    given = required + (draw(st.lists(st.sampled_from(optional), unique=True)) if optional else [])
    schema: dict[str, JSON] = {"type": "object", "properties": dict(properties), "required": list(required)}
    name, server = draw(st.text(max_size=8)), draw(st.sampled_from(["", "srv"]))
    return ToolSpec(name, draw(st.text(max_size=40)), schema, None, server), given


@given(tools())
def test_what_is_given_is_sent_under_the_original_keys(drawn: tuple[ToolSpec, list[str]]) -> None:
    tool, keys = drawn
    catalogue = Catalogue.of([tool])
    code = Code(catalogue)
    (entry,) = catalogue.entries
    assert code.public == [entry.name]
    values: dict[str, JSON] = {key: place for place, key in enumerate(keys)}
    names = {item.key: item.name for item in entry.parameters.items}
    code.space[entry.name](**{names[key]: value for key, value in values.items()})
    assert code.calls == [(entry.key, values)]
    by_place = [item for item in parameters_of(tool).items if item.positional and item.required]
    rest = {names[key]: value for key, value in values.items() if key not in {item.key for item in by_place}}
    code.space[entry.name](*(values[item.key] for item in by_place), **rest)
    assert code.calls[1] == (entry.key, values)
