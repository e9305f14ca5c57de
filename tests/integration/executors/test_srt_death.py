"""However it ends, nothing of a sandbox stays: no process, no file in the workspace, no folder of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agentd.executors import scratch as srt_scratch
from agentd.executors.srt import SrtExecutor
from tests.contract.executor.harness import Session
from tests.integration.executors.srt_rig import (
    PACKAGE,
    ROOT,
    USER,
    files_left,
    left_of,
    need_srt,
    part,
    parts,
)

pytestmark = pytest.mark.srt

WITHOUT_SANDBOX = {"keeper", "node", "socat", "bwrap"}
FILES = [".git", "file"]


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the folder that temporary files go to; the names of Unix sockets in it have to be short."""
    folder = Path(tempfile.mkdtemp())
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    need_srt()
    (tmp_path / "work" / ".git").mkdir(parents=True)
    (tmp_path / "work" / "file").touch()
    return tmp_path / "work"


@pytest.fixture
async def executor(workspace: Path, scratch: Path) -> AsyncIterator[SrtExecutor]:
    made = SrtExecutor(workspace, srt_path=PACKAGE)
    yield made
    await made.aclose()


def files(workspace: Path) -> list[str]:
    """Return what is in the workspace, without what agentd itself puts there."""
    return sorted(set(os.listdir(workspace)) - {"skills", ".agentd"})


async def test_blocks_are_warm_and_call_tools(executor: SrtExecutor, workspace: Path, scratch: Path) -> None:
    session = Session(await executor.open("one"))
    assert await session.out("cd /tmp; export X=1; echo a") == "a\n"
    assert await session.out("echo $X $PWD") == "1 /tmp\n"
    # The pipes of a block come as descriptors, along the one socket that the sandbox has inherited.
    assert (await session.python("print(echo(value=[1, None, 'ä']))")).output == "[1, None, 'ä']\n"
    assert (await session.python("x = 1", keep_state=True)).exit_code == 0
    assert (await session.python("print(x + 1)", keep_state=True)).output == "2\n"
    assert files(workspace) == FILES
    pids = parts(os.getpid())
    assert set(pids.values()) >= WITHOUT_SANDBOX
    await executor.aclose()
    assert left_of(pids) == {}
    assert files_left(scratch) == []
    assert files(workspace) == FILES


@pytest.mark.parametrize("victim", ["node", "keeper", "bwrap", "socat"])
async def test_the_death_of_a_part_ends_the_sandbox_and_the_next_block_gets_another(
    executor: SrtExecutor, workspace: Path, scratch: Path, victim: str
) -> None:
    session = Session(await executor.open("one"))
    await session.bash("export KEPT=1")
    pids = parts(os.getpid())
    block = asyncio.create_task(
        session.bash("sleep 30 & setsid sleep 30; wait", timeout=2 if victim == "socat" else None)
    )
    await asyncio.sleep(0.3)
    pids |= parts(os.getpid())
    os.kill(part(os.getpid(), victim), signal.SIGKILL)
    result = await block
    if victim == "socat":  # it only carries the network
        assert result.reason == "timeout"
        assert await session.out("echo $KEPT") == "1\n"
        return
    assert result.reason == "lost", result
    assert left_of(pids) == {}
    assert await session.out("echo $KEPT") == "1\n"
    await executor.aclose()
    assert files_left(scratch) == []
    assert files(workspace) == FILES


@pytest.mark.parametrize("stuck", ["node", "keeper"])
async def test_what_is_stuck_is_killed_on_closing(executor: SrtExecutor, scratch: Path, stuck: str) -> None:
    await Session(await executor.open("one")).out("true")
    pids = parts(os.getpid())
    os.kill(part(os.getpid(), stuck), signal.SIGSTOP)
    await executor.aclose()
    assert left_of(pids) == {}
    assert files_left(scratch) == []


async def test_the_helpers_go_too_when_keeper_and_node_are_killed_at_once(executor: SrtExecutor, scratch: Path) -> None:
    await Session(await executor.open("one")).out("true")
    pids = parts(os.getpid())
    victims = [part(os.getpid(), name) for name in ("keeper", "node")]
    for signum in (signal.SIGSTOP, signal.SIGKILL):  # so that none hears of the other's death
        for pid in victims:
            os.kill(pid, signum)
    assert await asyncio.to_thread(left_of, dict.fromkeys(victims, "")) == {}
    await executor.aclose()
    assert left_of(pids) == {}
    assert files_left(scratch) == []


