"""JSON calls at the edges: broken off, priced, kept by nobody, beside structured answers and odd servers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from openai import DefaultHttpxClient, OpenAI, RateLimitError
from pydantic import BaseModel

from agentd import ScriptedModel, patch_openai_with_mcp, unpatch_openai
from agentd.llm.scripted import Reply, ToolCall
from tests.fakes.driver import Driver
from tests.integration.patch.calls import MCP, add, outputs, own_function

USER: Any = [{"role": "user", "content": "x"}]


def connected(base_url: str, workspace: Path, tool: Any = add, **options: Any) -> Any:
    client = OpenAI(base_url=base_url, api_key="scripted", max_retries=0, **options)
    return patch_openai_with_mcp(client, cwd=workspace, tools=[tool])


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_a_call_that_was_broken_off_is_not_made(driver: Driver, workspace: Path, reason: str) -> None:
    made: list[str] = []

    def wipe(path: str = "/") -> None:
        made.append(path)

    script = [Reply("Wiping.", tool_calls=(ToolCall("wipe", ""),), finish_reason=reason), "never asked"]
    with ScriptedModel(script) as server:
        driver.connect(server, workspace, tools=[wipe], **MCP)
        answer = driver.ask("x")
        assert made == [] and len(server.requests) == 1 and answer.run.status == "completed"
        if answer.response is None:
            return
        if driver.api == "chat":
            choice = answer.response.choices[0]
            assert choice.finish_reason == reason and not choice.message.tool_calls
        else:
            assert answer.response.status == "incomplete"
            assert answer.response.incomplete_details.reason != "max_turns"


def test_what_is_not_stored_stands_on_what_is(workspace: Path) -> None:
    with ScriptedModel(["one", "two", "three"]) as server:
        client = connected(server.base_url, workspace)
        first = client.responses.create(model="m", input="I am Zed")
        second = client.responses.create(model="m", input="and?", previous_response_id=first.id, store=False)
        third = client.responses.create(model="m", input="who am I?", previous_response_id=second.id)
        sent = server.requests[2].body
        assert sent["previous_response_id"] == first.id and third.previous_response_id == second.id
        said = [item["content"] for item in sent["input"]]
        assert said[0] == "and?" and said[1][0]["text"] == "two" and said[2] == "who am I?"
        unpatch_openai(client).close()


class Api:
    """Answers requests one after the other, as an HTTP transport of either library."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []

    def client(self) -> Any:
        # The HTTP library of this major of the SDK.
        library: Any = sys.modules[DefaultHttpxClient.__mro__[1].__module__.partition(".")[0]]

        def answer(request: Any) -> Any:
            self.asked.append(json.loads(request.content))
            given = self.answers.pop(0)
            status = given.pop("status_code", 200) if isinstance(given, dict) else 200
            if isinstance(given, dict):
                return library.Response(status, json=given)
            events = "".join(f"data: {json.dumps(event)}\n\n" for event in given) + "data: [DONE]\n\n"
            return library.Response(200, text=events, headers={"content-type": "text/event-stream"})

        return library.Client(transport=library.MockTransport(answer))


def response(*output: Any, **more: Any) -> dict[str, Any]:
    fixed = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": "completed", "tools": []}
    return {**fixed, "output": list(output), "parallel_tool_calls": True, "tool_choice": "auto", **more}


def called(name: str = "add", arguments: str = '{"a": 1}', call_id: str = "call_1", **more: Any) -> dict[str, Any]:
    fields = {"type": "function_call", "id": f"fc_{call_id}", "call_id": call_id, "status": "completed"}
    return {**fields, "name": name, "arguments": arguments, **more}


def said(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}


def test_a_conversation_of_the_api_gets_its_results_after_a_failure(workspace: Path) -> None:
    kept = {"conversation": {"id": "conv_1"}}
    busy = {"status_code": 429, "error": {"message": "slow down"}}
    api = Api(response(called(), **kept), busy, response(said("three"), **kept), response(said("ok"), **kept))
    client = connected("http://127.0.0.1:1/v1", workspace, http_client=api.client())
    with pytest.raises(RateLimitError):
        client.responses.create(model="m", input="x", conversation="conv_1")
    client.responses.create(model="m", input="again", conversation="conv_1")
    client.responses.create(model="m", input="and?", conversation="conv_1")
    owed, later = api.asked[2]["input"], api.asked[3]["input"]
    assert owed[0] == {"type": "function_call_output", "call_id": "call_1", "output": "3"} and len(owed) == 2
    assert later == [{"role": "user", "content": "and?"}]
    unpatch_openai(client).close()


def test_a_function_in_a_namespace_is_the_callers(workspace: Path) -> None:
    api = Api(response(called("get_customer", namespace="crm"), called(call_id="call_2")))
    client = connected("http://127.0.0.1:1/v1", workspace, http_client=api.client())
    function = {"type": "function", "name": "get_customer", "parameters": {"type": "object"}}
    crm: Any = {"type": "namespace", "name": "crm", "description": "", "tools": [function]}
    answer = client.responses.create(model="m", input="x", tools=[crm])
    assert [item.type for item in answer.output] == ["function_call", "mcp_call"]
    assert len(api.asked) == 1 and answer.agentd.status == "completed"
    unpatch_openai(client).close()


