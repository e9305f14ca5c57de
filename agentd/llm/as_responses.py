"""The answer to a chat call as a response of the Responses API, and as the well-formed stream of its events.

Source: OpenAI API reference, Responses and its streaming events. Items end in the order in which they began.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

from agentd.core.ids import new_id
from agentd.core.tools import JSON
from agentd.llm.as_chat import chat_request, sealed
from agentd.llm.litellm_chat import ChatFrames

Frame = dict[str, JSON]
_ECHOED: Frame = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "reasoning": {"effort": None, "summary": None},
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
# Responses that no server keeps have ids that say so.
_UNKEPT = "resp_agentd"


class ResponseWriter:
    """Turns the frames of one chat call into those of a response to `body`."""

    function = "acompletion"

    def __init__(self, chat: ChatFrames, body: Frame) -> None:
        self._chat = chat
        self._response: Frame = {
            "id": new_id(_UNKEPT),
            "object": "response",
            "created_at": int(time.time()),
            "status": "in_progress",
            "error": None,
            "incomplete_details": None,
            "model": body.get("model"),
            "output": [],
            "previous_response_id": None,
            "store": False,
            "usage": None,
            **{name: body[name] if body.get(name) is not None else value for name, value in _ECHOED.items()},
        }
        self._items: list[Frame] = []
        self._open: list[Frame] = []
        self._calls: dict[int, Frame] = {}
        self._number = 0

    def request(self, body: Frame) -> Frame:
        """Return what to ask LiteLLM for."""
        return self._chat.request(chat_request(body))

    def whole(self, answer: Any) -> Frame:
        """Return a completion as a response."""
        completion = self._chat.whole(answer)
        for choice in _choices(completion):
            message = choice["message"]
            if isinstance(message, dict):
                calls = message.get("tool_calls")
                listed = calls if isinstance(calls, list) else []
                indexed: list[JSON] = [
                    {**call, "index": index} for index, call in enumerate(listed) if isinstance(call, dict)
                ]
                self._exhaust({**message, "tool_calls": indexed})
        return self._ended(completion, _finish(completion))

    def _exhaust(self, delta: Frame) -> None:
        """Take a whole message as one delta; nobody wants the events."""
        for _ in (*self._delta(delta), *self._close()):
            pass

    async def read(self, answer: Any) -> AsyncGenerator[Frame]:
        """Give the events of a stream, and close it when they are no longer wanted.

        A stream that breaks off has no `response.completed`.
        """
        finish: JSON = None
        last: Frame = {}
        async with aclosing(self._chat.read(answer)) as chunks:
            async for chunk in chunks:
                last = {**last, **chunk}
                for event in self._chunk(chunk):
                    yield event
                finish = _finish(chunk) or finish
        if finish is None:
            return
        for event in self._close():
            yield event
        response = self._ended(last, finish)
        yield self._event(f"response.{response['status']}", response=response)

    def _chunk(self, chunk: Frame) -> Iterator[Frame]:
        if not self._number:
            # No sooner: a provider that refuses may do so only when its first chunk is asked for.
            yield self._event("response.created", response=dict(self._response))
            yield self._event("response.in_progress", response=dict(self._response))
        for choice in _choices(chunk):
            if isinstance(choice["delta"], dict):
                yield from self._delta(choice["delta"])

    def _ended(self, last: Frame, finish: JSON) -> Frame:
        reason = _INCOMPLETE.get(str(finish))
        response = self._response
        response["status"] = "incomplete" if reason else "completed"
        response["incomplete_details"] = {"reason": reason} if reason else None
        response["model"] = last.get("model") or response["model"]
        response["output"] = list(self._items)
        response["usage"] = _usage(last.get("usage"))
        return response

    def _event(self, kind: str, **more: JSON) -> Frame:
        event: Frame = {"type": kind, "sequence_number": self._number, **more}
        self._number += 1
        return event

    def _delta(self, delta: Frame) -> Iterator[Frame]:
        for name, add in (("reasoning_content", self._think), ("content", self._say), ("refusal", self._refuse)):
            text = delta.get(name)
            if isinstance(text, str) and text:
                yield from add(text)
        calls = delta.get("tool_calls")
        for call in calls if isinstance(calls, list) else []:
            if isinstance(call, dict):
                yield from self._call(call)

    def _at(self, item: Frame, **more: JSON) -> Frame:
        return {"item_id": item["id"], "output_index": self._items.index(item), **more}

    def _begin(self, item: Frame, kind: str) -> Iterator[Frame]:
        """Open an item, unless one of its kind is open; all others end first, save calls beside a call."""
        if kind != "function_call" or any(item["type"] != kind for item in self._open):
            yield from self._close()
        self._items.append(item)
        self._open.append(item)
        shown: Frame = {**item, **{name: [] for name in ("content", "summary") if name in item}}
        yield self._event("response.output_item.added", output_index=len(self._items) - 1, item=shown)

    def _current(self, kind: str) -> Frame | None:
        return next((item for item in self._open if item["type"] == kind), None)

    def _think(self, text: str) -> Iterator[Frame]:
        item = self._current("reasoning")
        if item is None:
            part: Frame = {"type": "summary_text", "text": ""}
            item = _item("rs", type="reasoning", summary=[part])
            yield from self._begin(item, "reasoning")
            at = self._at(item, summary_index=0, part=dict(part))
            yield self._event("response.reasoning_summary_part.added", **at)
        _part_of(item, "summary")["text"] = str(_part_of(item, "summary")["text"]) + text
        yield self._event("response.reasoning_summary_text.delta", **self._at(item, summary_index=0, delta=text))

    def _say(self, text: str) -> Iterator[Frame]:
        yield from self._speak("output_text", "text", text)

    def _refuse(self, text: str) -> Iterator[Frame]:
        yield from self._speak("refusal", "refusal", text)

    def _speak(self, kind: str, field: str, text: str) -> Iterator[Frame]:
        item = self._current("message")
        if item is None or _part_of(item, "content")["type"] != kind:
            part: Frame = {"type": kind, field: ""}
            if kind == "output_text":
                part |= {"annotations": [], "logprobs": []}
            item = _item("msg", type="message", status="in_progress", role="assistant", content=[part])
            yield from self._begin(item, "message")
            yield self._event("response.content_part.added", **self._at(item, content_index=0, part=dict(part)))
        part = _part_of(item, "content")
        part[field] = str(part[field]) + text
        more: Frame = {"logprobs": []} if kind == "output_text" else {}
        yield self._event(f"response.{kind}.delta", **self._at(item, content_index=0, delta=text, **more))

    def _call(self, call: Frame) -> Iterator[Frame]:
        index = call["index"]
        assert isinstance(index, int)
        given = call.get("function")
        function: Frame = given if isinstance(given, dict) else {}
        item = self._calls.get(index)
        if item is None:
            call_id, name = call.get("id") or new_id("call"), function.get("name") or ""
            kind = "function_call"
            item = _item("fc", type=kind, status="in_progress", call_id=call_id, name=name, arguments="")
            yield from self._begin(item, "function_call")
            self._calls[index] = item
        text = function.get("arguments")
        if isinstance(text, str) and text:
            item["arguments"] = str(item["arguments"]) + text
            yield self._event("response.function_call_arguments.delta", **self._at(item, delta=text))

    def _close(self) -> Iterator[Frame]:
        for item in self._open:
            if item["type"] == "message":
                yield from self._close_message(item)
            elif item["type"] == "reasoning":
                yield from self._close_reasoning(item)
            else:
                done = self._at(item, arguments=item["arguments"], name=item["name"])
                yield self._event("response.function_call_arguments.done", **done)
            if "status" in item:
                item["status"] = "completed"
            yield self._event("response.output_item.done", output_index=self._items.index(item), item=dict(item))
        self._open = []
        self._calls = {}

    def _close_message(self, item: Frame) -> Iterator[Frame]:
        part = _part_of(item, "content")
        if part["type"] == "refusal":
            yield self._event("response.refusal.done", **self._at(item, content_index=0, refusal=part["refusal"]))
        else:
            done = self._at(item, content_index=0, text=part["text"], logprobs=[])
            yield self._event("response.output_text.done", **done)
        yield self._event("response.content_part.done", **self._at(item, content_index=0, part=dict(part)))

    def _close_reasoning(self, item: Frame) -> Iterator[Frame]:
        part = _part_of(item, "summary")
        yield self._event("response.reasoning_summary_text.done", **self._at(item, summary_index=0, text=part["text"]))
        yield self._event("response.reasoning_summary_part.done", **self._at(item, summary_index=0, part=dict(part)))
        if self._chat.thinking:
            item["encrypted_content"] = sealed(self._chat.thinking)


def _choices(frame: Frame) -> list[Frame]:
    choices = frame["choices"]
    return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []


def _finish(chunk: Frame) -> JSON:
    return next((choice["finish_reason"] for choice in _choices(chunk) if choice["finish_reason"] is not None), None)


def _item(prefix: str, **fields: JSON) -> Frame:
    return {"id": new_id(prefix), **fields}


def _part_of(item: Frame, name: str) -> Frame:
    parts = item[name]
    assert isinstance(parts, list) and isinstance(parts[0], dict)
    return parts[0]


def _usage(given: JSON) -> JSON:
    """Return the tokens of a chat call under the names of the Responses API."""
    if not isinstance(given, dict):
        return None

    def count(name: str, inside: str = "") -> int:
        held = given.get(inside) if inside else given
        value = held.get(name) if isinstance(held, dict) else None
        return value if isinstance(value, int) else 0

    return {
        "input_tokens": count("prompt_tokens"),
        "input_tokens_details": {
            "cached_tokens": count("cached_tokens", "prompt_tokens_details"),
            "cache_write_tokens": count("cache_creation_tokens", "prompt_tokens_details"),
        },
        "output_tokens": count("completion_tokens"),
        "output_tokens_details": {"reasoning_tokens": count("reasoning_tokens", "completion_tokens_details")},
        "total_tokens": count("total_tokens"),
    }
