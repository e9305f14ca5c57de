"""Identity, names, parallel starts, and that nothing is left when the pool is closed."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from typing import cast

import pytest
from mcp import StdioServerParameters

from agentd.core.errors import ServerFailed
from agentd.mcp.pool import ServerPool
from tests.fakes.mcp_servers import alive, failure, faulty, value


async def test_equal_parameters_are_one_connection_and_others_are_not(pool: ServerPool) -> None:
    first = await value(await pool.connect([faulty()]), "pid")
    for _ in range(10):
        assert await value(await pool.connect([faulty()]), "pid") == first
    assert len(await pool.connect([faulty(), faulty()])) == len(await pool.connect([faulty()]))
    tools = await pool.connect([faulty(), faulty(env={"A": "1"}), faulty("--pages", "2")])
    servers = {tool.spec.server for tool in tools}
    assert servers == {"mcp_faulty", "mcp_faulty-2", "mcp_faulty-3"}
    pids = {str(await value([tool], "pid")) for tool in tools if tool.spec.name == "pid"}
    assert len(pids) == 3 and first in pids


async def test_a_name_stays_when_other_servers_come_and_go(pool: ServerPool) -> None:
    one, two = faulty(), faulty(env={"A": "1"})
    for servers in ([one], [two, one], [two], [one, two]):
        names = {tool.spec.server for tool in await pool.connect(servers)}
        assert names == {{id(one): "mcp_faulty", id(two): "mcp_faulty-2"}[id(server)] for server in servers}


async def test_pools_share_nothing(make_pool: Callable[[], ServerPool]) -> None:
    one, two = make_pool(), make_pool()
    first, second = await one.connect([faulty()]), await two.connect([faulty()])
    process = await value(second, "pid")
    assert await value(first, "pid") != process
    await one.close()
    assert await value(second, "pid") == process
    assert "closed" in await failure(first, "pid")


async def test_slow_servers_start_side_by_side(pool: ServerPool) -> None:
    servers = [faulty("--slow-start", "2", env={"N": str(number)}) for number in range(8)]
    started = time.monotonic()
    await pool.connect(servers)
    assert time.monotonic() - started < 14, "one after the other takes 16 seconds"


async def test_two_connects_at_once_start_a_server_once(pool: ServerPool) -> None:
    listings = await asyncio.gather(*(pool.connect([faulty("--slow-start", "0.3")]) for _ in range(5)))
    assert len({str(await value(tools, "pid")) for tools in listings}) == 1


@pytest.mark.parametrize("options", [[], ["--stubborn"]], ids=["polite", "stubborn"])
async def test_closing_ends_the_server_and_all_that_it_started(pool: ServerPool, options: list[str]) -> None:
    tools = await pool.connect([faulty(*options)])
    children = cast(list[int], await value(tools, "spawn"))
    process = int(str(await value(tools, "pid")))
    assert all(alive(pid) for pid in (process, *children))
    pending = asyncio.create_task(failure(tools, "slow", {"seconds": 60}))
    await asyncio.sleep(0.1)
    started = time.monotonic()
    await pool.close()
    took = time.monotonic() - started
    assert "was closed while slow was running" in await pending
    for pid in (process, *children):
        while alive(pid):  # noqa: ASYNC110  a killed process needs a moment; one that lives runs into the time-out
            await asyncio.sleep(0.01)
    assert took < 10


async def test_children_of_a_server_that_died_are_ended(pool: ServerPool) -> None:
    tools = await pool.connect([faulty()])
    child = cast(list[int], await value(tools, "spawn"))[0]
    await failure(tools, "die")
    await value(tools, "pid")
    while alive(child):  # noqa: ASYNC110  as above
        await asyncio.sleep(0.01)


async def test_closing_while_a_server_starts(pool: ServerPool) -> None:
    connecting = asyncio.create_task(pool.connect([faulty("--hang-at-start")]))
    await asyncio.sleep(0.5)
    async with asyncio.timeout(10):
        await pool.close()
    with pytest.raises(ServerFailed, match="closed"):
        await connecting
    with pytest.raises(ServerFailed, match="closed"):
        await pool.connect([faulty()])


async def test_a_connect_that_is_cancelled_leaves_the_server_to_the_next(pool: ServerPool) -> None:
    server = faulty("--slow-start", "1")
    connecting = asyncio.create_task(pool.connect([server]))
    await asyncio.sleep(0.3)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    assert await value(await pool.connect([server]), "echo", {"text": "x"}) == "x"


async def test_closing_leaves_no_task_and_no_open_pipe(make_pool: Callable[[], ServerPool]) -> None:
    before = asyncio.all_tasks()
    pool = make_pool()
    await pool.connect([faulty(), faulty("--hostile")])
    with pytest.raises(ServerFailed):
        await pool.connect([StdioServerParameters(command="false")])
    await pool.close()
    await pool.close()
    await asyncio.sleep(0.1)
    assert asyncio.all_tasks() == before
    gc.collect()  # unclosed pipes and streams warn here, and warnings are errors
