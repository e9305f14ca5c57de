"""Plain calls: code without a model, from any thread and any event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agentd.core.background import background_loop
from agentd.core.errors import ExecutorLost, OptionError, PathRefused
from agentd.executors import create
from agentd.executors.host import RunnerExecutor

Make = Callable[..., RunnerExecutor]


@pytest.fixture(params=["local", "bwrap"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    def build(**options: object) -> RunnerExecutor:
        made = create(request.param, tmp_path / "workspace", **options)
        assert isinstance(made, RunnerExecutor)
        return made

    return build


def test_blocking_calls(make: Make) -> None:
    with make() as executor:
        assert executor.execute_bash("echo out; echo err >&2; exit 3") == ("out\nerr\n", 3)
        assert executor.execute_python("import os; print(os.getcwd())") == (f"{executor.workspace_dir}\n", 0)
        assert executor.create_file("a/b.txt", "text") == "created a/b.txt (4 bytes)"
        assert executor.execute_bash("cat b.txt", "a") == ("text", 0)
        assert executor.execute_python("print(open('b.txt').read())", executor.workspace_dir / "a") == ("text\n", 0)
        assert executor.create_file("c.txt", "more", "a") == "created a/c.txt (4 bytes)"
        assert (executor.workspace_dir / "a" / "c.txt").read_text() == "more"
        assert executor.create_file("d.txt", "x", str(executor.workspace_dir)) == "created d.txt (1 bytes)"
        assert executor.execute_bash("sleep 30", timeout=0.2)[1] == 124
    with pytest.raises(ExecutorLost):
        executor.execute_bash("true")


def test_each_call_is_a_shell_of_its_own(make: Make) -> None:
    with make() as executor:
        pid, _ = executor.execute_bash("export X=1; cd /; sleep 60 & echo $!")
        there = f'echo "$X $PWD"; kill -0 {pid.strip()} 2>/dev/null'
        assert executor.execute_bash(there) == (f" {executor.workspace_dir}\n", 1)


def test_a_folder_that_is_not_there_is_no_place_to_run_in(make: Make) -> None:
    with make() as executor:
        output, code = executor.execute_bash("touch here", "nowhere")
        assert code == 126
        assert "No such file or directory" in output
        assert not (executor.workspace_dir / "here").exists()


def test_files_are_created_inside_only(make: Make) -> None:
    with make() as executor:
        for name in ("/etc/x", "../x", ".git/hooks/x", "a/../../x"):
            with pytest.raises(PathRefused):
                executor.create_file(name, "x")
        (executor.workspace_dir / "link").symlink_to("/")
        with pytest.raises(PathRefused, match="symbolic link"):
            executor.create_file("etc/agentd", "x", "link")
        for name, cwd in (("/etc/x", "."), ("x", "/etc"), ("x", ".."), ("../../x", "a")):
            with pytest.raises(PathRefused):
                executor.create_file(name, "x", cwd)
        (executor.workspace_dir / "folder").mkdir()
        with pytest.raises(PathRefused):
            executor.create_file("folder", "x")


def test_calls_from_many_threads(make: Make) -> None:
    with make() as executor, ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda number: executor.execute_bash(f"echo {number}"), range(24)))
    assert results == [(f"{number}\n", 0) for number in range(24)]


async def test_awaited_calls_on_loops_of_their_own(make: Make) -> None:
    async with make() as executor:
        results = await asyncio.gather(*(executor.aexecute_bash(f"echo {number}") for number in range(4)))
        assert results == [(f"{number}\n", 0) for number in range(4)]
        assert await executor.aexecute_python("print(1)") == ("1\n", 0)
        assert await executor.acreate_file("x", "y") == "created x (1 bytes)"
        # The blocking ones work beside a running loop, and another loop may await the same executor.
        assert executor.execute_bash("cat x") == ("y", 0)
        other: list[tuple[str, int]] = []
        thread = threading.Thread(target=lambda: other.append(asyncio.run(executor.aexecute_bash("cat x"))))
        thread.start()
        await asyncio.to_thread(thread.join)
        assert other == [("y", 0)]


def test_a_blocking_call_on_its_own_loop_is_refused(make: Make) -> None:
    with make() as executor:

        async def on_it() -> None:
            executor.execute_bash("true")

        with pytest.raises(OptionError, match="await its twin"):
            asyncio.run_coroutine_threadsafe(on_it(), background_loop()).result(20)


def test_a_call_that_is_given_up_is_killed(make: Make) -> None:
    with make() as executor:

        async def give_up() -> None:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(executor.aexecute_bash("echo $$ > pid; sleep 60"), 0.7)

        asyncio.run(give_up())
        wait = "for i in {1..80}; do kill -0 $(cat pid) 2>/dev/null || exit 7; sleep 0.1; done"
        assert executor.execute_bash(wait) == ("", 7)


def test_a_wall_time_bounds_what_may_be_asked_for(make: Make) -> None:
    with make(policy={"wall_time": 0.3}) as executor:
        assert executor.execute_bash("sleep 30", timeout=60)[1] == 124


def test_verify(make: Make) -> None:
    with make() as executor:
        ok, told = executor.verify()
        assert ok, told
        assert told.startswith(f"{executor.name}")
    executor = make()
    executor.close()
    with pytest.raises(ExecutorLost):
        executor.verify()
