"""What some providers send, and what LiteLLM makes of some requests, that is not as it should be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from agentd.core.errors import MalformedReply, OptionError, StreamCut
from tests.fakes import accumulate
from tests.fakes.messages_http import MessagesServer, Said
from tests.fakes.raw_http import Raw, RawServer, events, json_lines, raw_server, whole
from tests.integration.llm.conftest import CLIENT_KEY, LOOK, Frames, Talker

pytestmark = pytest.mark.xdist_group("litellm")

NAME = "hosted_vllm/m"
USER = {"role": "user", "content": "hello"}
CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
GEMINI: dict[str, Any] = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "ok"}]}, "finishReason": "STOP", "index": 0}]
}
GEMINI["usageMetadata"] = {"promptTokenCount": 3, "candidatesTokenCount": 1, "totalTokenCount": 4}
OLLAMA = {"model": "llama3", "created_at": "2026-01-01T00:00:00Z", "done": False}
OLLAMA_END = {**OLLAMA, "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}


@pytest.fixture
def raw(monkeypatch: pytest.MonkeyPatch) -> Iterator[RawServer]:
    """A server in the place of four providers'."""
    with raw_server() as server:
        for provider in ("HOSTED_VLLM", "OPENAI", "GEMINI", "OLLAMA"):
            monkeypatch.setenv(f"{provider}_API_BASE", server.url)
            monkeypatch.setenv(f"{provider}_API_KEY", "key-of-the-environment")
        yield server


def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {**CHUNK, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def completion(*choices: dict[str, Any]) -> dict[str, Any]:
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, "usage": USAGE}


def called(call_id: str | None, arguments: str, index: int = 0, name: str | None = "look") -> dict[str, Any]:
    call: dict[str, Any] = {"index": index, "function": {"arguments": arguments}}
    if name:
        call["function"]["name"] = name
    return {"tool_calls": [{**call, **({"id": call_id, "type": "function"} if call_id else {})}]}


def calls_of(talker: Talker, frames: Frames) -> list[tuple[str, Any]]:
    if talker.api == "chat":
        made: Any = accumulate.completion(frames, talker.streamed).choices[0].message.tool_calls or []
        return [(call.id, json.loads(call.function.arguments)) for call in made]
    output: Any = accumulate.response(frames, talker.streamed).output
    return [(item.call_id, json.loads(item.arguments)) for item in output if item.type == "function_call"]


@pytest.mark.parametrize(
    "answer",
    [
        events(),
        events({**CHUNK, "choices": []}),
        events({**CHUNK, "choices": [], "usage": USAGE}),
        events(chunk({"role": "assistant", "content": ""})),
        events(done=False),
    ],
    ids=["nothing", "no choice", "only usage", "only a role", "not even an end"],
)
@pytest.mark.parametrize("mode", ["sync-stream", "async-stream"])
def test_a_stream_without_an_answer_is_cut(raw: RawServer, api: str, mode: str, answer: Raw) -> None:
    raw.say(answer)
    with pytest.raises(StreamCut, match="hosted_vllm"):
        Talker(api, mode).send(NAME, "hello")


def test_a_stream_of_gemini_without_an_answer_is_cut(raw: RawServer, api: str) -> None:
    raw.say(events(done=False))
    with pytest.raises((StreamCut, openai.APIConnectionError), match="finish_reason"):
        Talker(api, "sync-stream").send("gemini-2.5-flash", "hello")


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("name", [NAME, "gemini-2.5-flash"])
def test_a_completion_without_a_choice_is_malformed(raw: RawServer, api: str, mode: str, name: str) -> None:
    raw.say(whole(completion() if name == NAME else {"usageMetadata": {}}))
    with pytest.raises(MalformedReply, match="no choices"):
        Talker(api, mode).send(name, "hello")


@pytest.mark.parametrize("mode", ["sync", "sync-stream"])
def test_a_model_may_have_nothing_to_say(raw: RawServer, api: str, mode: str) -> None:
    """An empty answer with a real end is an answer."""
    streamed = events(chunk({"role": "assistant"}), chunk({}, "stop"))
    message = {"index": 0, "message": {"role": "assistant", "content": None}, "finish_reason": "stop"}
    raw.say(streamed if mode == "sync-stream" else whole(completion(message)))
    talker = Talker(api, mode)
    frames = talker.send(NAME, "hello")
    if api == "chat":
        assert accumulate.completion(frames, talker.streamed).choices[0].finish_reason == "stop"
    else:
        answer = accumulate.response(frames, talker.streamed)
        assert (answer.status, answer.output) == ("completed", [])


