"""What a client remembers between calls: what the API has not kept, and what the caller was not shown."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from agentd.core.tools import JSON
from agentd.loop.transcript import dumps
from agentd.loop.wire import Frame

T = TypeVar("T")
MAX_ENTRIES = 10_000
MAX_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class HiddenRounds:
    """What stands in the transcript where the caller has one message with calls of his own functions.

    `before` are the rounds that led to it, `message` is the whole of it, `results` answer our calls in it, and `after`
    follows when the caller has answered his. `anchor` is the message before it: not every API's call ids are unique.
    """

    anchor: bytes
    before: list[Frame]
    message: Frame
    results: list[Frame]
    after: list[Frame]


@dataclass(slots=True)
class Memory:
    """Remembers the latest 10,000 entries of each kind, and at most 32 MB of transcripts.

    `ends` leads from the id that a stream began with to the response that its turn ended with. `owed` are results of
    our calls that the API waits for, by response or conversation. `transcripts` stand in, as JSON without the outer
    brackets, for responses and conversations that the API has not kept. `hidden` are rounds by the caller's call.
    """

    ends: OrderedDict[str, str] = field(default_factory=OrderedDict[str, str])
    owed: OrderedDict[str, list[Frame]] = field(default_factory=OrderedDict[str, list[Frame]])
    transcripts: OrderedDict[str, bytes] = field(default_factory=OrderedDict[str, bytes])
    hidden: OrderedDict[str, HiddenRounds] = field(default_factory=OrderedDict[str, HiddenRounds])
    _size: int = 0

    def end(self, first: str, last: str) -> None:
        """Remember where a turn ended."""
        if first != last:
            _put(self.ends, first, last)

    def owe(self, name: str, results: list[Frame]) -> None:
        """Remember what has to be sent with the next request that goes on from `name`."""
        _put(self.owed, name, results)

    def keep(self, name: str, items: bytes) -> None:
        """Remember the transcript of a response or a conversation; one that is too large by itself is not kept."""
        self._size += len(items) - len(self.transcripts.pop(name, b""))
        self.transcripts[name] = items
        while self._size > MAX_BYTES or len(self.transcripts) > MAX_ENTRIES:
            self._size -= len(self.transcripts.popitem(last=False)[1])

    def hide(self, calls: Sequence[str], rounds: HiddenRounds) -> None:
        """Remember the rounds behind a message with these calls of the caller's functions."""
        for call in calls:
            _put(self.hidden, call, rounds)

    def restore(self, messages: list[JSON]) -> list[JSON]:
        """Return the caller's messages with the rounds that he was not shown."""
        if not self.hidden:
            return messages
        restored: list[JSON] = []
        after: list[Frame] = []
        for at, message in enumerate(messages):
            answers = isinstance(message, dict) and message.get("role") == "tool"
            if after and not answers:
                restored += after
                after = []
            known = self._behind(message, messages[at - 1] if at else None)
            if known is None:
                restored.append(message)
            else:
                restored += [*known.before, known.message, *known.results]
                after = known.after
        return [*restored, *after]

    def _behind(self, message: JSON, previous: JSON) -> HiddenRounds | None:
        calls = message.get("tool_calls") if isinstance(message, dict) else None
        for call in calls if isinstance(calls, list) else []:
            found = self.hidden.get(str(call.get("id"))) if isinstance(call, dict) else None
            if found is not None and found.anchor == dumps(previous):
                return found
        return None


def _put(held: OrderedDict[str, T], name: str, value: T) -> None:
    held[name] = value
    held.move_to_end(name)
    if len(held) > MAX_ENTRIES:
        held.popitem(last=False)
