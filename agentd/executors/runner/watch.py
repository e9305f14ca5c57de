"""Keeping an eye on how many processes there are, so that one block's do not leave room for no other's."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

from .processes import descendants, kill_below, tag_on
from .state import Block, Settings

EVERY = 0.1
_SHARE_OF_TIME = 20


class Watch:
    """Counts processes by their mark.

    Where the system counts and limits a whole tree (`census` is its file, -1 for none) this only removes what ended
    blocks have left behind when that is more than a quarter of what is allowed; elsewhere it also ends the block that
    has the most when all are too many.
    """

    def __init__(
        self, guard: int, settings: Settings, census: int, active: Mapping[int, Block], lasting: Callable[[], set[int]]
    ) -> None:
        self._guard = guard
        self._limit = settings.processes
        self._active = active
        self._lasting = lasting
        self._census = census
        self.due: float | None = None

    def begin(self, now: float) -> None:
        """Look again soon: a block has started."""
        if self._limit and self.due is None:
            self.due = now + EVERY

    def kill(self, doomed: Callable[[int], bool]) -> int:
        """Kill all processes with such a mark; return how many there were."""
        me = os.getpid()
        return kill_below(self._guard, lambda pid: pid != me and doomed(tag_on(pid)))

    def before(self, block: Block) -> None:
        """Make room for a block when there is hardly any."""
        if self._crowd() > self._limit * 3 // 4:
            self.make_room(block)

    def make_room(self, block: Block) -> None:
        """Kill what ended blocks have left running: it holds all the processes that are allowed."""
        busy = self._busy()
        if self.kill(lambda tag: tag not in busy):
            block.notes.append("[what earlier blocks had left running was killed: no more processes were allowed]\n")

    def after(self, block: Block) -> None:
        """Keep what a block leaves running, unless it is too much."""
        if not self._limit or (block.read_fd < 0 and self._crowd() <= self._limit // 4):
            return
        left = self._counts().get(block.tag, 0)
        if left > self._limit // 4:
            self.kill(lambda tag: tag == block.tag)
            block.notes.append(f"[{left} processes that the block had left running were killed]\n")

    def look(self, now: float) -> None:
        """Do what is due."""
        counts: dict[int, int] = {}
        if self._census < 0 or self._crowd() > self._limit // 4:
            counts = self._counts()
            if self._census < 0 and sum(counts.values()) > self._limit:
                self._end_worst(counts)
            busy = self._busy()
            too_many = {tag for tag, count in counts.items() if tag not in busy and count > self._limit // 4}
            if too_many:
                self.kill(lambda tag: tag in too_many)
        spent = time.monotonic() - now
        self.due = now + max(EVERY, _SHARE_OF_TIME * spent) if counts or self._active else None

    def _end_worst(self, counts: dict[int, int]) -> None:
        worst = max(counts, key=counts.__getitem__)
        for block in self._active.values():
            if block.tag == worst:
                block.notes.append(f"[killed: more than {self._limit} processes]\n")
        self.kill(lambda tag: tag == worst)

    def _busy(self) -> set[int]:
        return {block.tag for block in self._active.values()} | self._lasting()

    def _crowd(self) -> int:
        return int(os.pread(self._census, 32, 0)) if self._census >= 0 else 0

    def _counts(self) -> dict[int, int]:
        counts: dict[int, int] = {}
        for one in descendants(self._guard):
            tag = tag_on(one.pid)
            if tag and one.pid != os.getpid():
                counts[tag] = counts.get(tag, 0) + 1
        return counts
