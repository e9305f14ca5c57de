"""The scripted model's Responses dialect, through the real SDK and on the wire."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx2
import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError, OpenAI
from pydantic import BaseModel

from agentd.llm.scripted import Reply, ScriptedModel, ToolCall

HEADERS = {"Authorization": "Bearer k", "Content-Type": "application/json"}


class Point(BaseModel):
    x: int
    y: int


@pytest.fixture
def everything() -> Iterator[ScriptedModel]:
    reply = Reply("Grüße, 世界", tool_calls=[ToolCall("add", {"a": 1, "b": 2})], reasoning="let me think", chunk=3)
    with ScriptedModel(reply) as server:
        yield server


def sdk(server: ScriptedModel) -> OpenAI:
    return OpenAI(base_url=server.base_url, api_key="scripted", max_retries=0)


def test_create_gives_a_response_that_echoes_its_request(everything: ScriptedModel) -> None:
    tool = {"type": "function", "name": "add", "parameters": {"type": "object"}, "strict": False}
    with sdk(everything) as client:
        response = client.responses.create(
            model="gpt-5-mini",
            input="hello",
            instructions="be brief",
            tools=[tool],  # pyright: ignore[reportArgumentType]
            metadata={"k": "v"},
            include=["reasoning.encrypted_content"],
            text={"verbosity": "low"},
            temperature=0.25,
        )
    assert [item.type for item in response.output] == ["reasoning", "message", "function_call"]
    assert response.output_text == "Grüße, 世界"
    reasoning, _, call = response.output
    assert reasoning.type == "reasoning" and reasoning.encrypted_content and reasoning.summary[0].text == "let me think"
    assert call.type == "function_call" and json.loads(call.arguments) == {"a": 1, "b": 2}
    assert response.model == "gpt-5-mini-scripted"
    assert (response.instructions, response.metadata, response.temperature) == ("be brief", {"k": "v"}, 0.25)
    assert response.tools[0].to_dict() == tool
    assert response.text and response.text.verbosity == "low" and response.status == "completed"
    assert (
        response.usage
        and response.usage.input_tokens == 4
        and response.usage.output_tokens_details.reasoning_tokens == 3
    )


def test_stream_has_the_events_of_the_api_in_order_and_numbered(everything: ScriptedModel) -> None:
    with sdk(everything) as client:
        events = list(client.responses.create(model="m", input="x", stream=True))
    kinds = [event.type.removeprefix("response.") for event in events]
    folded = [kind for index, kind in enumerate(kinds) if index == 0 or kinds[index - 1] != kind]
    assert folded == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    texts = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert texts == ["Grü", "ße,", " 世界"]
    first, last = events[0], events[-1]
    assert first.type == "response.created" and last.type == "response.completed"
    assert first.response.id == last.response.id and first.response.output == [] and first.response.usage is None
    done = [event.item for event in events if event.type == "response.output_item.done"]
    assert done == last.response.output


def test_streamed_and_whole_answers_are_the_same(everything: ScriptedModel) -> None:
    with sdk(everything) as client:
        whole = client.responses.create(model="m", input="x").to_dict()
        *_, last = client.responses.create(model="m", input="x", stream=True)
    assert last.type == "response.completed"

    def without_ids(value: object) -> object:
        if isinstance(value, dict):
            return {
                k: without_ids(v) for k, v in value.items() if k not in ("id", "call_id", "created_at", "completed_at")
            }
        return [without_ids(item) for item in value] if isinstance(value, list) else value

    assert without_ids(whole) == without_ids(last.response.to_dict())


def test_the_sdk_accumulator_and_parse_work() -> None:
    with ScriptedModel('{"x": 1, "y": 2}') as server, sdk(server) as client:
        with client.responses.stream(model="m", input="x", text_format=Point) as stream:
            snapshots = [event.snapshot for event in stream if event.type == "response.output_text.delta"]
            final = stream.get_final_response()
        parsed = client.responses.parse(model="m", input="x", text_format=Point)
    assert parsed.completed_at
    assert snapshots[-1] == '{"x": 1, "y": 2}'
    assert final.output_parsed == parsed.output_parsed == Point(x=1, y=2)
    assert parsed.text and parsed.text.format and parsed.text.format.type == "json_schema"


def test_the_sdk_accumulates_arguments(everything: ScriptedModel) -> None:
    with sdk(everything) as client, client.responses.stream(model="m", input="x") as stream:
        kind = "response.function_call_arguments.delta"
        snapshots = [event.snapshot for event in stream if event.type == kind]  # pyright: ignore[reportAttributeAccessIssue]
    assert snapshots[0] == '{"a' and json.loads(snapshots[-1]) == {"a": 1, "b": 2}


def test_a_streamed_response_is_remembered_too() -> None:
    with ScriptedModel(["one", "two"]) as server, sdk(server) as client:
        *_, last = client.responses.create(model="m", input="x", stream=True)
        assert last.type == "response.completed"
        second = client.responses.create(model="m", input="y", previous_response_id=last.response.id)
    assert second.output_text == "two"


async def test_async_client(everything: ScriptedModel) -> None:
    async with AsyncOpenAI(base_url=everything.base_url, api_key="k", max_retries=0) as client:
        whole = await client.responses.create(model="m", input="x")
        async with client.responses.stream(model="m", input="x") as stream:
            final = await stream.get_final_response()
    assert whole.output_text == final.output_text == "Grüße, 世界"


def test_raw_response_carries_the_sign(everything: ScriptedModel) -> None:
    with sdk(everything) as client:
        raw = client.responses.with_raw_response.create(model="m", input="x")
    assert raw.headers["x-agentd-scripted"] == "1"
    assert raw.parse().output_text == "Grüße, 世界"
    assert everything.requests[0].headers["x-stainless-raw-response"] == "true"


def test_a_response_is_remembered_and_gone_on_from() -> None:
    with ScriptedModel(["one", "two"]) as server, sdk(server) as client:
        first = client.responses.create(model="m", input="a" * 400)
        second = client.responses.create(model="m", input="b" * 400, previous_response_id=first.id)
        assert client.responses.retrieve(first.id) == first
        assert first.usage and second.usage
        assert second.usage.input_tokens == first.usage.total_tokens + 100
        assert second.previous_response_id == first.id
        client.responses.delete(first.id)
        with pytest.raises(NotFoundError):
            client.responses.retrieve(first.id)


@pytest.mark.parametrize("store", [None, False])
def test_an_unknown_or_unstored_previous_response_is_refused(store: bool | None) -> None:
    with ScriptedModel("hi") as server, sdk(server) as client:
        response_id = "resp_unknown"
        if store is False:
            response_id = client.responses.create(model="m", input="x", store=False).id
        with pytest.raises(BadRequestError) as caught:
            client.responses.create(model="m", input="x", previous_response_id=response_id)
    assert caught.value.code == "previous_response_not_found"
    assert caught.value.param == "previous_response_id"
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["message"] == f"Previous response with id '{response_id}' not found."


def test_a_cut_stream_is_not_remembered() -> None:
    with ScriptedModel([Reply("hello there", cut_after=1), "hi"]) as server, sdk(server) as client:
        response_id = ""
        with pytest.raises(Exception, match=r"peer closed|[Cc]onnection|incomplete"):
            for event in client.responses.create(model="m", input="x", stream=True):
                if event.type == "response.created":
                    response_id = event.response.id
        with pytest.raises(BadRequestError):
            client.responses.create(model="m", input="x", previous_response_id=response_id)


@pytest.mark.parametrize(
    ("reply", "kind", "status"),
    [
        (Reply("half", finish_reason="length"), "response.incomplete", "incomplete"),
        (Reply("half", finish_reason="failed"), "response.failed", "failed"),
    ],
)
def test_other_endings(reply: Reply, kind: str, status: str) -> None:
    with ScriptedModel(reply) as server, sdk(server) as client:
        *_, last = client.responses.create(model="m", input="x", stream=True)
        whole = client.responses.create(model="m", input="x")
    assert last.type == kind
    assert whole.status == status
    assert (whole.error is not None) == (status == "failed")
    assert (whole.incomplete_details is not None) == (status == "incomplete")


def test_refusal_further_items_and_usage_as_given() -> None:
    search = {
        "id": "ws_1",
        "type": "web_search_call",
        "status": "completed",
        "action": {"type": "search", "query": "q"},
    }
    usage = {"input_tokens": 100, "output_tokens": 50, "cached_tokens": 64, "reasoning_tokens": 10}
    with ScriptedModel(Reply(refusal="I will not", items=[search], usage=usage)) as server, sdk(server) as client:
        events = list(client.responses.create(model="m", input="x", stream=True))
    last = events[-1]
    assert last.type == "response.completed" and last.response.usage
    assert "".join(event.delta for event in events if event.type == "response.refusal.delta") == "I will not"
    assert [item.type for item in last.response.output] == ["web_search_call", "message"]
    counted = last.response.usage
    assert (counted.input_tokens, counted.output_tokens, counted.total_tokens) == (100, 50, 150)
    assert (counted.input_tokens_details.cached_tokens, counted.output_tokens_details.reasoning_tokens) == (64, 10)


def test_every_event_on_the_wire_names_its_type_and_number(everything: ScriptedModel) -> None:
    body = {"model": "m", "input": "x", "stream": True}
    answer = httpx2.post(f"{everything.base_url}/responses", json=body, headers=HEADERS)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    blocks = answer.text.strip().split("\n\n")
    for number, block in enumerate(blocks):
        event, data = block.split("\n")
        content = json.loads(data.removeprefix("data: "))
        assert event == f"event: {content['type']}"
        assert content["sequence_number"] == number
