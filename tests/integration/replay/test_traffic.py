"""What is recorded and what is not, in which order it is played, and what happens at every kind of end."""

from __future__ import annotations

import asyncio
import importlib
import threading
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml
from openai import APIConnectionError, AsyncOpenAI, BadRequestError, OpenAI

from agentd.llm.replay import CassetteError, NotOnCassette, replay
from agentd.llm.scripted import Reply, Request, ScriptedModel
from tests.integration.replay.conftest import Service

HTTP: list[Any] = [importlib.import_module(name) for name in ("httpx", "httpx2")]
KEY = "sk-0123456789abcdefghij"


def client(url: str, **options: Any) -> OpenAI:
    return OpenAI(base_url=url, api_key=KEY, **{"max_retries": 0, **options})


def say(asked: OpenAI, text: str) -> str:
    return asked.responses.create(model="m", input=text).output_text


def echo(request: Request) -> str:
    return f"You said {request.last_text}."


def test_the_same_request_twice_gives_its_two_answers_in_order(tmp_path: Path) -> None:
    cassette = tmp_path / "two.yaml"
    with ScriptedModel(["one", "two", "three"]) as server, client(server.base_url) as asked, replay(cassette):
        assert [say(asked, "next"), say(asked, "next"), say(asked, "other")] == ["one", "two", "three"]
    with client(server.base_url) as asked:
        with replay(cassette):
            assert [say(asked, "other"), say(asked, "next"), say(asked, "next")] == ["three", "one", "two"]
        with pytest.raises(NotOnCassette, match="all 2 recorded answers to it have been played"), replay(cassette):
            for _ in range(3):
                say(asked, "next")


async def test_concurrent_calls_each_get_their_own_answer(tmp_path: Path) -> None:
    cassette = tmp_path / "many.yaml"
    words = [f"word {number}" for number in range(12)]

    async def all_of(asked: AsyncOpenAI, given: list[str]) -> list[str]:
        calls = [asked.responses.create(model="m", input=word) for word in given]
        return [response.output_text for response in await asyncio.gather(*calls)]

    expected = [f"You said {word}." for word in words]
    with ScriptedModel(echo) as server:
        async with AsyncOpenAI(base_url=server.base_url, api_key=KEY) as asked, replay(cassette):
            assert await all_of(asked, words) == expected
    order = [each["request"]["body"]["json"]["input"] for each in yaml.safe_load(cassette.read_text())["interactions"]]
    assert sorted(order) == sorted(words)
    async with AsyncOpenAI(base_url=server.base_url, api_key=KEY) as asked, replay(cassette):
        assert await all_of(asked, words[::-1]) == expected[::-1]


def test_a_missing_request_is_an_error_at_once_and_at_the_end(tmp_path: Path) -> None:
    cassette = tmp_path / "one.yaml"
    with ScriptedModel(echo) as server, client(server.base_url, max_retries=5) as asked:
        with replay(cassette):
            say(asked, "yes")
        with (
            pytest.raises(NotOnCassette, match=r"POST /v1/responses .*at input: recorded 'yes', now 'no' \(and 1 more"),
            replay(cassette),
        ):
            for _ in range(2):
                with pytest.raises(BadRequestError, match="not on the cassette"):
                    say(asked, "no")
        with pytest.raises(NotOnCassette, match="recorded POST /v1/responses"), replay(cassette):
            asked.embeddings.create(model="m", input="yes")
        with pytest.raises(NotOnCassette) as raised, replay(cassette):
            say(asked, "no")
        assert isinstance(raised.value.__cause__, BadRequestError)
        assert len(server.requests) == 1


def test_retries_are_played_back_without_waiting(tmp_path: Path) -> None:
    cassette = tmp_path / "retry.yaml"
    busy = Reply("Slow down.", status=429, headers={"retry-after": "1"})
    with ScriptedModel([busy, "At last.", busy]) as server, replay(cassette):
        with client(server.base_url, max_retries=1) as asked:
            assert say(asked, "go") == "At last."
        with pytest.raises(openai.RateLimitError), client(server.base_url) as impatient:
            say(impatient, "now")
    assert [each["response"]["status"]["code"] for each in yaml.safe_load(cassette.read_text())["interactions"]] == [
        429,
        200,
        429,
    ]
    with replay(cassette), client(server.base_url, max_retries=1) as asked:
        assert say(asked, "go") == "At last."
        with pytest.raises(openai.RateLimitError, match=r"Slow down\.") as raised, client(server.base_url) as impatient:
            say(impatient, "now")
        assert raised.value.response.headers["retry-after"] == "1"
        assert raised.value.response.headers["retry-after-ms"] == "1"


