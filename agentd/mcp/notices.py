"""What a server tells unasked, handed to those who wait for it, from one connection to the next."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

_MAX_PENDING = 1000


class Kind(StrEnum):
    """What a notice is about; the first three are lists that have changed."""

    TOOLS = "tools"
    RESOURCES = "resources"
    PROMPTS = "prompts"
    UPDATED = "updated"
    LOST = "lost"
    CLOSED = "closed"


LISTS = (Kind.TOOLS, Kind.RESOURCES, Kind.PROMPTS)


@dataclass(frozen=True, slots=True)
class Notice:
    """A list has changed, the resource `uri` has been updated, or the connection has ended, for now or for good."""

    kind: Kind
    uri: str = ""


class Notices:
    """Publishes notices to every watch that wants them; `subscribers` counts those of each resource."""

    def __init__(self) -> None:
        self.subscribers: Counter[str] = Counter()
        self._watches: set[Watch] = set()

    def publish(self, notice: Notice) -> None:
        """Wake those who wait for this."""
        for watch in tuple(self._watches):
            watch.put(notice)

    def watch(self, wanted: Callable[[Notice], bool]) -> Watch:
        """Return a watch, to be closed, of the notices that `wanted` picks."""
        watch = Watch(wanted, self._watches.discard)
        self._watches.add(watch)
        return watch


class Watch:
    """Notices that have not been taken yet, each at most once: a notice means "look again", not how often."""

    def __init__(self, wanted: Callable[[Notice], bool], forget: Callable[[Watch], None]) -> None:
        self._wanted = wanted
        self._forget = forget
        self._pending: dict[Notice, None] = {}
        self._wake = asyncio.Event()

    def put(self, notice: Notice) -> None:
        """Keep the notice if it is wanted."""
        if self._wanted(notice) and len(self._pending) < _MAX_PENDING:
            self._pending[notice] = None
            self._wake.set()

    async def take(self) -> Notice:
        """Return the oldest notice; waits for one."""
        while not self._pending:
            self._wake.clear()
            await self._wake.wait()
        notice = next(iter(self._pending))
        if notice.kind is not Kind.CLOSED:  # which stays true
            del self._pending[notice]
        return notice

    def close(self) -> None:
        """Stop watching; who still waits is told that it is over."""
        self._forget(self)
        self._pending = {Notice(Kind.CLOSED): None}
        self._wake.set()
