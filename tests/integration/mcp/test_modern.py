"""The client of one server: everything again, in the stateless era, over stdio and over HTTP."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentd.core.errors import NotOffered
from agentd.core.tools import Progress
from agentd.mcp.client import MCPClient
from agentd.mcp.contents import PromptRef, ResourceContents, ServerInfo, Text
from agentd.mcp.handlers import ElicitationRequest, SamplingAnswer, SamplingRequest
from tests.fakes.mcp_remote import Remote
from tests.fakes.mcp_servers import MODERN, modern


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """One server for all tests of this file: it keeps nothing that they would see of each other."""
    remote = Remote()
    with subprocess.Popen([sys.executable, MODERN, str(remote.port)], stderr=subprocess.DEVNULL) as process:
        remote.await_answer()
        yield remote.url
        process.kill()


@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_all_that_it_offers(transport: str, url: str) -> None:
    async with MCPClient(modern() if transport == "stdio" else url) as client:
        assert client.protocol_version == "2026-07-28" and client.instructions == "Be modern."
        assert client.server_info == ServerInfo("modern")
        assert "ask" in {tool.name for tool in await client.list_tools()}
        assert [each.uri for each in await client.list_resources()] == ["note://one"]
        assert [each.uri_template for each in await client.list_resource_templates()] == ["note://{name}"]
        assert await client.read_resource("note://one") == [ResourceContents("note://one", "text/plain", text="first")]
        assert [each.name for each in await client.list_prompts()] == ["greet"]
        result = await client.get_prompt("greet", {"who": "Ada"})
        assert [each.content for each in result.messages] == [Text("Greet Ada.")]
        assert (await client.complete(PromptRef("greet"), "who", "A")).values == ("Ada", "Alan")
        with pytest.raises(NotOffered, match="has no ping"):
            await client.ping()
        seen: list[Progress] = []
        assert (await client.call_tool("steps", on_progress=seen.append)).value == "done"
        assert seen == [Progress(number, 3, f"step {number}") for number in (1, 2, 3)]


async def test_what_it_asks(url: str, tmp_path: Path) -> None:
    questions: list[object] = []

    def person(request: ElicitationRequest) -> dict[str, Any]:
        questions.append(request.message)
        return {"name": "Ada"}

    async def model(request: SamplingRequest) -> SamplingAnswer:
        questions.append((request.system_prompt, request.messages[0].content))
        return SamplingAnswer("a lot", "m")

    async with MCPClient(url, on_elicitation=person, on_sampling=model, roots=[tmp_path]) as client:
        assert (await client.call_tool("ask")).value == "Ada is 7", "the default of the form"
        assert (await client.call_tool("think")).value == "m: a lot"
        assert (await client.call_tool("where")).value == [tmp_path.as_uri()]
        await client.set_roots([tmp_path / "x"])
        assert (await client.call_tool("where")).value == [(tmp_path / "x").as_uri()]
    assert questions == ["who are you?", ("Be brief.", (Text("what do you think?"),))]
    async with MCPClient(url) as client:
        refused = await client.call_tool("ask")
        assert not refused.ok and "elicitation" in str(refused.value)


async def test_declined_and_late(url: str) -> None:
    async with MCPClient(url, on_elicitation=lambda _: None) as client:
        refused = await client.call_tool("ask")
        assert not refused.ok and "was decline" in str(refused.value)


async def test_both_eras_of_one_server(url: str) -> None:
    for version in ("2025-11-25", "2026-07-28"):
        async with MCPClient(url, protocol_version=version, on_elicitation=lambda _: {"name": "Bo"}) as client:
            assert client.protocol_version == version
            assert (await client.call_tool("ask")).value == "Bo is 7"


async def test_changes_and_updates(url: str) -> None:
    async with MCPClient(url) as client, client.changes() as changes, client.subscribe("note://one") as updates:
        assert (await client.call_tool("grow")).ok
        assert await asyncio.wait_for(anext(changes), 20) == "prompts"
        await client.call_tool("write", {"name": "two", "text": "unheard"})
        await client.call_tool("write", {"name": "one", "text": "changed"})
        assert await asyncio.wait_for(anext(updates), 20) == "note://one"
        assert (await client.read_resource("note://one"))[0].text == "changed"


async def test_a_call_that_is_cancelled_leaves_the_client_usable(url: str) -> None:
    answering, never = asyncio.Event(), asyncio.Event()

    async def slow(_: ElicitationRequest) -> None:
        answering.set()
        await never.wait()

    async with MCPClient(url, on_elicitation=slow) as client:
        call = asyncio.create_task(client.call_tool("ask"))
        await answering.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (await client.call_tool("steps")).value == "done"
