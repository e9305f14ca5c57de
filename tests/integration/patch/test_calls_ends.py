"""How turns with JSON calls end: left early, interrupted, several at once, and beside fenced code."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from agentd import ScriptedModel, patch_openai_with_mcp, unpatch_openai
from agentd.core.errors import NotPatched
from agentd.core.events import ToolFinished
from agentd.llm.scripted import Reply, ToolCall
from agentd.patch.outside import open_bridge
from tests.fakes.driver import Driver
from tests.integration.patch.calls import MCP, add, calls_of, outputs, own_function


@pytest.mark.parametrize("mode", ["sync-stream", "async-stream"])
def test_a_stream_that_is_closed_cancels_its_calls(api: str, mode: str, workspace: Path) -> None:
    begun, release = threading.Event(), threading.Event()
    after: list[str] = []

    async def wait() -> None:
        begun.set()
        try:
            await asyncio.sleep(30)
            after.append("went on")
        finally:
            release.set()

    driver = Driver(api, mode)
    with ScriptedModel([Reply("Waiting.", tool_calls=(ToolCall("wait"),))]) as server:
        driver.connect(server, workspace, tools=[wait], **MCP)
        arguments = {**driver.arguments("x", {}), "stream": True}
        if driver.is_async:

            async def leave() -> Any:
                stream = await driver.resource().create(**arguments)
                reading = asyncio.create_task(_read(stream))
                await asyncio.to_thread(begun.wait, 10)
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
                await stream.close()
                return stream.agentd

            run = driver.run(leave())
        else:
            stream = driver.resource().create(**arguments)
            reading = threading.Thread(target=lambda: list(stream), daemon=True)
            reading.start()
            assert begun.wait(10)
            stream.close()
            reading.join(10)
            assert not reading.is_alive()
            run = stream.agentd
        assert release.wait(10) and after == []
        assert run.status == "cancelled"
        assert [event.ok for event in run.events if isinstance(event, ToolFinished)] == [False]
    driver.close()


async def _read(stream: Any) -> None:
    async for _ in stream:
        pass


def test_calls_on_one_client_from_many_threads(workspace: Path) -> None:
    def script(request: Any) -> Any:
        (asked,) = [item["content"] for item in request.body["input"] if item.get("role") == "user"]
        done = outputs(request)
        return done[0] if done else Reply(tool_calls=(ToolCall("add", {"a": int(asked), "b": 0}),))

    with ScriptedModel(script) as server:
        client = patch_openai_with_mcp(
            OpenAI(base_url=server.base_url, api_key="x", max_retries=0), cwd=workspace, tools=[add]
        )

        def ask(number: int) -> str:
            return client.responses.create(model="m", input=str(number)).output_text

        with ThreadPoolExecutor(16) as pool:
            assert list(pool.map(ask, range(64))) == [str(number) for number in range(64)]
        unpatch_openai(client).close()


def test_a_fence_beside_an_own_call_is_told_when_the_caller_goes_on(api: str, workspace: Path) -> None:
    fence = "Running.\n\n```bash:execute\necho forty-two\n```\n"
    script = [Reply(fence, tool_calls=(ToolCall("ask_user", {"question": "why?"}, id="call_own"),)), "done"]
    driver = Driver(api, "sync")
    with ScriptedModel(script) as server:
        driver.connect(server, workspace, tools=[])
        own = [own_function(api)]
        answer = driver.ask("x", tools=own)
        assert calls_of(answer) == [("call_own", "ask_user")]
        user = {"role": "user", "content": "x"}
        if api == "responses":
            told: Any = {"type": "function_call_output", "call_id": "call_own", "output": "because"}
            asked = [user, *answer.response.output, told]
        else:
            told = {"role": "tool", "tool_call_id": "call_own", "content": "because"}
            asked = [user, answer.response.choices[0].message, told]
        assert driver.ask(asked, tools=own).text == "done"
        body = server.requests[1].body
        sent = body["input"] if api == "responses" else body["messages"]
        results = [item for item in sent if "forty-two\n" in str(item.get("content")) and item.get("role") == "user"]
        assert len(results) == 1 and "exit code 0" in results[0]["content"]
        assert "because" in str(sent)
    driver.close()


def test_an_outside_bridge_ends_with_its_client(workspace: Path) -> None:
    client = patch_openai_with_mcp(OpenAI(api_key="x"), cwd=workspace, tools=[add])
    with open_bridge(client) as bridge:
        assert bridge.url.startswith("http://127.0.0.1:") and bridge.token
        unpatch_openai(client)
        assert bridge.url == ""
    client.close()
    with pytest.raises(NotPatched, match="open_bridge"):
        open_bridge(client)
