"""A stream of LiteLLM's, read ahead on its loop and handed over in batches."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator, AsyncIterator

from agentd.core.tools import JSON
from agentd.llm.litellm_loop import Wait, later

Frame = dict[str, JSON]


class Source:
    """Reads frames as they come and keeps them until they are taken. Lives on LiteLLM's loop."""

    def __init__(self, frames: AsyncGenerator[Frame]) -> None:
        self._frames = frames
        self._ready: list[Frame] = []
        self._news = asyncio.Event()
        self._error: Exception | None = None
        self._over = False
        self.task = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        try:
            async for frame in self._frames:
                self._ready.append(frame)
                self._news.set()
        except Exception as error:  # noqa: BLE001 - it is raised where the frames are taken
            self._error = error
        finally:
            self._over = True
            self._news.set()

    async def take(self) -> list[Frame]:
        """Return what has come, at least one frame; `[]` at the end. An error comes after the frames before it."""
        while not self._ready and not self._over:
            self._news.clear()
            await self._news.wait()
        batch, self._ready = self._ready, []
        if not batch and self._error is not None:
            error, self._error = self._error, None
            raise error
        return batch

    async def aclose(self) -> None:
        """Close the connection; the rest is not read."""
        self.task.cancel()
        await asyncio.wait([self.task])
        await self._frames.aclose()


class StreamedReply:
    """The frames of a stream. One that is lost without being closed closes its connection all the same."""

    def __init__(self, source: Source, wait: Wait) -> None:
        self._source = source
        self._wait = wait
        self._lost = weakref.finalize(self, later, source.task.cancel)
        self._lost.atexit = False

    async def __aiter__(self) -> AsyncIterator[Frame]:
        while batch := await self._wait(self._source.take()):
            for frame in batch:
                yield frame

    async def aclose(self) -> None:
        if self._lost.detach() is not None:
            await self._wait(self._source.aclose())


class WholeReply:
    """An answer that came in one piece."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    async def __aiter__(self) -> AsyncIterator[Frame]:
        yield self._frame

    async def aclose(self) -> None:
        """Nothing is open."""
