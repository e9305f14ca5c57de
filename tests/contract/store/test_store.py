"""What every event log promises."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise

import pytest

from agentd.core.events import CodeFinished, Event, Message, Record, TurnEnded, TurnStarted, Usage
from agentd.core.protocols import Store
from agentd.store.memory import MemoryStore

STORES: list[Callable[[], Store]] = [MemoryStore]


@pytest.fixture(params=STORES, ids=lambda made: made.__name__)
def store(request: pytest.FixtureRequest) -> Store:
    return request.param()


def events(count: int, start: int = 0) -> list[Event]:
    return [Message("assistant", f"text {number}") for number in range(start, start + count)]


async def test_numbers_rise_by_one_from_one(store: Store) -> None:
    first = await store.append("a", "t1", events(3))
    second = await store.append("a", "t2", events(2, 3))
    assert [record.seq for record in first + second] == [1, 2, 3, 4, 5]
    assert {record.session for record in first + second} == {"a"}
    assert [record.turn for record in first + second] == ["t1"] * 3 + ["t2"] * 2


async def test_reads_back_what_was_appended(store: Store) -> None:
    written: list[Event] = [
        TurnStarted("m", "chat"),
        Usage(1, 2, 3, 4, True),
        CodeFinished("b", 7, "out\n\udcff", 0.5, "timeout", ".agentd/output/b.txt"),
        TurnEnded("max_turns", "length"),
    ]
    appended = await store.append("a", "t", written)
    assert [record.event for record in await store.read("a")] == written
    assert await store.read("a") == appended
    assert all(earlier.ts <= later.ts for earlier, later in pairwise(appended))


async def test_reads_on_from_any_number(store: Store) -> None:
    await store.append("a", "t", events(5))
    for after in range(6):
        assert [record.seq for record in await store.read("a", after)] == list(range(after + 1, 6))
    assert await store.read("a", 99) == []


async def test_sessions_are_apart(store: Store) -> None:
    await store.append("a", "t", events(2))
    await store.append("b", "t", events(1))
    assert [record.seq for record in await store.read("b")] == [1]
    assert await store.read("nobody") == []


async def test_what_was_read_does_not_change(store: Store) -> None:
    await store.append("a", "t", events(1))
    before = await store.read("a")
    await store.append("a", "t", events(1, 1))
    assert len(before) == 1


async def test_a_follower_sees_old_and_new_without_gap_or_double(store: Store) -> None:
    await store.append("a", "t", events(3))
    seen: list[Record] = []

    async def follow() -> None:
        async for record in store.follow("a", 1):
            seen.append(record)
            if record.seq == 200:
                return

    following = asyncio.create_task(follow())
    for number in range(3, 200):
        await store.append("a", "t", events(1, number))
        if number % 7 == 0:
            await asyncio.sleep(0)
    await asyncio.wait_for(following, 10)
    assert [record.seq for record in seen] == list(range(2, 201))


async def test_a_follower_may_be_left(store: Store) -> None:
    await store.append("a", "t", events(1))
    follower = store.follow("a")
    assert (await anext(follower)).seq == 1
    waiting = asyncio.ensure_future(anext(follower))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert [record.seq for record in await store.append("a", "t", events(1, 1))] == [2]


async def test_threads_append_without_gap_or_double(store: Store) -> None:
    def work() -> None:
        for _ in range(100):
            asyncio.run(store.append("a", "t", events(2)))

    await asyncio.gather(*(asyncio.to_thread(work) for _ in range(4)))
    assert [record.seq for record in await store.read("a")] == list(range(1, 801))
