"""The client of one server: everything that a server of the handshake era offers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from agentd.core.errors import NotOffered, OptionError, ServerFailed
from agentd.core.tools import Media, Progress
from agentd.mcp.client import MCPClient
from agentd.mcp.contents import (
    Completion,
    Prompt,
    PromptArgument,
    PromptRef,
    Resource,
    ResourceContents,
    ResourceRef,
    ServerInfo,
    Text,
)
from agentd.mcp.templates import expand
from tests.fakes.mcp_pushy import TOOLS
from tests.fakes.mcp_servers import alive, npm_server, pushy, python_server


async def test_who_the_server_is() -> None:
    async with MCPClient(pushy()) as client:
        assert client.name == "mcp_pushy" and client.protocol_version == "2025-11-25"
        assert client.server_info == ServerInfo("pushy", "3", "Pushy") and client.instructions == "Push."
        assert client.capabilities["resources"] == {"subscribe": True, "listChanged": True}


async def test_tools() -> None:
    async with MCPClient(pushy()) as client:
        assert [tool.name for tool in await client.list_tools()] == list(TOOLS)
        result = await client.call_tool("echo", {"text": "x"})
        assert result.ok and result.value == "x"
        missing = await client.call_tool("nothing of this name")
        assert not missing.ok and "no tool nothing of this name" in str(missing.value)


async def test_resources_and_templates() -> None:
    async with MCPClient(pushy()) as client:
        assert await client.list_resources() == [Resource("mem://a", "a", mime_type="text/plain", size=5)]
        (template,) = await client.list_resource_templates()
        assert await client.read_resource("mem://a") == [ResourceContents("mem://a", "text/plain", text="hello")]
        uri = expand(template.uri_template, id="b")
        assert await client.read_resource(uri) == [ResourceContents("mem://b", "application/zip", blob=b"PK\x00")]
        with pytest.raises(ServerFailed, match="mcp_pushy did not give the resource mem://none: there is no such"):
            await client.read_resource("mem://none")
        with pytest.raises(ServerFailed, match="not valid base64"):
            await client.read_resource("mem://broken")


async def test_prompts() -> None:
    async with MCPClient(pushy()) as client:
        assert await client.list_prompts() == [Prompt("greet", arguments=(PromptArgument("who", required=True),))]
        result = await client.get_prompt("greet", {"who": "Ada"})
        assert result.description == "A greeting."
        assert [message.content for message in result.messages] == [
            Text("Greet Ada."),
            Resource("mem://a", "a"),
            ResourceContents("mem://a", text="hello"),
            Media("image", "image/png", "AAAA"),
        ]


async def test_completion() -> None:
    async with MCPClient(pushy()) as client:
        found = await client.complete(PromptRef("greet"), "who", "A", {"town": "Rome"})
        assert found == Completion(("Ada", "greet", "Rome"), 7, True)
        found = await client.complete(ResourceRef("mem://{id}"), "id", "")
        assert found.values == ("da", "mem://{id}")


async def test_ping_and_log_level(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with MCPClient(pushy("--log", str(log))) as client:
        await client.ping()
        await client.set_log_level("warning")
        with pytest.raises(OptionError, match="one of debug"):
            await client.set_log_level("loud")
    methods = [json.loads(line).get("method") for line in log.read_text().splitlines()]
    assert methods[-2:] == ["ping", "logging/setLevel"]


async def test_what_is_not_offered_is_not_asked_for(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with MCPClient(pushy("--bare", "--log", str(log))) as client:
        for wanted, feature in (
            (client.list_resources(), "resources"),
            (client.list_resource_templates(), "resources"),
            (client.read_resource("mem://a"), "resources"),
            (client.list_prompts(), "prompts"),
            (client.get_prompt("greet"), "prompts"),
            (client.complete(PromptRef("greet"), "who", ""), "completions"),
            (client.set_log_level("info"), "logging"),
        ):
            with pytest.raises(NotOffered, match=f"mcp_pushy has no {feature}"):
                await wanted
        with pytest.raises(NotOffered, match="does not tell"):
            await anext(client.changes())
        with pytest.raises(NotOffered, match="mcp_pushy has no resources"):
            await anext(client.subscribe("mem://a"))
    methods = {json.loads(line).get("method") for line in log.read_text().splitlines()}
    assert methods <= {"server/discover", "initialize", "notifications/initialized"}


@pytest.mark.parametrize(
    ("method", "request_name"),
    [
        ("tools/list", "list_tools"),
        ("resources/list", "list_resources"),
        ("resources/templates/list", "list_resource_templates"),
        ("prompts/list", "list_prompts"),
    ],
)
async def test_lists_without_end(method: str, request_name: str) -> None:
    for option, said in (("--endless", "does not end"), ("--circle", "go in a circle")):
        async with MCPClient(pushy(option, method)) as client:
            with pytest.raises(ServerFailed, match=said):
                await getattr(client, request_name)()


async def test_a_listing_that_hangs() -> None:
    async with MCPClient(pushy("--hang", "prompts/list"), call_timeout=0.5) as client:
        with pytest.raises(ServerFailed, match=r"mcp_pushy did not give its prompts within 0\.5 s"):
            await client.list_prompts()
        assert (await client.call_tool("echo", {"text": "still here"})).value == "still here"


async def test_progress_and_tokens_that_nobody_knows() -> None:
    seen: list[Progress] = []
    async with MCPClient(pushy()) as client:
        result = await client.call_tool("progress", on_progress=seen.append)
        assert result.value == "done"
        assert seen == [Progress(1, 2), Progress(2)]
    async with MCPClient(pushy(), on_progress=seen.append) as client:
        await client.call_tool("progress")
        assert len(seen) == 4


async def test_a_call_that_is_cancelled_is_cancelled_at_the_server(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with MCPClient(pushy("--log", str(log))) as client:
        await client.list_tools()
        call = asyncio.create_task(client.call_tool("wait"))
        async with asyncio.timeout(20):
            while '"wait"' not in log.read_text():  # noqa: ASYNC110  another process has no event to wait for
                await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (await client.call_tool("echo", {"text": "usable"})).value == "usable"
        late = await client.call_tool("wait", timeout=0.2)
        assert not late.ok and "did not answer within 0.2 s" in str(late.value)
        assert (await client.call_tool("echo", {"text": "usable"})).value == "usable"
    messages = [json.loads(line) for line in log.read_text().splitlines()]
    waits = [each["id"] for each in messages if each.get("params", {}).get("name") == "wait"]
    cancelled = [each["params"]["requestId"] for each in messages if each.get("method") == "notifications/cancelled"]
    assert len(waits) == 2 and cancelled == waits


async def test_a_server_that_vanishes_in_a_call_is_started_again() -> None:
    async with MCPClient(pushy()) as client:
        before = (await client.call_tool("pid")).value
        lost = await client.call_tool("die")
        assert not lost.ok and "may or may not have had its effect" in str(lost.value)
        assert (await client.call_tool("pid")).value != before
        assert await client.list_prompts()


async def test_closed_and_connected_again() -> None:
    client = MCPClient(pushy())
    async with client:
        first = int(str((await client.call_tool("pid")).value))
    while alive(first):  # noqa: ASYNC110  as above
        await asyncio.sleep(0.01)
    with pytest.raises(ServerFailed, match="closed"):
        await client.list_prompts()
    assert not (await client.call_tool("pid")).ok
    async with client:
        assert (await client.call_tool("pid")).value != str(first)


async def test_a_process_that_a_server_has_detached_does_not_outlive_it() -> None:
    async with MCPClient(pushy()) as client:
        pid = int(str((await client.call_tool("detach")).value))
        assert alive(pid)
    while alive(pid):  # noqa: ASYNC110  a killed process needs a moment; one that lives runs into the time-out
        await asyncio.sleep(0.01)


async def test_from_another_event_loop() -> None:
    async with MCPClient(pushy()) as client:
        here = asyncio.get_running_loop()

        async def work() -> tuple[object, object, list[bool]]:
            loops: list[bool] = []
            told = await client.call_tool(
                "progress", on_progress=lambda _: loops.append(asyncio.get_running_loop() is not here)
            )
            await asyncio.sleep(0.05)
            return told.value, [each.name for each in await client.list_prompts()], loops

        assert await asyncio.to_thread(asyncio.run, work()) == ("done", ["greet"], [True, True])


async def test_a_revision_that_nobody_knows() -> None:
    with pytest.raises(OptionError, match="known are"):
        await MCPClient(pushy(), protocol_version="1999-01-01").connect()
    with pytest.raises(ServerFailed, match="it speaks 2025-11-25, not 2026-07-28"):
        await MCPClient(pushy(), protocol_version="2026-07-28").connect()


async def test_what_cannot_be_a_server() -> None:
    with pytest.raises(OptionError, match=r"agentd\.MCPClient"):
        await MCPClient(42).connect()


async def test_real_servers(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    async with MCPClient(npm_server("mcp-server-filesystem", str(tmp_path))) as files:
        read = await files.call_tool("read_text_file", {"path": str(tmp_path / "a.txt")})
        assert read.value == {"content": "hello"}
        with pytest.raises(NotOffered, match="has no prompts"):
            await files.list_prompts()
    async with MCPClient(python_server("mcp-server-time")) as clock:
        assert clock.protocol_version == "2026-07-28"
        assert (await clock.call_tool("get_current_time", {"timezone": "UTC"})).ok
