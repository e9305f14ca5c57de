"""One model call of the Chat Completions API, streamed or whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agentd.core.errors import MalformedReply, StreamCut
from agentd.core.tools import JSON
from agentd.loop import usage
from agentd.loop.chat_calls import ChatCalls
from agentd.loop.chat_stream import ChatStream
from agentd.loop.wire import Ending, Frame, PartEnded, Passed, Piece, Said, Thought, Toolkit

_READ = ("content", "role", "tool_calls")


class ChatRound:
    """Reads one reply, streamed or whole."""

    def __init__(self, turn: ChatStream, toolkit: Toolkit) -> None:
        self._turn = turn
        self._calls = ChatCalls(toolkit)
        self._said: list[str] = []
        self._shown: list[str] = []
        self._message: Frame = {}
        self._finish: JSON = None
        self._usage: Frame | None = None
        self._about: Frame = {}
        self._kept: str | None = None
        self._piece = ""
        self._logprobs: JSON = None

    def read(self, frame: Frame) -> Iterable[Piece]:
        if self._turn.streamed:
            return self._read_chunk(frame)
        return self._read_whole(frame)

    def show(self, text: str) -> Frame:
        self._shown.append(text)
        # They belong to a piece of text as the model said it.
        logprobs = self._logprobs if text == self._piece else None
        return self._turn.delta({"content": text}, logprobs=logprobs) if self._turn.streamed else {}

    def end(self, kept: str | None) -> tuple[list[Frame], Ending]:
        self._kept = kept
        turn = self._turn
        if kept is None and self._finish is None:
            raise StreamCut("the last chunk had no finish_reason; nothing after the last complete block ran")
        raw = self._usage
        if raw is None:
            raw = usage.estimate("chat", turn.sent, sum(map(len, self._said)) + self._calls.size)
        turn.usage = usage.add(turn.usage, raw)
        turn.finish_reason = "stop" if kept is not None else self._finish
        model, tier = str(self._about.get("model") or ""), str(self._about.get("service_tier") or "")
        cut = self._broken_off and bool(self._calls.ours)
        return [], Ending(usage.read(raw), str(turn.finish_reason or ""), model, tier, self.wants_caller, cut=cut)

    @property
    def _broken_off(self) -> bool:
        return self._finish in ("length", "content_filter")

    @property
    def wants_caller(self) -> bool:
        """Tell whether the model has called what only the caller can do."""
        return self._kept is None and bool(self._calls.callers)

    @property
    def callers(self) -> list[Frame]:
        """Return the calls that the caller must answer."""
        return self._calls.callers

    def message(self) -> Frame:
        """Return the assistant's message for the next request."""
        if self._kept is not None:
            return {"role": "assistant", "content": self._kept}
        calls: Frame = {"tool_calls": [*self._calls.all]} if self._calls.all else {}
        if self._message:
            kept = {
                name: value for name, value in self._message.items() if value not in (None, []) or name == "content"
            }
            return kept | calls
        text = "".join(self._said)
        return {"role": "assistant", "content": text if text or not calls else None, **calls}

    def shown_message(self) -> Frame:
        """Return the message that the caller sees."""
        content = self._message.get("content")
        shown = {**self._message, "content": "".join(self._shown) if isinstance(content, str) else content}
        if self._calls.ours:
            shown["tool_calls"] = [*self._calls.callers] or None
        return shown

    def _read_chunk(self, chunk: Frame) -> Iterator[Piece]:
        self._turn.open(chunk)
        if not self._about.get("model"):
            self._about = chunk
        raw = chunk.get("usage")
        if isinstance(raw, dict):
            self._usage = raw
        choices = chunk.get("choices")
        if choices is None and "usage" not in chunk:
            raise MalformedReply("a chunk has no choices")
        for choice in choices if isinstance(choices, list) else []:
            if isinstance(choice, dict):
                yield from self._read_choice(choice)

    def _read_choice(self, choice: Frame) -> Iterator[Piece]:
        delta = choice.get("delta")
        if isinstance(delta, dict):
            self._logprobs = choice.get("logprobs")
            yield from self._read_delta(delta)
        if choice.get("finish_reason") is not None and self._finish is None:
            self._finish = choice["finish_reason"]
            yield PartEnded()
            yield from self._calls.finish(self._broken_off)

    def _read_delta(self, delta: Frame) -> Iterator[Piece]:
        text = delta.get("content")
        if isinstance(text, str) and text:
            self._said.append(text)
            self._piece = text
            yield Said(text)
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(thought, str):
            yield Thought(thought)
        rest: Frame = {name: value for name, value in delta.items() if name not in _READ and value is not None}
        shown = self._calls.feed(delta.get("tool_calls"))
        if shown:
            rest["tool_calls"] = [*shown]
        if rest:
            yield Passed(self._turn.delta(rest))

    def _read_whole(self, completion: Frame) -> Iterator[Piece]:
        choices = completion.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(choice, dict) or not isinstance(message, dict):
            raise MalformedReply("the completion has no choices[0].message")
        raw = completion.get("usage")
        self._usage = raw if isinstance(raw, dict) else None
        self._about = completion
        self._turn.last, self._message = completion, message
        self._finish = choice.get("finish_reason") or "stop"
        text = message.get("content")
        if isinstance(text, str) and text:
            self._said.append(text)
            yield Said(text)
            yield PartEnded()
        calls = message.get("tool_calls")
        self._calls.feed([{**call, "index": at} for at, call in _calls(calls)])
        yield from self._calls.finish(self._broken_off)


def _calls(given: JSON) -> Iterator[tuple[int, Frame]]:
    for at, call in enumerate(given if isinstance(given, list) else []):
        if isinstance(call, dict):
            yield at, call
