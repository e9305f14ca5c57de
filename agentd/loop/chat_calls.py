"""The tool calls of one chat message: put together from their deltas, ours kept, the caller's passed on."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from agentd.core.ids import new_id
from agentd.core.tools import JSON
from agentd.loop.wire import Called, Frame, Toolkit

_UNNUMBERED = -1


class ChatCalls:
    """`all` are the complete calls as they go into the transcript, `ours` and `callers` those of each side."""

    def __init__(self, toolkit: Toolkit) -> None:
        self._toolkit = toolkit
        self._growing: dict[tuple[int, int], Frame] = {}
        self._shown: dict[tuple[int, int], int] = {}
        self._waiting: set[tuple[int, int]] = set()
        self._at: dict[int, tuple[int, int]] = {}
        self.all: list[Frame] = []
        self.ours: list[Frame] = []
        self.callers: list[Frame] = []

    @property
    def size(self) -> int:
        """Return how many characters the calls have."""
        return sum(len(_function(call, "name")) + len(_function(call, "arguments")) for call in self._growing.values())

    def feed(self, deltas: JSON) -> list[Frame]:
        """Read a message's next deltas; return what of them the caller sees, his calls counted from 0."""
        shown: list[Frame] = []
        for delta in deltas if isinstance(deltas, list) else []:
            if isinstance(delta, dict):
                shown += self._read(delta)
        return shown

    def finish(self, cut: bool = False) -> Iterator[Called]:
        """The message has ended, or with `cut` was broken off: give the calls of our tools."""
        calls = [self._growing[place] for place in sorted(self._growing)]
        self.callers = [call for call in calls if not self._owned(call)]
        ids = {str(call.get("id")) for call in self.callers}
        for call in calls:
            if self._owned(call):
                # A result finds its call by an id, so each of ours has one that no other call has.
                if not call.get("id") or call["id"] in ids:
                    call = {**call, "id": new_id("call")}
                call.setdefault("type", "function")
                call["function"] = {"name": _function(call, "name"), "arguments": _function(call, "arguments") or "{}"}
                ids.add(str(call["id"]))
                self.ours.append(call)
            self.all.append(call)
        for call in self.ours:
            yield Called(str(call["id"]), _function(call, "name"), _function(call, "arguments"), call, cut)

    def _read(self, delta: Frame) -> Iterator[Frame]:
        place = self._place(delta)
        call = self._growing.setdefault(place, {})
        more = {name: value for name, value in delta.items() if name != "index"}
        _grow(call, more)
        if self._owned(call):
            return
        if call.get("type", "function") == "function" and not _function(call, "name"):
            # Whose it is will be known with its name.
            self._waiting.add(place)
            return
        shown = self._shown.setdefault(place, len(self._shown))
        if place in self._waiting:
            self._waiting.discard(place)
            more = copy.deepcopy(call)
        yield {"index": shown, **more}

    def _place(self, delta: Frame) -> tuple[int, int]:
        """Return which call a delta belongs to; one with another id begins a call, whatever its index says."""
        given = delta.get("index")
        index = given if isinstance(given, int) and not isinstance(given, bool) else _UNNUMBERED
        place = self._at.get(index)
        held = self._growing[place].get("id") if place is not None else None
        other = bool(held and delta.get("id")) and held != delta.get("id")
        if place is None or (other and (index == _UNNUMBERED or _function(delta, "name"))):
            place = self._at[index] = index, len(self._growing)
        return place

    def _owned(self, call: Frame) -> bool:
        name = _function(call, "name")
        return bool(name) and self._toolkit.owns(name)


def _function(call: Frame, field: str) -> str:
    function = call.get("function")
    value = function.get(field) if isinstance(function, dict) else None
    return value if isinstance(value, str) else ""


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
