"""Tools of both kinds behind a real bridge, and real programs that call them: in blocks of code and outside of them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agentd.bridge.gate import Gate
from agentd.bridge.server import BridgeServer
from agentd.core.actions import Action, ActionResult, Bindings, Kind
from agentd.core.events import Event, ToolFinished, ToolStarted
from agentd.core.protocols import Shell
from agentd.executors import LocalExecutor
from agentd.mcp.pool import ServerPool
from agentd.tools import as_tool
from tests.fakes.mcp_servers import by_name, faulty

BODY_LIMIT = 200_000
PATIENCE = 1.0


def add(a: int, b: int = 2) -> int:
    """Add two numbers."""
    return a + b


def fail() -> None:
    """Fail."""
    raise ValueError("it is broken, ünd how")


@dataclass
class Waiting:
    """A tool that waits until it is cancelled; tells how many calls of it run."""

    running: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self) -> None:
        """Wait."""
        self._count(1)
        try:
            await asyncio.sleep(600)
        finally:
            self._count(-1)

    async def until(self, running: int) -> None:
        async with asyncio.timeout(20):
            while self.running != running:
                self.changed.clear()
                await self.changed.wait()

    def _count(self, change: int) -> None:
        self.running += change
        self.changed.set()


@dataclass
class Workshop:
    """A gate with the caller's functions and an MCP server's tools, and what was told of their calls."""

    gate: Gate
    waiting: Waiting
    events: list[Event] = field(default_factory=list[Event])

    @property
    def calls(self) -> list[str]:
        return [event.tool for event in self.events if isinstance(event, ToolStarted)]

    @property
    def ends(self) -> list[ToolFinished]:
        return [event for event in self.events if isinstance(event, ToolFinished)]


@asynccontextmanager
async def workshop() -> AsyncGenerator[Workshop]:
    """Make the tools: `echo`, `big` and `no_luck` are those of an MCP server."""
    pool, waiting = ServerPool(start_timeout=40, call_timeout=40), Waiting()
    gate = Gate(asyncio.get_running_loop())
    try:
        remote = by_name(await pool.connect([faulty()]))
        own = {"add": as_tool(add), "fail": as_tool(fail), "wait": as_tool(waiting.wait)}
        gate.update({**own, "echo": remote["echo"], "big": remote["big"], "no_luck": remote["fail"]})
        yield Workshop(gate, waiting)
    finally:
        await pool.close()


@dataclass
class Session:
    """Runs blocks of code that find the bridge in their environment."""

    workshop: Workshop
    server: BridgeServer
    shell: Shell
    workspace: Path
    count: int = 0

    async def block(self, code: str) -> ActionResult:
        self.count += 1
        name = f"block{self.count}"
        door = self.workshop.gate.door(name, self.workshop.events.append)
        token = self.server.grant(door)
        env = {
            "AGENTD_BRIDGE_URL": self.server.url,
            "AGENTD_BRIDGE_SOCKET": self.server.socket_path,
            "AGENTD_BRIDGE_TOKEN": token,
        }
        action = Action(name, Kind.BASH, code, timeout=40, env=env)
        try:
            return await self.shell.run(action, Bindings(), door, lambda _: None)
        finally:
            self.server.revoke(token)
            door.close()

    async def out(self, code: str) -> str:
        """Return what a block printed, which must have succeeded."""
        result = await self.block(code)
        assert (result.exit_code, result.reason) == (0, ""), result
        return result.output

    async def json(self, code: str) -> object:
        return json.loads(await self.out(code))


@asynccontextmanager
async def session(made: Workshop, workspace: Path) -> AsyncGenerator[Session]:
    executor, server = LocalExecutor(workspace), BridgeServer(body_limit=BODY_LIMIT, patience=PATIENCE)
    await server.start()
    try:
        yield Session(made, server, await executor.open("s"), workspace)
    finally:
        await executor.aclose()
        await server.close()


async def run(*command: str, env: Mapping[str, str] | None = None) -> str:
    """Return what a program outside of any block prints."""
    need(command[0])
    process = await asyncio.create_subprocess_exec(
        *command,
        env={"PATH": os.environ["PATH"], **(env or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, errors.decode()) == (0, "")
    return output.decode()


def need(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is missing: run `make system`")
