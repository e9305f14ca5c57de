from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from agentd.mcp.pool import ServerPool
from tests.fakes.mcp_remote import Remote


@pytest.fixture
async def make_pool() -> AsyncIterator[Callable[..., ServerPool]]:
    """Makes pools that are closed at the end of the test."""
    pools: list[ServerPool] = []

    def make(start_timeout: float = 40, call_timeout: float = 40, **options: Any) -> ServerPool:
        pools.append(ServerPool(start_timeout=start_timeout, call_timeout=call_timeout, **options))
        return pools[-1]

    yield make
    async with asyncio.timeout(30):
        await asyncio.gather(*(pool.close() for pool in pools))


@pytest.fixture
def pool(make_pool: Callable[[], ServerPool]) -> ServerPool:
    return make_pool()


@pytest.fixture
async def remote() -> AsyncIterator[Remote]:
    """A port of the loopback; what is started on it is killed at the end of the test."""
    remote = Remote()
    yield remote
    await remote.kill()
