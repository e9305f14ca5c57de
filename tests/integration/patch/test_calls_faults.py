"""JSON tool calls that go wrong in ways that must not reach others: the loop, other calls, other clients."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, DefaultAsyncHttpxClient, OpenAI

from agentd import MCPClient, MCPHandlers, ScriptedModel, patch_openai_with_mcp, unpatch_openai
from agentd.core.events import ToolFinished
from agentd.llm.scripted import Reply, ToolCall
from agentd.patch.sampling import ClientSampling
from agentd.tools import as_tool
from tests.fakes.driver import Driver
from tests.fakes.mcp_pushy import QUESTION, SAMPLE
from tests.fakes.mcp_servers import pushy
from tests.integration.patch.calls import MCP, add, outputs

SAMPLING = {"method": "sampling/createMessage", "params": SAMPLE}


class Boom(BaseException):
    pass


async def boom() -> None:
    raise Boom("x")


def interrupt() -> None:
    raise KeyboardInterrupt


async def interrupt_async() -> None:
    raise KeyboardInterrupt


class Rude:
    """A tool of somebody else's that raises, which tools must not."""

    spec = as_tool(add).spec

    async def call(self, arguments: object) -> Any:
        raise SystemExit("gone")


def patched(server: ScriptedModel, workspace: Path, **options: Any) -> Any:
    client = OpenAI(base_url=server.base_url, api_key="scripted", max_retries=0)
    return patch_openai_with_mcp(client, cwd=workspace, **options)


def test_no_tool_ends_the_loop_that_all_clients_live_on(driver: Driver, workspace: Path) -> None:
    names = ["boom", "interrupt", "interrupt_async", "add"]
    calls = tuple(ToolCall(name, {"a": 1} if name == "add" else {}) for name in names)
    with ScriptedModel([Reply(tool_calls=calls), "survived", "later"]) as server:
        driver.connect(server, workspace, tools=[boom, interrupt, interrupt_async, Rude()], **MCP)
        answer = driver.ask("x")
        assert answer.text == "survived" and driver.ask("x").text == "later"
        assert outputs(server.requests[1]) == [
            "Error: Boom: x",
            "Error: KeyboardInterrupt",
            "Error: KeyboardInterrupt",
            "Error: add failed: SystemExit: gone",
        ]
        assert [event.ok for event in answer.run.events if isinstance(event, ToolFinished)] == [False] * 4


@pytest.mark.parametrize("error", [Boom, SystemExit, KeyboardInterrupt])
def test_no_handler_ends_the_loop(workspace: Path, error: type[BaseException]) -> None:
    async def failing(request: object) -> None:
        raise error

    ask = Reply(tool_calls=(ToolCall("ask", {"method": "elicitation/create", "params": QUESTION}),))
    with ScriptedModel([ask, "ok", "later"]) as server:
        handlers = MCPHandlers(on_elicitation=failing)
        client = patched(server, workspace, tools=[], mcp_servers=[pushy()], handlers=handlers)
        assert client.responses.create(model="m", input="x").output_text == "ok"
        assert outputs(server.requests[1]) == ['{"action":"cancel"}']
        assert client.responses.create(model="m", input="x").output_text == "later"
        unpatch_openai(client)


def test_an_async_tool_cannot_block_the_loop_that_it_runs_on(workspace: Path) -> None:
    async def summarise() -> str:
        return client.responses.create(model="m", input="sum").output_text

    async def close() -> str:
        unpatch_openai(other)
        return "closed"

    script = [Reply(tool_calls=(ToolCall("summarise"), ToolCall("close"))), "outer"]
    with ScriptedModel(script) as server:
        other = patched(server, workspace, tools=[])
        client = patched(server, workspace, tools=[summarise, close])
        assert client.responses.create(model="m", input="x").output_text == "outer"
        refused, closed = outputs(server.requests[1])
        assert refused.startswith("Error: OptionError") and "use AsyncOpenAI" in refused and closed == "closed"
        unpatch_openai(client)


