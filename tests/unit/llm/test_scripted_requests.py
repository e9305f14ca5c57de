"""The scripted model refuses what the API would refuse, in the API's own form."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from openai import OpenAI

from agentd.llm.scripted import Reply, ScriptedModel, ToolCall
from agentd.llm.scripted_check import CHAT_PARAMETERS, RESPONSES_PARAMETERS

HEADERS = {"Authorization": "Bearer k", "Content-Type": "application/json"}
USER = {"role": "user", "content": "x"}
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "1"}
REASONING = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "e"}
ASSISTANT = {
    "type": "message",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "a", "annotations": []}],
}
CHAT_CALL = {
    "role": "assistant",
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}],
}
TWO_CALLS = [{"id": name, "type": "function", "function": {"name": "f", "arguments": ""}} for name in ("c1", "c2")]
CHAT_OUTPUT = {"role": "tool", "tool_call_id": "c1", "content": "1"}


@pytest.fixture
def server() -> Iterator[ScriptedModel]:
    with ScriptedModel("fine") as server:
        yield server


def post(server: ScriptedModel, api: str, body: object, headers: dict[str, str] = HEADERS) -> httpx2.Response:
    content = body if isinstance(body, bytes) else None
    json = None if isinstance(body, bytes) else body
    return httpx2.post(f"{server.base_url}/{api}", content=content, json=json, headers=headers)


def refusal(answer: httpx2.Response, status: int = 400) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


@pytest.mark.parametrize(
    "items",
    [
        "text",
        [USER],
        [{"role": "developer", "content": [{"type": "input_text", "text": "x"}]}, USER],
        [{"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,AA=="}]}],
        [USER, CALL, OUTPUT],
        [USER, CALL, OUTPUT | {"output": [{"type": "input_text", "text": "1"}]}],
        [USER, REASONING, ASSISTANT, USER],
        [USER, REASONING, CALL, OUTPUT],
        [USER, {"type": "web_search_call", "id": "ws_1", "status": "completed"}],
    ],
)
def test_good_input_is_answered(server: ScriptedModel, items: object) -> None:
    answer = post(server, "responses", {"model": "m", "input": items})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mcp_servers": []}, "Unknown parameter: 'mcp_servers'"),
        ({"model": None}, "'model'"),
        ({"input": None}, "must be provided"),
        ({"input": {"role": "user"}}, "Invalid type for 'input'"),
        ({"input": ["x"]}, r"Invalid type for 'input[0]'"),
        ({"input": [{"role": "robot", "content": "x"}]}, "Invalid value: 'robot'"),
        ({"input": [{"role": "user"}]}, "'input[0].content'"),
        ({"input": [{"role": "user", "content": 7}]}, "Invalid type for 'input[0].content'"),
        ({"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, "Invalid value: 'text'"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "content[0].text"),
        ({"input": [{"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}]}, "'input_text'"),
        ({"input": [USER | {"parsed": None}]}, "Unknown parameter: 'input[0].parsed'"),
        ({"input": [CALL | {"parsed_arguments": {}}, OUTPUT]}, "Unknown parameter: 'input[0].parsed_arguments'"),
        ({"input": [{"type": "nonsense"}]}, "Invalid value: 'nonsense'"),
        ({"input": [USER, OUTPUT]}, "No tool call found for function call output with call_id c1"),
        ({"input": [USER, CALL]}, "No tool output found for function call c1"),
        ({"input": [USER, REASONING]}, "without its required following item"),
        ({"input": [REASONING, USER]}, "without its required following item"),
        ({"input": [{"type": "code_interpreter_call", "id": "ci_1"}]}, "'ci_1' of type 'code_interpreter_call'"),
        ({"tools": [{"type": "function", "name": "a b"}]}, "does not match the pattern"),
        ({"tools": [{"name": "f"}]}, "tools[0].type"),
        ({"stream": "yes"}, "Invalid type for 'stream'"),
        ({"stream_options": {"include_obfuscation": False}}, "only allowed when 'stream'"),
        ({"background": True}, "no 'background'"),
    ],
)
def test_bad_responses_requests(server: ScriptedModel, change: dict[str, object], words: str) -> None:
    error = refusal(post(server, "responses", {"model": "m", "input": "x"} | change))
    assert words in error["message"]
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        (None, "'messages'"),
        ([], "empty array"),
        ("hello", "Invalid type for 'messages'"),
        ([{"role": "robot", "content": "x"}], "Invalid value: 'robot'"),
        ([{"role": "user"}], "Invalid type for 'messages[0].content'"),
        ([{"role": "user", "content": [{"type": "input_text", "text": "x"}]}], "Invalid value: 'input_text'"),
        ([{"role": "assistant"}], "Invalid type for 'messages[0].content'"),
        ([USER, CHAT_OUTPUT], "must be a response to a preceding message"),
        ([USER, CHAT_CALL], "did not have response messages: c1"),
        ([USER, {"role": "assistant", "tool_calls": TWO_CALLS}, CHAT_OUTPUT], "did not have response messages: c2"),
        ([USER, CHAT_CALL, USER, CHAT_OUTPUT], "did not have response messages: c1"),
        ([USER, {"role": "assistant", "tool_calls": [{"type": "function"}]}], "tool_calls[0].id"),
    ],
)
def test_bad_chat_messages(server: ScriptedModel, messages: object, words: str) -> None:
    error = refusal(post(server, "chat/completions", {"model": "m", "messages": messages}))
    assert words in error["message"]


def test_good_chat_messages(server: ScriptedModel) -> None:
    picture = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}
    messages = [{"role": "system", "content": "s"}, picture, CHAT_CALL, CHAT_OUTPUT, USER]
    assert post(server, "chat/completions", {"model": "m", "messages": messages}).status_code == 200


def test_a_refused_request_uses_up_no_turn() -> None:
    with ScriptedModel(["first"]) as server:
        refusal(post(server, "responses", {"model": "m"}))
        refusal(post(server, "chat/completions", {"model": "m", "messages": [USER], "max_turns": 3}))
        answer = post(server, "responses", {"model": "m", "input": "x"})
    assert answer.json()["output"][0]["content"][0]["text"] == "first"


@pytest.mark.parametrize("body", [b"{", b"[1]", b'"\xff"', b"[" * 100_000])
def test_a_body_that_is_no_json_object(server: ScriptedModel, body: bytes) -> None:
    refusal(post(server, "responses", body))


def test_headers(server: ScriptedModel) -> None:
    body = {"model": "m", "input": "x"}
    assert refusal(post(server, "responses", body, {"Content-Type": "application/json"}), 401)["code"]
    wrong = post(server, "responses", b"{}", {"Authorization": "Bearer k", "Content-Type": "text/plain"})
    assert "text/plain" in refusal(wrong)["message"]
    assert post(server, "responses", body, {"api-key": "k", "Content-Type": "application/json"}).status_code == 200


def test_the_call_of_a_previous_response_must_be_answered() -> None:
    with ScriptedModel([Reply(tool_calls=[ToolCall("f", {}, id="c1")]), "done"]) as server:
        first = post(server, "responses", {"model": "m", "input": "x"}).json()
        following = {"model": "m", "previous_response_id": first["id"]}
        unanswered = refusal(post(server, "responses", following | {"input": "y"}))
        assert "No tool output found" in unanswered["message"]
        assert post(server, "responses", following | {"input": [OUTPUT]}).status_code == 200


def test_stored_items_are_referred_to_and_keep_their_reasoning() -> None:
    with ScriptedModel(Reply("a", reasoning="r")) as server:
        reasoning, message = post(server, "responses", {"model": "m", "input": "x"}).json()["output"]
        assert post(server, "responses", {"model": "m", "input": [USER, reasoning, message, USER]}).status_code == 200
        reference = {"type": "item_reference", "id": reasoning["id"]}
        assert post(server, "responses", {"model": "m", "input": [reference, message]}).status_code == 200
        alone = refusal(post(server, "responses", {"model": "m", "input": [USER, message]}))
        assert reasoning["id"] in alone["message"]
        refusal(post(server, "responses", {"model": "m", "input": [{"type": "item_reference", "id": "msg_0"}]}), 404)


def test_reasoning_that_was_not_stored_needs_its_encrypted_content() -> None:
    with ScriptedModel(Reply("a", reasoning="r")) as server:
        body = {"model": "m", "input": "x", "store": False}
        lost = post(server, "responses", body).json()["output"]
        assert "not persisted" in refusal(post(server, "responses", {"model": "m", "input": lost}), 404)["message"]
        kept = post(server, "responses", body | {"include": ["reasoning.encrypted_content"]}).json()["output"]
        assert post(server, "responses", {"model": "m", "input": kept}).status_code == 200


def test_every_parameter_of_the_sdk_is_known() -> None:
    of_the_sdk = {"self", "extra_headers", "extra_query", "extra_body", "timeout"}
    with OpenAI(api_key="k") as client:
        for create, known in (
            (client.responses.create, RESPONSES_PARAMETERS),
            (client.chat.completions.create, CHAT_PARAMETERS),
        ):
            assert set(inspect.signature(create).parameters) - of_the_sdk <= known
