"""The tools of a patched client: connected, named, written down for the code, and opened block by block."""

from __future__ import annotations

import asyncio
import operator
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from agentd.bridge.gate import BlockDoor, Gate
from agentd.bridge.server import BridgeServer
from agentd.core.actions import Bindings
from agentd.core.background import background_loop
from agentd.core.events import Event
from agentd.core.ids import new_id
from agentd.core.protocols import Tool
from agentd.core.tools import JSON, ToolSpec
from agentd.mcp.handlers import MCPHandlers
from agentd.mcp.pool import ServerPool
from agentd.patch.options import CallOptions
from agentd.patch.toolkits import OfferedTools, Toolkits
from agentd.skills import folders
from agentd.skills.catalogue import Catalogue
from agentd.skills.generate import bindings
from agentd.skills.install import install
from agentd.skills.prompt import guidance
from agentd.tools import as_tool, registered

_FILES = (".agentd", "files")
MAX_TOOLSETS = 15
MAX_FUNCTIONS = 1000
CALL_SECONDS = 60.0
Convention = Literal["fences", "shell", "tools"]
Save = Callable[[str, bytes], str]


def _unsaved(suffix: str, content: bytes) -> str:
    raise OSError("there is no workspace")


class ActionDoor:
    """A block's way to the tools, over the worker's pipes and over HTTP; `env` tells other programs the way."""

    def __init__(self, door: BlockDoor, bridge: BridgeServer | None, skills: str) -> None:
        self._door = door
        self._bridge = bridge
        self._token = bridge.grant(door) if bridge is not None else ""
        self.call = door.call
        self.env: dict[str, str] = {}
        if bridge is not None:
            self.env = {
                "AGENTD_BRIDGE_URL": bridge.url,
                "AGENTD_BRIDGE_SOCKET": str(bridge.socket_path),
                "AGENTD_BRIDGE_TOKEN": self._token,
                "AGENTD_SKILLS_DIR": skills,
                "PYTHONPATH": skills,
            }

    def close(self) -> None:
        """End the calls that are pending and refuse all later ones."""
        if self._bridge is not None:
            self._bridge.revoke(self._token)
        self._door.close()


@dataclass(frozen=True)
class Toolset:
    """The tools of one call: what the model is told of them, what its code finds, and where its calls go."""

    guidance: str
    bindings: Bindings
    gate: Gate
    bridge: BridgeServer | None
    skills: str = ""
    save: Save = _unsaved
    specs: Mapping[str, ToolSpec] = field(default_factory=dict[str, ToolSpec])
    toolkits: Toolkits = field(default_factory=lambda: Toolkits(shell=False))

    def toolkit(self, flavour: str, body: Mapping[str, JSON]) -> OfferedTools:
        """Return what the model may call as JSON, in the form of its provider, beside the caller's own functions."""
        return self.toolkits.make(self.specs, flavour, body)

    def open_door(self, block: str, emit: Callable[[Event], None]) -> ActionDoor:
        """Return the door for one block, to be closed when the block has ended."""
        return ActionDoor(self.gate.door(block, emit), self.bridge, self.skills)


@dataclass(frozen=True)
class _Made:
    """A toolset and what it was made of."""

    local: list[Tool]
    remote: list[ToolSpec]
    keys: Mapping[tuple[str, str], str]
    toolset: Toolset


