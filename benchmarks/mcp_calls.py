"""The cost of an MCP tool call over stdio, beside the SDK's own session on its own transport.

Claims: a call through a connected tool, one after the other and 200 at once, takes at most 1.15 of the time and of the
CPU of `mcp.ClientSession.call_tool` over `mcp.stdio_client`, in the same run and on the same server.

Measured are the wall clock and the CPU of this process; the server runs in a process of its own and does next to
nothing. Rounds of all peers alternate, and each figure is the median of its rounds. For reference stands the same call
through an `MCPServerStdio` of openai-agents, where that is installed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from mcp import ClientSession, StdioServerParameters, stdio_client

from agentd.mcp.client import MCPClient
from agentd.mcp.pool import ServerPool

SERVER = """
import json, sys
tool = {"name": "echo", "description": "Echo.", "inputSchema": {"type": "object"}}
for line in sys.stdin:
    asked = json.loads(line)
    method, number = asked.get("method"), asked.get("id")
    if number is None:
        continue
    if method == "initialize":
        info = {"name": "echo", "version": "1"}
        answer = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
    elif method == "tools/list":
        answer = {"tools": [tool]}
    elif method == "tools/call":
        answer = {"content": [{"type": "text", "text": asked["params"]["arguments"]["text"]}]}
    else:
        print(json.dumps({"jsonrpc": "2.0", "id": number, "error": {"code": -32601, "message": method}}), flush=True)
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": number, "result": answer}), flush=True)
"""
PARAMETERS = StdioServerParameters(command=sys.executable, args=["-c", SERVER])
ARGUMENTS: dict[str, Any] = {"text": "a short text"}
Call = Callable[[], Awaitable[object]]


@asynccontextmanager
async def raw() -> AsyncGenerator[Call]:
    async with stdio_client(PARAMETERS) as streams, ClientSession(*streams) as session:
        await session.initialize()
        await session.list_tools()
        yield lambda: session.call_tool("echo", ARGUMENTS)


@asynccontextmanager
async def our_tool() -> AsyncGenerator[Call]:
    pool = ServerPool()
    (tool,) = await pool.connect([PARAMETERS])
    yield lambda: tool.call(ARGUMENTS)
    await pool.close()


@asynccontextmanager
async def our_client() -> AsyncGenerator[Call]:
    async with MCPClient(PARAMETERS) as client:
        await client.list_tools()
        yield lambda: client.call_tool("echo", ARGUMENTS)


@asynccontextmanager
async def agents() -> AsyncGenerator[Call]:
    from agents.mcp import MCPServerStdio

    async with MCPServerStdio({"command": PARAMETERS.command, "args": PARAMETERS.args}) as server:
        await server.list_tools()
        yield lambda: server.call_tool("echo", ARGUMENTS)


async def one_by_one(call: Call, count: int) -> None:
    for _ in range(count):
        await call()


async def at_once(call: Call, count: int) -> None:
    await asyncio.gather(*(call() for _ in range(count)))


async def measured(run: Callable[[Call, int], Awaitable[None]], call: Call, count: int) -> tuple[float, float]:
    """Return wall clock and CPU of one call, in microseconds."""
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    await run(call, count)
    return (time.perf_counter() - wall) * 1e6 / count, (time.process_time() - cpu) * 1e6 / count


async def compare(rounds: int, sequential: int, concurrent: int) -> dict[str, dict[str, float]]:
    makers = {"raw": raw, "tool": our_tool, "client": our_client, "agents": agents}
    figures: dict[str, dict[str, list[float]]] = {}
    async with AsyncExitStack() as stack:
        calls: dict[str, Call] = {}
        for name, maker in makers.items():
            try:
                calls[name] = await stack.enter_async_context(maker())
            except ImportError:
                continue
        for name, call in calls.items():
            assert "a short text" in str(await call()), name
        for _ in range(rounds):
            for name, call in calls.items():
                into = figures.setdefault(name, {})
                for what, run, count in (("one", one_by_one, sequential), ("many", at_once, concurrent)):
                    wall, cpu = await measured(run, call, count)
                    into.setdefault(f"{what}_wall_us", []).append(wall)
                    into.setdefault(f"{what}_cpu_us", []).append(cpu)
    return {name: {key: statistics.median(values) for key, values in row.items()} for name, row in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sequential", type=int, default=200)
    parser.add_argument("--concurrent", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    table = asyncio.run(compare(options.rounds, options.sequential, options.concurrent))
    ratios = {f"{name}/raw": {key: row[key] / table["raw"][key] for key in row} for name, row in table.items()}
    if options.json:
        print(json.dumps({"microseconds": table, "ratios": ratios}, indent=2))
        return
    for name, row in table.items():
        parts = (
            f"{key.removesuffix('_us')} {value:6.0f} µs ({value / table['raw'][key]:.2f})" for key, value in row.items()
        )
        print(f"{name:7} " + "   ".join(parts))


if __name__ == "__main__":
    main()
