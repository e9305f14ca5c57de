"""Servers behind a URL, on the loopback: streamable HTTP of both eras, and SSE."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from aiohttp import web
from mcp import Client

from agentd.core.errors import OptionError, ServerFailed
from agentd.mcp.pool import ServerPool
from agentd.mcp.remote import HTTPServer
from agentd.mcp.streamable import http_transport
from tests.fakes.mcp_remote import SERVER, Remote
from tests.fakes.mcp_servers import by_name, failure, npm_server, value


async def test_the_stateless_era(pool: ServerPool, remote: Remote) -> None:
    await remote.start()
    tools = await pool.connect([remote.url])
    assert await value(tools, "add", {"a": 1, "b": 2}) == 3
    assert await value(tools, "words", {"text": "a b"}) == ["a", "b"]
    assert by_name(tools)["add"].spec.output_schema == {"title": "Result", "type": "integer"}
    assert by_name(tools)["add"].spec.server == "127.0.0.1"
    assert "validation" in (await failure(tools, "add", {"a": "x"})).lower()
    assert len(await pool.connect([remote.url])) == len(tools)


async def test_the_handshake_era(pool: ServerPool, remote: Remote) -> None:
    parameters = npm_server("mcp-server-everything")
    await remote.start(parameters.command, "streamableHttp", PORT=str(remote.port))
    tools = await pool.connect([remote.url])
    assert await value(tools, "echo", {"message": "hi"}) == "Echo: hi"


async def test_sse(pool: ServerPool, remote: Remote) -> None:
    await remote.start(sys.executable, SERVER, str(remote.port), "sse")
    tools = await pool.connect([f"http://127.0.0.1:{remote.port}/sse"])
    assert await value(tools, "add", {"a": 1, "b": 2}) == 3


@pytest.mark.parametrize("path", ["/mcp", "/sse"])
async def test_headers_and_a_login(pool: ServerPool, remote: Remote, path: str) -> None:
    await remote.start(sys.executable, SERVER, str(remote.port), *(["sse"] if path == "/sse" else []))
    url = f"http://127.0.0.1:{remote.port}{path}"
    server = HTTPServer(url, headers={"X-Team": "alpha"}, auth=httpx2.BasicAuth("user", "secret"))
    tools = await pool.connect([server])
    assert await value(tools, "header", {"name": "x-team"}) == "alpha"
    assert str(await value(tools, "header", {"name": "authorization"})).startswith("Basic ")
    assert "alpha" not in repr(server) and "secret" not in repr(server)
    plain = await pool.connect([url])
    assert await value(plain, "header", {"name": "x-team"}) == "None"
    with pytest.raises(OptionError, match="http://"):
        await pool.connect([HTTPServer("localhost/mcp")])


async def test_a_redirect_leads_no_header_to_another_host(pool: ServerPool, remote: Remote) -> None:
    seen: list[str | None] = []

    async def elsewhere(request: web.Request) -> web.Response:
        seen.append(request.headers.get("X-Key"))
        return web.Response(text="{}")

    async def redirect(request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect(f"http://localhost:{remote.port}/elsewhere")

    app = web.Application()
    app.router.add_route("*", "/mcp", redirect)
    app.router.add_route("*", "/elsewhere", elsewhere)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", remote.port).start()
    try:
        with pytest.raises(ServerFailed):
            await pool.connect([HTTPServer(remote.url, headers={"X-Key": "secret"})])
        assert seen == []
    finally:
        await runner.cleanup()


async def test_nobody_there(pool: ServerPool, remote: Remote) -> None:
    with pytest.raises(ServerFailed) as caught:
        await pool.connect([remote.url.replace("//", "//user:secret@"), f"http://127.0.0.1:{remote.port}/sse"])
    assert str(caught.value).count("did not start") == 2 and "connect" in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_somebody_else_there(pool: ServerPool, remote: Remote) -> None:
    await remote.start(sys.executable, "-m", "http.server", str(remote.port), "--bind", "127.0.0.1")
    secret = f"http://user:secret@127.0.0.1:{remote.port}"
    with pytest.raises(ServerFailed) as caught:
        await pool.connect([f"{secret}/mcp?key=secret", f"{secret}/sse?key=secret"])
    assert str(caught.value).count("did not start") == 2 and "404" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_server_that_was_away_between_calls(
    pool: ServerPool, remote: Remote, tmp_path: Path, mode: str
) -> None:
    file = tmp_path / "effects"
    await remote.start()
    tools = await pool.connect([Client(remote.url, mode=mode) if mode == "legacy" else remote.url])
    for count in (1, 2):
        process = await value(tools, "pid")
        await remote.kill()
        story = await failure(tools, "append", {"file": str(file)})
        assert "127.0.0.1" in story and "secret" not in story
        await remote.start()
        assert await value(tools, "append", {"file": str(file)}) == "appended"
        assert file.read_text() == "x\n" * count
        assert await value(tools, "pid") != process


async def test_a_server_started_anew_is_called_with_a_new_session(
    pool: ServerPool, remote: Remote, tmp_path: Path
) -> None:
    """A handshake server that was replaced answers 404 to its predecessor's session: the call was not run."""
    parameters = npm_server("mcp-server-everything")
    await remote.start(parameters.command, "streamableHttp", PORT=str(remote.port))
    tools = await pool.connect([remote.url])
    await remote.kill()
    await remote.start(sys.executable, SERVER, str(remote.port))
    answer = await by_name(tools)["echo"].call({"message": "hi"})
    assert not answer.ok and "echo" in str(answer.value)
    assert await value(await pool.connect([remote.url]), "add", {"a": 1, "b": 2}) == 3


