"""`@tool` makes a function a tool and leaves it a function."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Callable, Iterator

import pytest

from agentd.core.errors import OptionError
from agentd.core.protocols import BlockingTool, Tool
from agentd.core.tools import ToolSpec
from agentd.tools import BlockingLocalTool, LocalTool, as_tool, decorator, registered, tool


@pytest.fixture(autouse=True)
def empty_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(decorator, "_registered", {})
    yield


def define(source: str, module: str = "cell") -> types.ModuleType:
    """Run `source` as the top level of a module."""
    space = types.ModuleType(module)
    space.__dict__["tool"] = tool
    exec(compile(source, module, "exec"), space.__dict__)
    return space


def names() -> list[str]:
    return [each.spec.name for each in registered()]


def test_the_function_stays_a_function() -> None:
    def double(n: int) -> int:
        """Twice."""
        return 2 * n

    assert tool(double) is double
    assert double(21) == 42
    made = as_tool(double)
    assert made.spec == ToolSpec("double", "Twice.", made.spec.input_schema, {"type": "integer"})
    assert as_tool(double) is made


def test_name_and_description_can_be_given() -> None:
    @tool(name="twice", description="Doubles.")
    def double(n: int) -> int:
        """Not this."""
        return 2 * n

    spec = as_tool(double).spec
    assert (spec.name, spec.description) == ("twice", "Doubles.")
    assert double(2) == 4


def test_the_top_level_of_a_module_is_registered_in_order() -> None:
    nested = "class K:\n @tool\n def method(self): ...\ndef f():\n @tool\n def g(): ...\nf()"
    define(f"@tool\ndef b(): ...\n@tool\ndef a(): ...\n{nested}")
    assert names() == ["b", "a"]


def test_defining_it_again_replaces_it() -> None:
    define("@tool\ndef f():\n 'old'")
    define("@tool\ndef g(): ...")
    define("@tool(name='f2')\ndef f():\n 'new'")
    assert names() == ["g", "f2"]
    assert registered()[1].spec.description == "new"


def test_of_two_functions_with_one_name_the_later_counts() -> None:
    define("@tool\ndef f():\n 'first'", "one")
    define("@tool\ndef f():\n 'second'", "two")
    assert [each.spec.description for each in registered()] == ["second"]


def test_methods_are_bound() -> None:
    class Counter:
        def __init__(self) -> None:
            self.count = 0

        @tool(name="add_up", description="Adds.")
        def add(self, n: int) -> int:
            self.count += n
            return self.count

        @classmethod
        @tool
        def kind(cls) -> str:
            return cls.__name__

    counter = Counter()
    made = as_tool(counter.add)
    assert isinstance(made, BlockingTool)
    assert (made.spec.name, made.spec.description) == ("add_up", "Adds.")
    assert list(made.spec.input_schema["properties"] or {}) == ["n"]  # pyright: ignore[reportArgumentType]
    assert made.call_blocking({"n": 3}).value == 3
    assert counter.count == 3
    assert as_tool(Counter.kind).spec.name == "kind"


def test_what_is_a_tool_stays_it() -> None:
    class Own:
        spec = ToolSpec("own")

        async def call(self, arguments: object) -> object: ...

    own = Own()
    assert as_tool(own) is own  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("thing", [3, "name", None])
def test_what_is_none_is_refused(thing: Tool) -> None:
    with pytest.raises(OptionError, match="neither"):
        as_tool(thing)


def test_builtins_can_be_tools_but_not_decorated() -> None:
    assert as_tool(abs).spec.name == "abs"
    with pytest.raises(OptionError, match="tools="):
        tool(abs)
    with pytest.raises(OptionError, match="takes a function"):
        tool("name")  # pyright: ignore[reportArgumentType, reportCallIssue]


def test_kinds() -> None:
    async def later() -> None: ...

    class Later:
        async def __call__(self) -> None: ...

    kinds: list[tuple[Callable[..., object], type]] = [
        (later, LocalTool),
        (Later(), LocalTool),
        (test_kinds, BlockingLocalTool),
    ]
    for function, kind in kinds:
        assert type(as_tool(function)) is kind
    assert not isinstance(as_tool(later), BlockingTool)
    assert as_tool(Later()).spec.name == "Later"


def test_decorating_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom agentd.tools import tool\n@tool\ndef f(a: int) -> int: 'x'\n"
        "print(sorted({'pydantic', 'asyncio', 'docstring_parser', 'logging'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=sys.path[0] or None
    )
    assert done.stdout.strip() == "[]"
