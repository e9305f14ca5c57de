"""The executors that have to keep the contract: a new back end is one more name."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from agentd.core.protocols import Executor
from agentd.executors.cgroups import Group, membership
from tests.contract.executor.backends import make as make_executor
from tests.contract.executor.backends import reason_against
from tests.contract.executor.harness import Session, running

# What is tested lies in the runner, mostly, which is the same program everywhere: one sandbox will do for that.
FACTORIES = ("local", "bwrap")
# These meet what is a back end's own: how it starts, ends, is killed, limits. srt takes most of a second to start.
EVERYWHERE = {
    "test_a_block_cannot_kill_the_host_and_the_next_one_runs",
    "test_a_flood_of_output_and_calls",
    "test_a_full_disk_leaves_the_old_file",
    "test_a_timeout_kills_everything_of_many_blocks",
    "test_a_timeout_of_python_kills_what_it_started",
    "test_an_executor_that_was_never_used",
    "test_cancelling_at_once",
    "test_cancelling_kills_everything",
    "test_closing_the_executor_ends_everything",
    "test_descriptors_held_by_what_was_left_running_are_not_missed",
    "test_directory_and_exported_variables_last_and_nothing_else",
    "test_limits_of_one_process",
    "test_many_blocks_leave_no_descriptors",
    "test_many_executors_leave_nothing",
    "test_memory_is_limited",
    "test_memory_of_many_processes",
    "test_no_variable_of_the_host_is_seen",
    "test_one_event_loop_after_another",
    "test_the_death_of_the_host_ends_everything",
    "test_the_process_limit_counts_the_whole_tree",
    "test_threads_call_at_the_same_time",
    "test_what_a_finished_block_leaves_stays_until_the_shell_is_closed",
}
# Proxy and temporary folder are ours there only; the other one is as many seconds long as there are kinds of blocks.
OWN = {
    "test_a_timeout_kills_everything_and_keeps_the_output": ("local",),
    "test_connections_to_the_proxy_are_bounded_at_the_host": ("bwrap",),
    "test_what_is_memory_of_the_machine_is_bounded": ("bwrap",),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test in the back ends that it is for."""
    if "make" in metafunc.fixturenames:
        name = metafunc.function.__name__
        usual = (*FACTORIES, "srt") if name in EVERYWHERE else FACTORIES
        metafunc.parametrize("make", OWN.get(name, usual), indirect=True)


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Executor]]:
    """Return what makes an executor of the kind under test, on a workspace of its own; all are closed in the end."""
    name = str(request.param)
    against = reason_against(name)
    if against:
        pytest.skip(f"not installable: {name}: {against}")

    made: list[Executor] = []

    def build(**options: object) -> Executor:
        made.append(make_executor(name, tmp_path / "workspace", **options))
        return made[-1]

    yield build
    for one in made:
        one.close()  # pyright: ignore[reportAttributeAccessIssue]


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