@pytest.mark.parametrize("mode", ["sync-stream", "async-stream"])
def test_calls_that_are_all_numbered_0(raw: RawServer, api: str, mode: str) -> None:
    parts = [called("a", '{"city"'), called(None, ': "Oslo"}', name=None)]
    parts += [called("b", '{"city"'), called("b", ': "Rome"}')]
    raw.say(events(*map(chunk, parts), chunk({}, "tool_calls")))
    talker = Talker(api, mode)
    frames = talker.send(NAME, "hello", tools=[LOOK])
    assert calls_of(talker, frames) == [("a", {"city": "Oslo"}), ("b", {"city": "Rome"})]


def test_calls_that_are_numbered_from_1(raw: RawServer, api: str) -> None:
    parts = [called("a", "{}", 1), called("b", "{}", 2)]
    raw.say(events(*map(chunk, parts), chunk({}, "tool_calls")))
    talker = Talker(api, "sync-stream")
    assert calls_of(talker, talker.send(NAME, "hello", tools=[LOOK])) == [("a", {}), ("b", {})]


@pytest.mark.parametrize("given", [{}, {"city": "Oslo"}], ids=["without arguments", "with arguments"])
def test_calls_of_ollama_come_one_by_one(raw: RawServer, api: str, given: dict[str, Any]) -> None:
    message = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "look", "arguments": given}}]}
    raw.say(json_lines({**OLLAMA, "message": message}, {**OLLAMA, "message": message}, OLLAMA_END))
    talker = Talker(api, "sync-stream")
    (first, one), (second, other) = calls_of(talker, talker.send("ollama_chat/llama3", "hello", tools=[LOOK]))
    assert one == other == given
    assert first and second and first != second


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("key", [CLIENT_KEY, "a function"])
def test_openais_models_are_paid_for_by_the_client(raw: RawServer, api: str, mode: str, key: str) -> None:
    async def later() -> str:
        return "key-of-a-function"

    fetched: Any = later if mode == "async" else lambda: "key-of-a-function"
    account = {"api_key": fetched if key == "a function" else key, "project": "project-of-the-client"}
    answer = {"id": "r", "object": "response", "created_at": 1, "model": "m", "status": "completed", "output": []}
    message = {"index": 0, "message": {"role": "assistant", "content": "Well."}, "finish_reason": "stop"}
    raw.say(whole(completion(message) if api == "chat" else answer))
    Talker(api, mode, account, {"headers": {"x-of-the-call": "1"}}).send("openai/gpt-5-mini", "hello")
    (headers,) = raw.headers
    assert headers["authorization"] == f"Bearer {'key-of-a-function' if key == 'a function' else key}"
    assert headers["openai-organization"] == "org-of-the-client"
    assert headers["openai-project"] == "project-of-the-client"
    assert headers["x-of-the-call"] == "1"


def test_nobody_else_is_paid_by_the_client(raw: RawServer, api: str) -> None:
    message = {"index": 0, "message": {"role": "assistant", "content": "Well."}, "finish_reason": "stop"}
    raw.say(whole(completion(message)))
    Talker(api, "sync", {"project": "project-of-the-client"}).send(NAME, "hello")
    assert raw.headers[0]["authorization"] == "Bearer key-of-the-environment"
    assert "of-the-client" not in repr(raw.headers)


def equal_calls(api: str) -> list[dict[str, Any]]:
    """Return a conversation with two equal calls and one other, whose results differ."""
    given = {"a": "{}", "b": '{"city": "Rome"}', "c": "{}"}
    if api == "chat":
        made = [{"id": x, "type": "function", "function": {"name": "look", "arguments": y}} for x, y in given.items()]
        results = [{"role": "tool", "tool_call_id": call, "content": f"result {call}"} for call in given]
        return [USER, {"role": "assistant", "content": "", "tool_calls": made}, *results, {**USER, "content": "so?"}]
    items = [{"type": "function_call", "call_id": x, "name": "look", "arguments": y} for x, y in given.items()]
    outputs = [{"type": "function_call_output", "call_id": call, "output": f"result {call}"} for call in given]
    return [USER, *items, *outputs, {**USER, "content": "so?"}]


def test_equal_calls_go_back_to_gemini_with_all_their_results(raw: RawServer, api: str) -> None:
    """It refuses a request with more results than calls."""
    raw.say(whole(GEMINI))
    Talker(api, "sync").send("gemini-2.5-flash", equal_calls(api), tools=[LOOK])
    said = [[next(iter(part)) for part in content["parts"]] for content in raw.bodies[0]["contents"]]
    assert said == [
        ["text"],
        ["function_call", "function_call"],
        ["function_response", "function_response"],
        ["function_call"],
        ["function_response"],
        ["text"],
    ]
    results = [
        part["function_response"]["response"] for turn in (2, 4) for part in raw.bodies[0]["contents"][turn]["parts"]
    ]
    assert results == [{"content": f"result {call}"} for call in "abc"]


