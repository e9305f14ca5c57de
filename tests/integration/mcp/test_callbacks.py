"""What servers ask, and how the user's callbacks answer."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from agentd.core.errors import OptionError
from agentd.core.tools import Media, ToolSpec
from agentd.mcp.callbacks import MAX_QUESTIONS
from agentd.mcp.client import MCPClient
from agentd.mcp.contents import Text, ToolUse, ToolUseResult
from agentd.mcp.handlers import ElicitationRequest, LogMessage, SamplingAnswer, SamplingMessage, SamplingRequest
from tests.fakes.mcp_pushy import QUESTION, SAMPLE
from tests.fakes.mcp_servers import npm_server, pushy

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 2},
        "age": {"type": "integer", "default": 7},
        "mood": {"type": "string", "enum": ["good", "bad"], "default": "good"},
    },
    "required": ["name", "mood"],
}


async def asked(client: MCPClient, method: str, params: Any = None) -> Any:
    """Let the server ask, and return what it was answered."""
    result = await client.call_tool("ask", {"method": method, **({"params": params} if params else {})})
    assert result.ok, result.value
    return result.value


async def test_a_form_with_defaults() -> None:
    seen: list[ElicitationRequest] = []

    async def answer(request: ElicitationRequest) -> dict[str, Any]:
        seen.append(request)
        return {"name": "Ada"}

    async with MCPClient(pushy(), on_elicitation=answer) as client:
        told = await asked(client, "elicitation/create", {"message": "who?", "requestedSchema": SCHEMA})
        assert told == {"action": "accept", "content": {"age": 7, "mood": "good", "name": "Ada"}}
    assert seen == [ElicitationRequest("mcp_pushy", "who?", "form", schema=SCHEMA)]


@pytest.mark.parametrize(
    ("given", "reason"), [({}, "'name' is required"), ({"name": "x"}, "at least 2"), ({"name": 5}, "must be text")]
)
async def test_an_answer_that_does_not_fit_is_declined(
    given: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with MCPClient(pushy(), on_elicitation=lambda _: given) as client:
        told = await asked(client, "elicitation/create", {"message": "who?", "requestedSchema": SCHEMA})
    assert told == {"action": "decline"} and reason in caplog.text


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (asyncio.CancelledError, "coroutine"),
        (asyncio.CancelledError, "function"),
        (KeyError, "coroutine"),
        (KeyError, "function"),
        (StopIteration, "function"),
        (SystemExit, "function"),
        (KeyboardInterrupt, "function"),
    ],
)
async def test_declined_and_cancelled(error: type[BaseException], kind: str) -> None:
    async def failing(_: ElicitationRequest) -> None:
        raise error

    def failing_too(_: ElicitationRequest) -> None:
        raise error

    async with MCPClient(pushy(), on_elicitation=failing if kind == "coroutine" else failing_too) as client:
        assert await asked(client, "elicitation/create", QUESTION) == {"action": "cancel"}
        assert (await client.call_tool("echo", {"text": "usable"})).value == "usable"
    async with MCPClient(pushy(), on_elicitation=lambda _: None) as client:
        assert await asked(client, "elicitation/create", QUESTION) == {"action": "decline"}


async def test_a_url() -> None:
    seen: list[ElicitationRequest] = []

    def answer(request: ElicitationRequest) -> dict[str, Any]:
        seen.append(request)
        return {"not": "sent"}

    params = {"mode": "url", "message": "log in", "url": "https://x.test/in", "elicitationId": "e1"}
    async with MCPClient(pushy(), on_elicitation=answer) as client:
        assert await asked(client, "elicitation/create", params) == {"action": "accept"}
    assert seen == [ElicitationRequest("mcp_pushy", "log in", "url", url="https://x.test/in", id="e1")]


async def test_urls_that_must_be_visited_first() -> None:
    seen: list[str] = []
    async with MCPClient(pushy(), on_elicitation=lambda request: seen.append(request.url) or {}) as client:
        assert (await client.call_tool("locked", {"visits": 1})).value == "open" and seen == ["https://x.test/in"]
        told = await client.call_tool("locked", {"visits": 3})
        assert not told.ok and "must first go to https://x.test/in: log in" in str(told.value) and len(seen) == 2
    async with MCPClient(pushy(), on_elicitation=lambda _: None) as client:
        assert "must first go to https://x.test/in" in str((await client.call_tool("locked", {"visits": 1})).value)


async def test_what_has_no_callback_is_not_declared(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with MCPClient(pushy("--log", str(log))) as client:
        for method, params in (
            ("elicitation/create", QUESTION),
            ("sampling/createMessage", SAMPLE),
            ("roots/list", None),
        ):
            assert "not supported" in (await asked(client, method, params))["error"]["message"]
    assert declared(log) == {}
    async with MCPClient(
        pushy("--log", str(log)), on_elicitation=lambda _: {}, on_sampling=lambda _: None, roots=["/tmp"]
    ):
        pass
    assert set(declared(log)) == {"elicitation", "sampling", "roots"} and "tools" in declared(log)["sampling"]


def declared(log: Path) -> Any:
    messages = [json.loads(line) for line in log.read_text().splitlines()]
    return [each["params"]["capabilities"] for each in messages if each.get("method") == "initialize"][-1]


async def test_a_blocking_callback_blocks_nobody_and_stops_the_clock() -> None:
    threads: list[threading.Thread] = []
    loop, begun = asyncio.get_running_loop(), asyncio.Event()

    def slow(_: ElicitationRequest) -> dict[str, Any]:
        threads.append(threading.current_thread())
        loop.call_soon_threadsafe(begun.set)
        time.sleep(1.0)
        return {}

    async with MCPClient(pushy(), on_elicitation=slow, call_timeout=0.6) as client:
        await client.list_tools()
        asking = asyncio.create_task(asked(client, "elicitation/create", QUESTION))
        await begun.wait()
        assert (await client.call_tool("echo", {"text": "meanwhile"})).value == "meanwhile"
        assert not asking.done()
        assert await asking == {"action": "accept", "content": {}}, "the user's second is not the server's"
        late = await client.call_tool("wait")
        assert "did not answer within 0.6 s" in str(late.value), "the clock runs again"
    assert threads[0] is not threading.main_thread()


@pytest.mark.parametrize("what", ["elicit_forever", "sample_forever"])
async def test_a_server_that_asks_for_ever(what: str) -> None:
    count = 0

    async def answer(_: Any) -> Any:
        nonlocal count
        count += 1
        return {} if what == "elicit_forever" else SamplingAnswer("again", "m")

    async with MCPClient(pushy(), on_elicitation=answer, on_sampling=answer) as client:
        for _ in range(2):
            told = await client.call_tool(what)
            assert str(told.value).startswith(f"{MAX_QUESTIONS} answers, then more than {MAX_QUESTIONS} questions")
    assert count == 2 * MAX_QUESTIONS


async def test_sampling() -> None:
    seen: list[SamplingRequest] = []

    def answer(request: SamplingRequest) -> SamplingAnswer:
        seen.append(request)
        return SamplingAnswer("fine", "model-1", "maxTokens")

    used = {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": 1}}
    gave = {"type": "tool_result", "toolUseId": "t1", "content": [{"type": "text", "text": "seen"}]}
    params = {
        "messages": [
            {"role": "user", "content": {"type": "image", "mimeType": "image/png", "data": "AAAA"}},
            {"role": "user", "content": {"type": "audio", "mimeType": "audio/wav", "data": "BBBB"}},
            {"role": "assistant", "content": [{"type": "text", "text": "hm"}, used]},
            {"role": "user", "content": gave},
        ],
        "maxTokens": 5,
        "systemPrompt": "Be kind.",
        "temperature": 0.5,
        "stopSequences": ["."],
        "modelPreferences": {"hints": [{"name": "sonnet"}, {}], "speedPriority": 0.3},
        "tools": [{"name": "look", "description": "Look.", "inputSchema": {"type": "object"}}],
        "toolChoice": {"mode": "required"},
        "includeContext": "thisServer",
        "metadata": {"k": 1},
    }
    async with MCPClient(pushy(), on_sampling=answer) as client:
        told = await asked(client, "sampling/createMessage", params)
    content = {"type": "text", "text": "fine"}
    assert told == {"role": "assistant", "content": content, "model": "model-1", "stopReason": "maxTokens"}
    assert seen == [
        SamplingRequest(
            server="mcp_pushy",
            messages=(
                SamplingMessage("user", (Media("image", "image/png", "AAAA"),)),
                SamplingMessage("user", (Media("audio", "audio/wav", "BBBB"),)),
                SamplingMessage("assistant", (Text("hm"), ToolUse("t1", "look", {"at": 1}))),
                SamplingMessage("user", (ToolUseResult("t1", (Text("seen"),)),)),
            ),
            max_tokens=5,
            system_prompt="Be kind.",
            temperature=0.5,
            stop_sequences=(".",),
            model_hints=("sonnet",),
            speed_priority=0.3,
            include_context="thisServer",
            tools=(ToolSpec("look", "Look.", {"type": "object"}, server="mcp_pushy"),),
            tool_choice="required",
            metadata={"k": 1},
        )
    ]


async def test_sampling_with_other_answers(caplog: pytest.LogCaptureFixture) -> None:
    answers: list[Any] = [
        SamplingAnswer(model="m", stop_reason="toolUse", content=(Text("so"), ToolUse("1", "look", {}))),
        SamplingAnswer(model="m", content=(Media("image", "image/png", "AAAA"),)),
        None,
        "just text",
        SamplingAnswer(content=(ToolUseResult("1"),)),
    ]
    tools = {"tools": [{"name": "look", "inputSchema": {"type": "object"}}]}
    async with MCPClient(pushy(), on_sampling=lambda _: answers.pop(0)) as client:
        told = await asked(client, "sampling/createMessage", SAMPLE | tools)
        assert [each["type"] for each in told["content"]] == ["text", "tool_use"] and told["stopReason"] == "toolUse"
        assert (await asked(client, "sampling/createMessage", SAMPLE))["content"]["type"] == "image"
        assert "does not want" in (await asked(client, "sampling/createMessage", SAMPLE))["error"]["message"]
        for _ in range(2):
            told = await asked(client, "sampling/createMessage", SAMPLE)
            assert told["error"]["message"] == "the model could not be asked"
    assert "it returns a SamplingAnswer" in caplog.text


async def test_roots(tmp_path: Path) -> None:
    log = tmp_path / "log"
    folder = tmp_path / "a b#c"
    async with MCPClient(pushy("--log", str(log)), roots=[folder, "file:///given"]) as client:
        told = await asked(client, "roots/list")
        assert told == {"roots": [{"uri": folder.as_uri(), "name": "a b#c"}, {"uri": "file:///given"}]}
        assert "a%20b%23c" in told["roots"][0]["uri"]
        await client.set_roots([tmp_path])
        assert (await asked(client, "roots/list"))["roots"][0]["uri"] == tmp_path.as_uri()
        assert "notifications/roots/list_changed" in log.read_text()
    async with MCPClient(pushy()) as client:
        with pytest.raises(OptionError, match="not introduced"):
            await client.set_roots([tmp_path])
    client = MCPClient(pushy())
    await client.set_roots([tmp_path])
    async with client:
        assert (await asked(client, "roots/list"))["roots"][0]["uri"] == tmp_path.as_uri()


async def test_a_flood_of_log_notices(caplog: pytest.LogCaptureFixture) -> None:
    lines: list[LogMessage] = []
    with caplog.at_level(logging.DEBUG, "agentd.mcp.server"):
        async with MCPClient(pushy(), on_log=lines.append) as client:
            assert (await client.call_tool("flood", {"count": 3000})).value == "flooded"
    assert lines == [LogMessage("mcp_pushy", "alert", number, "l") for number in range(3000)]
    record = next(each for each in caplog.records if each.name == "agentd.mcp.server")
    assert record.levelno == logging.CRITICAL and record.getMessage() == "mcp_pushy/l: 0"


async def test_a_slow_log_callback_loses_lines_and_not_memory() -> None:
    lines: list[LogMessage] = []

    async def slow(line: LogMessage) -> None:
        lines.append(line)
        await asyncio.sleep(0.2)

    async with MCPClient(pushy(), on_log=slow) as client:
        assert (await client.call_tool("flood", {"count": 3000})).value == "flooded"
        assert (await client.call_tool("echo", {"text": "x"})).value == "x"
    assert 0 < len(lines) < 1000
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("log of")]


async def test_server_everything() -> None:
    answer = {"name": "Ada", "check": True, "email": "a@b.test", "untitledMultipleSelectEnum": ["Piano"]}
    async with MCPClient(
        npm_server("mcp-server-everything"),
        on_elicitation=lambda _: answer if "inputs" in _.message else None,
        on_sampling=lambda request: SamplingAnswer(f"{request.max_tokens} tokens", "m"),
        roots=["/tmp"],
    ) as client:
        told = str((await client.call_tool("trigger-sampling-request", {"prompt": "p", "maxTokens": 42})).value)
        assert "42 tokens" in told
        told = str((await client.call_tool("trigger-elicitation-request")).value)
        assert "Ada" in told and "a@b.test" in told
        assert "file:///tmp" in str((await client.call_tool("get-roots-list")).value)
