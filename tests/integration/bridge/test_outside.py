"""Programs outside of any block call tools through a bridge that is open."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentd.bridge.gate import Gate
from agentd.bridge.open import OpenBridge
from agentd.core.errors import OptionError
from agentd.core.events import Event, ToolFinished, ToolStarted
from agentd.tools import as_tool
from tests.integration.bridge.workshop import Workshop, add, need, run

CLIENT = """
const {AGENTD_BRIDGE_URL: url, AGENTD_BRIDGE_TOKEN: token} = process.env;
const headers = {authorization: `Bearer ${token}`, "content-type": "application/json"};
const sample = {integer: 40, string: "text", number: 1.5, boolean: true};
const {tools} = await (await fetch(`${url}/tools`, {headers})).json();
const found = {};
for (const {name, input_schema: {properties = {}, required = []}} of tools.filter(tool => tool.name !== "wait")) {
  const body = JSON.stringify(Object.fromEntries(required.map(key => [key, sample[properties[key].type]])));
  found[name] = await (await fetch(`${url}/call/${name}`, {method: "POST", headers, body})).json();
}
console.log(JSON.stringify(found));
"""


def bridge_of(tools: Workshop, on_close: Callable[[OpenBridge], object] | None = None) -> OpenBridge:
    async def connect(home: asyncio.AbstractEventLoop | None) -> Gate:
        assert home is asyncio.get_running_loop()
        return tools.gate

    return OpenBridge(connect, tools.events.append, loop=asyncio.get_running_loop(), on_close=on_close)


def curl(bridge: OpenBridge, tool: str, body: str, *options: str, unix: bool = False) -> tuple[str, ...]:
    where = ("--unix-socket", bridge.socket_path, "http://localhost") if unix else (bridge.url,)
    key = ("-H", f"Authorization: Bearer {bridge.token}")
    return ("curl", "-sS", "-m", "30", *key, "--json", body, *options, *where[:-1], f"{where[-1]}/call/{tool}")


@pytest.mark.parametrize("unix", [False, True])
async def test_curl(tools: Workshop, unix: bool) -> None:
    async with bridge_of(tools) as bridge:
        assert json.loads(await run(*curl(bridge, "add", '{"a": 40}', unix=unix))) == {"ok": True, "value": 42}
        answers = await asyncio.gather(*(run(*curl(bridge, "echo", f'{{"text": "{n}"}}', unix=unix)) for n in range(9)))
        assert [json.loads(answer)["value"] for answer in answers] == list("012345678")
        assert {event.block for event in tools.events if isinstance(event, ToolStarted)} == {bridge.name}
    assert tools.calls == ["add", *["echo"] * 9] and all(end.ok for end in tools.ends)


async def test_a_stranger_learns_from_the_listing_how_tools_are_called(tools: Workshop) -> None:
    async with bridge_of(tools) as bridge:
        found = json.loads(await run("node", "--input-type=module", "-e", CLIENT, env=bridge.env))
    assert found["add"] == {"ok": True, "value": 42} and found["echo"] == {"ok": True, "value": ""}
    assert found["fail"]["error"].startswith("ValueError") and found["no_luck"]["error"] == "no such thing"


async def test_another_python_finds_it_by_the_environment(tools: Workshop) -> None:
    from agentd.bridge import client

    call = "import runpy, sys; print(runpy.run_path(sys.argv[1])['call']('add', {'a': 1})['value'])"
    async with bridge_of(tools) as bridge:
        assert await run(sys.executable, "-I", "-c", call, str(client.__file__), env=bridge.env) == "3\n"


async def test_only_its_own_token_is_good(tools: Workshop) -> None:
    async with bridge_of(tools) as first, bridge_of(tools) as second:
        assert first.token != second.token and first.url != second.url and first.socket_path != second.socket_path
        wrong = curl(second, "add", '{"a": 1}', "-o", os.devnull, "-w", "%{http_code}", "-H", "Host: evil.example")
        assert await run(*wrong) == "421"
        second.token = first.token
        assert await run(*curl(second, "add", '{"a": 1}', "-o", os.devnull, "-w", "%{http_code}")) == "401"
    assert tools.events == []


async def test_closing_ends_calls_connections_and_token(tools: Workshop) -> None:
    closed: list[OpenBridge] = []
    bridge = await bridge_of(tools, closed.append).aopen()
    assert await bridge.aopen() is bridge
    command, place, port = curl(bridge, "wait", "{}"), Path(bridge.socket_path), int(bridge.url.rpartition(":")[2])
    pending = asyncio.create_task(run(*command))
    await tools.waiting.until(1)
    await bridge.aclose()
    answer = json.loads(await pending)
    assert answer["ok"] is False and "cancelled" in answer["error"]
    await tools.waiting.until(0)
    assert [type(event) for event in tools.events] == [ToolStarted, ToolFinished]
    assert (bridge.url, bridge.socket_path, bridge.token) == ("", "", "") and not place.parent.exists()
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=20):
        pass
    await bridge.aclose()
    assert closed == [bridge]


async def test_it_can_be_opened_again_with_another_token(tools: Workshop) -> None:
    bridge = bridge_of(tools)
    tokens: set[str] = set()
    for _ in range(2):
        async with bridge:
            tokens.add(bridge.token)
            assert json.loads(await run(*curl(bridge, "add", '{"a": 1}')))["value"] == 3
    assert len(tokens) == 2


async def test_who_fails_to_watch_fails_no_call(tools: Workshop, caplog: pytest.LogCaptureFixture) -> None:
    async def connect(home: asyncio.AbstractEventLoop | None) -> Gate:
        return tools.gate

    def emit(event: Event) -> None:
        raise ValueError("no disk")

    async with OpenBridge(connect, emit, loop=asyncio.get_running_loop()) as bridge:
        assert json.loads(await run(*curl(bridge, "add", '{"a": 1}')))["value"] == 3
    assert "no disk" in caplog.text


async def test_without_tools_there_is_nothing_to_open() -> None:
    async def connect(home: asyncio.AbstractEventLoop | None) -> Gate:
        return Gate(asyncio.get_running_loop())

    bridge = OpenBridge(connect, print, loop=asyncio.get_running_loop())
    with pytest.raises(OptionError, match="no tool"):
        await bridge.aopen()
    await bridge.aclose()
    assert bridge.url == ""


async def test_it_does_not_block_its_own_loop(tools: Workshop) -> None:
    bridge = bridge_of(tools)
    with pytest.raises(OptionError, match="async with"):
        bridge.open()
    async with bridge:
        with pytest.raises(OptionError, match="async with"):
            bridge.close()


@pytest.fixture
def background() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(20)
    loop.close()


def blocking_bridge(loop: asyncio.AbstractEventLoop, events: list[Event]) -> OpenBridge:
    async def connect(home: asyncio.AbstractEventLoop | None) -> Gate:
        gate = Gate(asyncio.get_running_loop())
        gate.update({"add": as_tool(add)})
        return gate

    return OpenBridge(connect, events.append, loop=loop)


def test_a_blocking_caller(background: asyncio.AbstractEventLoop) -> None:
    need("curl")
    events: list[Event] = []
    with blocking_bridge(background, events) as bridge:
        done = subprocess.run(curl(bridge, "add", '{"a": 40}'), capture_output=True, timeout=40, check=True)
        assert json.loads(done.stdout) == {"ok": True, "value": 42}
        assert bridge.token not in f"{bridge!r} {bridge}" and bridge.url in repr(bridge)
    assert [type(event) for event in events] == [ToolStarted, ToolFinished] and "closed" in repr(bridge)


async def test_a_caller_on_another_loop(background: asyncio.AbstractEventLoop) -> None:
    events: list[Event] = []
    async with blocking_bridge(background, events) as bridge:
        assert json.loads(await run(*curl(bridge, "add", '{"a": 40}')))["value"] == 42
    assert len(events) == 2
