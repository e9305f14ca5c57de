"""The scripted model's Chat Completions dialect, through the real SDK and on the wire."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx2
import pytest
from openai import APIError, AsyncOpenAI, InternalServerError, OpenAI
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel

from agentd.llm.scripted import Reply, ScriptedModel, ToolCall

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]
HEADERS = {"Authorization": "Bearer k", "Content-Type": "application/json"}


class Point(BaseModel):
    x: int
    y: int


@pytest.fixture
def both() -> Iterator[ScriptedModel]:
    calls = [ToolCall("add", {"a": 1}), ToolCall("broken", '{"a": ', id="call_7")]
    with ScriptedModel(Reply("Grüße, 世界", tool_calls=calls, reasoning="hm, well", chunk=3)) as server:
        yield server


def sdk(server: ScriptedModel) -> OpenAI:
    return OpenAI(base_url=server.base_url, api_key="scripted", max_retries=0)


def test_create(both: ScriptedModel) -> None:
    with sdk(both) as client:
        completion = client.chat.completions.create(model="gpt-5-mini", messages=HELLO)
    choice = completion.choices[0]
    assert completion.model == "gpt-5-mini-scripted"
    assert choice.message.content == "Grüße, 世界" and choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls
    first, second = (call for call in choice.message.tool_calls if call.type == "function")
    assert (first.function.name, json.loads(first.function.arguments)) == ("add", {"a": 1})
    assert (second.id, second.function.arguments) == ("call_7", '{"a": ')
    usage = completion.usage
    assert usage and usage.prompt_tokens == 2 and usage.total_tokens == 2 + usage.completion_tokens
    assert usage.prompt_tokens_details and usage.prompt_tokens_details.cached_tokens == 0
    assert usage.completion_tokens_details and usage.completion_tokens_details.reasoning_tokens == 2


def test_stream_on_the_wire(both: ScriptedModel) -> None:
    body = {"model": "m", "messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}
    answer = httpx2.post(f"{both.base_url}/chat/completions", json=body, headers=HEADERS)
    *blocks, done = answer.text.strip().split("\n\n")
    assert done == "data: [DONE]"
    chunks = [json.loads(block.removeprefix("data: ")) for block in blocks]
    *said, usage = chunks
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert all(chunk["usage"] is None for chunk in said)
    assert usage["choices"] == [] and usage["usage"]["completion_tokens"] > 0
    deltas = [chunk["choices"][0]["delta"] for chunk in said]
    assert deltas[0] == {"role": "assistant", "content": "", "refusal": None} and deltas[-1] == {}
    assert [delta["content"] for delta in deltas[1:] if "content" in delta] == ["Grü", "ße,", " 世界"]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "hm, well"
    finishes = [chunk["choices"][0]["finish_reason"] for chunk in said]
    assert finishes == [None] * (len(said) - 1) + ["tool_calls"]


def test_usage_is_in_no_chunk_that_did_not_ask_for_it(both: ScriptedModel) -> None:
    body = {"model": "m", "messages": HELLO, "stream": True}
    answer = httpx2.post(f"{both.base_url}/chat/completions", json=body, headers=HEADERS)
    assert '"finish_reason":"tool_calls"' in answer.text and '"usage"' not in answer.text


def test_the_sdk_accumulator(both: ScriptedModel) -> None:
    with sdk(both) as client, client.chat.completions.stream(model="m", messages=HELLO) as stream:
        final = stream.get_final_completion()
        whole = client.chat.completions.create(model="m", messages=HELLO)
    message, same = final.choices[0].message, whole.choices[0].message
    assert message.content == same.content
    assert message.tool_calls and same.tool_calls
    functions = [call.function for call in message.tool_calls if call.type == "function"]
    assert [function.name for function in functions] == ["add", "broken"]
    assert functions[1].arguments == '{"a": '
    assert final.usage is None, "usage only comes when it is asked for"


def test_parse_and_several_choices() -> None:
    with ScriptedModel('{"x": 1, "y": 2}') as server, sdk(server) as client:
        parsed = client.chat.completions.parse(model="m", messages=HELLO, response_format=Point, n=2)
    assert [choice.message.parsed for choice in parsed.choices] == [Point(x=1, y=2)] * 2


async def test_async_client(both: ScriptedModel) -> None:
    async with AsyncOpenAI(base_url=both.base_url, api_key="k", max_retries=0) as client:
        text = ""
        async for chunk in await client.chat.completions.create(model="m", messages=HELLO, stream=True):
            text += chunk.choices[0].delta.content or ""
    assert text == "Grüße, 世界"


def test_raw_and_streaming_raw_responses(both: ScriptedModel) -> None:
    with sdk(both) as client:
        raw = client.chat.completions.with_raw_response.create(model="m", messages=HELLO)
        assert raw.parse().choices[0].message.content == "Grüße, 世界"
        with client.chat.completions.with_streaming_response.create(model="m", messages=HELLO) as response:
            assert response.headers["x-agentd-scripted"] == "1"
            assert json.loads(response.read())["object"] == "chat.completion"


def test_refusal_and_finish_reason() -> None:
    with ScriptedModel([Reply(refusal="no"), Reply("half", finish_reason="length")]) as server, sdk(server) as client:
        refused = client.chat.completions.create(model="m", messages=HELLO)
        short = client.chat.completions.create(model="m", messages=HELLO)
    assert refused.choices[0].message.refusal == "no" and refused.choices[0].message.content is None
    assert short.choices[0].finish_reason == "length"


def test_a_failure_within_the_answer() -> None:
    with ScriptedModel(Reply("half", finish_reason="failed")) as server, sdk(server) as client:
        text = ""
        with pytest.raises(APIError, match="as its script says"):
            for chunk in client.chat.completions.create(model="m", messages=HELLO, stream=True):
                text += chunk.choices[0].delta.content or ""
        assert text == "half"
        with pytest.raises(InternalServerError):
            client.chat.completions.create(model="m", messages=HELLO)
