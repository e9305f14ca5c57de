"""What the scripted model makes go wrong, and what a client then sees."""

from __future__ import annotations

import threading

import httpx2
import pytest
from openai import AsyncOpenAI, InternalServerError, OpenAI, RateLimitError

from agentd.llm.scripted import Reply, Request, Rule, ScriptedModel

BODIES: dict[str, dict[str, object]] = {
    "responses": {"model": "m", "input": "x"},
    "chat/completions": {"model": "m", "messages": [{"role": "user", "content": "x"}]},
}
HEADERS = {"Authorization": "Bearer k", "Content-Type": "application/json"}
LIMITED = Reply("slow down", status=429, headers={"Retry-After": "0"})


def sdk(server: ScriptedModel, retries: int = 0) -> OpenAI:
    return OpenAI(base_url=server.base_url, api_key="scripted", max_retries=retries)


def post(server: ScriptedModel, api: str, stream: bool = False) -> httpx2.Response:
    return httpx2.post(f"{server.base_url}/{api}", json=BODIES[api] | {"stream": stream}, headers=HEADERS)


def test_a_rate_limit_is_retried_by_the_sdk() -> None:
    with ScriptedModel([LIMITED, "fine"]) as server, sdk(server, retries=2) as client:
        assert client.responses.create(model="m", input="x").output_text == "fine"
        assert len(server.requests) == 2
        assert server.requests[1].headers["x-stainless-retry-count"] == "1"


def test_a_lasting_rate_limit_has_the_form_of_the_api() -> None:
    with ScriptedModel(LIMITED) as server, sdk(server) as client, pytest.raises(RateLimitError) as caught:
        client.responses.create(model="m", input="x", stream=True)
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["message"] == "slow down"
    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.response.headers["retry-after"] == "0"


def test_an_exhausted_script_says_so_and_is_not_retried() -> None:
    with ScriptedModel(["only one"]) as server, sdk(server, retries=2) as client:
        client.responses.create(model="m", input="x")
        with pytest.raises(InternalServerError, match="no reply left") as caught:
            client.responses.create(model="m", input="x")
        assert caught.value.code == "script_exhausted"
        assert len(server.requests) == 2


def test_the_last_turn_can_be_repeated() -> None:
    with ScriptedModel(["a", "b"], repeat_last=True) as server, sdk(server) as client:
        assert [client.responses.create(model="m", input="x").output_text for _ in range(4)] == ["a", "b", "b", "b"]


def test_rules_and_functions_answer_what_they_are_asked() -> None:
    def count(request: Request) -> str:
        return f"{request.api} {len(request.body['input'])}"

    rules = [Rule("how many", count), Rule(lambda request: request.body["model"] == "big", "from the big one")]
    with ScriptedModel(rules) as server, sdk(server) as client:
        assert client.responses.create(model="m", input="how many?").output_text == "responses 9"
        assert client.responses.create(model="big", input="x").output_text == "from the big one"
        with pytest.raises(InternalServerError, match="No rule"):
            client.responses.create(model="m", input="x")


def test_an_exception_in_the_script_reaches_client_and_test() -> None:
    def wrong(request: Request) -> str:
        raise KeyError(request.path)

    with ScriptedModel(wrong) as server, sdk(server) as client:
        with pytest.raises(InternalServerError, match="KeyError"):
            client.responses.create(model="m", input="x")
        assert isinstance(server.errors[0], KeyError)


@pytest.mark.parametrize("api", BODIES)
@pytest.mark.parametrize("deltas", [0, 2, 99])
def test_a_cut_stream_ends_within_the_deltas(api: str, deltas: int) -> None:
    with ScriptedModel(Reply("one two three four", chunk=3, cut_after=deltas)) as server:
        lines: list[str] = []
        with (
            pytest.raises(httpx2.RemoteProtocolError),
            httpx2.stream(
                "POST", f"{server.base_url}/{api}", json=BODIES[api] | {"stream": True}, headers=HEADERS
            ) as answer,
        ):
            lines.extend(answer.iter_lines())
    if api == "responses":
        sent = [line for line in lines if line.startswith("event: response.output_text.delta")]
        assert "event: response.completed" not in lines
    else:
        sent = [line for line in lines if '"content":"' in line and '"role"' not in line]
        assert "data: [DONE]" not in lines
    assert len(sent) == min(deltas, 6)


