"""A running turn as its caller sees it: an iterator of events and wire frames, blocking or not."""

from __future__ import annotations

import asyncio
import sys
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Iterator

from agentd.core.background import drive
from agentd.core.events import Event, Record, Usage
from agentd.loop.engine import Engine, Item, Log
from agentd.loop.transcript import dumps
from agentd.loop.usage import Sum
from agentd.loop.wire import Frame
from agentd.patch.sampling import Calling


class Run:
    """What one call on a patched client did: `response.agentd`, `stream.agentd`, and `error.agentd` when it failed.

    `records` are the committed events in their order, `events` the events alone, `status` is `None` until the turn has
    ended and then `completed`, `failed`, `cancelled` or `max_turns`. `usage` is the sum over all model calls so
    far, with its price in US dollars, `usage.cost_usd`, which is `None` when the price of one of them is not known.
    `sampling_usage` is what the client's model calls for MCP servers used while this call ran; `usage` is without it.
    """

    def __init__(self, engine: Engine, log: Log, sampled: Sum | None = None) -> None:
        self._engine = engine
        self._log = log
        self._sampled = sampled or Sum()
        engine.account = weakref.ref(self)

    @property
    def session(self) -> str:
        return self._log.session

    @property
    def turn(self) -> str:
        return self._log.turn

    @property
    def records(self) -> list[Record]:
        return self._log.records

    @property
    def events(self) -> list[Event]:
        return [record.event for record in self._log.records]

    @property
    def status(self) -> str | None:
        return self._engine.status

    @property
    def usage(self) -> Usage:
        return self._engine.sum.total

    @property
    def sampling_usage(self) -> Usage:
        return self._sampled.total

    @property
    def model_calls(self) -> int:
        return self._engine.model_calls

    def __repr__(self) -> str:
        return f"<Run {self.turn} {self.status or 'running'}, {self.model_calls} model calls>"


def _close(items: AsyncGenerator[Item]) -> None:
    drive(items.aclose())


class SyncTurn:
    """Drives a turn whose parts block. Closing it, or losing it, cancels what runs."""

    def __init__(self, engine: Engine, calling: Calling | None = None) -> None:
        self._engine = engine
        self._calling = calling  # the call runs for as long as somebody holds its turn
        self._items = engine.run()
        self._first: list[Item] = []
        self._closed = False
        weakref.finalize(self, _close, self._items)

    def open(self) -> None:
        """Advance to where the model's first answer has begun."""
        # The hooks of a running event loop would have it finish this generator in its own time.
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(None, None)
        try:
            self._first.append(drive(anext(self._items)))
        finally:
            sys.set_asyncgen_hooks(*hooks)

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        if self._first:
            return self._first.pop()
        try:
            return drive(anext(self._items))
        except StopAsyncIteration:
            raise StopIteration from None
        except (asyncio.CancelledError, RuntimeError):
            if self._closed:
                raise StopIteration from None
            raise

    def close(self) -> None:
        """Cancel what runs and wait until it is gone; nothing that comes later has an effect."""
        if self._closed:
            return
        self._closed = True
        try:
            _close(self._items)
        except RuntimeError as error:
            if "already running" not in str(error):
                raise
            drive(self._engine.stop())  # another thread drives it


class AsyncTurn:
    """A turn on the caller's event loop."""

    def __init__(self, engine: Engine, calling: Calling | None = None) -> None:
        self._calling = calling  # the call runs for as long as somebody holds its turn
        self._items = engine.run()
        self._first: list[Item] = []

    async def open(self) -> None:
        """Advance to where the model's first answer has begun."""
        self._first.append(await anext(self._items))

    def __aiter__(self) -> AsyncIterator[Item]:
        return self

    async def __anext__(self) -> Item:
        if self._first:
            return self._first.pop()
        return await anext(self._items)

    async def aclose(self) -> None:
        """Cancel what runs and wait until it is gone; nothing that comes later has an effect."""
        await self._items.aclose()


def encode_frames(api: str, frames: list[Frame]) -> bytes:
    """Return frames as the server-sent events of their API."""
    lines: list[bytes] = []
    for frame in frames:
        if api == "responses":
            lines.append(b"event: " + str(frame.get("type")).encode() + b"\n")
        lines.append(b"data: " + dumps(frame) + b"\n\n")
    return b"".join(lines)
