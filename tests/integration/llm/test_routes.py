"""Each provider's protocol over real HTTP, in all forms of a call: text, reasoning, a round of parallel calls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes import accumulate
from tests.fakes.aimock import AiMock, aimock
from tests.integration.llm.conftest import LOOK, Frames, Talker

pytestmark = pytest.mark.xdist_group("litellm")

USAGE = {"input_tokens": 21, "output_tokens": 9, "prompt_tokens": 21, "completion_tokens": 9, "total_tokens": 30}
CALLS = [
    {"id": "call_a", "name": "look", "arguments": {"city": "Oslo"}},
    {"id": "call_b", "name": "look", "arguments": {"city": "Rome"}},
]
FIXTURES: list[dict[str, Any]] = [
    {"match": {"userMessage": "weather", "hasToolResult": True}, "response": {"content": "Rain, and sun."}},
    {"match": {"userMessage": "weather"}, "response": {"content": "Let me look.", "toolCalls": CALLS, "usage": USAGE}},
    {
        "match": {"userMessage": "think"},
        "response": {"content": "42.", "reasoning": "I add one by one.", "usage": USAGE},
    },
    {"match": {"userMessage": "cities"}, "response": {"content": '{"city": "Oslo"}'}},
    {"match": {"userMessage": "hello"}, "response": {"content": "Hello there, friend.", "usage": USAGE}},
    # aimock does not read the results of calls as LiteLLM writes them for Gemini, which takes both spellings.
    {"match": {"model": "gemini-2.5-flash", "turnIndex": 1}, "response": {"content": "Rain, and sun."}},
]
PATHS = {
    "openai/gpt-5-mini": {"chat": "/v1/chat/completions", "responses": "/v1/responses"},
    "claude-sonnet-4-5": {"chat": "/v1/messages", "responses": "/v1/messages"},
    "ollama_chat/llama3": {"chat": "/api/chat", "responses": "/api/chat"},
    "gemini/gemini-2.5-flash": {"chat": "/v1beta/models/", "responses": "/v1beta/models/"},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AiMock]:
    with aimock(tmp_path_factory.mktemp("aimock"), FIXTURES) as running:
        yield running


@pytest.fixture
def mock(server: AiMock, monkeypatch: pytest.MonkeyPatch) -> AiMock:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    server.forget()
    return server


def text_of(talker: Talker, frames: Frames) -> str:
    if talker.api == "chat":
        return accumulate.completion(frames, talker.streamed).choices[0].message.content or ""
    return accumulate.response(frames, talker.streamed).output_text


def calls_of(talker: Talker, frames: Frames) -> list[dict[str, Any]]:
    """Return the tool calls as the API has them, to be sent back."""
    if talker.api == "chat":
        message = accumulate.completion(frames, talker.streamed).choices[0].message
        return [call.model_dump(exclude_none=True) for call in message.tool_calls or []]
    output = accumulate.response(frames, talker.streamed).output
    return [item.model_dump(exclude_none=True) for item in output if item.type == "function_call"]


@pytest.mark.parametrize("mode", ["sync-stream", "async"])
@pytest.mark.parametrize("name", PATHS)
def test_a_text(mock: AiMock, api: str, mode: str, name: str) -> None:
    talker = Talker(api, mode)
    frames = talker.send(name, "hello")
    assert text_of(talker, frames) == "Hello there, friend."
    (asked,) = mock.journal()
    assert asked["path"].startswith(PATHS[name][api])
    if api == "chat":
        done = accumulate.completion(frames, talker.streamed)
        assert done.choices[0].finish_reason == "stop"
        usage = done.usage
        assert usage is not None
        counted = (usage.prompt_tokens, usage.completion_tokens)
    else:
        answer = accumulate.response(frames, talker.streamed)
        assert answer.usage is not None
        assert answer.status == "completed"
        counted = (answer.usage.input_tokens, answer.usage.output_tokens)
    assert counted == ((0, 0) if name.startswith("ollama") else (21, 9))  # aimock has no figures for Ollama
    assert talker.model.response.status_code == 200
    assert talker.model.response.is_closed


@pytest.mark.parametrize("name", PATHS)
def test_parallel_calls_of_tools(mock: AiMock, api: str, mode: str, name: str) -> None:
    talker = Talker(api, mode)
    said: list[dict[str, Any]] = [{"role": "user", "content": "weather"}]
    frames = talker.send(name, said, tools=[LOOK])
    assert text_of(talker, frames) == "Let me look."
    calls = calls_of(talker, frames)
    if api == "chat":
        assert [json.loads(call["function"]["arguments"])["city"] for call in calls] == ["Oslo", "Rome"]
        assert accumulate.completion(frames, talker.streamed).choices[0].finish_reason == "tool_calls"
        said.append({"role": "assistant", "content": "Let me look.", "tool_calls": calls})
        said += [{"role": "tool", "tool_call_id": call["id"], "content": "rain"} for call in calls]
    else:
        assert [json.loads(call["arguments"])["city"] for call in calls] == ["Oslo", "Rome"]
        said += [{"role": "assistant", "content": "Let me look."}, *calls]
        said += [{"type": "function_call_output", "call_id": call["call_id"], "output": "rain"} for call in calls]
    assert len({call.get("call_id") or call["id"] for call in calls}) == 2
    assert text_of(talker, talker.send(name, said, tools=[LOOK])) == "Rain, and sun."
    second = mock.journal()[-1]["body"]
    if name.startswith("gemini"):  # aimock does not read tools as LiteLLM writes them for Gemini, either
        return
    assert [tool["function"]["name"] for tool in second["tools"]] == ["look"]
    roles = [message["role"] for message in second["messages"]]
    if PATHS[name][api] == "/v1/responses":
        assert roles.count("tool") == 2
    else:
        assert roles == ["user", "assistant", "tool", "tool"]


@pytest.mark.parametrize("mode", ["sync", "async-stream"])
@pytest.mark.parametrize("name", ["openai/gpt-5-mini", "claude-sonnet-4-5", "gemini/gemini-2.5-flash"])
def test_what_the_model_thinks(mock: AiMock, api: str, mode: str, name: str) -> None:
    talker = Talker(api, mode)
    frames = talker.send(name, "think")
    assert text_of(talker, frames) == "42."
    if api == "responses":
        first = accumulate.response(frames, talker.streamed).output[0]
        assert first.type == "reasoning"
        assert first.summary[0].text == "I add one by one."
    elif talker.streamed:
        deltas = [choice["delta"] for frame in frames for choice in frame["choices"]]
        assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "I add one by one."
    else:
        assert frames[0]["choices"][0]["message"]["reasoning_content"] == "I add one by one."


@pytest.mark.parametrize("name", ["openai/gpt-5-mini", "gemini/gemini-2.5-flash"])
def test_structured_output(mock: AiMock, api: str, name: str) -> None:
    talker = Talker(api, "sync")
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    form = {"name": "city", "schema": schema | {"additionalProperties": False}, "strict": True}
    if api == "chat":
        frames = talker.send(name, "cities", response_format={"type": "json_schema", "json_schema": form})
    else:
        frames = talker.send(name, "cities", text={"format": {"type": "json_schema", **form}})
    assert json.loads(text_of(talker, frames)) == {"city": "Oslo"}


def test_the_chat_api_over_a_providers_responses(mock: AiMock, mode: str) -> None:
    talker = Talker("chat", mode)
    frames = talker.send("openai/responses/gpt-5-mini", "weather", tools=[LOOK])
    assert text_of(talker, frames) == "Let me look."
    assert [json.loads(call["function"]["arguments"])["city"] for call in calls_of(talker, frames)] == ["Oslo", "Rome"]
    assert mock.journal()[0]["path"] == "/v1/responses"


@pytest.mark.parametrize("name", ["anthropic/claude-of-tomorrow", "claude-of-tomorrow", "gemini-of-tomorrow"])
def test_names_that_no_list_holds(mock: AiMock, api: str, name: str) -> None:
    talker = Talker(api, "async-stream")
    assert text_of(talker, talker.send(name, "hello")) == "Hello there, friend."
    assert mock.journal()[0]["body"]["model"] == name.rpartition("/")[2]


def test_a_model_that_litellm_has_never_heard_of_streams(mock: AiMock) -> None:
    talker = Talker("responses", "sync-stream")
    frames = talker.send("openai/gpt-of-tomorrow", "hello")
    assert text_of(talker, frames) == "Hello there, friend."
    assert mock.journal()[0]["body"]["stream"] is True
