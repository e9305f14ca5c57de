"""Time limits that stand still while we answer, and notices that wait to be taken."""

from __future__ import annotations

import asyncio

import pytest

from agentd.mcp.limits import Clock
from agentd.mcp.notices import Kind, Notice, Notices
from agentd.mcp.pages import MAX_PAGES, EndlessList, all_pages


async def test_a_limit_stands_still_while_questions_are_answered() -> None:
    clock = Clock()
    async with asyncio.timeout(20), clock.limit(0.1):
        with clock.stopped():
            await asyncio.sleep(0.2)
            with clock.stopped():
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.1)
    with pytest.raises(TimeoutError):
        async with clock.limit(0.05):
            with clock.stopped():
                pass
            await asyncio.sleep(30)


async def test_a_limit_that_begins_while_a_question_is_answered() -> None:
    clock = Clock()
    answering, answered = asyncio.Event(), asyncio.Event()

    async def question() -> None:
        with clock.stopped():
            answering.set()
            await answered.wait()

    asking = asyncio.create_task(question())
    await answering.wait()
    with pytest.raises(TimeoutError):
        async with clock.limit(0.1):
            await asyncio.sleep(0.3)
            answered.set()
            await asking
            await asyncio.sleep(30)


async def test_a_notice_waits_once_and_only_where_it_is_wanted() -> None:
    notices = Notices()
    tools = notices.watch(lambda notice: notice.kind is Kind.TOOLS)
    everything = notices.watch(lambda notice: True)
    for _ in range(3):
        notices.publish(Notice(Kind.TOOLS))
    notices.publish(Notice(Kind.UPDATED, "a://b"))
    assert [(await everything.take()).kind for _ in range(2)] == [Kind.TOOLS, Kind.UPDATED]
    assert await tools.take() == Notice(Kind.TOOLS)
    waiting = asyncio.create_task(tools.take())
    await asyncio.sleep(0)
    assert not waiting.done()
    tools.close()
    assert await waiting == await tools.take() == Notice(Kind.CLOSED)
    for number in range(5000):
        notices.publish(Notice(Kind.UPDATED, f"a://{number}"))
    assert (await everything.take()).uri == "a://0"


class Page:
    def __init__(self, items: list[int], next_cursor: str | None) -> None:
        self.items = items
        self.next_cursor = next_cursor


async def test_pages() -> None:
    pages = {None: Page([1], "b"), "b": Page([], ""), "": Page([2, 3], None)}

    async def fetch(cursor: str | None) -> Page:
        return pages[cursor]

    assert await all_pages(fetch, lambda page: page.items) == [1, 2, 3]
    pages["b"] = Page([9], "b")
    with pytest.raises(EndlessList, match="circle"):
        await all_pages(fetch, lambda page: page.items)
    count = 0

    async def endless(cursor: str | None) -> Page:
        nonlocal count
        count += 1
        return Page([count], str(count))

    with pytest.raises(EndlessList, match="does not end"):
        await all_pages(endless, lambda page: page.items)
    assert count == MAX_PAGES + 1