def test_an_async_tool_may_use_an_async_client(workspace: Path) -> None:
    async def summarise() -> str:
        async with AsyncOpenAI(base_url=server.base_url, api_key="scripted") as made:
            inner = patch_openai_with_mcp(made, cwd=workspace, tools=[add])
            return (await inner.responses.create(model="m", input="sum")).output_text

    script = [Reply(tool_calls=(ToolCall("summarise"),)), Reply(tool_calls=(ToolCall("add", {"a": 1}),)), "in", "out"]
    with ScriptedModel(script) as server:
        client = patched(server, workspace, tools=[summarise])
        assert client.responses.create(model="m", input="x").output_text == "out"
        assert outputs(server.requests[2]) == ["3"] and outputs(server.requests[3]) == ["in"]
        unpatch_openai(client)


def test_no_limit_runs_while_a_person_thinks(workspace: Path) -> None:
    def think(request: object) -> Any:
        time.sleep(2.5)
        return {"name": "Ada"}

    def slow() -> None:
        time.sleep(2.5)

    calls = (ToolCall("ask", {"method": "elicitation/create", "params": QUESTION}), ToolCall("slow"))
    with ScriptedModel([Reply(tool_calls=calls), "ok"]) as server:
        handlers = MCPHandlers(on_elicitation=think)
        client = patched(server, workspace, tools=[slow], mcp_servers=[pushy()], handlers=handlers, timeout=1)
        client.responses.create(model="m", input="x")
        asked, late = outputs(server.requests[1])
        assert "Ada" in asked and late == "Error: slow did not answer within 1 s"
        unpatch_openai(client)


def sampled_by(request: Any) -> bool:
    return request.body["model"] == "sampled"


@pytest.mark.parametrize("streamed", [False, True])
def test_servers_sample_no_more_than_max_calls_whatever_else_runs(workspace: Path, streamed: bool) -> None:
    def script(request: Any) -> Any:
        if sampled_by(request):
            client.responses.create(model="m", input="short")
            return "a haiku"
        if request.body["input"][-1].get("content") == "short" or outputs(request):
            return "ok"
        return Reply(tool_calls=(ToolCall("sample_forever"),))

    with ScriptedModel(script) as server:
        handlers = MCPHandlers(on_sampling=ClientSampling("sampled", max_calls=2))
        client = patched(server, workspace, tools=[], mcp_servers=[pushy()], handlers=handlers)
        for turn in (1, 2):
            response = client.responses.create(model="m", input="x", stream=streamed)
            if streamed:
                assert list(response)[-1].type == "response.completed"
            told = [each for request in server.requests for each in outputs(request)]
            assert told == ["2 answers, then the user does not want a model asked"] * turn
            used = response.agentd.sampling_usage
            assert used.output_tokens > 0 and len([each for each in server.requests if sampled_by(each)]) == 2 * turn
        assert client.responses.create(model="m", input="short").agentd.sampling_usage.output_tokens == 0
        unpatch_openai(client)


def wait_until_none_runs(client: Any) -> None:
    """A lost stream's call runs until it is collected, which is the collector's to time."""
    deadline = time.monotonic() + 20
    while client._agentd_patch.runtime.sampler._running:
        gc.collect()
        time.sleep(0.01)
        assert time.monotonic() < deadline


