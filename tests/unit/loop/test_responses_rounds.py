"""The Responses dialect on replies that are seldom seen: every text in its place, nothing lost, nothing sent twice."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentd.core.actions import ActionResult
from agentd.core.errors import OptionError
from agentd.loop.memory import Memory
from agentd.loop.responses import Responses
from agentd.loop.results import feedback
from agentd.loop.wire import NO_TOOLS, Block, PartEnded, Passed, Said

RESPONSE = {"id": "resp_1", "object": "response", "status": "completed", "output": [], "usage": None}
BLOCKS = [Block("ci_1", "bash:execute", "ls\n", "", ActionResult(0, "a\n", 0.5))]
RESULTS = {"role": "user", "content": feedback(BLOCKS)}


def feed(turn: Responses, frames: list[dict[str, Any]], kept: str | None = None) -> list[dict[str, Any]]:
    """Read frames as the engine does, with all text visible; return the caller's."""
    current = turn.begin()
    seen: list[dict[str, Any]] = []
    for frame in frames:
        for piece in current.read(frame):
            if isinstance(piece, Said):
                seen.append(current.show(piece.text))
            elif isinstance(piece, Passed):
                seen.append(piece.frame)
            else:
                assert isinstance(piece, PartEnded)
    more, _ = current.end(kept)
    return [*seen, *more]


def texts(parts: list[str], deltas: bool = True) -> list[dict[str, Any]]:
    """Return the frames of one message with these text parts."""
    content = [{"type": "output_text", "text": part, "annotations": []} for part in parts]
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}
    frames = [
        {"type": "response.created", "response": {**RESPONSE, "status": "in_progress"}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
    ]
    for index, part in enumerate(content):
        at = {"item_id": "msg_1", "output_index": 0, "content_index": index}
        frames.append({"type": "response.content_part.added", **at, "part": {**part, "text": ""}})
        if part["text"] and deltas:
            frames.append({"type": "response.output_text.delta", **at, "delta": part["text"]})
        frames.append({"type": "response.output_text.done", **at, "text": part["text"]})
        frames.append({"type": "response.content_part.done", **at, "part": part})
    frames.append({"type": "response.output_item.done", "output_index": 0, "item": item})
    return [*frames, {"type": "response.completed", "response": {**RESPONSE, "output": [item]}}]


def turn(**params: Any) -> Responses:
    return Responses({"model": "m", "input": "x", **params}, "", True, NO_TOOLS, Memory())


@pytest.mark.parametrize("parts", [["", "two"], ["one", ""], ["one", "", "three"], ["", ""], ["one", "two"]])
@pytest.mark.parametrize("deltas", [True, False])
def test_each_part_keeps_its_own_text(parts: list[str], deltas: bool) -> None:
    made = turn()
    seen = feed(made, texts(parts, deltas))
    assert [frame["text"] for frame in seen if frame["type"] == "response.output_text.done"] == parts
    assert [frame["part"]["text"] for frame in seen if frame["type"] == "response.content_part.done"] == parts
    assert "".join(frame["delta"] for frame in seen if frame["type"] == "response.output_text.delta") == "".join(parts)
    output: Any = made.whole()["output"]
    assert [part["text"] for part in output[0]["content"]] == parts


def test_an_error_event_ends_the_stream_as_failed() -> None:
    made = turn()
    feed(made, [*texts(["one"])[:-1], {"type": "error", "code": "server_error", "message": "oops"}])
    (last,) = made.finish("failed")
    response: Any = last["response"]
    assert last["type"] == "response.failed"
    assert response["status"] == "failed" and response["error"]["message"] == "oops"


def test_a_message_whose_reasoning_is_not_stored_goes_back_without_its_id() -> None:
    made = turn(store=False)
    feed(made, texts(["one"]))
    made.record(BLOCKS)
    sent = json.loads(made.body())["input"]
    assert "id" not in sent[1] and sent[1]["content"][0]["text"] == "one"
    assert sent[2] == RESULTS


def test_a_conversation_is_told_everything_once() -> None:
    made = turn(conversation="conv_1")
    frames = texts(["one"])
    frames[-1]["response"]["conversation"] = {"id": "conv_1"}
    feed(made, frames)
    made.record(BLOCKS)
    assert json.loads(made.body())["input"] == [RESULTS]


def test_a_conversation_is_told_of_a_cut_call() -> None:
    made = turn(conversation="conv_1")
    feed(made, texts(["one"])[:4], kept="one")
    made.record(BLOCKS)
    assert [item["content"] for item in json.loads(made.body())["input"]] == ["x", "one", RESULTS["content"]]


def test_an_estimate_has_all_fields_of_a_usage() -> None:
    made = turn()
    feed(made, texts(["one"]))
    usage: Any = made.whole()["usage"]
    assert usage["estimated"] and usage["input_tokens_details"] == {"cached_tokens": 0}
    assert usage["output_tokens_details"] == {"reasoning_tokens": 0}


def test_a_call_in_the_background_is_refused_unless_it_is_streamed() -> None:
    with pytest.raises(OptionError, match="background"):
        Responses({"input": "x", "background": True}, "", False, NO_TOOLS, Memory())
    assert turn(background=True).model == "m"
