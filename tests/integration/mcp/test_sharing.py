"""Callbacks and connections through a pool of servers, clients and objects."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from mcp import Client
from mcp_types import ElicitResult

from agentd.core.protocols import ReportingTool
from agentd.core.tools import Media, Progress
from agentd.mcp.client import MCPClient
from agentd.mcp.handlers import MCPHandlers, SamplingAnswer
from agentd.mcp.pool import ServerPool
from tests.fakes.mcp_pushy import QUESTION, SAMPLE
from tests.fakes.mcp_remote import Remote
from tests.fakes.mcp_servers import MODERN, PUSHY, by_name, faulty, pushy, value

agents_mcp = pytest.importorskip("agents.mcp", reason="openai-agents is missing: run `make test`, which installs it")
MakePool = Callable[..., ServerPool]
ELICIT = {"method": "elicitation/create", "params": QUESTION}
ACCEPTED = {"action": "accept", "content": {"name": "Ada"}}


def handlers(**more: Any) -> MCPHandlers:
    return MCPHandlers(on_elicitation=lambda _: {"name": "Ada"}, **more)


async def test_the_pool_answers_servers(make_pool: MakePool, tmp_path: Path) -> None:
    lines: list[object] = []
    pool = make_pool(
        handlers=handlers(roots=[tmp_path], on_sampling=lambda _: SamplingAnswer("yes", "m"), on_log=lines.append)
    )
    tools = await pool.connect([pushy()])
    assert await value(tools, "ask", ELICIT) == ACCEPTED
    assert "yes" in str(await value(tools, "ask", {"method": "sampling/createMessage", "params": SAMPLE}))
    assert tmp_path.as_uri() in str(await value(tools, "ask", {"method": "roots/list"}))
    await value(tools, "flood", {"count": 3})
    assert len(lines) == 3


async def test_tools_report_their_progress(pool: ServerPool) -> None:
    seen: list[Progress] = []
    objects = agents_mcp.MCPServerStdio({"command": sys.executable, "args": [PUSHY]}, name="object")
    for server in (pushy(), objects, MCPClient(pushy())):
        tool = by_name(await pool.connect([server]))["progress"]
        assert isinstance(tool, ReportingTool)
        assert (await tool.call_reporting({}, seen.append)).value == "done"
        assert seen == [Progress(1, 2), Progress(2)]
        seen.clear()
        assert (await tool.call({})).value == "done" and not seen


async def test_an_object_of_openai_agents_carries_the_callbacks(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    notices: list[str] = []

    async def noted(message: Any) -> None:
        notices.append(type(message).__name__)

    server = agents_mcp.MCPServerStdio(
        {"command": sys.executable, "args": [PUSHY]},
        cache_tools_list=True,
        tool_filter={"allowed_tool_names": ["ask", "notify", "die"]},
        message_handler=noted,
    )
    tools = await make_pool(handlers=handlers()).connect([server])
    assert list(by_name(tools)) == ["ask", "notify", "die"] and "cannot ask" not in caplog.text
    assert await value(tools, "ask", ELICIT) == ACCEPTED
    await value(tools, "notify", {"method": "notifications/prompts/list_changed"})
    assert notices == ["PromptListChangedNotification"]


async def test_an_object_of_openai_agents_in_the_stateless_era(make_pool: MakePool, remote: Remote) -> None:
    await remote.start(sys.executable, MODERN, str(remote.port))
    server = agents_mcp.MCPServerStreamableHttp({"url": remote.url}, client_session_timeout_seconds=30)
    tools = await make_pool(handlers=handlers()).connect([server])
    assert await value(tools, "ask") == "Ada is 7"


async def test_an_object_that_makes_its_own_sessions_is_left_alone(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    class Own(cast(Any, agents_mcp.MCPServerStdio)):
        def _client_session_context(self, read_timeout: Any) -> Any:
            return super()._client_session_context(read_timeout)

    pool = make_pool(handlers=handlers())
    server = Own({"command": sys.executable, "args": [PUSHY]})
    for _ in range(2):
        tools = await pool.connect([server])
    assert "not supported" in str(await value(tools, "ask", ELICIT))
    assert caplog.text.count("mcp_pushy cannot ask us anything") == 1


async def test_a_client_of_the_sdk_keeps_its_own_callbacks_and_gets_the_others(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    async def own(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"name": "own"})

    pool = make_pool(handlers=handlers(roots=[tmp_path]))
    tools = await pool.connect([Client(pushy(), elicitation_callback=own)])
    assert "own" in str(await value(tools, "ask", ELICIT))
    assert tmp_path.as_uri() in str(await value(tools, "ask", {"method": "roots/list"}))
    assert "cannot ask" not in caplog.text
    async with Client(pushy()) as entered:
        await pool.connect([entered], home_loop=asyncio.get_running_loop())
    assert "mcp_pushy-2 cannot ask us anything" in caplog.text


async def test_a_client_of_ours_shares_its_connection(make_pool: MakePool) -> None:
    async with MCPClient(pushy(), on_elicitation=lambda _: {"name": "its own"}) as client:
        pid = (await client.call_tool("pid")).value
        pool = make_pool(handlers=handlers())
        tools = await pool.connect([client])
        assert await value(tools, "pid") == pid and by_name(tools)["pid"].spec.server == "mcp_pushy"
        assert "its own" in str(await value(tools, "ask", ELICIT))
        await pool.close()
        assert (await client.call_tool("pid")).value == pid, "what the pool has not connected stays open"


async def test_a_pool_connects_a_client_of_ours(make_pool: MakePool) -> None:
    client = MCPClient(pushy(), on_elicitation=lambda _: {"name": "its own"})
    pool = make_pool(handlers=handlers())
    tools = await pool.connect([client])
    assert "its own" in str(await value(tools, "ask", ELICIT))
    assert (await client.call_tool("pid")).value == await value(tools, "pid")
    assert await client.list_prompts() and client.name == "mcp_pushy"
    await pool.close()
    async with client:
        assert (await client.call_tool("pid")).ok


async def test_a_pool_on_another_loop(make_pool: MakePool) -> None:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def on(work: Any) -> Any:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))

    try:
        pool = ServerPool()
        async with MCPClient(pushy()) as client:
            tools = await on(pool.connect([client]))
            assert await on(value(tools, "pid")) == (await client.call_tool("pid")).value
        there = MCPClient(pushy())
        tools = await on(pool.connect([there]))
        async with there.changes() as changes, there.subscribe("mem://a") as updates:
            arguments: Any = {"method": "notifications/resources/list_changed"}
            await on(value(tools, "notify", arguments))
            assert await asyncio.wait_for(anext(changes), 20) == "resources"
            await there.call_tool("notify", {"method": "notifications/resources/updated", "params": {"uri": "mem://a"}})
            assert await asyncio.wait_for(anext(updates), 20) == "mem://a"
        await on(pool.close())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def test_a_client_of_ours_over_what_its_user_has_connected(caplog: pytest.LogCaptureFixture) -> None:
    server = agents_mcp.MCPServerStdio({"command": sys.executable, "args": [PUSHY]}, name="theirs")
    async with server, Client(pushy()) as entered:
        for given in (server, entered):
            async with MCPClient(given, roots=["/tmp"]) as client:
                assert (await client.call_tool("echo", {"text": "x"})).value == "x"
                assert [each.name for each in await client.list_prompts()] == ["greet"]
                assert (await client.read_resource("mem://a"))[0].text == "hello"
                with pytest.raises(Exception, match="connected by somebody else"):
                    await anext(client.subscribe("mem://a"))
            assert f"{client.name} was connected by its user and cannot ask" in caplog.text
        assert await server.list_tools()


async def test_an_object_with_tools_only() -> None:
    class Minimal:
        name = "minimal"

        def __init__(self) -> None:
            self.inner = agents_mcp.MCPServerStdio({"command": sys.executable, "args": [PUSHY]})

        async def connect(self) -> None:
            await self.inner.connect()

        async def cleanup(self) -> None:
            await self.inner.cleanup()

        async def list_tools(self) -> Any:
            return await self.inner.list_tools()

        async def call_tool(self, tool_name: str, arguments: Any) -> Any:
            return await self.inner.call_tool(tool_name, arguments)

    async with MCPClient(Minimal()) as client:
        assert (await client.call_tool("echo", {"text": "x"})).value == "x"
        with pytest.raises(Exception, match="gives access to its tools only"):
            await client.list_prompts()


async def test_images_and_sounds_are_media_too(make_pool: MakePool, tmp_path: Path) -> None:
    def save(suffix: str, content: bytes) -> str:
        (tmp_path / f"x{suffix}").write_bytes(content)
        return f"x{suffix}"

    tools = by_name(await make_pool().connect([faulty()], save=save))
    result = await tools["mixed"].call({})
    assert [(each.kind, each.mime_type, each.file) for each in result.media] == [
        ("image", "image/png", "x.png"),
        ("audio", "audio/wav", "x.wav"),
    ]
    assert [type(each).__name__ for each in cast(list[object], result.value)] == [
        "str",
        "dict",
        "dict",
        "str",
        "dict",
        "dict",
    ]
    shot = await tools["shot"].call({})
    assert shot.media[0].file == "x.png" and shot.value == {
        "width": 1,
        "files": [{"type": "image", "mimeType": "image/png", "file": "x.png"}],
    }
    async with MCPClient(faulty()) as client:
        (image,) = (await client.call_tool("image")).media
        assert isinstance(image, Media) and image.kind == "image" and image.data and not image.file


@pytest.mark.parametrize("kind", ["client", "object"])
async def test_the_last_of_those_who_share_a_server_ends_it(make_pool: MakePool, kind: str) -> None:
    command = {"command": sys.executable, "args": [PUSHY]}
    shared = MCPClient(pushy()) if kind == "client" else agents_mcp.MCPServerStdio(command)
    first, second = make_pool(), make_pool()
    pid = int(str(await value(await first.connect([shared]), "pid")))
    tools = await second.connect([shared])
    waiting = asyncio.ensure_future(by_name(tools)["wait"].call({}))
    assert int(str(await value(tools, "pid"))) == pid
    await first.close()
    assert int(str(await value(tools, "pid"))) == pid and not waiting.done()
    await second.close()
    told = await waiting
    assert not told.ok and "was closed while wait was running" in str(told.value)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_client_that_shares_what_a_pool_borrows_ends_it_itself(make_pool: MakePool) -> None:
    async with MCPClient(pushy()) as client:
        pools = [make_pool(), make_pool()]
        pids = [await value(await pool.connect([client]), "pid") for pool in pools]
        for pool in pools:
            await pool.close()
        assert pids == [(await client.call_tool("pid")).value] * 2
