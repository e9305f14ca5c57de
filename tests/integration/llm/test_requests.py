"""What a provider is sent: its raw requests, as one server of each kind of API got them."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from agentd.core.errors import OptionError
from agentd.core.events import Usage
from tests.fakes import accumulate
from tests.fakes.messages_http import MessagesServer, Said
from tests.integration.llm.conftest import CLIENT_KEY, LOOK, Talker

pytestmark = pytest.mark.xdist_group("litellm")

NAME = "claude-sonnet-4-5"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
THOUGHT = {"type": "thinking", "thinking": "First the weather.", "signature": "signed-by-the-provider"}
CALLS: list[dict[str, Any]] = [
    {"type": "text", "text": "Let me look."},
    {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"city": "Oslo"}},
    {"type": "tool_use", "id": "toolu_2", "name": "look", "input": {"city": "Rome"}},
]


def body_of(messages: MessagesServer) -> dict[str, Any]:
    return messages.asked[-1].body


@pytest.mark.parametrize("mode", ["sync", "async-stream"])
def test_keys_and_names_of_the_client_stay_with_openai(messages: MessagesServer, api: str, mode: str) -> None:
    messages.say(Said())
    client = {"default_headers": {"x-of-the-client": "secret"}, "project": "project-of-the-client"}
    given = {"x-of-the-call": "1", "X-Stainless-Raw-Response": "true", "Idempotency-Key": "once"}
    Talker(api, mode, client, {"headers": given}).send(NAME, "hello")
    headers = messages.asked[0].headers
    assert headers["x-api-key"] == "key-of-anthropic"
    assert headers["x-of-the-call"] == "1"
    assert not [
        name for name in headers if name.startswith(("x-stainless", "openai", "idempotency", "x-of-the-client"))
    ]
    everything = repr(headers) + repr(messages.asked[0].body)
    assert CLIENT_KEY not in everything
    assert "of-the-client" not in everything


def test_parameters(messages: MessagesServer) -> None:
    messages.say(Said(), Said())
    Talker("chat").send(NAME, "hello", max_tokens=77, temperature=0.5, stop=["END"])
    chat = body_of(messages)
    assert (chat["max_tokens"], chat["temperature"], chat["stop_sequences"]) == (77, 0.5, ["END"])
    Talker("responses").send(
        NAME, "hello", max_output_tokens=77, temperature=0.5, stop=["END"], instructions="Be brief."
    )
    responses = body_of(messages)
    assert (responses["max_tokens"], responses["temperature"], responses["stop_sequences"]) == (77, 0.5, ["END"])
    assert "Be brief." in repr(responses["system"])


def test_hints_that_change_no_answer_are_left_out(messages: MessagesServer, api: str) -> None:
    messages.say(Said())
    hints = {"store": False, "metadata": {"a": "b"}, "user": "u", "prompt_cache_key": "k", "safety_identifier": "s"}
    Talker(api).send(NAME, "hello", service_tier="auto", parallel_tool_calls=True, tools=[LOOK], **hints)
    assert "prompt_cache_key" not in body_of(messages)


@pytest.mark.parametrize(
    ("api", "asked"),
    [("chat", {"logit_bias": {"50256": -100}}), ("chat", {"n": 2}), ("responses", {"top_logprobs": 3})],
    ids=["logit_bias", "n", "top_logprobs"],
)
def test_what_a_provider_does_not_take_is_refused(messages: MessagesServer, api: str, asked: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError, match=next(iter(asked))):
        Talker(api).send(NAME, "hello", **asked)
    assert messages.asked == []


@pytest.mark.parametrize(
    "asked",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"background": True},
        {"truncation": "auto"},
        {"prompt": {"id": "pmpt_1"}},
        {"include": ["file_search_call.results"]},
    ],
    ids=lambda asked: next(iter(asked)),
)
def test_what_only_openais_servers_do_is_refused(messages: MessagesServer, asked: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(asked))):
        Talker("responses").send(NAME, "hello", **asked)
    assert messages.asked == []


def test_hosted_tools_are_refused(messages: MessagesServer) -> None:
    with pytest.raises(OptionError, match="code_interpreter"):
        Talker("responses").send(NAME, "hello", raw_tools=[{"type": "code_interpreter", "container": {"type": "auto"}}])
    assert messages.asked == []


def test_extra_query_is_refused(messages: MessagesServer) -> None:
    with pytest.raises(OptionError, match="extra_query"):
        Talker("chat", options={"params": {"a": "b"}}).send(NAME, "hello")


def test_an_image(messages: MessagesServer, api: str) -> None:
    messages.say(Said())
    url = f"data:image/png;base64,{PIXEL}"
    if api == "chat":
        parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": url}}]
    else:
        parts = [{"type": "input_text", "text": "What is it?"}, {"type": "input_image", "image_url": url}]
    Talker(api).send(NAME, [{"role": "user", "content": parts}])
    text, image = body_of(messages)["messages"][0]["content"]
    assert text["text"] == "What is it?"
    assert image["source"] == {"type": "base64", "media_type": "image/png", "data": PIXEL}


def test_an_image_in_the_result_of_a_call(messages: MessagesServer) -> None:
    messages.say(Said())
    parts = [
        {"type": "input_text", "text": "a dot"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"},
    ]
    call = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "c1", "output": parts}
    Talker("responses").send(NAME, [{"role": "user", "content": "look"}, call, result], tools=[LOOK])
    (given,) = body_of(messages)["messages"][-1]["content"]
    assert given["type"] == "tool_result"
    assert [part["type"] for part in given["content"]] == ["text", "image"]


def test_a_schema_for_the_answer(messages: MessagesServer, api: str) -> None:
    messages.say(Said(content=[{"type": "text", "text": '{"city": "Oslo"}'}]))
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    form = {"name": "city", "schema": schema | {"additionalProperties": False}, "strict": True}
    chat = {"response_format": {"type": "json_schema", "json_schema": form}}
    Talker(api).send(
        NAME, "where", **(chat if api == "chat" else {"text": {"format": {"type": "json_schema", **form}}})
    )
    assert "'city'" in repr({key: value for key, value in body_of(messages).items() if key != "messages"})


@pytest.mark.parametrize("mode", ["sync", "sync-stream", "async-stream"])
def test_a_providers_reasoning_goes_back_to_it(messages: MessagesServer, api: str, mode: str) -> None:
    """A provider refuses results of calls without what led to them; OpenAI's formats have no place for it."""
    messages.say(Said([THOUGHT, *CALLS], stop="tool_use"), Said())
    talker = Talker(api, mode)
    said: list[dict[str, Any]] = [{"role": "user", "content": "weather"}]
    frames = talker.send(NAME, said, tools=[LOOK])
    if api == "chat":
        message = accumulate.completion(frames, talker.streamed).choices[0].message
        calls = [call.model_dump(exclude_none=True) for call in message.tool_calls or []]
        said.append({"role": "assistant", "content": message.content, "tool_calls": calls})
        said += [{"role": "tool", "tool_call_id": call["id"], "content": "rain"} for call in calls]
    else:
        output = accumulate.response(frames, talker.streamed).output
        assert [item.type for item in output] == ["reasoning", "message", "function_call", "function_call"]
        said += [item.model_dump(exclude_none=True) for item in output]
        made = [item.call_id for item in output if item.type == "function_call"]
        said += [{"type": "function_call_output", "call_id": call, "output": "rain"} for call in made]
    talker.send(NAME, said, tools=[LOOK], reasoning_effort="low")
    user, assistant, results = body_of(messages)["messages"]
    assert user["role"] == "user"
    assert [part["type"] for part in assistant["content"]] == ["thinking", "text", "tool_use", "tool_use"]
    assert assistant["content"][0] == THOUGHT
    assert [part["tool_use_id"] for part in results["content"]] == ["toolu_1", "toolu_2"]
    assert body_of(messages)["thinking"]


