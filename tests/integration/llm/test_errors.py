"""What goes wrong at a provider reaches the caller as the SDK's own error, with what the provider said."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from agentd.core.errors import StreamCut
from tests.fakes.aimock import AiMock, aimock
from tests.fakes.messages_http import MessagesServer, Said
from tests.integration.llm.conftest import CLIENT_KEY, Talker, drive

pytestmark = pytest.mark.xdist_group("litellm")


def refusal(word: str, status: int, message: str, **more: Any) -> dict[str, Any]:
    error = {"message": message, "type": "some_error"}
    return {"match": {"userMessage": word}, "response": {"error": error, "status": status, **more}}


FIXTURES: list[dict[str, Any]] = [
    refusal("limit", 429, "Slow down", retryAfter=7),
    refusal("key", 401, "Who are you"),
    refusal("boom", 500, "Kaputt"),
    {
        "match": {"userMessage": "cut"},
        "response": {"content": "This is cut in the very middle, long before it has come to an end."},
        "truncateAfterChunks": 6,
    },
    {"match": {"userMessage": "once"}, "response": {"content": "Here it is."}},
]
NAMES = ["openai/gpt-5-mini", "claude-sonnet-4-5", "ollama_chat/llama3", "gemini/gemini-2.5-flash"]
CASES = {
    "limit": (openai.RateLimitError, 429, "Slow down"),
    "key": (openai.AuthenticationError, 401, "Who are you"),
    "boom": (openai.InternalServerError, 500, "Kaputt"),
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


@pytest.mark.parametrize(("api", "mode"), [("chat", "async-stream"), ("responses", "sync")])
@pytest.mark.parametrize("word", CASES)
@pytest.mark.parametrize("name", NAMES)
def test_a_refusal(mock: AiMock, api: str, mode: str, word: str, name: str) -> None:
    kind, status, message = CASES[word]
    with pytest.raises(kind) as caught:
        Talker(api, mode).send(name, word)
    error: Any = caught.value
    assert type(error) is kind
    assert error.status_code == error.response.status_code == status
    assert error.response.headers.get("retry-after") == ("7" if word == "limit" else None)
    assert error.response.headers["x-request-id"] == error.request_id
    assert error.body["message"] == message
    assert name.rpartition("/")[2] in str(error)
    assert message in str(error)
    assert type(error.__cause__).__module__ == "litellm.exceptions"


@pytest.mark.parametrize("mode", ["async-stream"])
@pytest.mark.parametrize("name", NAMES)
def test_a_stream_that_is_cut(mock: AiMock, api: str, mode: str, name: str) -> None:
    with pytest.raises(openai.APIConnectionError) as caught:
        Talker(api, mode).send(name, "cut")
    assert type(caught.value) is openai.APIConnectionError
    assert name.rpartition("/")[2] in str(caught.value)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_retries_are_the_clients(mock: AiMock, mode: str, messages: MessagesServer) -> None:
    messages.say(Said(status=429, headers={"retry-after-ms": "1"}), Said(status=500, headers={"retry-after-ms": "1"}))
    messages.say(Said())
    frames = Talker("chat", mode, {"max_retries": 2}).send("claude-sonnet-4-5", "once")
    assert frames[0]["choices"][0]["message"]["content"] == "Well."
    assert len(messages.asked) == 3


def test_no_more_retries_than_the_call_allows(messages: MessagesServer) -> None:
    messages.say(*[Said(status=500, headers={"retry-after-ms": "1"})] * 3)
    talker = Talker("chat", "sync", {"max_retries": 9}, {"max_retries": 1})
    with pytest.raises(openai.InternalServerError):
        talker.send("claude-sonnet-4-5", "once")
    assert len(messages.asked) == 2


@pytest.mark.parametrize("mode", ["sync", "async-stream"])
def test_a_time_out(messages: MessagesServer, api: str, mode: str) -> None:
    said = Said(head=messages.left)
    messages.say(said)
    with pytest.raises(openai.APITimeoutError, match="claude-sonnet-4-5"):
        Talker(api, mode, {"timeout": 0.2}).send("claude-sonnet-4-5", "once")
    assert messages.left.wait(10)


def test_the_calls_own_time_out(messages: MessagesServer) -> None:
    messages.say(Said(head=messages.left))
    talker = Talker("chat", "sync", {"timeout": 600}, {"timeout": openai.Timeout(600, read=0.2)})
    with pytest.raises(openai.APITimeoutError):
        talker.send("claude-sonnet-4-5", "once")


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setenv("ANTHROPIC_API_BASE", "http://127.0.0.1:9")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "key-of-anthropic")
    with pytest.raises(openai.APIConnectionError) as caught:
        Talker("chat", mode).send("claude-sonnet-4-5", "once")
    assert type(caught.value) is openai.APIConnectionError


def test_no_key(monkeypatch: pytest.MonkeyPatch, messages: MessagesServer) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    with pytest.raises(openai.OpenAIError, match="ANTHROPIC_API_KEY"):
        Talker("chat", "sync").send("claude-sonnet-4-5", "once")
    assert messages.asked == []


@pytest.mark.parametrize("mode", ["sync", "async-stream"])
def test_no_key_is_repeated(messages: MessagesServer, mode: str) -> None:
    told = f"the keys are key-of-anthropic and {CLIENT_KEY}"
    messages.say(Said(status=401, error={"type": "authentication_error", "message": told}))
    with pytest.raises(openai.AuthenticationError) as caught:
        Talker("chat", mode).send("claude-sonnet-4-5", "once")
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.body) + caught.value.response.text
    assert "the keys are [secret] and [secret]" in str(caught.value)
    assert "key-of-anthropic" not in shown
    assert CLIENT_KEY not in shown


@pytest.mark.parametrize("mode", ["sync-stream", "async-stream"])
def test_a_stream_that_ends_early_is_not_taken_for_whole(messages: MessagesServer, api: str, mode: str) -> None:
    """Newer versions of LiteLLM notice it themselves."""
    messages.say(Said(ends=False))
    talker = Talker(api, mode)
    talker.start("claude-sonnet-4-5")
    seen: list[dict[str, Any]] = []

    async def read() -> None:
        reply = await talker.open("once")
        async for frame in reply:
            seen.append(frame)

    with pytest.raises((StreamCut, openai.APIConnectionError), match="finish_reason"):
        asyncio.run(read()) if talker.is_async else drive(read())
    if api == "chat":
        assert [choice["delta"]["content"] for frame in seen for choice in frame["choices"]] == ["Well."]
    else:
        assert seen[-1]["type"] == "response.output_text.delta"


async def test_other_errors_name_where_they_come_from(messages: MessagesServer) -> None:
    messages.say(Said(status=418, error={"type": "teapot", "message": "short and stout"}))
    talker = Talker("chat", "async")
    talker.start("claude-sonnet-4-5")
    with pytest.raises(openai.APIError, match=r"anthropic \(claude-sonnet-4-5\): .*short and stout"):
        await talker.ask("once")


def test_the_drive_of_these_tests_sees_a_suspension() -> None:
    class Suspends:
        def __await__(self) -> Iterator[None]:
            yield

    with pytest.raises(AssertionError, match="suspended"):
        drive(Suspends())