def test_the_sdk_raises_for_a_cut_stream_and_a_cut_body() -> None:
    with ScriptedModel(Reply("one two three four", cut_after=1)) as server, sdk(server) as client:
        with pytest.raises(Exception, match=r"peer closed|[Cc]onnection error|incomplete"):
            list(client.responses.create(model="m", input="x", stream=True))
        with pytest.raises(Exception, match=r"peer closed|[Cc]onnection error|incomplete"):
            client.responses.create(model="m", input="x")


@pytest.mark.parametrize("api", BODIES)
def test_broken_json(api: str) -> None:
    with ScriptedModel(Reply("one two", malformed="json")) as server:
        whole, stream = post(server, api), post(server, api, stream=True)
    with pytest.raises(ValueError, match="line 1"):
        whole.json()
    broken = [
        block for block in stream.text.split("\n\n") if block.startswith('data: {"type"') and block.endswith('"ab')
    ]
    assert len(broken) == 1
    assert stream.text.endswith("\n\n"), "the rest of the stream is well-formed"


@pytest.mark.parametrize("api", BODIES)
def test_invalid_utf8(api: str) -> None:
    with ScriptedModel(Reply("one two", malformed="utf8")) as server:
        for answer in (post(server, api), post(server, api, stream=True)):
            assert b"\xff\xfe" in answer.content


@pytest.mark.parametrize("api", BODIES)
def test_an_array_an_html_page_and_an_early_end(api: str) -> None:
    replies = [Reply("one two", malformed=kind) for kind in ("array", "html", "end") for _ in range(2)]
    with ScriptedModel(replies) as server:
        answers = [post(server, api, stream) for _ in range(3) for stream in (False, True)]
    array, array_stream, html, html_stream, nothing, unfinished = answers
    assert array.json() == [1, 2] and "data: [1,2]\n\n" in array_stream.text
    assert html.headers["content-type"] == html_stream.headers["content-type"] == "text/html"
    assert nothing.content == b""
    assert "delta" in unfinished.text
    assert "completed" not in unfinished.text.split("\n")[-4] and "[DONE]" not in unfinished.text


def test_a_raw_body_is_sent_as_it_is() -> None:
    sse = Reply(raw_body="data: nonsense\n\n", headers={"Content-Type": "text/event-stream"})
    with ScriptedModel([Reply(raw_body=b"\x00\x01", status=200), sse]) as server:
        assert post(server, "responses").content == b"\x00\x01"
        answer = post(server, "responses", stream=True)
    assert answer.text == "data: nonsense\n\n" and answer.headers["content-type"] == "text/event-stream"


def test_a_client_that_leaves_is_noticed_while_the_answer_is_held_back() -> None:
    gate = threading.Event()
    with ScriptedModel(Reply(["first", gate, "never seen"])) as server, sdk(server) as client:
        stream = client.responses.create(model="m", input="x", stream=True)
        for event in stream:
            if event.type == "response.output_text.delta":
                assert event.delta == "first"
                break
        assert server.disconnects == 0
        stream.close()
        assert server.wait_for_disconnects(1)
        assert not gate.is_set()


async def test_a_client_that_leaves_is_noticed_between_paced_deltas() -> None:
    with ScriptedModel(Reply("word " * 1000, delay=0.05)) as server:
        client = AsyncOpenAI(base_url=server.base_url, api_key="k", max_retries=0)
        async with client, await client.responses.create(model="m", input="x", stream=True) as stream:
            await anext(aiter(stream))
        assert server.wait_for_disconnects(1)


def test_a_whole_answer_waits_for_its_gate() -> None:
    gate = threading.Event()
    with ScriptedModel(Reply(["a", gate, "b"])) as server, sdk(server) as client:
        timer = threading.Timer(0.05, gate.set)
        timer.start()
        assert client.responses.create(model="m", input="x").output_text == "ab"
        assert gate.is_set()
        timer.join()


def test_closing_the_server_ends_a_stream_that_is_held_back() -> None:
    with ScriptedModel(Reply(["first", threading.Event()])) as server, sdk(server) as client:
        stream = client.responses.create(model="m", input="x", stream=True)
        server.close()
        with pytest.raises(Exception, match=r"peer closed|[Cc]onnection|incomplete"):
            list(stream)
