"""What LiteLLM passes on from a provider's own Responses API, as the frames of OpenAI's."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator
from typing import Any

from agentd.core.tools import JSON

Frame = dict[str, JSON]
# LiteLLM leaves out what is empty; the API does not.
_ALWAYS: Frame = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "output": []}
_DETAILS: dict[str, Frame] = {
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 0},
}


class NativeFrames:
    """Mends events and responses: LiteLLM's classes lose numbers and fields that the API always sends."""

    function = "aresponses"

    def __init__(self) -> None:
        self._next = 0

    def request(self, body: Frame) -> Frame:
        """Return what to ask LiteLLM for."""
        return dict(body)

    def whole(self, answer: Any) -> Frame:
        """Return a response as a frame."""
        return _response(_plain(answer))

    async def read(self, answer: Any) -> AsyncGenerator[Frame]:
        """Give the events of a stream as frames, and close it when they are no longer wanted."""
        try:
            async for event in answer:
                yield self._event(_plain(event))
        finally:
            await _close(answer)

    def _event(self, frame: Frame) -> Frame:
        frame["sequence_number"] = self._next
        self._next += 1
        response = frame.get("response")
        if isinstance(response, dict):
            frame["response"] = _response(response)
        return frame


def _plain(thing: Any) -> Frame:
    return thing.model_dump(mode="json", exclude_none=True, warnings=False)


def _response(response: Frame) -> Frame:
    mended = {**_ALWAYS, **response}
    usage = mended.get("usage")
    if isinstance(usage, dict):
        mended["usage"] = usage | {name: _filled(usage.get(name), default) for name, default in _DETAILS.items()}
    return mended


def _filled(given: JSON, default: Frame) -> JSON:
    return {**default, **given} if isinstance(given, dict) else default


async def _close(stream: Any) -> None:
    """Close a stream's connection: only newer versions of LiteLLM have a method for it."""
    holder = stream if hasattr(stream, "aclose") else getattr(stream, "response", None)
    closing = holder.aclose() if holder is not None else None
    if inspect.isawaitable(closing):
        await closing
