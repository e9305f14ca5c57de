"""Limits: what code may use, and that what went over them is cleaned up."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentd.core.errors import ExecutorUnavailable, OptionError
from agentd.core.protocols import Executor
from tests.contract.executor.harness import Session, running, until_gone

# Every one of these is bounded by a control group of its own where one can be made (see `fenced`).
BOMBS = {
    "in the foreground": "bomb() {{ sleep {m} & bomb | bomb; }}; bomb",
    "in the background": "bomb() {{ bomb | bomb & }}; bomb; sleep {m}",
    "left behind": "bomb() {{ bomb | bomb & }}; bomb",
    "left behind, silent": "bomb() {{ bomb | bomb & }}; bomb >/dev/null 2>&1 </dev/null",
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.usefixtures("fenced")
async def test_a_fork_bomb_ends_and_the_next_block_runs(make: Callable[..., Executor], mark: str, name: str) -> None:
    executor = make(policy={"processes": 64})
    session = Session(await executor.open("one"))
    result = await session.bash(BOMBS[name].format(m=mark), timeout=2)
    assert result.reason in ("", "timeout", "lost")
    assert result.duration < 2 + 4
    # What was left behind may still be there for a tenth of a second; bash tries again by itself.
    result = await session.bash("for i in 1 2 3; do /bin/echo $i; done")
    assert result.exit_code == 0
    assert [line for line in result.output.splitlines() if line.isdigit()] == ["1", "2", "3"]
    await session.shell.close()
    assert await until_gone(mark) == []
    session = Session(await executor.open("two"))
    assert await session.out("for i in 1 2 3; do /bin/echo $i; done") == "1\n2\n3\n"
    await executor.aclose()


@pytest.mark.usefixtures("fenced")
async def test_the_process_limit_counts_the_whole_tree(make: Callable[..., Executor], mark: str) -> None:
    executor = make(policy={"processes": 40})
    session = Session(await executor.open("one"))
    await session.bash(f"for i in $(seq 100); do sleep {mark} & done; wait", timeout=1.5)
    assert await until_gone(mark) == []
    result = await session.bash(f"for i in $(seq 20); do sleep {mark} & done; echo started; sleep 0.5; kill $(jobs -p)")
    assert "started\n" in result.output
    assert len(running(mark)) == 0
    await executor.aclose()


async def test_limits_of_one_process(make: Callable[..., Executor]) -> None:
    executor = make(policy={"file_size": 1_000_000, "open_files": 256, "cpu": 1})
    session = Session(await executor.open("one"))
    result = await session.bash("head -c 3000000 /dev/zero > big; stat -c %s big; ulimit -n")
    assert result.output.splitlines()[-2:] == ["1000000", "256"]
    spinning = await session.bash("while :; do :; done", timeout=15)
    assert (spinning.exit_code, spinning.reason) == (137, "")
    spinning = await session.python("while True: pass", timeout=15)
    assert (spinning.exit_code, spinning.reason) == (137, "")
    assert await session.out("echo next") == "next\n"
    await executor.aclose()


async def test_memory_is_limited(make: Callable[..., Executor]) -> None:
    executor = make(policy={"memory": 400 << 20})
    session = Session(await executor.open("one"))
    result = await session.python("x = bytearray(1 << 30)\nfor i in range(0, len(x), 4096): x[i] = 1\nprint('got it')")
    assert result.exit_code != 0
    assert "got it" not in result.output
    assert (await session.python("x = bytearray(50 << 20)\nprint('fine')")).output == "fine\n"
    await executor.aclose()


async def test_who_keeps_a_limit_can_be_seen(make: Callable[..., Executor]) -> None:
    executor = make(policy={"processes": 64, "open_files": 300})
    report: dict[str, str] = executor.enforcement  # pyright: ignore[reportAttributeAccessIssue]
    assert {"processes", "open_files"} <= set(report)
    assert report["processes"] in ("cgroup", "rlimit", "watched")
    await executor.aclose()


def test_a_limit_that_cannot_be_kept_is_an_error_that_names_it(make: Callable[..., Executor]) -> None:
    with pytest.raises(ExecutorUnavailable, match="open_files=1000000000000"):
        make(policy={"open_files": 10**12})
    with pytest.raises(OptionError, match="processes"):
        make(policy={"processes": 0})
