"""The scripted model as a server: connections, paths, concurrency, and on its own as a program."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from openai import AsyncOpenAI, AzureOpenAI, NotFoundError, OpenAI

from agentd.core.errors import OptionError
from agentd.llm.scripted import Reply, Request, Rule, ScriptedModel, ToolCall, read_script


def sdk(server: ScriptedModel) -> OpenAI:
    return OpenAI(base_url=server.base_url, api_key="scripted", max_retries=0)


def test_one_connection_serves_many_requests() -> None:
    with ScriptedModel("hello") as server, sdk(server) as client:
        for _ in range(3):
            client.responses.create(model="m", input="x")
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
            list(client.responses.create(model="m", input="x", stream=True))
        assert server.connections == 1
        assert len(server.requests) == 9
        assert server.disconnects == 0


async def test_fifty_requests_at_once_are_answered_each_with_its_own() -> None:
    together = threading.Barrier(50)

    def echo(request: Request) -> str:
        together.wait(20)  # all of them are in the server at the same time
        return f"you said {request.last_text}"

    async with AsyncOpenAI(base_url="http://127.0.0.1", api_key="k", max_retries=0) as idle:
        with ScriptedModel(echo) as server:
            client = idle.with_options(base_url=server.base_url)
            calls = (client.responses.create(model="m", input=str(number)) for number in range(50))
            answers = await asyncio.gather(*calls)
    assert [answer.output_text for answer in answers] == [f"you said {number}" for number in range(50)]


async def test_turns_go_to_concurrent_requests_once_each() -> None:
    with ScriptedModel([str(number) for number in range(50)]) as server:
        async with AsyncOpenAI(base_url=server.base_url, api_key="k", max_retries=0) as client:
            calls = (client.responses.create(model="m", input="x") for _ in range(50))
            answers = await asyncio.gather(*calls)
    assert Counter(answer.output_text for answer in answers) == Counter(str(number) for number in range(50))


def test_requests_are_recorded_as_they_came() -> None:
    with ScriptedModel("hello") as server, sdk(server) as client:
        client.responses.create(model="m", input=[{"role": "user", "content": "größer"}])
    (request,) = server.requests
    assert (request.method, request.path, request.api) == ("POST", "/v1/responses", "responses")
    assert request.headers["authorization"] == "Bearer scripted"
    assert json.loads(request.raw) == request.body == {"model": "m", "input": [{"role": "user", "content": "größer"}]}
    assert request.last_text == "größer"


def test_azure_client() -> None:
    with ScriptedModel("hello") as server:
        azure = AzureOpenAI(azure_endpoint=server.url, api_key="k", api_version="2026-01-01", max_retries=0)
        with azure:
            chat = azure.chat.completions.create(model="my-gpt", messages=[{"role": "user", "content": "x"}])
            response = azure.responses.create(model="my-gpt", input="x")
        assert chat.choices[0].message.content == response.output_text == "hello"
        assert chat.model == response.model == "my-gpt-scripted"
        first = server.requests[0]
        assert first.path == "/openai/deployments/my-gpt/chat/completions?api-version=2026-01-01"
        assert first.headers["api-key"] == "k"


def test_models_embeddings_and_unknown_paths() -> None:
    with ScriptedModel([]) as server, sdk(server) as client:
        assert [model.id for model in client.models.list()] == ["scripted"]
        embedded = client.embeddings.create(model="e", input=["a", "bb"], encoding_format="float")
        assert [len(item.embedding) for item in embedded.data] == [8, 8]
        with pytest.raises(NotFoundError, match="Invalid URL"):
            client.files.list()


def test_a_deployment_path_needs_its_api_version() -> None:
    path = "openai/deployments/d"
    with ScriptedModel("hello") as server, OpenAI(base_url=f"{server.url}/{path}", api_key="k") as client:
        with pytest.raises(NotFoundError):
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
        dated = client.with_options(default_query={"api-version": "2026-01-01"})
        assert (
            dated.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}]).model == "d-scripted"
        )


def test_paths_without_a_version() -> None:
    with ScriptedModel("hello") as server, OpenAI(base_url=server.url, api_key="k") as client:
        assert client.responses.create(model="m", input="x").output_text == "hello"


def talk(server: ScriptedModel, data: bytes) -> bytes:
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    return answer


def test_a_chunked_request_and_two_in_one_packet() -> None:
    common = b"Authorization: Bearer k\r\nContent-Type: application/json\r\n"
    chunked = b"POST /v1/responses HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + common
    body = b'1\r\n{\r\n17;x=y\r\n"model":"m","input":"x"\r\n1\r\n}\r\n0\r\n\r\n'
    plain = b"GET /v1/models HTTP/1.1\r\n" + common + b"\r\n"
    with ScriptedModel("hello") as server:
        answer = talk(server, chunked + b"\r\n" + body + plain)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert b'"text":"hello"' in answer and answer.endswith(b"}]}")


@pytest.mark.parametrize("data", [b"hello\r\n\r\n", b"POST /v1/responses HTTP/1.1\r\nContent-Length: x\r\n\r\n"])
def test_what_is_not_http_is_refused_and_the_next_client_served(data: bytes) -> None:
    with ScriptedModel("hello") as server, sdk(server) as client:
        assert talk(server, data).startswith(b"HTTP/1.1 400 ")
        assert client.responses.create(model="m", input="x").output_text == "hello"


def test_nothing_is_left_after_close() -> None:
    before = set(threading.enumerate())
    with ScriptedModel("hello") as server, sdk(server) as client:
        client.responses.create(model="m", input="x")
    server.close()
    assert set(threading.enumerate()) <= before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])))


def test_scripts_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="not both"):
        ScriptedModel(["a", Rule("b", "c")])  # pyright: ignore[reportArgumentType]
    path = tmp_path / "script.json"
    path.write_text('[{"txt": "a"}]')
    with pytest.raises(OptionError, match="unknown keys: txt"):
        read_script(path)


def test_as_a_program(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text(json.dumps(["hello", {"text": "", "tool_calls": [{"name": "f", "arguments": {"a": 1}}]}]))
    assert read_script(path) == ["hello", Reply(tool_calls=[ToolCall("f", {"a": 1})])]
    command = [sys.executable, "-m", "agentd.llm.scripted", str(path)]
    # A shell starts what runs in its background deaf to interrupts, and so would this program be.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        assert process.stdout
        url = process.stdout.readline().strip()
        with OpenAI(base_url=url, api_key="k", max_retries=0) as client:
            assert client.responses.create(model="m", input="x").output_text == "hello"
            call = client.responses.create(model="m", input="x").output[0]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert call.type == "function_call" and call.arguments == '{"a": 1}'
