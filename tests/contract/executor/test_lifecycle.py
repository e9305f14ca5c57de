"""Opening and closing: nothing is left over, nothing hangs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from agentd.core.protocols import Executor
from tests.contract.executor.harness import Session, host_pid


def children() -> list[str]:
    """Return the command lines of the processes that this one has started."""
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode() for pid in file.read().split()]


async def test_many_executors_leave_nothing(make: Callable[..., Executor]) -> None:
    first = make()
    await Session(await first.open("x")).bash("true")
    await first.aclose()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3 if first.name == "srt" else 12):
        executor = make()
        session = Session(await executor.open("one"))
        assert (await session.python("print(echo(value=1))")).output == "1\n"
        assert await session.out("echo x") == "x\n"
        await executor.aclose()
    assert len(os.listdir("/proc/self/fd")) <= before
    assert children() == []


async def test_many_blocks_leave_no_descriptors(session: Session) -> None:
    async def some() -> None:
        for _ in range(10):
            await session.bash("echo x")
            await session.python("print(echo(value=1))")
            await session.python("print(echo(value=1))", keep_state=True)
            await session.bash("sleep 5", timeout=0.05)

    await some()
    before = len(os.listdir("/proc/self/fd"))
    runner = host_pid(int(await session.out("echo $PPID")))
    inside = len(os.listdir(f"/proc/{runner}/fd"))
    await some()
    assert len(os.listdir("/proc/self/fd")) <= before + 2  # a spare sandbox may have been made meanwhile
    assert len(os.listdir(f"/proc/{runner}/fd")) <= inside + 1


async def test_opening_twice_is_the_same_shell(executor: Executor) -> None:
    one, again = Session(await executor.open("one")), Session(await executor.open("one"))
    await one.bash("export X=1")
    assert await again.out("echo $X") == "1\n"


async def test_an_executor_that_was_never_used(make: Callable[..., Executor]) -> None:
    executor = make()
    await executor.open("one")
    await executor.aclose()
    await executor.aclose()
    assert children() == []


async def test_blocks_started_all_at_once(make: Callable[..., Executor]) -> None:
    executor = make()
    sessions = [Session(await executor.open(f"s{number}")) for number in range(6)]
    work = [session.bash(f"echo {at}") for at, session in enumerate(sessions)]
    work += [session.python(f"print(echo(value={at}))") for at, session in enumerate(sessions)]
    results = await asyncio.gather(*work)
    assert [int(result.output) for result in results] == [*range(6), *range(6)]
    await executor.aclose()


def test_one_event_loop_after_another(make: Callable[..., Executor]) -> None:
    executor = make()

    async def once(code: str) -> str:
        return await Session(await executor.open("one")).out(code)

    asyncio.run(once("export LASTS=1"))
    assert asyncio.run(once("echo $LASTS")) == "1\n"
    asyncio.run(executor.aclose())
    assert children() == []
