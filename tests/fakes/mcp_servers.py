"""Where the MCP servers are that tests start: real ones from npm and PyPI, and our faulty one."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from mcp import StdioServerParameters

from agentd.core.protocols import Tool
from agentd.core.tools import JSON

ROOT = Path(__file__).parents[2]
NPM = ROOT / "tools" / "node_modules" / ".bin"
FAULTY = str(Path(__file__).with_name("mcp_faulty.py"))
PUSHY = str(Path(__file__).with_name("mcp_pushy.py"))
MODERN = str(Path(__file__).with_name("mcp_modern.py"))


def faulty(*options: str, env: dict[str, str] | None = None) -> StdioServerParameters:
    """Return our server with the faults that its options name."""
    return StdioServerParameters(command=sys.executable, args=[FAULTY, *options], env=env)


def npm_server(name: str, *args: str) -> StdioServerParameters:
    """Return a server of `tools/package.json`; the test is skipped when that has not been installed."""
    if not (NPM / name).exists():
        pytest.skip(f"{name} is missing: run `npm ci` in tools/, or `make test`, which does")
    return StdioServerParameters(command=str(NPM / name), args=list(args))


def python_server(name: str, *args: str) -> StdioServerParameters:
    """Return a server that is installed beside the interpreter, as the development dependencies are."""
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        pytest.skip(f"{name} is missing: install the development dependencies, or run `make test`, which does")
    return StdioServerParameters(command=str(path), args=list(args))


def by_name(tools: Sequence[Tool]) -> dict[str, Tool]:
    """Return the tools by their own names."""
    return {tool.spec.name: tool for tool in tools}


async def value(tools: Sequence[Tool], name: str, arguments: Mapping[str, JSON] | None = None) -> JSON:
    """Call a tool that must succeed."""
    result = await by_name(tools)[name].call(dict(arguments or {}))
    assert result.ok, result.value
    return result.value


async def failure(tools: Sequence[Tool], name: str, arguments: Mapping[str, JSON] | None = None) -> str:
    """Call a tool that must fail."""
    result = await by_name(tools)[name].call(dict(arguments or {}))
    assert not result.ok, result.value
    return str(result.value)


def alive(pid: int) -> bool:
    """Tell whether any thread of the process runs; until the last has ended, its pipes are open."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return False
    return any(_runs(thread) for thread in threads)


def _runs(thread: Path) -> bool:
    try:
        return (thread / "stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def pushy(*options: str) -> StdioServerParameters:
    """Return our server that asks, tells and pushes."""
    return StdioServerParameters(command=sys.executable, args=[PUSHY, *options])


def modern() -> StdioServerParameters:
    """Return a server of the SDK that offers everything."""
    return StdioServerParameters(command=sys.executable, args=[MODERN])