class Why(BaseModel):
    question: str


def test_parsing_reaches_the_callers_calls_beside_ours(workspace: Path) -> None:
    own: Any = {**own_function("responses"), "strict": True}
    own["parameters"] = {**own["parameters"], "additionalProperties": False}
    script = [Reply(tool_calls=(ToolCall("ask_user", {"question": "why?"}), ToolCall("add", {"a": 1})))]
    with ScriptedModel(script) as server:
        client = connected(server.base_url, workspace)
        answer = client.responses.parse(model="m", input="x", tools=[own], text_format=Why)
        (call,) = [item for item in answer.output if item.type == "function_call"]
        assert call.parsed_arguments == {"question": "why?"}
        unpatch_openai(client).close()


def chunk(delta: Any, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": None, **more}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def test_a_chat_stream_keeps_its_head_and_its_logprobs(workspace: Path) -> None:
    filters = {"id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": []}
    token = {"token": "hi", "logprob": -0.5, "bytes": None, "top_logprobs": []}
    logprobs = {"content": [token], "refusal": None}
    api = Api([filters, chunk({"content": "hi"}, logprobs=logprobs), chunk({}, finish_reason="stop")])
    client = connected("http://127.0.0.1:1/v1", workspace, http_client=api.client())
    chunks = list(client.chat.completions.create(model="m", messages=USER, stream=True, logprobs=True))
    assert {(one.id, one.model, one.object) for one in chunks} == {("chatcmpl-1", "m", "chat.completion.chunk")}
    assert [one.choices[0].logprobs.content[0].logprob for one in chunks if one.choices[0].logprobs] == [-0.5]
    unpatch_openai(client).close()


def test_openai_is_asked_for_the_usage_of_a_stream_and_an_estimate_has_no_price(workspace: Path) -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    told = {**chunk({}), "choices": [], "usage": usage}
    stream = [chunk({"content": "hi"}), chunk({}, finish_reason="stop")]
    api = Api([*stream, told], stream)
    client = connected("https://api.openai.com/v1", workspace, http_client=api.client())
    made = client.chat.completions.create(model="gpt-5-mini", messages=USER, stream=True)
    assert all(one.choices for one in made), "the caller did not ask to see it"
    assert api.asked[0]["stream_options"] == {"include_usage": True}
    assert made.agentd.usage.input_tokens == 1000 and not made.agentd.usage.estimated
    made = client.chat.completions.create(model="gpt-5-mini", messages=USER, stream=True)
    assert [one.choices[0].delta.content for one in made][:1] == ["hi"]
    assert made.agentd.usage.estimated and made.agentd.usage.cost_usd is None
    unpatch_openai(client).close()


def test_parallel_calls_under_one_index_are_two_calls(workspace: Path) -> None:
    calls = [
        {"index": 0, "id": f"call_{n}", "type": "function", "function": {"name": "add", "arguments": f'{{"a": {n}}}'}}
        for n in (1, 2)
    ]
    first = [chunk({"tool_calls": [call]}) for call in calls]
    api = Api(
        [*first, chunk({}, finish_reason="tool_calls")], [chunk({"content": "ok"}), chunk({}, finish_reason="stop")]
    )
    client = connected("http://127.0.0.1:1/v1", workspace, http_client=api.client())
    list(client.chat.completions.create(model="m", messages=USER, stream=True))
    assert [message["content"] for message in api.asked[1]["messages"] if message["role"] == "tool"] == ["3", "4"]
    unpatch_openai(client).close()


def test_two_conversations_of_one_client_keep_apart(workspace: Path) -> None:
    """A server that counts the ids of calls anew in every answer, and two people who say the same."""

    def script(request: Any) -> Any:
        if any(message["role"] == "tool" and message["content"] == "because" for message in request.body["messages"]):
            return "done"
        if outputs(request):
            return Reply(tool_calls=(ToolCall("ask_user", {"question": "why?"}, id="call_0"),))
        who = request.body["messages"][0]["content"]
        return Reply(tool_calls=(ToolCall("add", {"a": len(who), "b": 0}, id="call_1"),))

    with ScriptedModel(script) as server:
        client = connected(server.base_url, workspace)
        own: Any = [own_function("chat")]
        talks: list[Any] = [
            [{"role": "user", "content": f"I am {name}"}, {"role": "user", "content": "Pay."}]
            for name in ("Al", "Barbara")
        ]
        for talk in talks:
            talk.append(client.chat.completions.create(model="m", messages=talk, tools=own).choices[0].message)
            talk.append({"role": "tool", "tool_call_id": "call_0", "content": "because"})
        for talk in talks:
            client.chat.completions.create(model="m", messages=talk, tools=own)
        assert [outputs(request) for request in server.requests[-2:]] == [["7", "because"], ["12", "because"]]
        unpatch_openai(client).close()
