"""An event log that lives as long as its process."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from time import time

from agentd.core.events import Event, Record


class MemoryStore:
    """Keeps records in memory. Appending never suspends, so that it may be driven without an event loop.

    Safe to append to from several threads; a follower belongs to the event loop that it is iterated on.
    """

    def __init__(self, clock: Callable[[], float] = time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._records: defaultdict[str, list[Record]] = defaultdict(list)
        self._followers: defaultdict[str, list[Callable[[], object]]] = defaultdict(list)

    async def append(self, session: str, turn: str, events: Sequence[Event]) -> list[Record]:
        with self._lock:
            now = self._clock()
            log = self._records[session]
            first = len(log) + 1
            added = [Record(session, first + index, turn, now, event) for index, event in enumerate(events)]
            log.extend(added)
        for wake in tuple(self._followers.get(session, ())):
            wake()
        return added

    async def read(self, session: str, after: int = 0) -> list[Record]:
        return self._records[session][max(after, 0) :] if session in self._records else []

    async def follow(self, session: str, after: int = 0) -> AsyncIterator[Record]:
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(changed.set)

        self._followers[session].append(wake)
        try:
            while True:
                changed.clear()
                for record in await self.read(session, after):
                    after = record.seq
                    yield record
                await changed.wait()
        finally:
            self._followers[session].remove(wake)
