"""One model call of the Responses API, streamed or whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agentd.core.errors import MalformedReply, StreamCut
from agentd.core.ids import new_id
from agentd.core.tools import JSON
from agentd.loop import usage
from agentd.loop.responses_output import ResponsesOutput
from agentd.loop.wire import Called, Ending, Frame, PartEnded, Passed, Piece, Said, Thought, Toolkit

_OPENING = ("response.created", "response.queued", "response.in_progress")
_CLOSING = ("response.completed", "response.incomplete", "response.failed")
_THOUGHTS = ("response.reasoning_summary_text.delta", "response.reasoning_text.delta")


class ResponsesRound:
    """Reads one reply, with every index moved to its place in the turn's one output."""

    def __init__(self, turn: ResponsesOutput, first: bool, toolkit: Toolkit) -> None:
        self._turn = turn
        self._first = first
        self._toolkit = toolkit
        self._hidden: set[JSON] = set()
        self._ours: list[Frame] = []
        self._cut = False
        self._indices: dict[int, int] = {}
        self._items: list[Frame] = []
        self._open: Frame | None = None
        self._at: Frame = {}
        self._shown: list[str] = []
        self._parts: dict[int, str] = {}
        self._said = 0
        self._piece = ""
        self._logprobs: JSON = []
        self._pending = False
        self._final: Frame | None = None
        self._failed = False
        self._kept: str | None = None

    def read(self, frame: Frame) -> Iterable[Piece]:
        kind = frame.get("type")
        if kind == "response.output_text.delta":
            text = str(frame.get("delta") or "")
            self._said += len(text)
            self._place(frame)
            self._piece, self._logprobs = text, frame.get("logprobs") or []
            return (Said(text),)
        if kind is None and frame.get("object") == "response":
            return self._read_whole(frame)
        if self._hides(str(kind), frame):
            if kind == "response.output_item.done":
                self._note_call(frame.get("item"))
            return ()
        return self._read_event(str(kind), frame)

    def show(self, text: str) -> Frame:
        self._shown.append(text)
        # They belong to a piece of text as the model said it.
        logprobs = self._logprobs if text == self._piece else []
        delta: Frame = {"type": "response.output_text.delta", **self._at, "delta": text, "logprobs": logprobs}
        return self._turn.numbered(delta)

    def end(self, kept: str | None) -> tuple[list[Frame], Ending]:
        self._kept = kept
        turn = self._turn
        frames: list[Frame] = []
        if kept is not None:
            frames = self._close_cut()
        elif self._final is None and not self._failed:
            raise StreamCut("the last event was not response.completed; nothing after the last complete block ran")
        final = self._final or {}
        raw = final.get("usage")
        if not isinstance(raw, dict):
            raw = usage.estimate("responses", turn.sent, self._said)
        turn.usage = usage.add(turn.usage, raw)
        if kept is None:
            turn.last = final
        else:
            turn.unstored()
        status = str(final.get("status") or "")
        failed = self._failed or status in ("failed", "cancelled")
        model, tier = str(final.get("model") or ""), str(final.get("service_tier") or "")
        return frames, Ending(usage.read(raw), status, model, tier, self.wants_caller, failed, self._cut)

    @property
    def wants_caller(self) -> bool:
        """Tell whether the model has called what only the caller can do."""
        answered = {str(item.get("call_id")) for item in self._items if str(item.get("type")).endswith("_output")}
        return any(
            _asks(item) and not self._owned(item) and str(item.get("call_id")) not in answered for item in self._items
        )

    @property
    def in_conversation(self) -> bool:
        """Tell whether the API has added the whole response, whatever of it counts, to a conversation of its own."""
        return self._final is not None and self._final.get("conversation") is not None

    def replay(self) -> Iterator[JSON]:
        """Give the items that stand for this call in the next request."""
        for item in self._items:
            kind = item.get("type")
            if kind == "reasoning" and not item.get("encrypted_content"):
                if self._turn.keeps_reasoning and self._kept is None:
                    yield item
            elif kind in ("message", "function_call") and self._kept is None and not self._turn.keeps_reasoning:
                # Its id would ask for the reasoning that was never stored.
                yield {name: value for name, value in item.items() if name not in ("id", "status")}
            elif kind != "message" or self._kept is None:
                yield item
        if self._kept is not None:
            yield {"role": "assistant", "content": self._kept}

    def _place(self, frame: Frame) -> None:
        at: Frame = {
            "item_id": frame.get("item_id"),
            "output_index": self._index(frame),
            "content_index": frame.get("content_index", 0),
        }
        if not self._pending or at != self._at:
            self._at, self._shown, self._pending = at, [], True

    def _index(self, frame: Frame) -> int:
        index = frame.get("output_index")
        if not isinstance(index, int):
            raise MalformedReply(f"{frame.get('type')} has no output_index")
        if index not in self._indices:
            self._indices[index] = self._turn.reserve()
        return self._indices[index]

    def _read_event(self, kind: str, frame: Frame) -> Iterator[Piece]:
        if kind in _OPENING or kind in _CLOSING:
            yield from self._read_state(kind, frame)
            return
        if kind == "response.output_text.done":
            yield from self._said_at_once(frame)
            yield from self._end_part()
            frame = {**frame, "text": self._parts.get(_content_index(frame), "")}
        elif kind == "response.content_part.done":
            yield from self._end_part()
            frame = {**frame, "part": self._visible_part(frame)}
        elif kind == "response.output_item.added":
            item = frame.get("item")
            if isinstance(item, dict) and item.get("type") == "message":
                self._open, self._parts = item, {}
        elif kind == "response.output_item.done":
            yield from self._end_part(frame.get("item"))
            frame = self._item_done(frame)
        elif kind in _THOUGHTS:
            yield Thought(str(frame.get("delta") or ""))
        elif kind == "error":
            self._failed = True
            error: Frame = {"code": frame.get("code"), "message": frame.get("message")}
            self._final = {**self._turn.created, "status": "failed", "error": error}
        moved = {**frame, "output_index": self._index(frame)} if "output_index" in frame else dict(frame)
        yield Passed(self._turn.numbered(moved))

    def _read_state(self, kind: str, frame: Frame) -> Iterator[Piece]:
        response = frame.get("response")
        if not isinstance(response, dict):
            raise MalformedReply(f"{kind} has no response")
        if kind in _CLOSING:
            self._final = response
            yield from self._called()
            return
        if not self._first:
            return
        if kind == "response.created":
            self._turn.created = response
        yield Passed(self._turn.numbered({**frame, "response": self._turn.echoed(response)}))

    def _end_part(self, item: JSON = None) -> Iterator[Piece]:
        """What is being said is complete; `item` is what has ended, which may be another one than the message."""
        message = not isinstance(item, dict) or item.get("type") == "message"
        if self._pending and message:
            yield PartEnded()
            self._pending = False
            self._parts[_content_index(self._at)] = "".join(self._shown)

    def _said_at_once(self, frame: Frame) -> Iterator[Piece]:
        """Read a text of which no delta came."""
        text = frame.get("text")
        if isinstance(text, str) and text and not self._pending and _content_index(frame) not in self._parts:
            self._said += len(text)
            self._place(frame)
            yield Said(text)

    def _visible_part(self, frame: Frame) -> JSON:
        part = frame.get("part")
        if isinstance(part, dict) and part.get("type") == "output_text":
            return {**part, "text": self._parts.get(_content_index(frame), "")}
        return part

    def _item_done(self, frame: Frame) -> Frame:
        item = frame.get("item")
        if not isinstance(item, dict):
            raise MalformedReply("response.output_item.done has no item")
        self._items.append(item)
        shown = item
        if item.get("type") == "message":
            self._open = None
            shown = self._visible_message(item)
        self._turn.items[self._index(frame)] = shown
        return {**frame, "item": shown}

    def _visible_message(self, item: Frame) -> Frame:
        content = item.get("content")
        parts: list[JSON] = []
        for index, part in enumerate(content if isinstance(content, list) else []):
            if isinstance(part, dict) and part.get("type") == "output_text":
                part = {**part, "text": self._parts.get(index, "")}
            parts.append(part)
        return {**item, "content": parts}

    def _read_whole(self, response: Frame) -> Iterator[Piece]:
        self._final = response
        if self._first:
            self._turn.created = response
        output = response.get("output")
        for item in output if isinstance(output, list) else []:
            if isinstance(item, dict):
                yield from self._read_item(item)
        yield from self._called()

    def _hides(self, kind: str, frame: Frame) -> bool:
        """Tell whether an event is of a call of ours, which the caller sees with its result only."""
        index = frame.get("output_index")
        if kind in ("response.output_item.added", "response.output_item.done") and self._owned(frame.get("item")):
            self._hidden.add(index)
        return index is not None and index in self._hidden

    def _owned(self, item: JSON) -> bool:
        if not isinstance(item, dict) or item.get("type") != "function_call" or item.get("namespace"):
            return False
        return self._toolkit.owns(str(item.get("name") or ""))

    def _note_call(self, item: JSON) -> None:
        if isinstance(item, dict):
            call = {**item, "arguments": item.get("arguments") or "{}"}
            self._ours.append(call)
            self._items.append(call)

    def _called(self) -> Iterator[Called]:
        """The response has ended: give the calls of our tools, which are complete only if it is."""
        status = (self._final or {}).get("status")
        self._cut = bool(self._ours) and (self._failed or status in ("incomplete", "failed", "cancelled"))
        ids = {str(item.get("call_id")) for item in self._items if not self._owned(item)}
        for call in self._ours:
            # A result finds its call by an id, so each call has one that no other has.
            if not call.get("call_id") or call["call_id"] in ids:
                call["call_id"] = new_id("call")
            ids.add(str(call["call_id"]))
            name, arguments = str(call.get("name") or ""), str(call["arguments"])
            yield Called(str(call["call_id"]), name, arguments, call, self._cut)

    def _read_item(self, item: Frame) -> Iterator[Piece]:
        if self._owned(item):
            self._note_call(item)
            return
        index = self._turn.reserve()
        self._items.append(item)
        shown: Frame = item
        if item.get("type") == "message":
            parts: list[JSON] = []
            shown = {**item, "content": parts}
            self._turn.items[index] = shown
            content = item.get("content")
            for part in content if isinstance(content, list) else []:
                self._shown = []
                if isinstance(part, dict) and part.get("type") == "output_text":
                    text = str(part.get("text") or "")
                    self._said += len(text)
                    # The visible part is in place before the text is read: a cut ends the reading in its middle.
                    visible: Frame = {**part, "text": ""}
                    parts.append(visible)
                    self._open = shown
                    yield Said(text)
                    yield PartEnded()
                    visible["text"] = "".join(self._shown)
                else:
                    parts.append(part)
        self._turn.items[index] = shown

    def _close_cut(self) -> list[Frame]:
        """Close the message that was being said with what of it is visible."""
        text = "".join(self._shown)
        if self._open is None:
            return []
        if not self._turn.stream:
            content = self._open["content"]
            last = content[-1] if isinstance(content, list) else None
            if isinstance(last, dict):
                last["text"] = text
            self._open["agentd"] = {"cut": True}
            return []
        parts: list[JSON] = [
            {"type": "output_text", "text": part, "annotations": []} for part in [*self._parts.values(), text]
        ]
        part = parts[-1]
        item: Frame = {**self._open, "status": "completed", "content": parts, "agentd": {"cut": True}}
        index = self._at["output_index"]
        assert isinstance(index, int)
        self._turn.items[index] = item
        frames: list[Frame] = [
            {"type": "response.output_text.done", **self._at, "text": text, "logprobs": []},
            {"type": "response.content_part.done", **self._at, "part": part},
            {"type": "response.output_item.done", "output_index": index, "item": item},
        ]
        return [self._turn.numbered(frame) for frame in frames]


def _asks(item: Frame) -> bool:
    """Tell whether an item is a call that somebody has to answer."""
    if item.get("type") == "tool_search_call":
        return item.get("execution") == "client"
    return item.get("type") in _CALLS


def _content_index(frame: Frame) -> int:
    index = frame.get("content_index")
    return index if isinstance(index, int) else 0


_CALLS = (
    "function_call",
    "custom_tool_call",
    "computer_call",
    "local_shell_call",
    "shell_call",
    "apply_patch_call",
    "mcp_approval_request",
)