@pytest.mark.parametrize("left", ["failed", "closed", "lost", "held", "refused", "kept"])
def test_every_call_gives_servers_their_answers_anew_however_the_last_one_ended(workspace: Path, left: str) -> None:
    def script(request: Any) -> Any:
        if sampled_by(request):
            return "a haiku"
        if request.body["input"][-1].get("content") == "fail":
            return Reply(status=400)
        return "ok" if outputs(request) else Reply(tool_calls=(ToolCall("ask", SAMPLING),))

    held: list[Any] = []
    with ScriptedModel(script) as server:
        handlers = MCPHandlers(on_sampling=ClientSampling("sampled", max_calls=1))
        client = patched(server, workspace, tools=[], mcp_servers=[pushy()], handlers=handlers)

        def call(text: str, **options: Any) -> Any:
            return client.responses.create(model="m", input=text, **options)

        held.append(call("x"))
        if left in ("failed", "refused"):
            with pytest.raises(Exception) as raised:
                call("fail", **({"mcp_servers": [object()]} if left == "refused" else {}))
            held.append(raised.value)
        elif left != "kept":
            stream = call("x", stream=True)
            next(iter(stream))
            if left == "closed":
                stream.close()
            elif left == "held":
                held.append(list(stream))
            held.append(stream if left != "lost" else None)
            del stream
            wait_until_none_runs(client)
        for _ in range(2):
            server.requests.clear()
            held.append(call("x"))
            assert "a haiku" in outputs(server.requests[-1])[0]
        unpatch_openai(client)


async def test_sampling_uses_a_loop_that_lives(workspace: Path) -> None:
    """The latest call on the client has come from another loop, and has ended."""

    async def elsewhere() -> None:
        async with DefaultAsyncHttpxClient() as http:
            other = client.with_options(http_client=http)
            await other.responses.create(model="m", input="short")

    async def visit() -> str:
        thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
        thread.start()
        await asyncio.to_thread(thread.join)
        return "visited"

    def script(request: Any) -> Any:
        if sampled_by(request) or request.body["input"][-1].get("content") == "short":
            return "a haiku"
        call = [ToolCall("visit"), ToolCall("ask", SAMPLING), None][len(outputs(request))]
        return Reply(tool_calls=(call,)) if call else "ok"

    with ScriptedModel(script) as server:
        made = AsyncOpenAI(base_url=server.base_url, api_key="scripted", max_retries=0)
        handlers = MCPHandlers(on_sampling=ClientSampling("sampled"))
        client = patch_openai_with_mcp(made, cwd=workspace, tools=[visit], mcp_servers=[pushy()], handlers=handlers)
        response = await client.responses.create(model="m", input="x")
        assert response.output_text == "ok" and "a haiku" in outputs(server.requests[-1])[1]
        unpatch_openai(client)
        await client.close()


def test_a_client_of_which_only_a_copy_is_left_answers_servers(
    workspace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def script(request: Any) -> Any:
        asks = not sampled_by(request) and not outputs(request)
        return Reply(tool_calls=(ToolCall("ask", SAMPLING),)) if asks else "a haiku"

    with ScriptedModel(script) as server, caplog.at_level(logging.WARNING, "agentd.mcp"):
        handlers = MCPHandlers(on_sampling=ClientSampling("sampled"))
        client = patched(server, workspace, tools=[], mcp_servers=[pushy()], handlers=handlers).with_options(timeout=20)
        gc.collect()
        client.responses.create(model="m", input="x")
        assert "a haiku" in outputs(server.requests[-1])[0] and not caplog.text
        unpatch_openai(client)


def test_a_client_that_is_closed_does_not_take_the_servers_of_others(workspace: Path) -> None:
    closed = threading.Event()

    def close() -> None:
        unpatch_openai(first)
        closed.set()

    shared = MCPClient(pushy())
    calls = (ToolCall("elicit_forever"), ToolCall("close"))
    with ScriptedModel(["ok", Reply(tool_calls=calls), Reply(tool_calls=(ToolCall("pid"),)), "ok"]) as server:
        first = patched(server, workspace, tools=[], mcp_servers=[shared])
        first.responses.create(model="m", input="x")
        second = patched(server, workspace, tools=[close], mcp_servers=[shared])
        second.responses.create(model="m", input="x")
        assert closed.is_set()
        told = outputs(server.requests[-1])
        assert "0 answers" in told[0] and told[2].isdigit()
        unpatch_openai(second)
