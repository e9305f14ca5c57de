"""The Responses dialect of the scripted model: how it answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from agentd.llm.scripted_check import tokens_in
from agentd.llm.scripted_feed import Feed
from agentd.llm.scripted_script import Piece, Reply, plain

ECHOED: dict[str, Any] = {
    "background": False,
    "frequency_penalty": 0.0,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "prompt_cache_retention": None,
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
    "metadata": {},
}
INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class ResponsesAnswer:
    """One answer in the Responses dialect, whole or as a stream; `response` is what the API would store."""

    def __init__(
        self,
        reply: Reply,
        body: dict[str, Any],
        model: str,
        prompt_tokens: int,
        now: int,
        new_id: Callable[[str], str],
    ) -> None:
        self._reply = reply
        self._new_id = new_id
        self._number = 0
        self._encrypted = "reasoning.encrypted_content" in (body.get("include") or ())
        self._opening = _opening(body, model, now, new_id("resp"))
        self._items = list(self._output())
        self.response = self._opening | self._ending(now) | {"usage": self._count(prompt_tokens)}

    def _output(self) -> Iterator[dict[str, Any]]:
        reply = self._reply
        status = "incomplete" if reply.finish_reason in INCOMPLETE else "completed"
        if reply.reasoning:
            summary = [{"type": "summary_text", "text": plain(reply.reasoning)}]
            item: dict[str, Any] = {"id": self._new_id("rs"), "type": "reasoning", "summary": summary}
            yield item | ({"encrypted_content": f"scripted-{item['id']}"} if self._encrypted else {})
        for given in reply.items:
            yield dict(given)
        parts: list[dict[str, Any]] = []
        if reply.text or not (reply.refusal or reply.tool_calls or reply.items):
            parts.append({"type": "output_text", "annotations": [], "logprobs": [], "text": plain(reply.text)})
        if reply.refusal:
            parts.append({"type": "refusal", "refusal": reply.refusal})
        if parts:
            common = {"id": self._new_id("msg"), "type": "message", "status": status}
            yield common | {"content": parts, "role": "assistant"}
        for call in reply.tool_calls:
            names = {"call_id": call.id or self._new_id("call"), "name": call.name}
            common = {"id": self._new_id("fc"), "type": "function_call", "status": status}
            yield common | {"arguments": call.arguments_text} | names

    def _ending(self, now: int) -> dict[str, Any]:
        finish = self._reply.finish_reason
        ending: dict[str, Any] = {"status": "completed", "output": self._items}
        if finish in INCOMPLETE:
            ending |= {"status": "incomplete", "incomplete_details": {"reason": INCOMPLETE[finish]}}
        elif finish == "failed":
            error = {"code": "server_error", "message": "The scripted model failed, as its script says."}
            ending |= {"status": "failed", "error": error}
        else:
            ending["completed_at"] = now
        return ending

    def _count(self, prompt_tokens: int) -> dict[str, Any]:
        reply, given = self._reply, self._reply.usage
        said = len(plain(reply.text)) + len(reply.refusal) + sum(len(call.arguments_text) for call in reply.tool_calls)
        reasoned = given.get("reasoning_tokens", tokens_in(len(plain(reply.reasoning))))
        prompt = given.get("input_tokens", prompt_tokens)
        answer = given.get("output_tokens", tokens_in(said) + reasoned)
        return {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": given.get("cached_tokens", 0), "cache_write_tokens": 0},
            "output_tokens": answer,
            "output_tokens_details": {"reasoning_tokens": reasoned},
            "total_tokens": prompt + answer,
        }

    def whole(self) -> bytes:
        """Return the `response` object."""
        return _dump(self.response).encode()

    def stream(self, feed: Feed) -> None:
        """Send everything up to the end of the last item."""
        opening = _dump(self._opening)
        for kind in ("response.created", "response.in_progress"):
            feed.put(f'event: {kind}\ndata: {{"type":"{kind}",{self._next()},"response":{opening}}}\n\n'.encode())
        for index, item in enumerate(self._items):
            if item["type"] == "message":
                self._message(feed, index, item)
            elif item["type"] == "reasoning" and item.get("id"):
                self._reasoning(feed, index, item)
            elif item["type"] == "function_call":
                self._function_call(feed, index, item)
            else:
                self._emit(feed, "response.output_item.added", output_index=index, item=item)
                self._emit(feed, "response.output_item.done", output_index=index, item=item)

    def end(self, feed: Feed) -> None:
        """Send the terminal event with the whole response."""
        self._emit(feed, f"response.{self.response['status']}", response=self.response)

    def _message(self, feed: Feed, index: int, item: dict[str, Any]) -> None:
        self._emit(feed, "response.output_item.added", output_index=index, item=_started(item) | {"content": []})
        for number, part in enumerate(item["content"]):
            place = {"item_id": item["id"], "output_index": index, "content_index": number}
            key, event = ("text", "output_text") if part["type"] == "output_text" else ("refusal", "refusal")
            more: dict[str, Any] = {"logprobs": []} if key == "text" else {}
            text = self._reply.text if key == "text" else self._reply.refusal
            self._emit(feed, "response.content_part.added", **place, part=part | {key: ""})
            self._deltas(feed, f"response.{event}.delta", self._reply.pieces(text), place | more)
            self._emit(feed, f"response.{event}.done", **place, **{key: part[key]}, **more)
            self._emit(feed, "response.content_part.done", **place, part=part)
        self._emit(feed, "response.output_item.done", output_index=index, item=item)

    def _reasoning(self, feed: Feed, index: int, item: dict[str, Any]) -> None:
        self._emit(feed, "response.output_item.added", output_index=index, item=item | {"summary": []})
        for number, part in enumerate(item["summary"]):
            place = {"item_id": item["id"], "output_index": index, "summary_index": number}
            self._emit(feed, "response.reasoning_summary_part.added", **place, part=part | {"text": ""})
            pieces = self._reply.pieces(self._reply.reasoning)
            self._deltas(feed, "response.reasoning_summary_text.delta", pieces, place)
            self._emit(feed, "response.reasoning_summary_text.done", **place, text=part["text"])
            self._emit(feed, "response.reasoning_summary_part.done", **place, part=part)
        self._emit(feed, "response.output_item.done", output_index=index, item=item)

    def _function_call(self, feed: Feed, index: int, item: dict[str, Any]) -> None:
        place = {"item_id": item["id"], "output_index": index}
        self._emit(feed, "response.output_item.added", output_index=index, item=_started(item) | {"arguments": ""})
        arguments = item["arguments"]
        self._deltas(feed, "response.function_call_arguments.delta", self._reply.pieces(arguments), place)
        done = {"name": item["name"], "arguments": arguments}
        self._emit(feed, "response.function_call_arguments.done", **place, **done)
        self._emit(feed, "response.output_item.done", output_index=index, item=item)

    def _deltas(self, feed: Feed, kind: str, pieces: Iterator[Piece], place: dict[str, Any]) -> None:
        """Send deltas; they are most of a stream, so all but the text itself is encoded once."""
        before = f'event: {kind}\ndata: {{"type":"{kind}",{_dump(place)[1:-1]},'
        for piece in pieces:
            if isinstance(piece, str):
                feed.delta(f'{before}{self._next()},"delta":{_dump(piece)}}}\n\n'.encode())
            else:
                feed.hold(piece)

    def _emit(self, feed: Feed, kind: str, **data: Any) -> None:
        feed.put(f'event: {kind}\ndata: {{"type":"{kind}",{self._next()},{_dump(data)[1:]}\n\n'.encode())

    def _next(self) -> str:
        number = self._number
        self._number += 1
        return f'"sequence_number":{number}'


def _opening(body: dict[str, Any], model: str, now: int, response_id: str) -> dict[str, Any]:
    """Return the response as it is when the work starts, with what the API echoes of the request."""
    echoed = {key: default if body.get(key) is None else body[key] for key, default in ECHOED.items()}
    reasoning: dict[str, Any] = {"effort": None, "summary": None} | (body.get("reasoning") or {})
    text: dict[str, Any] = {"format": {"type": "text"}, "verbosity": "medium"} | (body.get("text") or {})
    tools = [{"strict": True} | tool if tool["type"] == "function" else tool for tool in body.get("tools") or ()]
    state: dict[str, Any] = {
        "status": "in_progress",
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "output": [],
    }
    start = {"id": response_id, "object": "response", "created_at": now, "model": model, "usage": None}
    return start | state | echoed | {"reasoning": reasoning, "text": text, "tools": tools}


def _started(item: dict[str, Any]) -> dict[str, Any]:
    return item | {"status": "in_progress"}


_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
