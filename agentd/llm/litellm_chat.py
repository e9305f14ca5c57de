"""What LiteLLM sends of a chat call, as the frames of OpenAI's Chat Completions API."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from agentd.core.errors import MalformedReply, StreamCut
from agentd.core.tools import JSON
from agentd.llm.litellm_calls import CallNumbers
from agentd.llm.litellm_requests import adapted

Frame = dict[str, JSON]
_HEAD = ("id", "object", "created", "model", "system_fingerprint", "service_tier")
_MESSAGE = ("role", "content", "refusal", "tool_calls", "function_call", "audio", "images", "reasoning_content")
# Lists of a delta need an index in each entry, or the SDK cannot add them up.
_WHOLE_ONLY = ("annotations", "thinking_blocks")
_FINISHED = ("received_finish_reason", "intermittent_finish_reason")
# How LiteLLM reads `data: [DONE]` of an API like OpenAI's, whether or not a finish_reason came before it.
_DONE = {"text": "", "is_finished": True, "finish_reason": "stop", "usage": None, "index": 0, "tool_use": None}


class Thoughts:
    """What a provider wants back of its reasoning with the results of the calls that it led to.

    OpenAI's format has no place for it in a stream, so it is kept here by the ids of the calls, for one turn.
    """

    def __init__(self) -> None:
        self._by_call: dict[str, list[JSON]] = {}

    def keep(self, message: Frame, blocks: Sequence[JSON]) -> None:
        """Remember what a message with calls was thought out by."""
        for call in _calls(message) if blocks else ():
            self._by_call[call] = list(blocks)

    def restore(self, messages: JSON) -> None:
        """Give it back to the messages of a request that lack it."""
        for message in messages if isinstance(messages, list) else []:
            if isinstance(message, dict) and "thinking_blocks" not in message:
                blocks = next((self._by_call[call] for call in _calls(message) if call in self._by_call), None)
                if blocks:
                    message["thinking_blocks"] = blocks


class ChatFrames:
    """Turns the chunks or the completion of one chat call into frames. `thinking` is what was thought in it."""

    function = "acompletion"

    def __init__(self, thoughts: Thoughts, provider: str) -> None:
        self._thoughts = thoughts
        self._provider = provider
        self._head: Frame = {}
        self._numbers = CallNumbers()
        self._ending = Ending()
        self.thinking: list[JSON] = []

    def request(self, body: Frame) -> Frame:
        """Return what to ask LiteLLM for."""
        self._thoughts.restore(body.get("messages"))
        return adapted(body, self._provider)

    def whole(self, answer: Any) -> Frame:
        """Return a completion as a frame."""
        dump: Frame = answer.model_dump(mode="json", exclude_none=True, warnings=False)
        self.thinking = []
        choices: list[JSON] = []
        for choice in _dicts(dump.get("choices")):
            given = choice.get("message")
            message = self._message(given if isinstance(given, dict) else {})
            finish = choice.get("finish_reason") or "stop"
            choices.append(
                {"index": 0, "message": message, "finish_reason": finish, "logprobs": choice.get("logprobs")}
            )
        if not choices:
            raise MalformedReply(f"{self._provider} answered with no choices")
        usage = dump.get("usage")
        return {**self._head_of(dump), "object": "chat.completion", "choices": choices, "usage": usage}

    def _message(self, given: Frame) -> Frame:
        message: Frame = {"role": "assistant", "content": None, "refusal": None}
        message |= {name: given[name] for name in (*_MESSAGE, *_WHOLE_ONLY) if given.get(name) not in (None, [])}
        calls = [{name: call[name] for name in call if name != "index"} for call in _dicts(message.get("tool_calls"))]
        if calls:
            message["tool_calls"] = calls  # pyright: ignore[reportArgumentType]
        blocks = given.get("thinking_blocks")
        self.thinking = blocks if isinstance(blocks, list) else []
        self._thoughts.keep(message, self.thinking)
        return message

    async def read(self, answer: Any) -> AsyncGenerator[Frame]:
        """Give the chunks of a stream as frames, and close it when they are no longer wanted."""
        self._ending.watch(answer)
        try:
            async for chunk in answer:
                frame = self._chunk(chunk.model_dump(mode="json", exclude_none=True, warnings=False))
                if frame is not None:
                    yield frame
        finally:
            self._thoughts.keep({"tool_calls": [{"id": call} for call in self._numbers.ids]}, self.thinking)
            await answer.aclose()

    def _chunk(self, dump: Frame) -> Frame | None:
        self._head = self._head or {**self._head_of(dump), "object": "chat.completion.chunk"}
        usage = dump.get("usage")
        choices: list[JSON] = []
        for choice in _dicts(dump.get("choices")):
            given = choice.get("delta")
            delta = self._delta(given if isinstance(given, dict) else {})
            finish = choice.get("finish_reason")
            self._ending.said = self._ending.said or bool(delta.keys() - {"role"})
            if finish is not None and self._ending.made_up:
                raise StreamCut(f"{self._provider} closed it without a finish_reason")
            if delta or finish is not None or choice.get("logprobs"):
                at: Frame = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": choice.get("logprobs")}
                choices.append(at)
        if not choices and usage is None:
            return None
        return {**self._head, "choices": choices, **({"usage": usage} if usage is not None else {})}

    def _head_of(self, dump: Frame) -> Frame:
        head = {name: dump[name] for name in _HEAD if name in dump}
        model = head.get("model")
        return head | {"model": model.removeprefix(f"{self._provider}/")} if isinstance(model, str) else head

    def _delta(self, given: Frame) -> Frame:
        delta = {name: given[name] for name in _MESSAGE if given.get(name) not in (None, "", [])}
        for block in _dicts(given.get("thinking_blocks")):
            _grow(self.thinking, block)
        calls: list[JSON] = []
        for position, call in enumerate(_dicts(delta.get("tool_calls"))):
            calls.append(self._numbers.delta(call, position))
        if calls:
            delta["tool_calls"] = calls
        return delta


class Ending:
    """Tells whether LiteLLM made up that a stream has ended well. `said` is whether anything came in it."""

    def __init__(self) -> None:
        self._stream: Any = None
        self._only_done = False
        self.said = False

    def watch(self, stream: Any) -> None:
        """Look at what a provider sends before LiteLLM translates it."""
        self._stream = stream
        if not hasattr(stream, "chunk_creator"):
            return
        translate: Any = stream.chunk_creator

        def watched(chunk: Any) -> Any:
            self._only_done = self._only_done or (chunk == _DONE and self._unfinished)
            return translate(chunk=chunk)

        stream.chunk_creator = watched

    @property
    def _unfinished(self) -> bool:
        return all(hasattr(self._stream, name) and getattr(self._stream, name) is None for name in _FINISHED)

    @property
    def made_up(self) -> bool:
        """Tell whether the provider has given no reason: it broke off, or said nothing at all but that it is done."""
        return self._unfinished or (self._only_done and not self.said)


def _grow(blocks: list[JSON], more: Frame) -> None:
    """Add a piece of thinking: text grows, a signature ends its block."""
    last = blocks[-1] if blocks else None
    both = isinstance(last, dict) and last.get("type") == more.get("type") == "thinking"
    if not both or not isinstance(last, dict) or (last.get("signature") and more.get("thinking")):
        blocks.append(dict(more))
    else:
        last["thinking"] = str(last.get("thinking") or "") + str(more.get("thinking") or "")
        if more.get("signature"):
            last["signature"] = more["signature"]


def _calls(message: Frame) -> list[str]:
    return [str(call["id"]) for call in _dicts(message.get("tool_calls")) if call.get("id")]


def _dicts(given: JSON) -> list[Frame]:
    return [item for item in given if isinstance(item, dict)] if isinstance(given, list) else []
