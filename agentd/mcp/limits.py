"""Time limits for a server's answers, that stand still while the server waits for ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager


class Clock:
    """Gives limits, and stops them while a question of the server is being answered: a person may take his time."""

    def __init__(self) -> None:
        self._limits: dict[asyncio.Timeout, float] = {}
        self._questions = 0

    @asynccontextmanager
    async def limit(self, seconds: float) -> AsyncGenerator[None]:
        """Raise `TimeoutError` when the block takes longer than `seconds` of the server's own time."""
        async with asyncio.timeout(None if self._questions else seconds) as limit:
            self._limits[limit] = seconds
            try:
                yield
            finally:
                del self._limits[limit]

    @contextmanager
    def stopped(self) -> Generator[None]:
        """Stop the limits for as long as the block lasts."""
        if not self._questions:
            now = asyncio.get_running_loop().time()
            for limit in self._running():
                self._limits[limit] = max((limit.when() or now) - now, 0)
                limit.reschedule(None)
        self._questions += 1
        try:
            yield
        finally:
            self._questions -= 1
            if not self._questions:
                now = asyncio.get_running_loop().time()
                for limit in self._running():
                    limit.reschedule(now + self._limits[limit])

    def _running(self) -> list[asyncio.Timeout]:
        return [limit for limit in self._limits if not limit.expired()]