class Toolbox:
    """Makes the toolsets of a client's calls. All but `ready` runs on the background loop."""

    def __init__(
        self,
        convention: Convention,
        workspace: Path,
        tools: Sequence[object] | None,
        servers: Sequence[object],
        timeout: float | None = None,
        handlers: MCPHandlers | None = None,
    ) -> None:
        self.convention: Convention = convention
        self._workspace = workspace
        self._timeout = timeout
        self._functions: dict[int, tuple[object, Tool]] = {}
        self._own = None if tools is None else self._as_tools(tools)
        self._servers = list(servers)
        self._catalogue = Catalogue.of([])
        self._made: list[_Made] = []
        self._pool = ServerPool(call_timeout=CALL_SECONDS if timeout is None else timeout, handlers=handlers)
        self._toolkits = Toolkits(shell=convention == "shell")
        self._bridge: BridgeServer | None = None
        self._lock: asyncio.Lock | None = None

    def ready(self, call: CallOptions) -> Toolset | None:
        """Return the toolset of a call if nothing need be waited for."""
        if call.bare:
            return Toolset("", Bindings(), Gate(background_loop()), None)
        if self._servers or call.mcp_servers:
            return None
        known = self._known(self._local(call), [])
        return known.toolset if known else None

    async def gather(self, call: CallOptions, home: asyncio.AbstractEventLoop | None) -> Toolset:
        """Connect the call's servers and return its toolset; `home` is the loop of an asynchronous caller."""
        servers = [*self._servers, *(call.mcp_servers or ())]
        local = self._local(call)
        remote = await self._pool.connect(servers, save=self._save, home_loop=home) if servers else []
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            known = self._known(local, [tool.spec for tool in remote])
            if known is None:
                toolset = await self._toolset([*local, *remote])
                known = _Made(local, [tool.spec for tool in remote], self._keys(), toolset)
                self._made = [*self._made[-MAX_TOOLSETS:], known]
            else:
                # A server that was started anew has other tools of the same description.
                known.toolset.gate.update(_by_key(known.keys, [*local, *remote]))
            return known.toolset

    async def close(self) -> None:
        """Close the servers and the bridge."""
        await self._pool.close()
        if self._bridge is not None:
            await self._bridge.close()

    def _local(self, call: CallOptions) -> list[Tool]:
        own = self._own if self._own is not None else registered()
        return [*own, *self._as_tools(call.tools or ())]

    def _known(self, local: Sequence[Tool], remote: Sequence[ToolSpec]) -> _Made | None:
        """Return what was made of the same functions and of servers that say the same."""
        for made in self._made:
            same = len(made.local) == len(local) and all(map(operator.is_, made.local, local))
            if same and made.remote == remote:
                return made
        return None

    def _as_tools(self, things: Sequence[object]) -> list[Tool]:
        """Return the tools of functions; of one function always the same one."""
        tools: list[Tool] = []
        for thing in things:
            known = self._functions.get(id(thing))
            if known is None:
                if len(self._functions) > MAX_FUNCTIONS:
                    self._functions.clear()
                known = self._functions[id(thing)] = thing, as_tool(cast("Tool", thing))
            tools.append(known[1])
        return tools

    async def _toolset(self, tools: Sequence[Tool]) -> Toolset:
        gate = Gate(background_loop(), self._timeout)
        self._catalogue = self._catalogue.updated([tool.spec for tool in tools])
        gate.update(_by_key(self._keys(), tools))
        if self.convention == "tools":
            return Toolset("", Bindings(), gate, None, "", self._save, gate.specs(), self._toolkits)
        told = guidance(self._catalogue, fenced=self.convention == "fences")
        if not tools:
            return Toolset(told, Bindings(), gate, None, "", self._save, toolkits=self._toolkits)
        await asyncio.to_thread(install, self._catalogue, self._workspace)
        if self._bridge is None:
            self._bridge = BridgeServer()
            await self._bridge.start()
        bound = bindings(self._catalogue, self._workspace)
        return Toolset(told, bound, gate, self._bridge, bound.python_dirs[0], self._save, toolkits=self._toolkits)

    def _keys(self) -> Mapping[tuple[str, str], str]:
        return {(entry.spec.server, entry.spec.name): entry.key for entry in self._catalogue.entries}

    def _save(self, suffix: str, content: bytes) -> str:
        """Store an image or another binary result in the workspace; return its path there."""
        name = new_id("file") + suffix
        root = os.open(self._workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with folders.inside(root, _FILES, make=True) as folder:
                assert folder is not None
                folders.replace(folder, name, content)
        finally:
            os.close(root)
        return "/".join((*_FILES, name))


def _by_key(keys: Mapping[tuple[str, str], str], tools: Sequence[Tool]) -> Mapping[str, Tool]:
    """Return the tools by the keys of the catalogue; of two with one name the first counts, as there."""
    chosen: dict[str, Tool] = {}
    for tool in tools:
        chosen.setdefault(keys[tool.spec.server, tool.spec.name], tool)
    return chosen
