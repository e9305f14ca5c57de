"""Clients of the SDK that users hand in, entered by us or by them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.server.mcpserver import MCPServer
from mcp_types import ElicitResult, Implementation

from agentd.core.errors import OptionError
from agentd.mcp.pool import ServerPool
from tests.fakes.mcp_remote import SERVER
from tests.fakes.mcp_servers import by_name, failure, faulty, python_server, value

STATELESS = StdioServerParameters(command=sys.executable, args=[SERVER])


async def test_entered_by_us(pool: ServerPool) -> None:
    client = Client(faulty(), client_info=Implementation(name="mine", version="7"))
    tools = await pool.connect([client])
    process = await value(tools, "pid")
    assert await value(await pool.connect([client]), "pid") == process
    assert by_name(tools)["pid"].spec.server == "mcp_faulty"
    assert "may or may not" in await failure(tools, "die")
    assert await value(tools, "pid") != process, "a client that can be entered only once is replaced by its like"


async def test_entered_by_its_user(pool: ServerPool) -> None:
    async with Client(faulty("--pages", "3")) as client:
        tools = await pool.connect([client], home_loop=asyncio.get_running_loop())
        assert await value(tools, "echo", {"text": "x"}) == "x"
        await pool.close()
        assert "mine" in str(await client.call_tool("echo", {"text": "mine"}))


async def test_entered_by_its_user_without_a_known_loop(pool: ServerPool) -> None:
    async with Client(faulty()) as client:
        with pytest.raises(OptionError, match="connected already"):
            await pool.connect([client])


async def test_a_server_in_this_process(pool: ServerPool) -> None:
    server = MCPServer("inside")

    @server.tool()
    def double(n: int) -> int:
        return 2 * n

    tools = await pool.connect([Client(server)])
    assert await value(tools, "double", {"n": 4}) == 8 and tools[0].spec.server == "inside"


async def test_its_callbacks_are_kept(pool: ServerPool) -> None:
    async def answer(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"name": "Ada"})

    tools = await pool.connect([Client(STATELESS, mode="legacy", elicitation_callback=answer)])
    assert "Ada" in str(await value(tools, "ask"))


async def test_the_stateless_era_is_asked_for_notices_of_changed_tools(pool: ServerPool) -> None:
    tools = await pool.connect([STATELESS])
    assert "grown" not in by_name(tools)
    assert await value(tools, "grow") == "done"
    async with asyncio.timeout(20):
        while "grown" not in by_name(tools):
            await asyncio.sleep(0.05)
            tools = await pool.connect([STATELESS])
    assert await value(tools, "grown") == "grown"


async def test_the_list_is_kept_in_the_stateless_era_too(pool: ServerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    lists: list[str] = []
    original = Client.list_tools

    async def counting(self: Client, **options: Any) -> Any:
        lists.append("list")
        return await original(self, **options)

    monkeypatch.setattr(Client, "list_tools", counting)
    server = python_server("mcp-server-time")
    for _ in range(5):
        assert await pool.connect([server])
    assert lists == ["list"]


async def test_a_slow_server_is_given_its_start_time(make_pool: Callable[..., ServerPool]) -> None:
    tools = await make_pool(start_timeout=20, call_timeout=1).connect([faulty("--slow-start", "3")])
    assert await value(tools, "echo", {"text": "x"}) == "x"
