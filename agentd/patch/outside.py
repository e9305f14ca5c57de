"""The tools of a patched client for programs that are no model's code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from agentd.bridge.gate import Gate
from agentd.bridge.open import OpenBridge
from agentd.core.background import background_loop
from agentd.core.errors import NotPatched
from agentd.core.events import Event
from agentd.patch.install import MARK, Patch, attributes
from agentd.patch.options import CallOptions


def open_bridge(
    client: object,
    *,
    mcp_servers: Sequence[object] | None = None,
    tools: Sequence[object] | None = None,
    on_event: Callable[[Event], object] | None = None,
) -> OpenBridge:
    """Let any program call the tools of a patched client over HTTP: `with open_bridge(client) as bridge: bridge.url`.

    `POST /call/{tool}` takes the arguments as a JSON object, `GET /tools` lists the tools with their schemas; every
    request carries `Authorization: Bearer {bridge.token}`. The bridge listens on the loopback and on a Unix socket
    until its `with` or `async with` ends or the client is unpatched. `mcp_servers` and `tools` are offered beside the
    client's own. `on_event` sees the calls, on a thread of ours.
    """
    patch: Patch | None = attributes(client).get(MARK) if hasattr(client, "__dict__") else None
    if patch is None:
        raise NotPatched(f"open_bridge takes a patched client, not {type(client).__name__}")
    runtime = patch.runtime
    held: list[object] = []
    call = CallOptions(mcp_servers=mcp_servers, tools=tools)

    async def connect(home: asyncio.AbstractEventLoop | None) -> Gate:
        gate = (await runtime.gather(call, home)).gate
        held.append(client)  # while the bridge is open, it keeps its client
        runtime.bridges.add(bridge)
        return gate

    def closed(bridge: OpenBridge) -> None:
        held.clear()
        runtime.bridges.discard(bridge)

    emit: Callable[[Event], object] = on_event if on_event is not None else bool
    bridge = OpenBridge(connect, emit, loop=background_loop(), on_close=closed)
    return bridge
