"""Streams of chat chunks as streams of Responses events, whatever the chunks are cut into."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agentd.llm.as_responses import ResponseWriter
from agentd.llm.litellm_chat import ChatFrames, Thoughts
from tests.fakes import accumulate


class Chunk:
    """A chunk as LiteLLM gives it, as far as we look at it."""

    def __init__(self, delta: dict[str, Any], finish: str | None = None) -> None:
        choice = {"index": 0, "delta": delta} | ({"finish_reason": finish} if finish else {})
        self._dump = {"id": "c1", "created": 1, "model": "p/m", "object": "x", "choices": [choice]}

    def model_dump(self, **_: Any) -> dict[str, Any]:
        return self._dump


class Stream:
    """A stream of chunks; `closed` when it has been closed."""

    def __init__(self, chunks: list[Chunk]) -> None:
        self._chunks = chunks
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        for chunk in self._chunks:
            yield chunk

    async def aclose(self) -> None:
        self.closed = True


def events(deltas: list[dict[str, Any]], finish: str | None = "stop") -> list[dict[str, Any]]:
    stream = Stream([*map(Chunk, deltas), *([Chunk({}, finish)] if finish else [])])
    writer = ResponseWriter(ChatFrames(Thoughts(), "p"), {"model": "p/m", "input": "x"})

    async def collect() -> list[dict[str, Any]]:
        return [event async for event in writer.read(stream)]

    frames = asyncio.run(collect())
    assert stream.closed
    return frames


def call(index: int, arguments: str, name: str = "") -> dict[str, Any]:
    head = {"id": f"call_{index}", "type": "function"} if name else {}
    return {"tool_calls": [{"index": index, **head, "function": {"name": name or None, "arguments": arguments}}]}


def test_pieces_of_two_calls_may_be_mixed() -> None:
    mixed = [call(0, "", "a"), call(1, "", "b"), call(0, '{"x"'), call(1, "{}"), call(0, ": 1}")]
    last = accumulate.response(events(mixed, "tool_calls"), streamed=True)
    made = [(item.name, item.arguments) for item in last.output if item.type == "function_call"]
    assert made == [("a", '{"x": 1}'), ("b", "{}")]


def test_text_after_a_call_is_a_message_of_its_own() -> None:
    last = accumulate.response(events([{"content": "A"}, call(0, "{}", "a"), {"content": "B"}]), streamed=True)
    assert [item.type for item in last.output] == ["message", "function_call", "message"]


def test_a_call_after_another_groups_text_begins_anew() -> None:
    last = accumulate.response(events([call(0, "{}", "a"), {"content": "B"}, call(0, "[]", "c")]), streamed=True)
    assert [item.arguments for item in last.output if item.type == "function_call"] == ["{}", "[]"]


def test_a_refusal() -> None:
    last = accumulate.response(events([{"refusal": "No"}, {"refusal": "."}]), streamed=True)
    (item,) = last.output
    assert item.type == "message"
    assert item.content[0].type == "refusal"
    assert item.content[0].refusal == "No."


def test_a_stream_without_an_end_does_not_complete() -> None:
    assert events([{"content": "A"}], None)[-1]["type"] == "response.output_text.delta"


PIECE = st.one_of(
    st.text(min_size=1).map(lambda text: {"content": text}),
    st.text(min_size=1).map(lambda text: {"reasoning_content": text}),
    st.text(min_size=1).map(lambda text: {"content": text, "reasoning_content": text}),
    st.tuples(st.integers(0, 2), st.text()).map(lambda pair: call(pair[0], pair[1], f"t{pair[0]}")),
)


@given(st.lists(PIECE, max_size=12))
def test_any_stream_is_well_formed(deltas: list[dict[str, Any]]) -> None:
    frames = events(deltas)
    last = accumulate.response(frames, streamed=True)
    assert [frame["type"] for frame in frames].count("response.created") == 1
    assert frames[-1]["type"] == "response.completed"
    assert last.output_text == "".join(delta.get("content", "") for delta in deltas)
    thought = "".join(part.text for item in last.output if item.type == "reasoning" for part in item.summary)
    assert thought == "".join(delta.get("reasoning_content", "") for delta in deltas)
    added = [frame["item"]["id"] for frame in frames if frame["type"] == "response.output_item.added"]
    assert added == [item.id for item in last.output]
