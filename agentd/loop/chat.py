"""The Chat Completions dialect over a whole turn. Source: OpenAI API reference, Chat Completions."""

from __future__ import annotations

from collections.abc import Sequence

from agentd.core.errors import OptionError
from agentd.core.tools import JSON
from agentd.loop.chat_round import ChatRound
from agentd.loop.chat_stream import ChatStream
from agentd.loop.definitions import relaxed, with_tools
from agentd.loop.media import chat_message
from agentd.loop.memory import HiddenRounds, Memory
from agentd.loop.results import feedback, told
from agentd.loop.transcript import Transcript
from agentd.loop.wire import Block, Frame, Toolkit

_SYSTEM = ("system", "developer")


class Chat:
    """Keeps the transcript of a turn, and makes one completion and one well-formed stream out of all its model calls.

    The caller's stream carries the visible text of every call; a whole completion carries the last call's. With
    `asks_usage` the API is asked for the usage of a stream, whether the caller wants to see it or not.
    """

    api = "chat"

    def __init__(
        self, params: Frame, guidance: str, stream: bool, toolkit: Toolkit, memory: Memory, asks_usage: bool = False
    ) -> None:
        if params.get("n") not in (None, 1):
            raise OptionError("n > 1 asks for several answers at once; actions can be done for one only")
        messages = params.get("messages")
        self._given = messages if isinstance(messages, list) else []
        items = memory.restore(self._given)
        self._memory = memory
        self._added: list[Frame] = []
        if guidance:
            items = _with_guidance(items, guidance)
        options = params.get("stream_options")
        chosen = options if isinstance(options, dict) else {}
        self._wants_usage = bool(chosen.get("include_usage"))
        body = with_tools(params, toolkit, "chat")
        if stream and asks_usage:
            body["stream_options"] = {**chosen, "include_usage": True}
        self._transcript = Transcript("messages", body, items)
        self._relaxed = relaxed(params.get("tool_choice"))
        self._toolkit = toolkit
        self.model = str(params.get("model") or "")
        self._stream = ChatStream(stream)
        self._round = ChatRound(self._stream, toolkit)

    def body(self) -> bytes:
        body = self._transcript.body()
        self._stream.sent = len(body)
        return body

    def begin(self) -> ChatRound:
        self._round = ChatRound(self._stream, self._toolkit)
        return self._round

    def block_frames(self, block: Block) -> list[Frame]:
        return []

    def record(self, blocks: Sequence[Block]) -> None:
        calls = [block for block in blocks if block.called is not None]
        message, results, after = self._round.message(), _results(calls), _after(blocks, calls)
        if self._round.wants_caller:
            if self._added or blocks:
                rounds = HiddenRounds(self._round.callers, self._added, message, results, after)
                self._memory.hide(self._given, rounds)
            return
        for item in (message, *results, *after):
            self._added.append(item)
            self._transcript.append(item)
        if calls and self._relaxed is not None:
            self._transcript.change("tool_choice", self._relaxed)
            self._relaxed = None

    def finish(self, status: str) -> list[Frame]:
        stream = self._stream
        if status == "max_turns":
            stream.finish_reason = "length"
        if not stream.streamed:
            return []
        frames = [stream.delta({}, stream.finish_reason)]
        if self._wants_usage:
            frames.append(stream.chunk([], usage=stream.usage))
        return frames

    def abandon(self, blocks: Sequence[Block]) -> None:
        """Nothing is kept by the API."""

    def whole(self) -> Frame:
        stream = self._stream
        choices = stream.last.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        shown: Frame = dict(choice) if isinstance(choice, dict) else {}
        shown |= {"index": 0, "message": self._round.shown_message(), "finish_reason": stream.finish_reason}
        return {**stream.last, "choices": [shown], "usage": stream.usage or None}


def _results(calls: Sequence[Block]) -> list[Frame]:
    return [
        {"role": "tool", "tool_call_id": block.called.id, "content": told(block)} for block in calls if block.called
    ]


def _after(blocks: Sequence[Block], calls: Sequence[Block]) -> list[Frame]:
    """Return what follows all results of a message: media that they cannot hold, or what the blocks gave."""
    if blocks and not calls:
        return [{"role": "user", "content": feedback(blocks)}]
    shown = chat_message(calls)
    return [shown] if shown is not None else []


def _with_guidance(messages: list[JSON], guidance: str) -> list[JSON]:
    """Append to the first system message, which every provider accepts in its place, or begin with one."""
    first = messages[0] if messages else None
    if not isinstance(first, dict) or first.get("role") not in _SYSTEM:
        return [{"role": "system", "content": guidance}, *messages]
    content = first.get("content")
    if isinstance(content, str):
        return [{**first, "content": f"{content}\n\n{guidance}"}, *messages[1:]]
    if isinstance(content, list):
        return [{**first, "content": [*content, {"type": "text", "text": guidance}]}, *messages[1:]]
    return [{"role": "system", "content": guidance}, *messages]
