"""What a client remembers between calls: what the API has not kept, and what the caller was not shown."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from agentd.core.tools import JSON
from agentd.loop.transcript import dumps
from agentd.loop.wire import Frame

MAX_ENTRIES = 10_000
MAX_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class StandIn:
    """A transcript that the API has not kept: `items` as JSON without brackets, on top of the response `previous`."""

    previous: str
    items: bytes


@dataclass(frozen=True, slots=True)
class HiddenRounds:
    """What stands in the transcript where the caller has one message with calls of his own functions.

    `before` are the rounds that led to it, `message` is the whole of it, `results` answer our calls in it, and `after`
    follows when the caller has answered his `calls`.
    """

    calls: list[Frame]
    before: list[Frame]
    message: Frame
    results: list[Frame]
    after: list[Frame]


Entry = str | StandIn | HiddenRounds | list[Frame]


class Memory:
    """Remembers the latest 10,000 entries, and at most 32 MB of them; what is larger by itself is not remembered.

    Calls on one client run in many threads: all of it is locked.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[str, str], tuple[Entry, int]] = OrderedDict()
        self._size = 0
        self._hidden = 0

    def end(self, first: str, last: str) -> None:
        """Remember which response a turn ended with whose stream began with another id."""
        if first != last:
            self._put("end", first, last, len(last))

    def last(self, first: str) -> str:
        """Return the response that a turn ended with."""
        found = self._get("end", first)
        return found if isinstance(found, str) else first

    def owe(self, name: str, results: list[Frame]) -> None:
        """Remember what has to be sent with the next request that goes on from a response or a conversation."""
        self._put("owed", name, results, len(dumps([*results])))

    def owed(self, name: str) -> list[Frame]:
        """Return what has to be sent."""
        found = self._get("owed", name)
        return found if isinstance(found, list) else []

    def paid(self, name: str) -> None:
        """Forget what has been sent."""
        with self._lock:
            self._drop("owed", name)

    def keep(self, name: str, stand_in: StandIn) -> None:
        """Remember the transcript of a response or a conversation."""
        self._put("transcript", name, stand_in, len(stand_in.items))

    def transcript(self, name: str) -> StandIn | None:
        """Return the transcript that stands in for a response or a conversation."""
        found = self._get("transcript", name)
        return found if isinstance(found, StandIn) else None

    def hide(self, messages: Sequence[JSON], rounds: HiddenRounds) -> None:
        """Remember the rounds behind what the caller sees as one message after his `messages`."""
        if rounds.calls:
            size = len(dumps([*rounds.before, rounds.message, *rounds.results, *rounds.after]))
            self._put("hidden", _place(rounds.calls[0], messages), rounds, size)

    def restore(self, messages: list[JSON]) -> list[JSON]:
        """Return the caller's messages with the rounds that he was not shown."""
        if not self._hidden:
            return messages
        restored: list[JSON] = []
        after: list[Frame] = []
        for at, message in enumerate(messages):
            answers = isinstance(message, dict) and message.get("role") == "tool"
            if after and not answers:
                restored += after
                after = []
            known = self._behind(message, messages[:at])
            if known is None:
                restored.append(message)
            else:
                restored += [*known.before, known.message, *known.results]
                after = known.after
        return [*restored, *after]

    def _behind(self, message: JSON, before: list[JSON]) -> HiddenRounds | None:
        """Return the rounds behind a message: those of the very same calls, after the very same conversation."""
        given = message.get("tool_calls") if isinstance(message, dict) else None
        calls = [call for call in given if isinstance(call, dict)] if isinstance(given, list) else []
        if not calls:
            return None
        found = self._get("hidden", _place(calls[0], before))
        same = isinstance(found, HiddenRounds) and [*map(_said, calls)] == [*map(_said, found.calls)]
        return found if same and isinstance(found, HiddenRounds) else None

    def _get(self, kind: str, name: str) -> Entry | None:
        with self._lock:
            found = self._entries.get((kind, name))
        return found[0] if found is not None else None

    def _put(self, kind: str, name: str, value: Entry, size: int) -> None:
        with self._lock:
            self._drop(kind, name)
            if size > MAX_BYTES:
                return
            self._entries[kind, name] = value, size
            self._size += size
            self._hidden += kind == "hidden"
            while self._size > MAX_BYTES or len(self._entries) > MAX_ENTRIES:
                (old, _), (_, gone) = self._entries.popitem(last=False)
                self._size -= gone
                self._hidden -= old == "hidden"

    def _drop(self, kind: str, name: str) -> None:
        found = self._entries.pop((kind, name), None)
        if found is not None:
            self._size -= found[1]
            self._hidden -= kind == "hidden"


def _place(call: Frame, before: Sequence[JSON]) -> str:
    """Return where a message stands: not every API's call ids are unique, so all that was said before counts."""
    return f"{call.get('id')} {hashlib.sha256(dumps([*before])).hexdigest()}"


def _said(call: Frame) -> tuple[JSON, JSON]:
    return call.get("id"), call.get("function") or call.get("custom")
