"""Whatever a client offers around `create` goes on working on a patched one."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, AzureOpenAI, DefaultHttpxClient, OpenAI
from pydantic import BaseModel

from agentd import ScriptedModel, display_events, patch_openai_with_ptc, unpatch_openai
from agentd.core.errors import OptionError
from agentd.llm.scripted import Reply, ToolCall
from agentd.patch.options import CallOptions

CODE = "Counting.\n\n```bash:execute\necho 42\n```\n"
CHAT: Any = [{"role": "user", "content": "How many?"}]


class Count(BaseModel):
    count: int


@contextlib.contextmanager
def serving(script: Any, cls: Any, workspace: Path) -> Iterator[tuple[Any, ScriptedModel]]:
    with ScriptedModel(script) as server:
        client = cls(base_url=server.base_url, api_key="scripted", max_retries=0)
        yield patch_openai_with_ptc(client, cwd=workspace), server
        unpatch_openai(client)


@pytest.fixture
def patched(workspace: Path) -> Iterator[Any]:
    with contextlib.ExitStack() as stack:

        def make(script: Any) -> tuple[Any, ScriptedModel]:
            client, server = stack.enter_context(serving(script, OpenAI, workspace))
            stack.callback(client.close)
            return client, server

        yield make


@pytest.fixture
async def patched_async(workspace: Path) -> AsyncIterator[Any]:
    async with contextlib.AsyncExitStack() as stack:

        def make(script: Any) -> tuple[Any, ScriptedModel]:
            client, server = stack.enter_context(serving(script, AsyncOpenAI, workspace))
            stack.push_async_callback(client.close)
            return client, server

        yield make


def test_a_response_is_the_sdks_own(patched: Any) -> None:
    client, _ = patched([CODE, "It is 42."])
    response = client.responses.create(model="m", input="How many?", instructions="Be brief.")
    assert type(response).__name__ == "Response"
    assert response.instructions == "Be brief."
    kinds = [item.type for item in response.output]
    assert kinds == ["message", "code_interpreter_call", "message"]
    assert response.output[1].code == "echo 42"
    assert response.output[1].outputs[0].logs == "42\n"
    assert response.output_text == "Counting.\n\nIt is 42."
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens > 0
    assert "agentd" not in response.model_dump()
    assert response.agentd.events[0].type == "turn.started"
    assert response._request_id is None or isinstance(response._request_id, str)


def test_usage_is_the_sum_of_all_calls(patched: Any) -> None:
    figures = {"input_tokens": 10, "output_tokens": 5}
    client, _ = patched([Reply(CODE, usage=figures), Reply("42", usage=figures)] * 2)
    assert client.responses.create(model="m", input="x").usage.input_tokens == 20
    assert client.chat.completions.create(model="m", messages=CHAT).usage.completion_tokens == 10


def test_parse(patched: Any) -> None:
    client, _ = patched([CODE, '{"count": 42}', CODE, '{"count": 42}'])
    response = client.responses.parse(model="m", input="How many?", text_format=Count)
    assert response.output_parsed == Count(count=42)
    assert [item.type for item in response.output][1] == "code_interpreter_call"
    completion = client.chat.completions.parse(model="m", messages=CHAT, response_format=Count)
    assert completion.choices[0].message.parsed == Count(count=42)
    assert completion.agentd.status == response.agentd.status == "completed"


def test_stream_helpers_accumulate(patched: Any) -> None:
    client, _ = patched([CODE, "It is 42.", CODE, "It is 42."])
    with client.responses.stream(model="m", input="How many?") as stream:
        events = list(stream)
        final = stream.get_final_response()
    numbers = [event.sequence_number for event in events if hasattr(event, "sequence_number")]
    assert numbers == sorted(numbers)
    assert [event.type for event in events].count("response.created") == 1
    assert [event.type for event in events].count("response.completed") == 1
    assert final.output_text == "Counting.\n\nIt is 42."
    with client.chat.completions.stream(model="m", messages=CHAT) as stream:
        for _ in stream:
            pass
        assert stream.get_final_completion().choices[0].message.content == "Counting.\n\nIt is 42."


def test_display_of_a_stream_helper(patched: Any) -> None:
    client, _ = patched([CODE, "Done."])
    with client.responses.stream(model="m", input="x", max_turns=5) as stream:
        assert [event.type for event in display_events(stream)][-1] == "turn_end"


def test_a_raw_stream_is_well_formed(patched: Any) -> None:
    client, _ = patched([CODE, "It is 42."])
    events = list(client.responses.create(model="m", input="x", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created" and events[-1].type == "response.completed"
    added = [event.output_index for event in events if event.type == "response.output_item.added"]
    done = [event.output_index for event in events if event.type == "response.output_item.done"]
    assert added == done == [0, 1, 2]
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == events[-1].response.output_text == "Counting.\n\nIt is 42."


def test_chat_chunks_stay_pure(patched: Any) -> None:
    client, _ = patched([CODE, "It is 42."])
    chunks = list(
        client.chat.completions.create(model="m", messages=CHAT, stream=True, stream_options={"include_usage": True})
    )
    assert {type(chunk).__name__ for chunk in chunks} == {"ChatCompletionChunk"}
    assert len({chunk.id for chunk in chunks}) == 1
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert [choice.delta.role for choice in choices if choice.delta.role] == ["assistant"]
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["stop"]
    assert [bool(chunk.usage) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


@pytest.mark.parametrize("stream", [False, True])
def test_raw_responses(patched: Any, stream: bool) -> None:
    client, _ = patched([CODE, "It is 42."] * 3)
    raw = client.responses.with_raw_response.create(model="m", input="x", stream=stream, max_turns=9)
    assert raw.status_code == 200 and raw.headers["content-type"]
    parsed = raw.parse()
    assert (list(parsed)[-1].response if stream else parsed).output_text == "Counting.\n\nIt is 42."
    with client.responses.with_streaming_response.create(model="m", input="x", stream=stream) as raw:
        body = "".join(raw.iter_text())
    assert "It is 42." in body and ("event: response.completed" in body) == stream
    raw = client.chat.completions.with_raw_response.create(model="m", messages=CHAT, stream=stream)
    assert raw.parse() is not None


async def test_raw_responses_of_an_async_client(patched_async: Any) -> None:
    client, _ = patched_async([CODE, "It is 42."] * 2)
    raw = await client.responses.with_raw_response.create(model="m", input="x")
    assert raw.parse().output_text == "Counting.\n\nIt is 42."
    async with client.responses.with_streaming_response.create(model="m", input="x", stream=True) as raw:
        lines = [line async for line in raw.iter_lines()]
    assert any("response.completed" in line for line in lines)


async def test_stream_helper_of_an_async_client(patched_async: Any) -> None:
    client, _ = patched_async([CODE, "It is 42."] * 2)
    async with client.responses.stream(model="m", input="x", max_turns=4) as stream:
        final = await stream.get_final_response()
    assert final.output_text.endswith("It is 42.")
    parsed = await client.responses.parse(model="m", input="x")
    assert parsed.output_text.endswith("It is 42.")


def test_derived_clients_share_the_runtime(patched: Any) -> None:
    client, server = patched([CODE.replace("echo 42", "export A=7"), "ok", CODE.replace("echo 42", "echo $A"), "ok"])
    client.responses.create(model="m", input="x")
    derived = client.with_options(timeout=5).copy()
    response = derived.responses.create(model="m", input="x")
    assert response.output[1].outputs[0].logs == "7\n"
    assert len(server.requests) == 4


def test_azure_keeps_its_deployment_path(workspace: Path) -> None:
    with ScriptedModel([CODE, "It is 42."] * 2) as server:
        endpoint = server.base_url.rsplit("/v1", 1)[0]
        client = AzureOpenAI(azure_endpoint=endpoint, api_key="scripted", api_version="2025-01-01", max_retries=0)
        patch_openai_with_ptc(client, cwd=workspace)
        completion = client.chat.completions.create(model="dep", messages=CHAT)
        assert completion.choices[0].message.content == "It is 42."
        assert {request.path.split("?")[0] for request in server.requests} == {
            "/openai/deployments/dep/chat/completions"
        }
        client.responses.create(model="dep", input="x")
        assert server.requests[-1].path.split("?")[0] == "/openai/responses"
        unpatch_openai(client).close()


def test_a_client_that_builds_requests_its_own_way(workspace: Path) -> None:
    seen: list[Any] = []

    class Signing(OpenAI):
        def _build_request(self, options: Any, **more: Any) -> Any:
            seen.append(options.json_data)
            return super()._build_request(options, **more)

    with ScriptedModel([CODE, "ok"]) as server:
        client = patch_openai_with_ptc(Signing(base_url=server.base_url, api_key="scripted"), cwd=workspace)
        client.responses.create(model="m", input="x")
        assert len(seen) == 2 and all(body["model"] == "m" for body in seen)
        unpatch_openai(client).close()


def test_unpatching_restores_the_client(patched: Any) -> None:
    client, _ = patched([CODE, "plain"])
    before = OpenAI(base_url="http://127.0.0.1:1", api_key="x", http_client=client._client)
    patch_openai_with_ptc(client)  # a second time changes nothing
    assert "_post" in vars(client.responses)
    unpatch_openai(client)
    assert set(vars(client.responses)) == set(vars(before.responses))
    assert client.responses.create(model="m", input="x").output_text == CODE
    with pytest.raises(TypeError, match="max_turns"):
        client.responses.create(model="m", input="x", max_turns=3)


def test_two_clients_are_apart(tmp_path: Path) -> None:
    pwd = "```bash:execute\npwd; echo ${A-none}; export A=1\n```\n"
    with ScriptedModel([pwd, "ok"] * 2) as server:
        for name in ("one", "two"):
            client = OpenAI(base_url=server.base_url, api_key="scripted")
            patch_openai_with_ptc(client, cwd=tmp_path / name)
            response: Any = client.responses.create(model="m", input="x")
            assert response.output[1].outputs[0].logs == f"{tmp_path / name}\nnone\n"
            unpatch_openai(client).close()


def test_a_lost_client_is_closed(workspace: Path) -> None:
    with ScriptedModel([CODE, "ok"]) as server:
        client = patch_openai_with_ptc(OpenAI(base_url=server.base_url, api_key="x"), cwd=workspace)
        client.responses.create(model="m", input="x")
        http, runtime, lost = client._client, vars(client)["_agentd_patch"].runtime, weakref.ref(client)
        del client
        gc.collect()
        assert lost() is None
        with pytest.raises(OptionError, match="unpatched"):
            runtime.prepare_blocking(CallOptions())
        http.close()


async def test_a_blocking_client_works_inside_a_running_loop(patched: Any) -> None:
    client, _ = patched([CODE, "It is 42."] * 2)
    assert client.responses.create(model="m", input="x").output_text.endswith("42.")
    stream = client.responses.create(model="m", input="x", stream=True)
    assert [event.type for event in display_events(stream)][-1] == "turn_end"


async def test_calls_on_one_client_run_at_once_and_never_block_the_loop(patched_async: Any) -> None:
    slow = "```bash:execute\nsleep 0.6\n```\n"
    client, _ = patched_async(lambda request: slow if "Result" not in request.last_text else "ok")
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    begun = asyncio.get_running_loop().time()
    await asyncio.gather(*(client.responses.create(model="m", input="x") for _ in range(4)))
    took = asyncio.get_running_loop().time() - begun
    ticking.cancel()
    assert took < 4 * 0.6
    assert ticks > 10


def test_the_callers_own_tools_come_back_to_the_caller(patched: Any) -> None:
    client, server = patched([Reply("", tool_calls=[ToolCall("weather", {"city": "Rome"})])] * 2)
    flat = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}
    response = client.responses.create(model="m", input="x", tools=[flat])
    assert [item.type for item in response.output] == ["function_call"]
    nested = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    completion = client.chat.completions.create(model="m", messages=CHAT, tools=[nested])
    assert completion.choices[0].message.tool_calls[0].function.name == "weather"
    assert completion.choices[0].finish_reason == "tool_calls"
    assert [len(request.body["tools"]) for request in server.requests] == [1, 1]


def test_our_output_may_be_sent_back(patched: Any) -> None:
    client, server = patched([CODE, "It is 42.", "Yes."])
    history: list[Any] = [{"role": "user", "content": "How many?"}]
    response = client.responses.create(model="m", input=history)
    history += response.output
    client.responses.create(model="m", input=[*history, {"role": "user", "content": "Sure?"}])
    first, second = server.requests[1].body["input"], server.requests[2].body["input"]
    assert second[: len(first)] == first or [item.get("content") for item in second[:3]] != []
    assert "code_interpreter_call" not in str(second)
    assert "echo 42" in str(second) and "exit code 0" in str(second)


def test_what_else_the_caller_says_is_passed_on(patched: Any) -> None:
    client, server = patched(["one", "two", "three"])
    first = client.responses.create(model="m", input="x", store=True)
    image = {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"}
    content = [{"type": "input_text", "text": "see"}, image]
    client.responses.create(
        model="m",
        input=[{"role": "user", "content": content}],
        previous_response_id=first.id,
        text={"format": {"type": "json_object"}},
        extra_body={"user": "me"},
    )
    sent = server.requests[1].body
    assert sent["previous_response_id"] == first.id and sent["user"] == "me"
    assert sent["text"] == {"format": {"type": "json_object"}}
    assert sent["input"][-1]["content"] == content
    system = {"role": "system", "content": "Be brief."}
    client.chat.completions.create(model="m", messages=[system, *CHAT], temperature=0.5)
    sent = server.requests[2].body
    assert sent["messages"][0]["content"].startswith("Be brief.")
    assert sent["messages"][1:] == CHAT and sent["temperature"] == 0.5


@pytest.mark.parametrize("stream", [False, True])
def test_a_later_call_goes_on_from_the_end_of_the_turn(patched: Any, stream: bool) -> None:
    client, server = patched([CODE, "It is 42.", "Yes."])
    made = client.responses.create(model="m", input="How many?", stream=stream)
    response = list(made)[-1].response if stream else made
    client.responses.create(model="m", input="Sure?", previous_response_id=response.id)
    named = client.responses.retrieve(server.requests[2].body["previous_response_id"])
    assert named.output_text == "It is 42."


@pytest.mark.parametrize("hooked", [False, True])
def test_every_model_call_goes_through_the_callers_http_client(workspace: Path, hooked: bool) -> None:
    sent: list[Any] = []
    hooks: Any = {"request": [sent.append], "response": [sent.append]} if hooked else {}
    with ScriptedModel([CODE, CODE, "ok"] * 2) as server, DefaultHttpxClient(event_hooks=hooks) as http:
        http.headers["X-Own"] = "1"
        client = OpenAI(base_url=server.base_url, api_key="x", http_client=http)
        patch_openai_with_ptc(client, cwd=workspace)
        for _ in range(2):
            assert client.responses.create(model="m", input="x").output_text.endswith("ok")
        unpatch_openai(client)
    assert len(server.requests) == 6
    assert {request.headers["x-own"] for request in server.requests} == {"1"}
    assert len(sent) == (12 if hooked else 0)


def test_a_closed_http_client_stays_closed(workspace: Path) -> None:
    with ScriptedModel(["ok"] * 3) as server:
        client = patch_openai_with_ptc(OpenAI(base_url=server.base_url, api_key="x", max_retries=0), cwd=workspace)
        client.responses.create(model="m", input="x")
        client.close()
        with pytest.raises(Exception, match=r".") as patched:
            client.responses.create(model="m", input="x")
        unpatch_openai(client)
        with pytest.raises(Exception, match=r".") as plain:
            client.responses.create(model="m", input="x")
        assert patched.type is plain.type
        assert len(server.requests) == 1