async def test_what_is_left_when_all_are_killed_at_once_is_removed_by_the_next(workspace: Path, scratch: Path) -> None:
    (scratch / "host.py").write_text(HOST)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch)}
    argv = [sys.executable, str(scratch / "host.py"), str(workspace), str(PACKAGE)]
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE) as host:
        assert host.stdout is not None
        assert await asyncio.to_thread(host.stdout.readline) == b"open\n"
        pids = parts(host.pid)
        helpers = {pid: name for pid, name in pids.items() if name == "socat"}
        victims = [host.pid, *(pid for pid, name in pids.items() if name in ("keeper", "node"))]
        for signum in (signal.SIGSTOP, signal.SIGKILL):
            for pid in victims:
                os.kill(pid, signum)
    assert helpers
    assert [name for name in os.listdir(scratch) if name.startswith("agentd-srt-")]
    srt_scratch._sweep.cache_clear()
    async with SrtExecutor(workspace, srt_path=PACKAGE) as executor:
        await executor.open("one")
    (scratch / "host.py").unlink()
    assert left_of(pids) == {}
    assert files_left(scratch) == []


async def test_closing_and_cancelling_while_it_starts(workspace: Path, scratch: Path) -> None:
    for pause in (0.0, 0.1, 0.3):
        executor = SrtExecutor(workspace, srt_path=PACKAGE)
        opening = asyncio.create_task(executor.open("one"))
        await asyncio.sleep(pause)
        pids = parts(os.getpid())
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        await executor.aclose()
        assert left_of(pids | parts(os.getpid())) == {}
    assert files_left(scratch) == []
    assert files(workspace) == FILES


HOST = """
import asyncio, sys
from agentd.core.actions import Action, Bindings, Kind
from agentd.executors.srt import SrtExecutor

class Door:
    def call(self, request):
        return b""

async def main():
    executor = SrtExecutor(sys.argv[1], srt_path=sys.argv[2])
    shell = await executor.open("one")
    print("open", flush=True)
    code = "touch /tmp/x; (setsid env -i sleep 300 </dev/null >/dev/null 2>&1 &); trap '' TERM HUP; sleep 300"
    await shell.run(Action("a", Kind.BASH, code), Bindings(), Door(), print)

asyncio.run(main())
"""


def host_command(place: Path, user: bool) -> tuple[list[str], dict[str, str]]:
    """Return what runs the host above, and its environment: as an ordinary user by what such a one may use."""
    (place / "host.py").write_text(HOST)
    env = {"PATH": os.environ["PATH"], "HOME": str(place), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    env["TMPDIR"] = str(place / "t")
    if not user or os.geteuid() != 0:
        return [sys.executable, str(place / "host.py"), str(place / "work"), str(PACKAGE)], env
    shutil.copytree(PACKAGE.parents[1], place / "node_modules", symlinks=True, ignore=_other_packages)
    package = place / "node_modules" / PACKAGE.relative_to(PACKAGE.parents[1])
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    libraries = os.pathsep.join([str(ROOT), *(entry for entry in sys.path if entry.endswith("-packages"))])
    for found in (sys.executable, shutil.which(python, path="/usr/local/bin:/usr/bin:/bin") or python):
        command = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", found]
        trial = "import subprocess, sys, pydantic, agentd.core; subprocess.run([sys.executable, '-c', ''], check=True)"
        env["PYTHONPATH"] = libraries
        tried = subprocess.run([*command, "-c", trial], check=False, capture_output=True, env=env, cwd="/")
        if tried.returncode == 0:
            for folder in (place, place / "work", place / "t"):
                os.chown(folder, USER, USER)
            return [*command, str(place / "host.py"), str(place / "work"), str(package)], env
    pytest.skip("not installable: an ordinary user can run no interpreter of this version here")


def _other_packages(folder: str, names: list[str]) -> set[str]:
    """Leave out of a copy what srt does not need."""
    if Path(folder) != PACKAGE.parents[1]:
        return set()
    return {name for name in names if not name.startswith(("@anthropic-ai", "@pondwader", "node-forge"))}


@pytest.mark.parametrize("user", [False, True], ids=["as it is", "as an ordinary user"])
async def test_the_death_of_the_host_ends_everything(user: bool) -> None:
    need_srt()
    # Not below `tmp_path`: other users are kept out of there. The names of Unix sockets in it have to be short.
    place = Path(tempfile.mkdtemp(dir="/tmp"))
    place.chmod(0o755)
    for name in ("work", "t"):
        (place / name).mkdir()
    argv, env = host_command(place, user)
    host = subprocess.Popen(argv, env=env, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert host.stdout is not None
        assert await asyncio.to_thread(host.stdout.readline) == b"open\n", host.communicate()[1]
        await asyncio.sleep(0.3)
        pids = parts(host.pid)
        assert set(pids.values()) >= {*WITHOUT_SANDBOX, "sleep"}
        host.kill()
        await asyncio.to_thread(host.communicate)
        assert left_of(pids) == {}
        assert files_left(place / "t") == []
        assert files(place / "work") == []
    finally:
        host.kill()
        host.communicate()
        shutil.rmtree(place)