def test_nothing_is_put_beside_calls_for_anthropic(messages: MessagesServer, api: str) -> None:
    messages.say(Said())
    Talker(api, "sync").send("claude-sonnet-4-5", equal_calls(api), tools=[LOOK])
    _, assistant, results = messages.asked[0].body["messages"]
    assert [part["type"] for part in assistant["content"]] == ["tool_use"] * 3
    assert [part["type"] for part in results["content"]] == ["tool_result"] * 3 + ["text"]


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "look"}], ids=["required", "named"])
def test_ollama_cannot_be_made_to_call(raw: RawServer, api: str, choice: Any) -> None:
    if api == "chat" and isinstance(choice, dict):
        choice = {"type": "function", "function": {"name": "look"}}
    with pytest.raises(OptionError, match="tool_choice"):
        Talker(api, "sync").send("ollama_chat/llama3", "hello", tools=[LOOK], tool_choice=choice)
    assert raw.bodies == []


@pytest.mark.parametrize(("choice", "tools"), [("none", 0), ("auto", 1)])
def test_ollama_can_be_kept_from_calling(raw: RawServer, api: str, choice: str, tools: int) -> None:
    raw.say(whole({**OLLAMA_END, "message": {"role": "assistant", "content": "Well."}}))
    Talker(api, "sync").send("ollama_chat/llama3", "hello", tools=[LOOK], tool_choice=choice)
    assert len(raw.bodies[0].get("tools", [])) == tools


@pytest.mark.parametrize(
    ("choice", "anthropic", "gemini"),
    [("none", "none", "NONE"), ("auto", "auto", "AUTO"), ("required", "any", "ANY"), ("look", "tool", "ANY")],
)
def test_a_choice_of_tools(
    raw: RawServer, messages: MessagesServer, api: str, choice: str, anthropic: str, gemini: str
) -> None:
    raw.say(whole(GEMINI))
    messages.say(Said())
    named = {"function": {"name": "look"}} if api == "chat" else {"name": "look"}
    given = {"type": "function", **named} if choice == "look" else choice
    Talker(api, "sync").send("claude-sonnet-4-5", "hello", tools=[LOOK], tool_choice=given, parallel_tool_calls=False)
    asked = messages.asked[0].body["tool_choice"]
    assert asked["type"] == anthropic
    assert asked.get("name") == ("look" if choice == "look" else None)
    assert choice == "none" or asked["disable_parallel_tool_use"] is True
    Talker(api, "sync").send("gemini-2.5-flash", "hello", tools=[LOOK], tool_choice=given)
    config = raw.bodies[0]["toolConfig"]["functionCallingConfig"]
    assert config["mode"] == gemini
    assert config.get("allowed_function_names") == (["look"] if choice == "look" else None)


def test_images_after_results(raw: RawServer, messages: MessagesServer) -> None:
    """This is how the loop shows what a tool has given where a result holds text only."""
    raw.say(whole(GEMINI))
    messages.say(Said())
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    said = [*equal_calls("chat")[:-1], {"role": "user", "content": [{"type": "text", "text": "Look gave:"}, image]}]
    Talker("chat", "sync").send("claude-sonnet-4-5", said, tools=[LOOK])
    last = messages.asked[0].body["messages"][-1]
    assert [part["type"] for part in last["content"]] == ["tool_result"] * 3 + ["text", "image"]
    Talker("chat", "sync").send("gemini-2.5-flash", said, tools=[LOOK])
    assert [next(iter(part)) for part in raw.bodies[0]["contents"][-1]["parts"]] == ["text", "inline_data"]


def test_tokens_read_from_and_written_to_a_cache(messages: MessagesServer, api: str, mode: str) -> None:
    usage = {"input_tokens": 100, "output_tokens": 50, "cache_read_input_tokens": 900}
    messages.say(Said(usage=usage | {"cache_creation_input_tokens": 200}))
    talker = Talker(api, mode)
    frames = talker.send("claude-sonnet-4-5", "hello")
    if api == "chat":
        told: Any = accumulate.completion(frames, talker.streamed).usage
        assert (told.prompt_tokens, told.completion_tokens, told.total_tokens) == (1200, 50, 1250)
        assert told.prompt_tokens_details.cached_tokens == 900
        return
    told = accumulate.response(frames, talker.streamed).usage
    assert (told.input_tokens, told.output_tokens, told.total_tokens) == (1200, 50, 1250)
    assert told.input_tokens_details.cached_tokens == 900
    assert told.input_tokens_details.cache_write_tokens == 200