def test_usage_and_what_it_costs(messages: MessagesServer, api: str, mode: str) -> None:
    usage = {"input_tokens": 100, "output_tokens": 50, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 0}
    messages.say(Said(usage=usage))
    talker = Talker(api, mode)
    frames = talker.send(NAME, "hello")
    if api == "chat":
        told: Any = accumulate.completion(frames, talker.streamed).usage
        counted = told.prompt_tokens, told.prompt_tokens_details.cached_tokens, told.completion_tokens
    else:
        told = accumulate.response(frames, talker.streamed).usage
        counted = told.input_tokens, told.input_tokens_details.cached_tokens, told.output_tokens
    assert counted == (1000, 900, 50)
    cost = talker.model.cost(Usage(1000, 50, 900), NAME, "claude-sonnet-4-5", "")
    assert cost == pytest.approx((100 * 3 + 900 * 0.3 + 50 * 15) / 1e6)


def test_the_turn_ends_where_the_provider_says(messages: MessagesServer, api: str, mode: str) -> None:
    messages.say(Said(stop="max_tokens"))
    talker = Talker(api, mode)
    frames = talker.send(NAME, "hello")
    if api == "chat":
        assert accumulate.completion(frames, talker.streamed).choices[0].finish_reason == "length"
        return
    answer = accumulate.response(frames, talker.streamed)
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert not talker.streamed or frames[-1]["type"] == "response.incomplete"


def test_headers_of_the_provider(messages: MessagesServer, mode: str) -> None:
    messages.say(Said(headers={"request-id": "req_7", "anthropic-ratelimit-requests-remaining": "9"}))
    talker = Talker("chat", mode)
    talker.send(NAME, "hello")
    http = talker.model.response
    assert type(http).__module__.split(".")[0] == type(talker.client()._client).__mro__[-2].__module__.split(".")[0]
    assert http.headers["anthropic-ratelimit-requests-remaining"] == "9"
    assert dict(http.headers.multi_items())["request-id"] == "req_7"
    assert http.elapsed.total_seconds() > 0
    assert http.request.method == "POST"
    assert "anthropic" in http.request.url.host
