"""Server objects of openai-agents: connected by us, or by their user on his own loop."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agentd.core.errors import OptionError, ServerFailed
from agentd.mcp.pool import ServerPool
from tests.fakes.mcp_servers import FAULTY, alive, by_name, failure, npm_server, value

agents_mcp = pytest.importorskip("agents.mcp", reason="openai-agents is missing: run `make test`, which installs it")


def stdio(*options: str, **settings: Any) -> Any:
    return agents_mcp.MCPServerStdio({"command": sys.executable, "args": [FAULTY, *options]}, **settings)


@pytest.fixture
def background() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop in a thread, as the one on which the library keeps its pools."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def on(loop: asyncio.AbstractEventLoop, work: Any) -> Any:
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))


async def test_connected_by_us(pool: ServerPool, capfd: pytest.CaptureFixture[str]) -> None:
    server = stdio()
    tools = await pool.connect([server])
    assert by_name(tools)["echo"].spec.server == "mcp_faulty"
    assert await value(tools, "echo", {"text": "hi"}) == "hi"
    assert await value(tools, "structured") == {"a": 1}
    process = int(str(await value(tools, "pid")))
    assert int(str(await value(await pool.connect([server]), "pid"))) == process
    await pool.close()
    assert server.session is None
    while alive(process):  # noqa: ASYNC110  another process has no event to wait for
        await asyncio.sleep(0.01)
    assert capfd.readouterr().err == "", "the server's standard error belongs into its tail, not on the terminal"


async def test_a_real_server(pool: ServerPool) -> None:
    parameters = npm_server("mcp-server-everything")
    server = agents_mcp.MCPServerStdio({"command": parameters.command, "args": parameters.args}, name="all of it")
    tools = await pool.connect([server])
    assert by_name(tools)["echo"].spec.server == "all of it"
    assert await value(tools, "echo", {"message": "hi"}) == "Echo: hi"


async def test_its_cache_is_honoured(pool: ServerPool, tmp_path: Any) -> None:
    for cached, lists in ((True, 1), (False, 4)):
        log = tmp_path / f"{cached}"
        server = stdio("--log", str(log), cache_tools_list=cached)
        for _ in range(4):
            await pool.connect([server])
        assert log.read_text().count("tools/list") == lists


async def test_its_filters_are_honoured(pool: ServerPool) -> None:
    static = stdio(tool_filter={"allowed_tool_names": ["echo", "pid"], "blocked_tool_names": ["pid"]})
    assert [tool.spec.name for tool in await pool.connect([static])] == ["echo"]
    asked: list[str] = []

    async def dynamic(context: Any, tool: Any) -> bool:
        asked.append(context.server_name)
        return tool.name.startswith("e")

    assert [tool.spec.name for tool in await pool.connect([stdio(tool_filter=dynamic)])] == ["echo"]
    assert asked


@pytest.mark.slow
async def test_its_time_out_is_for_calls_and_not_for_the_start(pool: ServerPool) -> None:
    # The SDK's first question has ten seconds in any case; the one after it would have the object's one second.
    server = stdio("--slow-start", "13", client_session_timeout_seconds=1)
    tools = await pool.connect([server])
    process = await value(tools, "pid")
    story = await failure(tools, "slow", {"seconds": 30})
    assert "did not answer within 1 s" in story and "client_session_timeout_seconds" in story
    assert await value(tools, "pid") == process and server.client_session_timeout_seconds == 1


async def test_one_that_dies_is_connected_again(pool: ServerPool) -> None:
    server = stdio()
    tools = await pool.connect([server])
    process = await value(tools, "pid")
    assert "may or may not" in await failure(tools, "die")
    assert await value(tools, "pid") != process
    assert await value(await pool.connect([server]), "echo", {"text": "x"}) == "x"


async def test_one_that_does_not_start(make_pool: Callable[..., ServerPool]) -> None:
    with pytest.raises(ServerFailed) as caught:
        await make_pool(start_timeout=2).connect([stdio("--hang-at-start"), stdio("--exit-at-start", "3")])
    for part in ("--hang-at-start", "within 2 s", "faulty is starting", "exit code 3"):
        assert part in str(caught.value)


async def test_connected_by_its_user_it_is_called_on_his_loop_and_not_closed(
    make_pool: Callable[..., ServerPool], background: asyncio.AbstractEventLoop
) -> None:
    home = asyncio.get_running_loop()
    async with stdio() as server:
        pool = await on(background, _async(make_pool))
        tools = await on(background, pool.connect([server], home_loop=home))
        assert await on(background, value(tools, "echo", {"text": "over there"})) == "over there"
        assert "no such thing" in await on(background, failure(tools, "fail"))
        await on(background, pool.close())
        result = await server.call_tool("echo", {"text": "still mine"})
        assert result.content[0].text == "still mine"


async def test_connected_by_its_user_without_a_known_loop(pool: ServerPool) -> None:
    async with stdio() as server:
        with pytest.raises(OptionError, match="connected already"):
            await pool.connect([server])
    assert await value(await pool.connect([server]), "echo", {"text": "now it is ours"}) == "now it is ours"


async def test_a_blocked_home_loop_is_told_and_not_waited_for(
    make_pool: Callable[..., ServerPool], background: asyncio.AbstractEventLoop
) -> None:
    async with stdio() as server:
        pool = await on(background, _async(make_pool))
        home = asyncio.get_running_loop()
        waiting = asyncio.run_coroutine_threadsafe(pool.connect([server], home_loop=home), background)
        started = time.monotonic()
        with pytest.raises(ServerFailed, match="blocked"):
            waiting.result(30)  # as a synchronous client does inside a running loop
        assert time.monotonic() - started < 25


async def test_a_users_server_that_died_is_his_to_connect(pool: ServerPool) -> None:
    async with stdio() as server:
        tools = await pool.connect([server], home_loop=asyncio.get_running_loop())
        assert "whoever connected it" in await failure(tools, "die")


async def test_two_pools_share_one_object(make_pool: Callable[..., ServerPool]) -> None:
    server, one, two = stdio(), make_pool(), make_pool()
    process = await value(await one.connect([server]), "pid")
    tools = await two.connect([server])
    assert await value(tools, "pid") == process
    await one.close()
    assert await value(tools, "pid") == process == await value(await two.connect([server]), "pid")
    await two.close()
    assert "closed" in await failure(tools, "pid")
    assert await value(await make_pool().connect([server]), "pid") != process


async def test_any_object_with_the_four_verbs(pool: ServerPool) -> None:
    import mcp_types as types

    class Own:
        name = "own"
        calls: list[str] = []  # noqa: RUF012  a log of the test

        async def connect(self) -> None:
            self.calls.append("connect")

        async def cleanup(self) -> None:
            self.calls.append("cleanup")

        async def list_tools(self) -> list[types.Tool]:
            return [types.Tool(name="t", input_schema={"type": "object"})]

        async def call_tool(self, tool_name: str, arguments: dict[str, Any] | None) -> types.CallToolResult:
            return types.CallToolResult(content=[types.TextContent(type="text", text=f"{tool_name} {arguments}")])

    server = Own()
    tools = await pool.connect([server])
    assert await value(tools, "t", {"a": 1}) == "t {'a': 1}" and tools[0].spec.server == "own"
    await pool.close()
    assert server.calls == ["connect", "cleanup"]


async def _async(make: Callable[..., ServerPool]) -> ServerPool:
    return make()
