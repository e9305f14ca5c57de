"""Tools to make catalogues of, and their functions as code finds them."""

from __future__ import annotations

import json
import types
from collections.abc import Callable
from pathlib import Path

from agentd.core.tools import JSON, ToolSpec
from agentd.skills import Catalogue, generate

RECORDED = Path(__file__).parents[2] / "benchmarks" / "data" / "tools64.json"


def spec(name: str, server: str = "srv", required: tuple[str, ...] = (), **properties: JSON) -> ToolSpec:
    """Return a tool with these properties."""
    schema: dict[str, JSON] = {"type": "object", "properties": properties, "required": list(required)}
    return ToolSpec(name, f"Does {name}.", schema, None, server)


def recorded() -> list[ToolSpec]:
    """Return 64 tools of six real servers."""
    return [
        ToolSpec(
            tool["name"], tool.get("description", ""), tool["inputSchema"], tool.get("outputSchema"), server["server"]
        )
        for server in json.loads(RECORDED.read_text(encoding="utf-8"))
        for tool in server["tools"]
    ]


class Code:
    """The generated module, loaded as a worker loads it; `calls` are the calls that it made."""

    def __init__(self, catalogue: Catalogue, answer: Callable[[str, dict[str, JSON]], object] | None = None) -> None:
        self.calls: list[tuple[str, dict[str, JSON]]] = []
        self.source = generate(catalogue)["lib/tools.py"]
        self._answer = answer
        self._module = types.ModuleType("lib.tools")
        self.space = self._module.__dict__
        self.space["_call"] = self._call
        exec(compile(self.source, "<lib.tools>", "exec", dont_inherit=True), self.space)

    def _call(self, tool: str, arguments: dict[str, JSON]) -> object:
        json.dumps(arguments)  # as a worker does, before it sends anything
        self.calls.append((tool, arguments))
        return self._answer(tool, arguments) if self._answer else None

    def __getattr__(self, name: str) -> Callable[..., object]:
        return self.space[name]

    @property
    def public(self) -> list[str]:
        """The names that a star import gives, without the error."""
        return [name for name in self.space["__all__"] if name != "ToolError"]
