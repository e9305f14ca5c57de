"""Streams of turns with JSON calls: well formed for the SDK's readers, with the caller's calls, and ours as results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from pydantic import BaseModel

from agentd import ScriptedModel, patch_openai_with_mcp, unpatch_openai
from agentd.llm.scripted import Reply, ToolCall
from tests.integration.patch.calls import add, own_function

SCRIPT = [
    Reply("Adding.", tool_calls=(ToolCall("add", {"a": 40}), ToolCall("add", {"a": "many"}))),
    Reply("Asking.", tool_calls=(ToolCall("ask_user", {"question": "why?"}, id="call_own"), ToolCall("add", {"a": 1}))),
]


class Sum(BaseModel):
    total: int


@pytest.fixture
def patched(workspace: Path) -> Iterator[Any]:
    made: list[Any] = []

    def make(script: Any) -> Any:
        server = ScriptedModel(script)
        client = OpenAI(base_url=server.base_url, api_key="scripted", max_retries=0)
        made.append((patch_openai_with_mcp(client, cwd=workspace, tools=[add]), server))
        return client

    yield make
    for client, server in made:
        unpatch_openai(client).close()
        server.close()


def test_a_responses_stream_is_one_whole(patched: Any) -> None:
    client = patched(SCRIPT)
    events = list(client.responses.create(model="m", input="x", tools=[own_function("responses")], stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert (
        kinds.count("response.created") == kinds.count("response.completed") == 1 and kinds[-1] == "response.completed"
    )
    response = events[-1].response
    shown = [(item.type, getattr(item, "name", "")) for item in response.output]
    assert shown == [
        ("message", ""), ("mcp_call", "add"), ("mcp_call", "add"),
        ("message", ""), ("function_call", "ask_user"), ("mcp_call", "add"),
    ]  # fmt: skip
    done = {event.output_index: event.item for event in events if event.type == "response.output_item.done"}
    assert [done[index].to_dict() for index in range(6)] == [item.to_dict() for item in response.output]
    assert [item.status for item in response.output if item.type == "mcp_call"] == ["completed", "failed", "completed"]
    assert kinds.count("response.mcp_call.completed") == 2 and kinds.count("response.mcp_call.failed") == 1
    named = {event.item_id for event in events if event.type.startswith("response.function_call_arguments")}
    assert named == {item.id for item in response.output if item.type == "function_call"}
    assert [tool.name for tool in response.tools] == ["ask_user"]


def test_the_sdks_accumulator_reads_a_responses_stream(patched: Any) -> None:
    calls = (ToolCall("add", {"a": 40}), ToolCall("add", {"a": "many"}))
    client = patched([Reply(tool_calls=calls), '{"total": 42}'])
    with client.responses.stream(model="m", input="x", text_format=Sum) as stream:
        for _ in stream:
            pass
        final = stream.get_final_response()
    assert final.output[-1].content[0].parsed == Sum(total=42)
    assert [item.type for item in final.output] == ["mcp_call", "mcp_call", "message"]


def test_parsing_takes_the_last_message(patched: Any) -> None:
    client = patched([SCRIPT[0], '{"total": 42}', SCRIPT[0], '{"total": 43}'])
    assert client.responses.parse(model="m", input="x", text_format=Sum).output_parsed == Sum(total=42)
    messages: Any = [{"role": "user", "content": "x"}]
    completion = client.chat.completions.parse(model="m", messages=messages, response_format=Sum)
    assert completion.choices[0].message.parsed == Sum(total=43)


def test_a_chat_stream_has_the_callers_calls_only(patched: Any) -> None:
    client = patched(SCRIPT)
    messages: Any = [{"role": "user", "content": "x"}]
    with client.chat.completions.stream(model="m", messages=messages, tools=[own_function("chat")]) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    (choice,) = final.choices
    assert choice.finish_reason == "tool_calls" and choice.message.content == "Adding.Asking."
    (call,) = choice.message.tool_calls
    assert (call.id, call.function.name, call.function.arguments) == ("call_own", "ask_user", '{"question": "why?"}')


def test_chat_chunks_count_the_callers_calls_from_zero(patched: Any) -> None:
    client = patched([Reply(tool_calls=(ToolCall("add", {"a": 1}), ToolCall("ask_user", {"question": "why?"})))])
    messages: Any = [{"role": "user", "content": "x"}]
    chunks = list(
        client.chat.completions.create(model="m", messages=messages, tools=[own_function("chat")], stream=True)
    )
    deltas = [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or []]
    assert deltas and {call.index for call in deltas} == {0} and deltas[0].function.name == "ask_user"


def test_usage_and_price_are_sums(workspace: Path) -> None:
    usage = {"input_tokens": 1000, "output_tokens": 100, "cached_tokens": 200, "reasoning_tokens": 50}
    script = [Reply(tool_calls=(ToolCall("add", {"a": 1}),), usage=usage), Reply("ok", usage=usage)]
    with ScriptedModel(script * 2) as server:
        client = OpenAI(base_url=server.base_url, api_key="scripted", max_retries=0)
        patch_openai_with_mcp(client, cwd=workspace, tools=[add])
        response = client.responses.create(model="gpt-5-mini", input="x")
        run: Any = response.agentd  # pyright: ignore[reportAttributeAccessIssue]
        assert response.usage is not None
        assert (response.usage.input_tokens, response.usage.output_tokens) == (2000, 200)
        assert response.usage.input_tokens_details.cached_tokens == 400
        assert (run.usage.input_tokens, run.usage.cached_tokens, run.usage.reasoning_tokens) == (2000, 400, 100)
        # A server of one's own may call its model what it likes: that is no price.
        assert run.usage.cost_usd is None and run.events[-1].cost_usd is None
        assert (run.events[-1].input_tokens, run.events[-1].output_tokens) == (2000, 200)
        unpatch_openai(client).close()
