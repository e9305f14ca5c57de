"""The executors that have to keep the contract: a new back end is one more name."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from agentd.core.protocols import Executor
from agentd.executors import create
from agentd.executors.cgroups import Group, membership
from tests.contract.executor.harness import Session, running

FACTORIES = ["local"]


@pytest.fixture(params=FACTORIES)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Executor]:
    """Return what makes an executor of the kind under test, on a workspace of its own."""

    def build(**options: object) -> Executor:
        return create(request.param, tmp_path / "workspace", **options)

    return build


@pytest.fixture
async def executor(make: Callable[..., Executor]) -> AsyncIterator[Executor]:
    made = make(timeout=20.0)
    yield made
    await made.aclose()


@pytest.fixture
async def session(executor: Executor) -> Session:
    return Session(await executor.open("one"))


@pytest.fixture
def mark() -> Iterator[str]:
    """Return a number of seconds that no other `sleep` on this machine has, and kill what is left of it."""
    number = f"{1_000_000 + int.from_bytes(os.urandom(4), 'big')}"
    yield number
    for pid in running(number):
        os.kill(pid, 9)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("not installable: mounting a small file system needs root")
    argv = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    mounted = subprocess.run(argv, check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip(f"not installable: no tmpfs can be mounted ({mounted.stderr.decode().strip()})")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def fenced() -> Iterator[None]:
    """Put this process, and so every bomb that it lets off, in a control group of its own where one can be made."""
    before = membership("pids")
    try:
        group = Group({"processes": 600})
    except OSError:
        pytest.skip("not installable: a fork bomb is let off only inside a control group of the test's own")
    assert before is not None
    group.add(os.getpid())
    yield
    (before / "cgroup.procs").write_text(str(os.getpid()))
    group.remove()
