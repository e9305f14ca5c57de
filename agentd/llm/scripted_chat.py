"""The Chat Completions dialect of the scripted model: what it takes and how it answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from agentd.llm.scripted_check import (
    CHAT_PARAMETERS,
    ApiError,
    check_function,
    check_parameters,
    check_parts,
    is_list,
    is_object,
    missing,
    sequence,
    tokens_in,
    wrong_type,
    wrong_value,
)
from agentd.llm.scripted_feed import Feed
from agentd.llm.scripted_script import Piece, Reply, plain

TEXT_PARTS = {"text": "text"}
ROLES = {
    "developer": TEXT_PARTS,
    "system": TEXT_PARTS,
    "user": TEXT_PARTS | {"image_url": "image_url", "input_audio": "input_audio", "file": "file"},
    "assistant": TEXT_PARTS | {"refusal": "refusal"},
    "tool": TEXT_PARTS,
    "function": TEXT_PARTS,
}
FINGERPRINT = "fp_scripted"


def check_request(body: dict[str, Any], deployment: str) -> int:
    """Refuse what the API would refuse; return the tokens of the prompt, estimated at four characters each."""
    check_parameters(body, CHAT_PARAMETERS)
    if not body.get("model") and not deployment:
        raise ApiError("you must provide a model parameter", "model", "missing_required_parameter")
    for index, tool in enumerate(sequence(body, "tools")):
        if tool["type"] == "function":
            if not is_object(tool.get("function")):
                raise missing(f"tools[{index}].function")
            check_function(tool["function"], f"tools[{index}].function")
    messages = body.get("messages")
    if messages is None:
        raise missing("messages")
    if not is_list(messages):
        raise wrong_type("messages", "an array", messages)
    if not messages:
        raise ApiError("Invalid 'messages': empty array.", "messages", "empty_array")
    return tokens_in(_check_messages(messages))


def _check_messages(messages: list[Any]) -> int:
    size = 0
    waiting: list[str] = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not is_object(message):
            raise wrong_type(where, "an object", message)
        if message.get("role") == "tool":
            if message.get("tool_call_id") not in waiting:
                text = "messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
                raise ApiError(f"Invalid parameter: {text}", f"{where}.role")
            waiting.remove(message["tool_call_id"])
        elif waiting:
            break
        else:
            waiting = _tool_call_ids(message, where)
        size += _check_content(message, where, bool(waiting))
    if waiting:
        text = "An assistant message with 'tool_calls' must be followed by tool messages responding to each"
        detail = f"The following tool_call_ids did not have response messages: {', '.join(waiting)}"
        raise ApiError(f"{text} 'tool_call_id'. {detail}", "messages")
    return size


def _tool_call_ids(message: dict[str, Any], where: str) -> list[str]:
    ids: list[str] = []
    for index, call in enumerate(message.get("tool_calls") or ()):
        if not is_object(call) or not isinstance(call.get("id"), str):
            raise missing(f"{where}.tool_calls[{index}].id")
        if call.get("type") not in ("function", "custom") or not is_object(call.get(call["type"])):
            raise missing(f"{where}.tool_calls[{index}].function")
        ids.append(call["id"])
    return ids


def _check_content(message: dict[str, Any], where: str, has_calls: bool) -> int:
    role = message.get("role")
    if role not in ROLES:
        raise wrong_value(f"{where}.role", role, sorted(ROLES))
    content = message.get("content")
    if content is None:
        may_lack = role == "assistant" and (has_calls or any(message.get(key) for key in ("refusal", "audio")))
        if not may_lack and not message.get("function_call"):
            raise wrong_type(f"{where}.content", "a string or an array", None)
        return 0
    return check_parts(content, f"{where}.content", ROLES[role])


class ChatAnswer:
    """One answer in the Chat Completions dialect, whole or as a stream."""

    def __init__(
        self,
        reply: Reply,
        body: dict[str, Any],
        model: str,
        prompt_tokens: int,
        created: int,
        new_id: Callable[[str], str],
    ) -> None:
        self._reply = reply
        self._body = body
        self._envelope = {"id": new_id("chatcmpl"), "created": created, "model": model}
        self._calls: list[dict[str, Any]] = [
            {
                "id": call.id or new_id("call"),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments_text},
            }
            for call in reply.tool_calls
        ]
        self._finish = reply.finish_reason or ("tool_calls" if self._calls else "stop")
        self._usage = self._count(prompt_tokens)

    def _count(self, prompt_tokens: int) -> dict[str, Any]:
        reply, given = self._reply, self._reply.usage
        said = len(plain(reply.text)) + len(reply.refusal) + sum(len(call.arguments_text) for call in reply.tool_calls)
        reasoned = given.get("reasoning_tokens", tokens_in(len(plain(reply.reasoning))))
        prompt = given.get("input_tokens", prompt_tokens)
        answer = given.get("output_tokens", tokens_in(said) + reasoned)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": answer,
            "total_tokens": prompt + answer,
            "prompt_tokens_details": {"cached_tokens": given.get("cached_tokens", 0), "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": reasoned,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }

    def whole(self) -> bytes:
        """Return the `chat.completion` object."""
        reply = self._reply
        nothing = None if self._calls or reply.refusal else ""
        message: dict[str, Any] = {"role": "assistant", "content": plain(reply.text) or nothing}
        message |= {"refusal": reply.refusal or None, "annotations": []}
        if self._calls:
            message["tool_calls"] = self._calls
        if reply.reasoning:
            message["reasoning_content"] = plain(reply.reasoning)
        choices = [
            {"index": index, "message": message, "logprobs": None, "finish_reason": self._finish}
            for index in range(self._body.get("n") or 1)
        ]
        rest = {"usage": self._usage, "service_tier": "default", "system_fingerprint": FINGERPRINT}
        whole = self._envelope | {"object": "chat.completion", "choices": choices} | rest
        return _dump(whole).encode()

    def stream(self, feed: Feed) -> None:
        """Send everything up to the last delta."""
        for index in range(self._body.get("n") or 1):
            feed.put(self._chunk(index, {"role": "assistant", "content": "", "refusal": None}))
            self._texts(feed, index, "reasoning_content", self._reply.pieces(self._reply.reasoning))
            self._texts(feed, index, "content", self._reply.pieces(self._reply.text))
            self._texts(feed, index, "refusal", self._reply.pieces(self._reply.refusal))
            for number, call in enumerate(self._calls):
                opening = call | {"index": number, "function": {"name": call["function"]["name"], "arguments": ""}}
                feed.put(self._chunk(index, {"tool_calls": [opening]}))
                for piece in self._reply.pieces(call["function"]["arguments"]):
                    delta = {"index": number, "function": {"arguments": piece}}
                    feed.delta(self._chunk(index, {"tool_calls": [delta]}))

    def end(self, feed: Feed) -> None:
        """Send what follows the last delta."""
        if self._finish == "failed":
            error = {"message": "The scripted model failed, as its script says.", "type": "server_error"}
            feed.put(_event({"error": error | {"param": None, "code": "server_error"}}))
            return
        for index in range(self._body.get("n") or 1):
            feed.put(self._chunk(index, {}, self._finish))
        if self._with_usage:
            feed.put(_event(self._chunk_envelope | {"choices": [], "usage": self._usage}))
        feed.put(b"data: [DONE]\n\n")

    @property
    def _with_usage(self) -> bool:
        options: dict[str, Any] = self._body.get("stream_options") or {}
        return bool(options.get("include_usage"))

    @property
    def _chunk_envelope(self) -> dict[str, Any]:
        common = {"object": "chat.completion.chunk", "service_tier": "default", "system_fingerprint": FINGERPRINT}
        return self._envelope | common | ({"usage": None} if self._with_usage else {})

    def _chunk(self, index: int, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _event(self._chunk_envelope | {"choices": [choice]})

    def _texts(self, feed: Feed, index: int, key: str, pieces: Iterator[Piece]) -> None:
        """Send text deltas; they are most of a stream, so all but the text itself is encoded once."""
        before, after = self._chunk(index, {key: "\0"}).decode().split(json.dumps("\0"))
        for piece in pieces:
            if isinstance(piece, str):
                feed.delta((before + _dump(piece) + after).encode())
            else:
                feed.hold(piece)


def _event(data: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % _dump(data).encode()


_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