async def test_a_call_that_was_running_is_never_repeated(pool: ServerPool, remote: Remote, tmp_path: Path) -> None:
    file = tmp_path / "effects"
    await remote.start()
    tools = await pool.connect([remote.url])
    assert "may or may not" in await failure(tools, "append", {"file": str(file), "die": True})
    await remote.kill()
    await remote.start()
    assert await value(tools, "append", {"file": str(file)}) == "appended"
    assert file.read_text() == "x\n" * 2


async def test_limits(make_pool: Callable[..., ServerPool], remote: Remote) -> None:
    await remote.start()
    tools = await make_pool(call_timeout=2, max_result=1 << 20).connect([remote.url])
    assert "over the limit of 1048576 bytes" in await failure(tools, "big", {"size": 3 << 20})
    assert "did not answer within 2 s" in await failure(tools, "slow", {"seconds": 30})
    assert await value(tools, "big", {"size": 200_000}) == "x" * 200_000


async def test_an_event_over_the_limit_and_a_transport_that_is_used_up(pool: ServerPool, remote: Remote) -> None:
    await remote.start()
    tools = await pool.connect([Client(http_transport(HTTPServer(remote.url), 1 << 20), mode="legacy")])
    assert "1048576 byte limit" in await failure(tools, "big", {"size": 3 << 20})
    assert "can be connected once" in await failure(tools, "pid")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_question_of_the_server_is_refused_and_does_not_hang(
    pool: ServerPool, remote: Remote, mode: str
) -> None:
    await remote.start()
    tools = await pool.connect([Client(remote.url, mode=mode)])
    async with asyncio.timeout(20):
        assert await failure(tools, "ask")


async def test_closing_ends_no_server_but_our_connection(pool: ServerPool, remote: Remote) -> None:
    await remote.start()
    tools = await pool.connect([remote.url])
    pending = asyncio.create_task(failure(tools, "slow", {"seconds": 60}))
    await asyncio.sleep(0.3)
    async with asyncio.timeout(10):
        await pool.close()
        assert await pending
    assert remote.process is not None and remote.process.returncode is None
