"""The Chat Completions dialect over a whole turn. Source: OpenAI API reference, Chat Completions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from agentd.core.errors import MalformedReply, OptionError, StreamCut
from agentd.core.ids import new_id
from agentd.core.tools import JSON
from agentd.loop import usage
from agentd.loop.transcript import Transcript
from agentd.loop.wire import Block, Ending, Frame, PartEnded, Passed, Piece, Said, Thought

_SYSTEM = ("system", "developer")
_READ = ("content", "role")


class Chat:
    """Keeps the transcript of a turn, and makes one completion and one well-formed stream out of all its model calls.

    The caller's stream carries the visible text of every call; a whole completion carries the last call's.
    """

    api = "chat"

    def __init__(self, params: Frame, guidance: str, stream: bool) -> None:
        if params.get("n") not in (None, 1):
            raise OptionError("n > 1 asks for several answers at once; code can be run for one only")
        messages = params.get("messages")
        items = messages if isinstance(messages, list) else []
        if guidance:
            items = _with_guidance(items, guidance)
        self._transcript = Transcript("messages", params, items)
        self.model = str(params.get("model") or "")
        self.stream = stream
        options = params.get("stream_options")
        self._wants_usage = isinstance(options, dict) and bool(options.get("include_usage"))
        self.usage: dict[str, JSON] = {}
        self.sent = 0
        self.head: Frame = {}
        self.last: Frame = {}
        self.finish_reason: JSON = "stop"
        self.role_shown = False
        self._round = ChatRound(self)

    def body(self) -> bytes:
        body = self._transcript.body()
        self.sent = len(body)
        return body

    def begin(self) -> ChatRound:
        self._round = ChatRound(self)
        return self._round

    def code_frames(self, block: Block) -> list[Frame]:
        return []

    def record(self, blocks: Sequence[Block], feedback: str) -> None:
        self._transcript.append(self._round.message())
        if feedback:
            self._transcript.append({"role": "user", "content": feedback})

    def chunk(self, choices: list[JSON], **more: JSON) -> Frame:
        """Return a chunk of the caller's stream: all of them carry the first one's head."""
        return {**self.head, "choices": choices, **more}

    def delta(self, delta: Frame, finish_reason: JSON = None, logprobs: JSON = None) -> Frame:
        """Return a chunk with one choice; the role is said once."""
        if not self.role_shown:
            self.role_shown = True
            delta = {"role": "assistant", **delta}
        return self.chunk([{"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": logprobs}])

    def finish(self, status: str) -> list[Frame]:
        if status == "max_turns":
            self.finish_reason = "length"
        if not self.stream:
            return []
        frames = [self.delta({}, self.finish_reason)]
        if self._wants_usage:
            frames.append(self.chunk([], usage=self.usage))
        return frames

    def whole(self) -> Frame:
        choices = self.last.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        shown: Frame = dict(choice) if isinstance(choice, dict) else {}
        shown |= {"index": 0, "message": self._round.shown_message(), "finish_reason": self.finish_reason}
        return {**self.last, "choices": [shown], "usage": self.usage or None}


class ChatRound:
    """Reads one reply, streamed or whole."""

    def __init__(self, turn: Chat) -> None:
        self._turn = turn
        self._said: list[str] = []
        self._shown: list[str] = []
        self._calls: dict[int, Frame] = {}
        self._message: Frame = {}
        self._finish: JSON = None
        self._usage: Frame | None = None
        self._kept: str | None = None

    def read(self, frame: Frame) -> Iterable[Piece]:
        if self._turn.stream:
            return self._read_chunk(frame)
        return self._read_whole(frame)

    def show(self, text: str) -> Frame:
        self._shown.append(text)
        return self._turn.delta({"content": text}) if self._turn.stream else {}

    def end(self, kept: str | None) -> tuple[list[Frame], Ending]:
        self._kept = kept
        turn = self._turn
        if kept is None and self._finish is None:
            raise StreamCut("the last chunk had no finish_reason; nothing after the last complete block ran")
        raw = self._usage
        if raw is None:
            raw = usage.estimate("chat", turn.sent, sum(map(len, self._said)))
        turn.usage = usage.add(turn.usage, raw)
        turn.finish_reason = "stop" if kept is not None else self._finish
        calls = kept is None and bool(self._calls or self._message.get("tool_calls"))
        return [], Ending(usage.read(raw), str(turn.finish_reason or ""), calls)

    def message(self) -> Frame:
        """Return the assistant's message for the next request."""
        if self._kept is not None:
            return {"role": "assistant", "content": self._kept}
        if self._message:
            return {name: value for name, value in self._message.items() if value is not None or name == "content"}
        message: Frame = {"role": "assistant", "content": "".join(self._said)}
        if self._calls:
            message["tool_calls"] = [self._calls[index] for index in sorted(self._calls)]
        return message

    def shown_message(self) -> Frame:
        """Return the message that the caller sees."""
        content = self._message.get("content")
        return {**self._message, "content": "".join(self._shown) if isinstance(content, str) else content}

    def _read_chunk(self, chunk: Frame) -> Iterator[Piece]:
        turn = self._turn
        if not turn.head:
            turn.head = {name: value for name, value in chunk.items() if name not in ("choices", "usage")}
            turn.head.setdefault("id", new_id("chatcmpl"))
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
        rest: Frame = {}
        if isinstance(delta, dict):
            text = delta.get("content")
            if isinstance(text, str) and text:
                self._said.append(text)
                yield Said(text)
            thought = delta.get("reasoning_content") or delta.get("reasoning")
            if isinstance(thought, str):
                yield Thought(thought)
            rest = {name: value for name, value in delta.items() if name not in _READ and value is not None}
            self._note_calls(delta.get("tool_calls"))
        if rest:
            yield Passed(self._turn.delta(rest))
        if choice.get("finish_reason") is not None:
            self._finish = choice["finish_reason"]
            yield PartEnded()

    def _note_calls(self, calls: JSON) -> None:
        for call in calls if isinstance(calls, list) else []:
            if not isinstance(call, dict):
                continue
            index = call.get("index")
            held = self._calls.setdefault(index if isinstance(index, int) else len(self._calls), {})
            _grow(held, {name: value for name, value in call.items() if name != "index"})

    def _read_whole(self, completion: Frame) -> Iterator[Piece]:
        choices = completion.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(choice, dict) or not isinstance(message, dict):
            raise MalformedReply("the completion has no choices[0].message")
        raw = completion.get("usage")
        self._usage = raw if isinstance(raw, dict) else None
        self._turn.last, self._message = completion, message
        self._finish = choice.get("finish_reason") or "stop"
        text = message.get("content")
        if isinstance(text, str) and text:
            self._said.append(text)
            yield Said(text)
            yield PartEnded()


def _grow(held: Frame, more: Frame) -> None:
    """Add a delta to what has come so far: text is appended, objects are merged, ids and types stay."""
    for name, value in more.items():
        old = held.get(name)
        if isinstance(value, dict):
            child: Frame = old if isinstance(old, dict) else {}
            held[name] = child
            _grow(child, value)
        elif isinstance(old, str) and isinstance(value, str) and name in ("arguments", "input"):
            held[name] = old + value
        elif value is not None and old is None:
            held[name] = value


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
