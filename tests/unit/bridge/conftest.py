from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from agentd.bridge.gate import Gate
from agentd.bridge.server import BridgeServer
from agentd.core.events import Event
from tests.unit.bridge.driver import Adder, Bridge, Broken, Sleeper


@pytest.fixture
async def bridge() -> AsyncIterator[Bridge]:
    server = BridgeServer(body_limit=100_000, patience=2)
    await server.start()
    gate = Gate(asyncio.get_running_loop())
    sleeper = Sleeper()
    gate.update({"add": Adder(), "sleep": sleeper, "broken": Broken()})
    events: list[Event] = []
    door = gate.door("block", events.append)
    yield Bridge(server, gate, door, server.grant(door), sleeper, events)
    door.close()
    await server.close()
