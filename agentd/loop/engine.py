"""The turn loop: ask the model, run its blocks, tell it the results, until it has nothing more to run.

There is one loop. It is asynchronous in form only: every `await` goes to a part that was handed in, so a caller with
blocking parts drives it to its end without an event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from agentd.core.actions import ActionResult, Answer
from agentd.core.events import (
    FLEETING,
    CodeFinished,
    ErrorRaised,
    Event,
    Message,
    ReasoningDelta,
    Record,
    Status,
    TextDelta,
    TurnStarted,
    Usage,
)
from agentd.core.protocols import Actions, Happening, Model, ModelRequest, Store
from agentd.loop.fenced import MAX_BLOCKS
from agentd.loop.results import messages
from agentd.loop.usage import Sum
from agentd.loop.wire import (
    Block,
    Called,
    Coming,
    Dialect,
    Ending,
    Frame,
    Outcome,
    Passed,
    Reading,
    Round,
    Said,
    Thought,
)

Item = Event | Frame
_log = logging.getLogger("agentd.loop")


@dataclass(frozen=True, slots=True)
class Limits:
    """At most `max_turns` calls of the model in a turn, and `max_blocks` actions in one of its messages."""

    max_turns: int = 20
    max_blocks: int = MAX_BLOCKS


class Log:
    """The part of the event log that one turn writes; `records` holds what it wrote."""

    def __init__(self, store: Store, session: str, turn: str, observe: Callable[[Event], object] | None = None) -> None:
        self._store = store
        self._observe = observe
        self.session = session
        self.turn = turn
        self.records: list[Record] = []

    async def commit(self, event: Event) -> Event:
        """Make an event durable, then show it to the observer and return it."""
        if event.type not in FLEETING:
            self.records += await self._store.append(self.session, self.turn, [event])
        return self.show(event)

    def show(self, event: Event) -> Event:
        """Show an event that need not be stored to the observer and return it."""
        if self._observe is not None:
            try:
                self._observe(event)
            except Exception:  # noqa: BLE001 - a turn does not fail because somebody who watches it does
                _log.exception("an observer failed on %s", event.type)
        return event


class Engine:
    """Runs one turn. `run` gives out events and, for the caller's own stream, frames of the wire dialect.

    The first item comes when the model's first answer has begun. Leaving the iteration early cancels what runs. An
    error that ends the turn has what `account` gives as its `agentd`.
    """

    def __init__(
        self,
        dialect: Dialect,
        model: Model,
        new_message: Callable[[int], Reading],
        new_actions: Callable[[], Actions],
        log: Log,
        limits: Limits,
        stream: bool,
    ) -> None:
        self._dialect = dialect
        self._model = model
        self._new_message = new_message
        self._new_actions = new_actions
        self._log = log
        self._limits = limits
        self._stream = stream
        self._message = new_message(limits.max_blocks)
        self._actions: Actions | None = None
        self.sum = Sum()
        self.status: Status | None = None
        self.model_calls = 0
        self.account: Callable[[], object] = lambda: None
        self._stop_reason = ""
        self._stopped = False
        self._ended = False

    async def run(self) -> AsyncGenerator[Item]:
        started = await self._log.commit(TurnStarted(self._dialect.model, self._dialect.api))
        try:
            async with aclosing(self._turn(started)) as items:
                async for item in items:
                    yield item
            status = self.status or "completed"
            for frame in self._dialect.finish(status):
                yield frame
            self._ended = True
            yield await self._log.commit(self.sum.ended(status, self._stop_reason))
        except (GeneratorExit, asyncio.CancelledError, KeyboardInterrupt) as end:
            end.__dict__["agentd"] = self.account()
            await self._abandon(self.status or "cancelled")
            raise
        except BaseException as error:
            error.__dict__["agentd"] = self.account()
            await self._log.commit(ErrorRaised(type(error).__name__, str(error)))
            await self._abandon("failed")
            raise

    async def stop(self) -> None:
        """Cancel a turn that another thread drives: there, the iteration ends with `CancelledError`."""
        self._stopped = True
        if self._actions is not None:
            await self._actions.cancel()

    def _check(self) -> None:
        if self._stopped:
            raise asyncio.CancelledError

    async def _abandon(self, status: Status) -> None:
        if self._ended:
            return
        self._ended = True
        self.status = status
        actions, self._actions = self._actions, None
        if actions is not None:
            await actions.cancel()
            for happening in actions.take():
                await self._happened(happening)
        self._dialect.abandon(self._message.blocks)
        await self._log.commit(self.sum.ended(status, self._stop_reason))

    async def _turn(self, started: Event) -> AsyncGenerator[Item]:
        opening: Event | None = started
        while self.model_calls < self._limits.max_turns:
            self._message = self._new_message(self._limits.max_blocks)
            self._actions = None
            current = self._dialect.begin()
            async with aclosing(self._ask(current)) as items:
                async for item in items:
                    if opening is not None:
                        yield opening
                        opening = None
                    if item is not None:
                        yield item
            self._check()
            frames, ending = current.end(self._message.kept)
            for frame in frames:
                yield frame
            async with aclosing(self._settle(ending)) as items:
                async for item in items:
                    yield item
            self._check()
            if self.status:
                return
        self.status = "max_turns"
        _log.warning("the turn ended unfinished after %d model calls, its max_turns", self.model_calls)

    async def _ask(self, current: Round) -> AsyncGenerator[Item | None]:
        body = self._dialect.body()
        request = ModelRequest(self._dialect.api, self._stream, body, first=self.model_calls == 0)
        self.model_calls += 1
        reply = await self._model.send(request)
        try:
            yield None
            async for frame in reply:
                self._check()
                for item in self._read(current, frame):
                    yield item
                if self._actions is not None:
                    for event in await self._events(self._actions.take()):
                        yield event
                if self._message.kept is not None:
                    return
        finally:
            await reply.aclose()

    def _read(self, current: Round, frame: Frame) -> list[Item]:
        items: list[Item] = []
        for piece in current.read(frame):
            if type(piece) is Said:
                self._say(current, self._message.feed(piece.text), items)
            elif type(piece) is Passed:
                items.append(piece.frame)
            elif type(piece) is Thought:
                items.append(self._log.show(ReasoningDelta(piece.text)))
            elif type(piece) is Called:
                self._say(current, self._message.call(piece), items)
            else:
                self._say(current, self._message.end_part(), items)
            if self._message.kept is not None:
                break
        return items

    def _say(self, current: Round, outcomes: list[Outcome], items: list[Item]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, str):
                items.append(self._log.show(TextDelta(outcome)))
                items.append(current.show(outcome))
                continue
            if self._actions is None:
                self._actions = self._new_actions()
            if isinstance(outcome, Coming):
                self._actions.prepare()
            else:
                self._actions.submit(outcome)

    def _priced(self, ending: Ending) -> Usage:
        usage = ending.usage
        if not usage.estimated:
            cost = self._model.cost(usage, self._dialect.model, ending.model, ending.tier)
            usage = replace(usage, cost_usd=cost)
        self.sum.add(usage)
        return usage

    async def _events(self, happenings: list[Happening]) -> list[Event]:
        """Take what has happened, and return the events of it."""
        events = [await self._happened(happening) for happening in happenings]
        return [event for event in events if event is not None]

    async def _happened(self, happening: Happening) -> Event | None:
        if not isinstance(happening, CodeFinished | Answer):
            return await self._log.commit(happening)
        block = next((block for block in self._message.blocks if block.id == happening.id), None)
        if isinstance(happening, Answer):
            if block is not None:
                block.answer = happening
            return None
        if block is not None:
            block.result = _result(happening)
        return await self._log.commit(happening)

    async def _settle(self, ending: Ending) -> AsyncGenerator[Item]:
        """The message has ended: wait for its blocks, and decide whether the model is asked again."""
        kept = self._message.kept
        yield await self._log.commit(Message("assistant", self._message.text() if kept is None else kept))
        yield await self._log.commit(self._priced(ending))
        if self._actions is not None:
            while happenings := await self._actions.wait():
                for event in await self._events(happenings):
                    yield event
            self._check()
        self._actions = None
        self._stop_reason = ending.stop_reason
        blocks: list[Block] = self._message.settle()
        for block in blocks:
            for frame in self._dialect.block_frames(block):
                yield frame
        if ending.failed:
            self.status = "failed"
        elif ending.wants_caller or ending.cut or not blocks:
            self.status = "completed"
        self._dialect.record(blocks)
        for message in messages(blocks):
            yield await self._log.commit(message)


def _result(event: CodeFinished) -> ActionResult:
    return ActionResult(event.exit_code, event.output, event.duration, event.reason, spill=event.spill)
