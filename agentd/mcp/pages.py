"""Lists that come in pages, read to their end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

MAX_PAGES = 1000
MAX_ITEMS = 100_000

_Page = TypeVar("_Page", bound="Page")
_T = TypeVar("_T")


class EndlessList(Exception):
    """A server's pages do not come to an end."""


class Page(Protocol):
    """One page; `next_cursor` leads to the next."""

    @property
    def next_cursor(self) -> str | None: ...


async def all_pages(
    fetch: Callable[[str | None], Awaitable[_Page]], items: Callable[[_Page], Sequence[_T]]
) -> list[_T]:
    """Return the items of all pages; `EndlessList` when the pages do not come to an end."""
    found: list[_T] = []
    seen: set[str] = set()
    cursor: str | None = None
    while True:
        page = await fetch(cursor)
        found += items(page)
        cursor = page.next_cursor
        if cursor is None:
            return found
        if cursor in seen:
            raise EndlessList(f"the pages go in a circle: {cursor!r:.100} was the next one before")
        if len(seen) >= MAX_PAGES or len(found) > MAX_ITEMS:
            raise EndlessList(f"the list does not end: {len(found)} items on {len(seen) + 1} pages so far")
        seen.add(cursor)
