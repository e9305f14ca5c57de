"""Ending what a block has started: all of it, soon, and nothing of anybody else."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.core.errors import ExecutorLost
from agentd.core.protocols import Executor
from tests.contract.executor.harness import Session, running, until_gone, until_running

FORKS = """
import os
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execlp("sleep", "sleep", "{m}")
    os._exit(0)
os.wait()
os.execlp("sleep", "sleep", "{m}")
"""
ESCAPES = {
    "plain": "sleep {m}",
    "background": "sleep {m} & wait",
    "ignores TERM": "trap '' TERM HUP INT; sleep {m}; sleep {m}",
    "nohup": "nohup sleep {m} >/dev/null 2>&1 & sleep {m}",
    "setsid": "setsid sleep {m} & sleep {m}",
    "double fork": "(setsid bash -c 'trap \"\" TERM; sleep {m} & sleep {m}' &) ; sleep {m}",
    "no environment": "(setsid env -i sleep {m} </dev/null >/dev/null 2>&1 &); sleep {m}",
    "deep": 'bash -c \'bash -c "setsid bash -c \\"sleep {m} & exec sleep {m}\\" & sleep {m}" & sleep {m}\' & sleep {m}',
    "stopped": "sleep {m} & kill -STOP $!; sleep {m}",
    "python": f"python3 -c '{FORKS}'",
}


@pytest.mark.parametrize("name", ESCAPES)
async def test_a_timeout_kills_everything_and_keeps_the_output(session: Session, mark: str, name: str) -> None:
    script = "echo begun; " + ESCAPES[name].replace("{m}", mark)
    begun = time.monotonic()
    block = asyncio.create_task(session.bash(script, timeout=1.5))
    await until_running(mark)
    result = await block
    assert time.monotonic() - begun < 1.5 + 3
    assert (result.exit_code, result.reason) == (124, "timeout")
    assert result.output.startswith("begun\n")
    assert await until_gone(mark) == []
    assert await session.out("echo next") == "next\n"


async def test_a_timeout_kills_everything_of_many_blocks(session: Session, mark: str) -> None:
    scripts = ["echo begun; " + script.replace("{m}", mark) for script in ESCAPES.values()]
    results = await asyncio.gather(*(session.bash(script, timeout=4) for script in scripts))
    told = {name: (result.exit_code, result.reason) for name, result in zip(ESCAPES, results, strict=True)}
    assert told == dict.fromkeys(ESCAPES, (124, "timeout"))
    assert [result.output[:6] for result in results] == ["begun\n"] * len(ESCAPES)
    assert await until_gone(mark) == []
    assert await session.out("echo next") == "next\n"


async def test_a_timeout_of_python_kills_what_it_started(session: Session, mark: str) -> None:
    code = f"import subprocess\nsubprocess.Popen(['setsid', 'sleep', '{mark}'])\nprint('x')\nwhile True: pass"
    block = asyncio.create_task(session.python(code, timeout=1.5))
    await until_running(mark)
    result = await block
    assert (result.exit_code, result.reason, result.output) == (124, "timeout", "x\n")
    assert await until_gone(mark) == []


async def test_cancelling_kills_everything(session: Session, mark: str) -> None:
    block = asyncio.create_task(session.bash(f"(setsid env -i sleep {mark} &); trap '' TERM; sleep {mark}"))
    await until_running(mark, 2)
    block.cancel()
    with pytest.raises(asyncio.CancelledError):
        await block
    assert await until_gone(mark) == []
    assert await session.out("echo next") == "next\n"


async def test_cancelling_at_once(session: Session, mark: str) -> None:
    for _ in range(5):
        for start in (session.bash(f"sleep {mark}"), session.python(f"import os; os.system('sleep {mark}')")):
            block = asyncio.create_task(start)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            block.cancel()
            with pytest.raises(asyncio.CancelledError):
                await block
    assert await until_gone(mark) == []


async def test_cancelling_a_block_whose_process_had_just_been_made(session: Session, mark: str) -> None:
    await session.python("pass")
    runner = await session.out("echo $PPID")
    for _ in range(6):
        # The process for the next block is made when one has ended, and here it is wanted at once.
        await session.python("pass")
        block = asyncio.create_task(session.python(f"import os; os.system('sleep {mark}')"))
        await until_running(mark)
        block.cancel()
        with pytest.raises(asyncio.CancelledError):
            await block
        assert await until_gone(mark) == []
    assert await session.out("echo $PPID") == runner


async def test_a_block_in_the_queue_of_a_namespace_can_be_cancelled(session: Session) -> None:
    first = asyncio.create_task(session.python("import time; time.sleep(1); x = 1", keep_state=True))
    second = asyncio.create_task(session.python("x = 2", keep_state=True))
    await asyncio.sleep(0.3)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert (await first).exit_code == 0
    assert (await session.python("print(x)", keep_state=True)).output == "1\n"


async def test_the_kill_of_one_block_spares_another(session: Session, mark: str) -> None:
    other = asyncio.create_task(session.bash(f"setsid sleep {mark} & sleep 2.5; echo unharmed"))
    await until_running(mark)
    killed = await session.bash("(setsid env -i sleep 60 &); sleep 60", timeout=0.5)
    assert killed.reason == "timeout"
    result = await other
    assert (result.exit_code, result.output) == (0, "unharmed\n")
    assert len(running(mark)) == 1


async def test_what_a_finished_block_leaves_stays_until_the_shell_is_closed(executor: Executor, mark: str) -> None:
    session = Session(await executor.open("one"))
    neighbour = Session(await executor.open("two"))
    await session.bash(f"setsid sleep {mark} >/dev/null & sleep {mark} &")
    assert (await neighbour.bash("sleep 60", timeout=0.3)).reason == "timeout"
    assert (await session.bash("sleep 60", timeout=0.3)).reason == "timeout"
    await neighbour.shell.close()
    await until_running(mark, 2)
    await session.shell.close()
    assert await until_gone(mark) == []
    with pytest.raises(ExecutorLost):
        await session.bash("echo x")


async def test_closing_a_shell_ends_its_blocks(executor: Executor, mark: str) -> None:
    session = Session(await executor.open("one"))
    blocks = [asyncio.create_task(session.bash(f"echo x; sleep {mark}")) for _ in range(3)]
    blocks.append(asyncio.create_task(session.python("import time; time.sleep(60)", keep_state=True)))
    blocks.append(asyncio.create_task(session.python("pass", keep_state=True)))
    await until_running(mark, 3)
    await session.shell.close()
    assert {result.reason for result in await asyncio.gather(*blocks)} == {"cancelled"}
    assert await until_gone(mark) == []
    again = Session(await executor.open("one"))
    assert await again.out("echo new") == "new\n"


async def test_closing_the_executor_ends_everything(make: Callable[..., Executor], mark: str) -> None:
    executor = make()
    session = Session(await executor.open("one"))
    block = asyncio.create_task(session.bash(f"(setsid nohup sleep {mark} &); sleep {mark}"))
    await until_running(mark, 2)
    await executor.aclose()
    result = await block
    assert result.reason == "cancelled"
    assert await until_gone(mark) == []
    await executor.aclose()
    with pytest.raises(ExecutorLost):
        await executor.open("two")


@pytest.mark.parametrize("target", ["$PPID", "0"])
async def test_a_block_cannot_kill_the_host_and_the_next_one_runs(session: Session, target: str, mark: str) -> None:
    await session.bash("export KEPT=1; mkdir -p d; cd d")
    await session.python("x = 1", keep_state=True)
    result = await session.bash(
        f"(setsid env -i sleep {mark} </dev/null >/dev/null 2>&1 &); sleep 0.2; kill -9 {target}; sleep 30"
    )
    assert result.exit_code == 137
    if target == "$PPID":
        assert result.reason == "lost"
        assert "gone" in result.output
        assert await until_gone(mark) == []
        assert (await session.python("print('x' in globals())", keep_state=True)).output == "False\n"
    else:
        assert result.reason == ""
    assert await session.out('echo "$KEPT ${PWD##*/}"') == "1 d\n"


async def test_a_stopped_runner_is_given_up(session: Session, mark: str) -> None:
    result = await session.bash(f"setsid sleep {mark} & sleep 0.2; kill -STOP $PPID; sleep 60", timeout=1)
    assert result.reason == "lost"
    assert await session.out("echo next") == "next\n"
    assert await until_gone(mark, 6) == []


HOST = """
import asyncio, sys
from agentd.core.actions import Action, Bindings, Kind
from tests.contract.executor.backends import make

class Door:
    def call(self, request):
        return b""

async def main():
    executor = make(sys.argv[1], sys.argv[2])
    shell = await executor.open("one")
    mark = sys.argv[3]
    code = f"(setsid env -i sleep {mark} </dev/null >/dev/null 2>&1 &); trap '' TERM HUP; sleep {mark}"
    await asyncio.gather(
        shell.run(Action("a", Kind.BASH, code), Bindings(), Door(), print),
        shell.run(Action("b", Kind.PYTHON, f"import os; os.system('sleep {mark}')"), Bindings(), Door(), print),
    )

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_the_death_of_the_host_ends_everything(
    executor: Executor, mark: str, tmp_path: Path, number: signal.Signals
) -> None:
    script = tmp_path / "host.py"
    script.write_text(textwrap.dedent(HOST))
    argv = [sys.executable, str(script), executor.name, str(tmp_path / "other"), mark]
    host = subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": os.getcwd()})
    try:
        await until_running(mark, 4)  # three sleeps, and the host itself
        os.kill(host.pid, number)
        await asyncio.to_thread(host.wait)
        assert await until_gone(mark) == []
    finally:
        host.kill()
        host.wait()
