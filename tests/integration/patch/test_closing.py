"""A caller who leaves, wherever and however: one end in the log, no open connection, nothing left waiting."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from agentd import ScriptedModel, display_events, patch_openai_with_ptc, unpatch_openai
from agentd.core.errors import OptionError
from agentd.llm.scripted import Reply, ToolCall
from tests.fakes.driver import Driver

CODE = "Hm.\n```bash:execute\necho 42\n```\n"
# An argument of no other process, not of another test worker either.
NAP = f"61.8{os.getpid()}"
SLEEP = f"```bash:execute\necho begun; sleep {NAP}\n```\n"
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}


def connected(server: ScriptedModel, workspace: Path, **options: Any) -> Any:
    client = OpenAI(base_url=server.base_url, api_key="scripted", max_retries=options.pop("max_retries", 0))
    return patch_openai_with_ptc(client, cwd=workspace, **options)


def test_a_stream_closed_at_any_event_has_one_end(api: str, workspace: Path) -> None:
    reached_end = False
    driver = Driver(api, "sync-stream")
    with ScriptedModel([Reply(CODE, chunk=16), Reply("It is", chunk=16)] * 99, repeat_last=True) as server:
        driver.connect(server, workspace)
        for count in range(60):
            stream = driver.resource().create(**driver.arguments("x", {"stream": True}))
            events = iter(stream)
            reached_end = sum(1 for _ in zip(range(count), events, strict=False)) < count
            stream.close()
            kinds = [event.type for event in stream.agentd.events]
            assert kinds.count("turn.ended") == 1 and kinds[-1] == "turn.ended", count
            assert kinds.count("code.started") == kinds.count("code.finished"), count
            if reached_end:
                break
            # An answer that was left is asked for no more: begin the next one at the start of the script's pair.
            if len(server.requests) % 2:
                driver.resource().create(**driver.arguments("x", {}))
        driver.close()
    assert reached_end


async def test_a_closed_async_stream_has_closed_its_connection(workspace: Path) -> None:
    with ScriptedModel([CODE, Reply("x" * 800, delay=0.02)]) as server:
        async with AsyncOpenAI(base_url=server.base_url, api_key="x", max_retries=0) as client:
            patch_openai_with_ptc(client, cwd=workspace)
            stream: Any = await client.responses.create(model="m", input="x", stream=True)
            async for event in stream:
                if event.type == "response.output_text.delta" and "x" in event.delta:
                    break
            await stream.close()
            pool: Any = client._client._transport
            assert pool._pool.connections == []
            unpatch_openai(client)


async def test_a_closed_stream_of_a_blocking_client_has_closed_its_connection_in_a_loop(workspace: Path) -> None:
    with ScriptedModel([CODE, Reply("x" * 800, delay=0.02)]) as server:
        client = connected(server, workspace)
        stream = client.responses.create(model="m", input="x", stream=True)
        for event in stream:
            if event.type == "response.output_text.delta" and "x" in event.delta:
                break
        stream.close()
        assert client._client._transport._pool.connections == []
        unpatch_openai(client).close()


def test_a_stream_may_be_closed_by_another_thread(workspace: Path) -> None:
    with ScriptedModel([SLEEP, "never"]) as server:
        client = connected(server, workspace)
        stream = client.responses.create(model="m", input="x", stream=True)
        begun, ended = threading.Event(), threading.Event()

        def read() -> None:
            for event in display_events(stream):
                if event.type == "code_output":
                    begun.set()
            ended.set()

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        assert begun.wait(10)
        stream.close()
        assert ended.wait(10)
        assert stream.agentd.status == "cancelled"
        assert [event.type for event in stream.agentd.events].count("turn.ended") == 1
        assert len(server.requests) == 1
        unpatch_openai(client).close()


def test_a_fork_does_not_wait_for_its_parents_turn(workspace: Path) -> None:
    with ScriptedModel([SLEEP, "never"]) as server:
        client = connected(server, workspace)
        stream = client.responses.create(model="m", input="x", stream=True)
        next(event for event in display_events(stream) if event.type == "code_output")
        child = os.fork()
        if child == 0:
            try:
                stream.close()
                os._exit(0 if stream.agentd.status == "cancelled" else 1)
            finally:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        assert stream.agentd.status is None
        stream.close()
        unpatch_openai(client).close()


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_came_before_a_cut_goes_to_the_caller(workspace: Path, stream: bool) -> None:
    item = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "weather", "arguments": "{}"}
    with ScriptedModel([Reply(CODE + "I guess 41.", items=[item | {"status": "completed"}]), "Fine."]) as server:
        client = connected(server, workspace)
        made = client.responses.create(model="m", input="x", tools=[WEATHER], stream=stream)
        response = list(made)[-1].response if stream else made
        assert [entry.type for entry in response.output] == ["function_call", "message", "code_interpreter_call"]
        assert response.output_text == "Hm.\n" and response.output[2].outputs[0].logs == "42\n"
        answer = {"type": "function_call_output", "call_id": "c1", "output": "rain"}
        history = [{"role": "user", "content": "x"}, *response.output, answer]
        assert client.responses.create(model="m", input=history, tools=[WEATHER]).output_text == "Fine."
        unpatch_openai(client).close()


def test_a_stream_that_was_begun_otherwise_can_be_displayed(workspace: Path) -> None:
    with ScriptedModel(["```bash:execute\necho begun; sleep 0.3\n```\n", "ok"]) as server:
        client = connected(server, workspace)
        stream = client.responses.create(model="m", input="x", stream=True)
        next(event for event in stream.response.stream.turn if getattr(event, "type", "") == "code.started")
        shown = list(display_events(stream))
        assert [event.output for event in shown if event.type == "code_execution"] == ["begun\n"]
        unpatch_openai(client).close()


def test_an_error_is_not_its_own_cause(workspace: Path) -> None:
    with ScriptedModel([Reply("hello there", malformed="json")]) as server:
        client = connected(server, workspace)
        with pytest.raises(Exception, match="JSON") as caught:
            list(client.responses.create(model="m", input="x", stream=True))
        assert caught.value.__cause__ is not caught.value
        unpatch_openai(client).close()


def test_an_error_event_with_an_error_in_it_is_raised_as_by_the_sdk(workspace: Path) -> None:
    body = b'event: error\ndata: {"type":"error","error":{"message":"overloaded","code":"x"},"sequence_number":0}\n\n'
    with ScriptedModel([Reply(raw_body=body, headers={"content-type": "text/event-stream"})]) as server:
        client = connected(server, workspace)
        with pytest.raises(openai.APIError, match="overloaded"):
            list(client.responses.create(model="m", input="x", stream=True))
        unpatch_openai(client).close()


def test_an_idempotency_key_is_of_the_first_model_call_only(workspace: Path) -> None:
    with ScriptedModel([CODE, CODE, "ok"]) as server:
        client = connected(server, workspace)
        client.responses.create(model="m", input="x", extra_headers={"Idempotency-Key": "one", "X-Mine": "yes"})
        assert [request.headers.get("idempotency-key") for request in server.requests] == ["one", None, None]
        assert {request.headers.get("x-mine") for request in server.requests} == {"yes"}
        unpatch_openai(client).close()


def test_headers_set_on_the_http_client_count_at_once(workspace: Path) -> None:
    with ScriptedModel(["one", "two", "three"]) as server:
        client = connected(server, workspace)
        for value in ("a", "a", "b"):
            client._client.headers["X-Gate"] = value
            client.responses.create(model="m", input="x")
        assert [request.headers["x-gate"] for request in server.requests] == ["a", "a", "b"]
        unpatch_openai(client).close()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_a_refused_call_is_made_as_often_as_the_sdk_was_told(workspace: Path, stream: bool, rounds: int) -> None:
    busy = Reply("busy", status=503, headers={"Retry-After-Ms": "1"})
    with ScriptedModel([CODE] * rounds + [busy], repeat_last=True) as server:
        client = connected(server, workspace, max_retries=2)
        with pytest.raises(openai.InternalServerError):
            list(client.responses.create(model="m", input="x", stream=stream))
        counts = [request.headers["x-stainless-retry-count"] for request in server.requests]
        assert counts == ["0"] * rounds + ["0", "1", "2"]
        unpatch_openai(client).close()


async def test_no_shell_is_opened_for_a_client_that_was_unpatched(workspace: Path) -> None:
    gate = threading.Event()
    with ScriptedModel([Reply(["Wait. ", gate, "\n```bash:execute\ntouch late\n```\n"]), "ok"]) as server:
        client = connected(server, workspace)
        stream = client.responses.create(model="m", input="x", stream=True)
        unpatch_openai(client)
        gate.set()
        with pytest.raises(OptionError, match="unpatched"):
            await asyncio.to_thread(list, stream)
        assert not (workspace / "late").exists()
        client.close()


def test_a_tool_call_of_the_caller_beside_code_comes_back(workspace: Path) -> None:
    with ScriptedModel([Reply(CODE, tool_calls=[ToolCall("weather")])]) as server:
        client = connected(server, workspace)
        response = client.responses.create(model="m", input="x", tools=[WEATHER])
        assert [entry.type for entry in response.output] == ["message", "function_call", "code_interpreter_call"]
        unpatch_openai(client).close()
