"""Updates of resources and changes of lists, over lost connections too."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from agentd.core.errors import ServerFailed
from agentd.mcp import subscriptions
from agentd.mcp.client import MCPClient
from tests.fakes.mcp_remote import Remote
from tests.fakes.mcp_servers import MODERN, npm_server, pushy


async def soon(iterator: Any) -> Any:
    return await asyncio.wait_for(anext(iterator), 30)


async def tell(client: MCPClient, kind: str, uri: str = "") -> None:
    arguments: dict[str, Any] = {"method": f"notifications/{kind}", **({"params": {"uri": uri}} if uri else {})}
    assert (await client.call_tool("notify", arguments)).value == "told"


async def test_lists_that_change() -> None:
    async with MCPClient(pushy()) as client, client.changes() as changes:
        for name in ("tools", "resources", "prompts"):
            await tell(client, f"{name}/list_changed")
            assert await soon(changes) == name
        await client.call_tool("die")
        assert [await soon(changes) for _ in range(3)] == ["tools", "resources", "prompts"]
        assert await client.list_prompts()
        await tell(client, "prompts/list_changed")
        assert await soon(changes) == "prompts"
    with pytest.raises(StopAsyncIteration):
        await soon(changes)


async def test_the_tools_are_listed_again_after_a_notice(tmp_path: Any) -> None:
    log = tmp_path / "log"
    async with MCPClient(pushy("--log", str(log))) as client, client.changes() as changes:
        for _ in range(3):
            await client.list_tools()
        assert log.read_text().count("tools/list") == 1
        await tell(client, "tools/list_changed")
        assert await soon(changes) == "tools"
        await client.list_tools()
        assert log.read_text().count('"tools/list"') == 2


async def test_updates_of_a_resource_and_of_its_parts() -> None:
    async with MCPClient(pushy()) as client:
        async with client.subscribe("mem://a") as updates, client.subscribe("mem://a") as others:
            assert (await client.call_tool("subscribed")).value == ["mem://a", "mem://a"]
            for uri in ("mem://b", "mem://ab", "mem://a/part"):
                await tell(client, "resources/updated", uri)
            assert await soon(updates) == "mem://a/part" and await soon(others) == "mem://a/part"
            for _ in range(3):
                await tell(client, "resources/updated", "mem://a")
            assert await soon(updates) == "mem://a"
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(updates), 0.1)
            await others.aclose()
            await tell(client, "resources/updated", "mem://a")
            assert await soon(updates) == "mem://a", "one leaves, the other stays subscribed"
        assert (await client.call_tool("subscribed")).value == ["mem://a"], "the fake keeps one entry per request"


async def test_a_subscription_survives_its_server() -> None:
    async with MCPClient(pushy()) as client:
        updates = client.subscribe("mem://a")
        waiting = asyncio.create_task(soon(updates))
        async with asyncio.timeout(20):
            while (await client.call_tool("subscribed")).value != ["mem://a"]:  # noqa: ASYNC110  the server has no event
                await asyncio.sleep(0.01)
        await client.call_tool("die")
        assert await waiting == "mem://a", "it may have changed while nobody listened"
        assert (await client.call_tool("subscribed")).value == ["mem://a"]
        await tell(client, "resources/updated", "mem://a")
        assert await soon(updates) == "mem://a"
        await updates.aclose()


async def test_a_subscription_of_the_stateless_era_survives_its_server(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "FIRST_PAUSE", 0.05)
    command = (sys.executable, MODERN, str(remote.port))
    await remote.start(*command)
    async with MCPClient(remote.url) as client, client.subscribe("note://one") as updates:
        waiting = asyncio.create_task(soon(updates))
        await remote.kill()
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await remote.start(*command)
        assert await waiting == "note://one"
        await client.call_tool("write", {"name": "one", "text": "changed"})
        assert await soon(updates) == "note://one"


async def test_a_quiet_server_that_went_away_is_noticed(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "QUIET_TIME", 0.1)
    everything = npm_server("mcp-server-everything")
    command = (everything.command, "streamableHttp")
    await remote.start(*command, PORT=str(remote.port))
    uri = "demo://resource/dynamic/text/1"
    async with MCPClient(remote.url) as client, client.subscribe(uri) as updates:
        assert client.protocol_version == "2025-11-25"
        waiting = asyncio.create_task(soon(updates))
        await remote.kill()
        await remote.start(*command, PORT=str(remote.port))
        assert await waiting == uri


async def test_a_server_that_stays_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(subscriptions, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(subscriptions, "TRIES", 3)
    script = tmp_path / "server.py"
    script.write_text(pushy_source())
    parameters = pushy()
    parameters.args = [str(script)]
    async with MCPClient(parameters) as client, client.subscribe("mem://a") as updates:
        script.write_text("raise SystemExit('gone for good')")
        await client.call_tool("die")
        with pytest.raises(ServerFailed, match="gone for good"):
            await soon(updates)


def pushy_source() -> str:
    with open(pushy().args[0]) as file:
        return file.read()


async def test_closing_ends_the_iteration() -> None:
    client = await MCPClient(pushy()).connect()
    async with client.subscribe("mem://a") as updates, client.changes() as changes:
        waiting = [asyncio.create_task(soon(each)) for each in (updates, changes)]
        await asyncio.sleep(0.05)
        await client.aclose()
        for each in waiting:
            with pytest.raises(StopAsyncIteration):
                await each


async def test_updates_of_server_everything() -> None:
    async with MCPClient(npm_server("mcp-server-everything")) as client:
        uri = "demo://resource/dynamic/text/1"
        async with client.subscribe(uri) as updates:
            assert (await client.call_tool("toggle-subscriber-updates")).ok
            assert await soon(updates) == uri
