"""Servers that do not start, die, hang or print garbage."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mcp import StdioServerParameters

from agentd.core.errors import OptionError, ServerFailed
from agentd.mcp.pool import ServerPool
from tests.fakes.mcp_servers import FAULTY, alive, by_name, failure, faulty, value

MakePool = Callable[..., ServerPool]


def kill(pid: int) -> None:
    """Kill the process, and come back when it is dead, without letting the event loop see it."""
    os.kill(pid, signal.SIGKILL)
    while alive(pid):
        time.sleep(0.001)


async def refusal(pool: ServerPool, *servers: object) -> str:
    with pytest.raises(ServerFailed) as caught:
        await pool.connect(servers)
    return str(caught.value)


async def test_a_server_that_hangs_at_start(make_pool: MakePool) -> None:
    story = await refusal(make_pool(start_timeout=2), faulty("--hang-at-start"))
    for part in ("mcp_faulty", FAULTY, "--hang-at-start", "did not start within 2 s", "faulty is starting"):
        assert part in story


async def test_a_server_that_ends_at_start(pool: ServerPool) -> None:
    story = await refusal(pool, faulty("--exit-at-start", "3"))
    assert "did not start" in story and "faulty is starting" in story and "exit code 3" in story


async def test_a_command_that_does_not_exist(pool: ServerPool) -> None:
    story = await refusal(pool, StdioServerParameters(command="no-such-command", args=["x"]))
    assert "no-such-command x" in story and "No such file" in story


async def test_a_server_that_prints_nothing_but_garbage(make_pool: MakePool) -> None:
    story = await refusal(make_pool(), faulty("--endless-garbage"))
    assert "too much that is not MCP" in story and "[stdout] garbage garbage" in story
    story = await refusal(make_pool(start_timeout=2), StdioServerParameters(command="echo", args=["hello"]))
    assert "[stdout] hello" in story


@pytest.mark.slow
async def test_a_server_that_does_not_answer_what_it_does_not_know(make_pool: MakePool) -> None:
    assert by_name(await make_pool(start_timeout=12).connect([faulty("--deaf-to-unknown")]))


async def test_all_failures_are_told_and_the_good_servers_stay(pool: ServerPool) -> None:
    good = faulty()
    story = await refusal(pool, faulty("--exit-at-start", "3"), good, StdioServerParameters(command="no-such-command"))
    assert "--exit-at-start 3" in story and "no-such-command" in story
    tools = await pool.connect([good])
    process = await value(tools, "pid")
    assert await refusal(pool, faulty("--exit-at-start", "3"), good)
    assert await value(await pool.connect([good]), "pid") == process


async def test_a_failed_server_is_tried_again(pool: ServerPool, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    marker.touch()
    assert "only once" in await refusal(pool, faulty("--once", str(marker)))
    marker.unlink()
    assert await pool.connect([faulty("--once", str(marker))])


async def test_a_server_that_dies_in_a_call_fails_that_call_and_is_started_again(pool: ServerPool) -> None:
    tools = await pool.connect([faulty()])
    first = await value(tools, "pid")
    slow = asyncio.create_task(failure(tools, "slow", {"seconds": 60}))
    await asyncio.sleep(0.1)
    story = await failure(tools, "die")
    for part in ("mcp_faulty", "ended while die was running", "may or may not", "faulty is starting"):
        assert part in story
    assert "ended while slow was running" in await slow
    assert await value(tools, "pid") != first


async def test_a_call_that_was_running_is_never_repeated(pool: ServerPool, tmp_path: Path) -> None:
    tools = await pool.connect([faulty()])
    file = tmp_path / "effects"
    for count in (1, 2, 3):
        assert "may or may not" in await failure(tools, "append", {"file": str(file), "die": True})
        assert file.read_text() == "x\n" * count


@pytest.mark.parametrize("notice", [0, 1.0])
async def test_a_server_killed_between_calls_is_started_again(pool: ServerPool, tmp_path: Path, notice: float) -> None:
    """Whether its end has been seen already or not: what was not sent may be sent to the next one."""
    tools = await pool.connect([faulty()])
    file = tmp_path / "effects"
    for count in (1, 2, 3):
        process = await value(tools, "pid")
        assert isinstance(process, str)
        kill(int(process))
        if notice:
            await asyncio.sleep(notice)
        assert await value(tools, "append", {"file": str(file)}) == "appended"
        assert file.read_text() == "x\n" * count


async def test_a_server_that_cannot_be_started_again(pool: ServerPool, tmp_path: Path) -> None:
    server = faulty("--once", str(tmp_path / "marker"))
    tools = await pool.connect([server])
    assert "ended while die" in await failure(tools, "die")
    for _ in range(2):
        story = await failure(tools, "echo")
        assert "mcp_faulty" in story and "did not start" in story and "only once" in story
    assert "only once" in await refusal(pool, server)


async def test_a_call_that_takes_too_long_fails_alone(make_pool: MakePool) -> None:
    tools = await make_pool(call_timeout=1).connect([faulty()])
    process = await value(tools, "pid")
    slow = asyncio.create_task(failure(tools, "slow", {"seconds": 30}))
    assert await value(tools, "echo", {"text": "meanwhile"}) == "meanwhile"
    assert "did not answer within 1 s" in await slow
    assert await value(tools, "pid") == process


async def test_a_cancelled_call_leaves_the_connection_usable(pool: ServerPool, tmp_path: Path) -> None:
    log = tmp_path / "log"
    tools = await pool.connect([faulty("--log", str(log))])
    process = await value(tools, "pid")
    slow = asyncio.create_task(failure(tools, "slow", {"seconds": 30}))
    await asyncio.sleep(0.2)
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    assert await value(tools, "pid") == process
    assert "notifications/cancelled" in log.read_text()


async def test_calls_run_at_the_same_time(pool: ServerPool) -> None:
    tools = await pool.connect([faulty()])
    slow = asyncio.create_task(value(tools, "slow", {"seconds": 1}))
    answers = await asyncio.gather(*(value(tools, "echo", {"text": str(number)}) for number in range(100)))
    assert answers == [str(number) for number in range(100)] and not slow.done()
    assert await slow == "at last"


@pytest.mark.parametrize("odd", [None, 7, "filesystem", "npx -y x", object(), {"command": "npx"}, b"http://x"])
async def test_what_is_no_server_is_refused_with_what_is(pool: ServerPool, odd: object) -> None:
    with pytest.raises(OptionError) as caught:
        await pool.connect([faulty(), odd])
    for part in ("MCPServerStdio", "StdioServerParameters", "URL", "mcp.Client"):
        assert part in str(caught.value)


async def test_a_bare_string_is_no_list_of_servers(pool: ServerPool) -> None:
    with pytest.raises(OptionError, match="list"):
        await pool.connect("http://127.0.0.1:1/mcp")
    assert await pool.connect([]) == []