def test_a_stream_that_the_server_cut_breaks_in_the_same_way(tmp_path: Path) -> None:
    cassette = tmp_path / "cut.yaml"

    def broken(asked: OpenAI) -> tuple[list[str], type[BaseException]]:
        seen: list[str] = []
        with pytest.raises(Exception) as raised:
            for event in asked.responses.create(model="m", input="go", stream=True):
                seen.append(event.type)
        return seen, type(raised.value)

    script = [Reply("A long answer that will not be complete.", cut_after=2)]
    with ScriptedModel(script) as server, client(server.base_url) as asked, replay(cassette):
        first = broken(asked)
    assert first[0].count("response.output_text.delta") == 2
    with client(server.base_url) as asked, replay(cassette):
        assert broken(asked) == first


def test_a_stream_that_was_left_early(tmp_path: Path) -> None:
    cassette = tmp_path / "left.yaml"
    gate = threading.Event()
    with ScriptedModel([Reply(["One, ", gate, "two."])]) as server, client(server.base_url) as asked:
        with replay(cassette):
            stream = asked.responses.create(model="m", input="go", stream=True)
            assert next(event.delta for event in stream if event.type == "response.output_text.delta") == "One, "
            stream.close()
        gate.set()
    with replay(cassette), client(server.base_url) as asked:
        stream = asked.responses.create(model="m", input="go", stream=True)
        assert next(event.delta for event in stream if event.type == "response.output_text.delta") == "One, "
        with pytest.raises(Exception) as raised:
            list(stream)
        assert "read no further" in f"{raised.value} {raised.value.__cause__}"


@pytest.mark.parametrize("http", HTTP, ids=lambda library: library.__name__)
def test_other_traffic_passes_through_untouched(http: Any, service: Service, tmp_path: Path) -> None:
    cassette = tmp_path / "model.yaml"
    with ScriptedModel(echo) as server, client(server.base_url) as asked, http.Client(base_url=service.url) as other:
        for _ in range(2):
            with replay(cassette):
                assert say(asked, "hello") == "You said hello."
                other.get("/v1/models").raise_for_status()
                other.post("/messages", json={"jsonrpc": "2.0", "method": "ping"}).raise_for_status()
                other.post("/v1/messages", json={"to": "me", "text": "hi"}).raise_for_status()
                other.post("/mcp", json={"model": "m", "messages": []}).raise_for_status()
                other.post("/responses", content=(part for part in [b"a", b"b"])).raise_for_status()
                with other.stream("GET", "/endless") as endless:
                    assert next(endless.iter_text()).startswith("data: first")  # is not waited for
        assert len(server.requests) == 1
        assert len(service.came) == 12
    assert len(yaml.safe_load(cassette.read_text())["interactions"]) == 1


@pytest.mark.parametrize("http", HTTP, ids=lambda library: library.__name__)
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages?key=1", {"model": "claude-x", "messages": []}),
        ("/api/chat", {"model": "llama", "messages": []}),
        ("/v1beta/models/gemini-x:streamGenerateContent?alt=sse", {"contents": []}),
        ("/model/anthropic.claude/converse", {"messages": []}),
        ("/openai/deployments/x/chat/completions?api-version=1", {"messages": []}),
    ],
)
async def test_calls_of_models_by_any_client(
    http: Any, path: str, body: dict[str, Any], service: Service, tmp_path: Path
) -> None:
    service.answer = '{"number": NUMBER}'
    for _ in range(2):
        async with replay(tmp_path / "any.yaml"):
            with http.Client(base_url=service.url) as one:
                assert one.post(path, json=body).json() == {"number": 1}
            async with http.AsyncClient(base_url=service.url) as two:
                assert (await two.post(path, json=body)).json() == {"number": 2}
    assert len(service.came) == 2


def test_an_error_in_the_block_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    cassette = tmp_path / "kept.yaml"
    with ScriptedModel(echo) as server, client(server.base_url) as asked:
        with pytest.raises(ZeroDivisionError), replay(cassette):
            say(asked, "one")
            raise ZeroDivisionError
        assert list(tmp_path.iterdir()) == []
        with replay(cassette):
            say(asked, "one")
        before = cassette.read_text()
        with pytest.raises(ZeroDivisionError), replay(cassette, mode="record"):
            say(asked, "two")
            raise ZeroDivisionError
        assert cassette.read_text() == before
        with replay(cassette, mode="record"):
            say(asked, "three")
        assert "three" in cassette.read_text()
        assert "one" not in [
            each["request"]["body"]["json"]["input"] for each in yaml.safe_load(cassette.read_text())["interactions"]
        ]
        assert list(tmp_path.iterdir()) == [cassette]


def test_replay_mode_wants_a_file(tmp_path: Path) -> None:
    with pytest.raises(CassetteError, match="does not exist"), replay(tmp_path / "none.yaml", mode="replay"):
        pytest.fail("it began")


def test_no_traffic_no_file(tmp_path: Path) -> None:
    with replay(tmp_path / "none.yaml"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_call_that_gets_no_answer_is_not_recorded(tmp_path: Path) -> None:
    with ScriptedModel(echo) as server:
        url = server.base_url
    with client(url) as asked, replay(tmp_path / "none.yaml"), pytest.raises(APIConnectionError):
        say(asked, "hello")
    assert list(tmp_path.iterdir()) == []
