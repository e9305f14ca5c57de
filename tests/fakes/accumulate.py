"""Frames of either API, put together by the SDK's own code."""

from __future__ import annotations

from typing import Any

from openai import omit
from openai._models import construct_type
from openai.lib.streaming.chat._completions import ChatCompletionStreamState
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent

Frames = list[dict[str, Any]]


def completion(frames: Frames, streamed: bool) -> ChatCompletion:
    """Return the completion that the frames are, or that the SDK makes out of a stream of them."""
    if not streamed:
        return ChatCompletion.model_validate(frames[0])
    state = ChatCompletionStreamState()
    for frame in frames:
        state.handle_chunk(ChatCompletionChunk.model_validate(frame))
    return ChatCompletion.model_validate(state.current_completion_snapshot.model_dump())


def response(frames: Frames, streamed: bool) -> Response:
    """Return the response that the frames are, or that they end with; the SDK must have made the same out of them."""
    if not streamed:
        return Response.model_validate(frames[0])
    state: Any = ResponseStreamState(input_tools=[], text_format=omit)
    for number, frame in enumerate(frames):
        assert frame["sequence_number"] == number
        state.handle_event(construct_type(type_=ResponseStreamEvent, value=frame))
    last = Response.model_validate(frames[-1]["response"])
    _same(frames, last)
    return last


def _same(frames: Frames, last: Response) -> None:
    """The items that ended in the stream are those of its last response, in their order, and their deltas make them."""
    done = [frame["item"] for frame in frames if frame["type"] == "response.output_item.done"]
    assert [item["id"] for item in done] == [item.id for item in last.output]
    for item in last.output:
        if item.type == "message":
            said = [f["delta"] for f in frames if f["type"] == "response.output_text.delta" and f["item_id"] == item.id]
            assert "".join(said) == "".join(getattr(part, "text", "") for part in item.content)
        elif item.type == "function_call":
            kind = "response.function_call_arguments.delta"
            assert (
                "".join(f["delta"] for f in frames if f["type"] == kind and f["item_id"] == item.id) == item.arguments
            )
