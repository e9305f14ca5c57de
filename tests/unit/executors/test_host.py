"""What is the local executor's own, and not in the contract."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agentd.core.actions import Action, Bindings, Kind
from agentd.core.errors import ExecutorUnavailable, OptionError
from agentd.executors import cgroups, create, environment, local
from agentd.executors.limits import Limits
from agentd.executors.local import LocalExecutor, SubprocessExecutor


class NoDoor:
    def call(self, request: bytes) -> bytes:
        return b'{"ok":false,"error":"no tools"}'


def test_an_unknown_name_is_an_error_that_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(ExecutorUnavailable, match=r"'cloud'\. Known: local"):
        create("cloud", tmp_path)


def test_it_says_that_it_isolates_nothing(tmp_path: Path) -> None:
    assert "no isolation" in repr(LocalExecutor(tmp_path))


def test_impossible_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError):
        LocalExecutor(tmp_path, timeout=0)
    with pytest.raises(OptionError):
        LocalExecutor(tmp_path, output_tokens=0)


async def test_the_former_name_makes_and_removes_its_workspace() -> None:
    executor = SubprocessExecutor(timeout=30)
    folder = executor.workspace_dir
    shell = await executor.open("s")
    result = await shell.run(Action("a", Kind.BASH, "touch here; pwd"), Bindings(), NoDoor(), lambda _: None)
    assert result.output.strip() == str(folder)
    executor.close()
    assert not folder.exists()
    executor.close()


async def test_closing_from_another_thread(tmp_path: Path) -> None:
    executor = LocalExecutor(tmp_path)
    shell = await executor.open("s")
    action = Action("a", Kind.BASH, "echo begun; sleep 60")
    begun = asyncio.Event()
    block = asyncio.create_task(shell.run(action, Bindings(), NoDoor(), lambda _: begun.set()))
    await begun.wait()
    await asyncio.to_thread(executor.close)
    assert (await block).reason == "cancelled"


def test_a_program_that_forgets_to_close_leaves_nothing(tmp_path: Path) -> None:
    code = """
import asyncio, sys
from agentd.core.actions import Action, Bindings, Kind
from agentd.executors import create

async def main():
    executor = create("local", sys.argv[1])
    shell = await executor.open("s")
    result = await shell.run(Action("a", Kind.BASH, "sleep 43210.5 >/dev/null & echo $PPID"), Bindings(), None, print)
    global kept
    kept = executor

asyncio.run(main())
"""
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    argv = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)]
    runner = subprocess.check_output(argv, text=True, env=env).strip()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{runner}").exists() or _sleeps("43210.5"):
        assert time.monotonic() < deadline


def _sleeps(seconds: str) -> list[str]:
    found: list[str] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if seconds.encode() in words:
            found.append(folder.name)
    return found


def test_the_former_name_keeps_a_workspace_that_it_was_given(tmp_path: Path) -> None:
    SubprocessExecutor(timeout=30, workspace_dir=tmp_path).close()
    assert tmp_path.exists()


def test_the_environment_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SECRET_KEY": "x", "PATH": "/bin::relative:/usr/bin", "TZ": "UTC"}.items():
        monkeypatch.setenv(name, value)
    env = environment.built({"MINE": "1"})
    assert "SECRET_KEY" not in env
    assert (env["MINE"], env["TZ"], env["TERM"]) == ("1", "UTC", "dumb")
    assert env["PATH"] == f"{Path(sys.executable).parent}:/bin:/usr/bin"


async def test_processes_are_counted_where_no_control_group_can_be_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cgroups, "available", lambda _controller: False)
    executor = LocalExecutor(tmp_path, limits=Limits(processes=30))
    assert executor.enforcement["processes"] == "watched"
    shell = await executor.open("s")
    # Not a bomb: sixty that sleep are over the limit, too.
    action = Action("a", Kind.BASH, "for i in {1..60}; do sleep 31.5 & done; wait", timeout=20)
    result = await shell.run(action, Bindings(), NoDoor(), lambda _: None)
    assert (result.exit_code, result.reason) == (137, "")
    assert "[killed: more than 30 processes]" in result.output
    result = await shell.run(Action("b", Kind.BASH, "echo next"), Bindings(), NoDoor(), lambda _: None)
    assert result.output == "next\n"
    await executor.aclose()


def test_groups_of_dead_hosts_are_removed() -> None:
    if not cgroups.available("pids"):
        pytest.skip("not installable: no control group can be made here")
    code = (
        "import os, subprocess\nfrom agentd.executors.cgroups import Group\n"
        "group = Group({'processes': 10})\n"
        "child = subprocess.Popen(['sleep', '600'], stdout=subprocess.DEVNULL)\ngroup.add(child.pid)\n"
        "print(group._folders[0], child.pid, flush=True)\nos._exit(0)"
    )
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    folder, pid = subprocess.check_output([sys.executable, "-c", code], text=True, env=env).split()
    assert Path(folder).is_dir()
    cgroups.Group({"processes": 10}).remove()
    assert not Path(folder).exists()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        assert time.monotonic() < deadline


async def test_an_executor_in_use_on_another_loop_is_refused(tmp_path: Path) -> None:
    executor = LocalExecutor(tmp_path)
    executor.warm()
    shell = await executor.open("s")

    def elsewhere() -> str:
        action = Action("a", Kind.BASH, "echo x")
        try:
            asyncio.run(shell.run(action, Bindings(), NoDoor(), lambda _: None))
        except OptionError as error:
            return str(error)
        return ""

    assert "one event loop" in await asyncio.to_thread(elsewhere)
    await executor.aclose()


async def test_that_nothing_is_isolated_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    local._notice.cache_clear()
    for number in range(2):
        executor = LocalExecutor(tmp_path / str(number))
        assert "no isolation" in repr(executor)
        await executor.open("s")
        await executor.aclose()
    assert [record.message for record in caplog.records].count(caplog.records[0].message) == 1
    assert "no isolation" in caplog.records[0].message


async def test_a_host_with_many_open_files_runs_code_that_may_have_few(tmp_path: Path) -> None:
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(400)]
    try:
        executor = LocalExecutor(tmp_path, limits=Limits(open_files=256))
        shell = await executor.open("s")
        for kind in (Kind.BASH, Kind.PYTHON):
            code = "echo 1" if kind is Kind.BASH else "print(1)"
            result = await shell.run(Action("a", kind, code), Bindings(), NoDoor(), lambda _: None)
            assert (result.output, result.exit_code) == ("1\n", 0)
        await executor.aclose()
    finally:
        for fd in held:
            os.close(fd)
