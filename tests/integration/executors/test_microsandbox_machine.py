"""What is asked of microsandbox, and what becomes of a machine: the real SDK against a fake of its cloud."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import microsandbox
import pytest
from aiohttp import web

from agentd.core.errors import ExecutorUnavailable, OptionError
from agentd.executors import microsandbox_sdk
from agentd.executors.launch import RUNNER, Probe
from agentd.executors.microsandbox import DOOR_PORT, MicrosandboxExecutor
from agentd.executors.microsandbox_probe import examine
from agentd.executors.owner import mark as owner_mark
from tests.contract.executor.conftest import mark
from tests.contract.executor.harness import Session, until_gone, until_running
from tests.fakes.microsandbox_api import KEY, Answer, Cloud, FakedMicrosandbox, Machine, cloud, refusal

__all__ = ["mark"]


@pytest.fixture
def fake() -> Iterator[Cloud]:
    """Return a fake that the SDK speaks with."""
    with cloud() as (one, url), microsandbox.backend_scope(microsandbox.BackendKind.CLOUD, url=url, api_key=KEY):
        one.url = url
        yield one


@pytest.fixture
async def executor(fake: Cloud, tmp_path: Path) -> AsyncIterator[FakedMicrosandbox]:
    made = FakedMicrosandbox(tmp_path / "workspace", conversation_id="s 1", timeout=20.0)
    yield made
    await made.aclose()


def mounts(asked: dict[str, Any]) -> dict[str, tuple[str, str, bool]]:
    """Return the mounts of a machine by their place: kind, source, and whether they can only be read."""
    found = asked["mounts"]
    return {one["guest"]: (one["type"], one.get("host", ""), one["options"]["readonly"]) for one in found}


async def test_the_machine_that_is_asked_for(fake: Cloud, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    (workspace / ".git" / "hooks").mkdir(parents=True)
    (workspace / "private").mkdir()
    (workspace / "key.pem").touch()
    (tmp_path / "data").mkdir()
    policy = {"hidden": ("private", "key.pem"), "readable": (str(tmp_path / "data"),), "memory": "700 MiB"}
    executor = FakedMicrosandbox(
        workspace, conversation_id="s1", image="python:3.13", cpus=2, max_duration=90.0, policy=policy
    )
    await executor.open("one")
    await executor.aclose()
    (asked,) = fake.created
    assert asked["reference"] == "python:3.13"
    assert asked["resources"] == {"vcpus": 2, "memory_mib": 700}
    assert asked["lifecycle"] == {"ephemeral": True, "max_duration_secs": 90, "idle_timeout_secs": None}
    assert asked["security_profile"] == "restricted"
    assert asked["network"]["policy"] == {"default_egress": "deny", "default_ingress": "deny", "rules": []}
    assert (asked["env"], asked["patches"]) == ([], [])
    seen = mounts(asked)
    assert seen[str(workspace)] == ("bind", str(workspace), False)
    assert seen[str(tmp_path / "data")] == ("bind", str(tmp_path / "data"), True)
    assert seen[str(workspace / ".git" / "hooks")] == ("bind", str(workspace / ".git" / "hooks"), True)
    assert seen["/opt/agentd/runner"] == ("bind", str(RUNNER), True)
    assert seen[str(workspace / "private")][0] == "tmpfs"
    kind, source, readonly = seen[str(workspace / "key.pem")]
    assert (kind, Path(source).name, readonly) == ("bind", "nothing", True)
    assert sys.prefix not in seen
    writable = next(one for one in asked["mounts"] if one["guest"] == str(workspace))
    assert writable["host_permissions"] == "mirror"
    assert fake.commands == [["python3", "-I", "/opt/agentd/runner", "-"]]


async def test_a_machine_is_named_after_the_conversation_and_removed(fake: Cloud, executor: FakedMicrosandbox) -> None:
    session = Session(await executor.open("one"))
    assert await session.out("echo hello") == "hello\n"
    ((name, machine),) = fake.machines.items()
    assert name.startswith(f"s-1-agentd-{owner_mark()}-")
    await executor.aclose()
    assert machine.exits == [0]  # the runner was not killed: it has seen the end of its input
    assert fake.machines == {}
    assert [line for line in fake.requests if line.startswith("DELETE")] == [f"DELETE /v1/sandboxes/by-name/{name}"]


async def test_machines_of_dead_processes_are_removed(fake: Cloud, executor: FakedMicrosandbox) -> None:
    place, pid, begun = owner_mark().split("-")
    dead = {f"s-1-agentd-{place}-{pid}-1-{count}" for count in range(120)}  # more than one page
    down = {"s-1-agentd-0123456789-1-1-x"}
    others = {
        f"s-1-agentd-{place}-{pid}-{begun}-0",  # of this very process
        "s-1-agentd-0123456789-1-1-y",  # of another machine's
        f"s-2-agentd-{place}-{pid}-1-0",
        f"s-1-agentd-{place}-{pid}-1",
        "s-1",
    }
    for name in dead | down | others:
        fake.machines[name] = Machine({"name": name}, status="stopped" if name in down else "running")
    await executor.open("one")
    assert others < set(fake.machines)
    assert not (dead | down) & set(fake.machines)


async def test_a_machine_that_cannot_be_made(fake: Cloud, executor: FakedMicrosandbox) -> None:
    async def fault(request: web.Request) -> Answer | None:
        return refusal(503, "no_capacity", "there is no room") if request.method == "POST" else None

    fake.fault = fault
    with pytest.raises(ExecutorUnavailable, match=r"python does not run: .*there is no room") as caught:
        await executor.open("one")
    found = examine()
    assert found.reason in str(caught.value)  # nothing where virtual machines can run
    assert str(caught.value).count("cannot run here") == 1
    fake.fault = None
    assert await Session(await executor.open("one")).out("echo better") == "better\n"


async def test_a_machine_that_does_not_come_up(
    fake: Cloud, executor: FakedMicrosandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fault(request: web.Request) -> Answer | None:
        if request.method == "POST":
            await asyncio.sleep(60)
        return None

    fake.fault = fault
    monkeypatch.setattr(microsandbox_sdk, "BOOT", 0.3)
    with pytest.raises(ExecutorUnavailable, match=r"python did not come up within 0\.3 s"):
        await executor.open("one")
    await executor.aclose()
    assert fake.machines == {}


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("", "has no `python3` that works: take one with Python 3.11 or newer"),
        ('case "$*" in *version_info*) echo 3.9;; *) exit 1;; esac', "has Python 3.9: take one with Python 3.11"),
        ('case "$*" in *version_info*) echo 3.11;; *) echo broken >&2; exit 1;; esac', "broken"),
    ],
)
async def test_an_image_without_a_python_that_will_do(
    fake: Cloud, executor: FakedMicrosandbox, tmp_path: Path, script: str, reason: str
) -> None:
    fake.path = str(tmp_path)
    if script:
        (tmp_path / "python3").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "python3").chmod(0o755)
    with pytest.raises(ExecutorUnavailable) as caught:
        await executor.open("one")
    assert reason in str(caught.value)
    await executor.aclose()
    assert fake.machines == {}


async def test_a_machine_that_dies_is_told_and_replaced(fake: Cloud, executor: FakedMicrosandbox, mark: str) -> None:
    session = Session(await executor.open("one"))
    await session.out("mkdir d; cd d; export KEPT=1")
    block = asyncio.create_task(session.bash(f"sleep {mark}"))
    await until_running(mark)
    (first,) = fake.machines.values()
    await asyncio.to_thread(first.end)
    result = await block
    assert (result.exit_code, result.reason) == (137, "lost")
    assert await session.out('echo "$KEPT ${PWD##*/}"') == "1 d\n"
    assert len(fake.created) == 2
    assert await until_gone(mark) == []


async def test_a_folder_that_cannot_be_shown_is_an_error_of_the_policy(fake: Cloud, tmp_path: Path) -> None:
    executor = FakedMicrosandbox(tmp_path / "workspace", policy={"readable": (str(tmp_path / "missing"),)})
    with pytest.raises(OptionError, match=r"policy\.readable: .*missing does not exist"):
        await executor.open("one")
    await executor.aclose()
    assert fake.created == []


class Unasked(MicrosandboxExecutor):
    """The executor as it is, but for the question whether this machine can run virtual ones."""

    @classmethod
    def probe(cls) -> Probe:
        return Probe(True, "asked nobody")


def test_the_cloud_is_not_for_a_workspace_of_this_machine(fake: Cloud, tmp_path: Path) -> None:
    with pytest.raises(ExecutorUnavailable, match="Set MSB_BACKEND=local"):
        Unasked(tmp_path / "workspace")
    assert fake.requests == []


async def test_the_tools_are_behind_a_port_of_the_host(fake: Cloud, tmp_path: Path) -> None:
    class OverVsock(FakedMicrosandbox):
        _routes = MicrosandboxExecutor._routes
        _door = MicrosandboxExecutor._door

    executor = OverVsock(tmp_path / "workspace")
    # The SDK has been given the route: a cloud has none, and says so.
    with pytest.raises(ExecutorUnavailable, match="the vsock option is not accepted here"):
        await executor.open("one")
    await executor.aclose()
    doorway: Any = type("Doorway", (), {"path": Path("/x/door")})
    assert executor._routes(doorway) == {"/x/door": DOOR_PORT}
    assert executor._door(doorway) == {"door_port": DOOR_PORT}


async def test_a_machine_that_lets_code_out_is_not_used(fake: Cloud, tmp_path: Path) -> None:
    class Untried(FakedMicrosandbox):
        known_versions = MicrosandboxExecutor.known_versions

    executor = Untried(tmp_path / "workspace")
    # The battery is run on a first machine, and finds that those of the fake are none.
    with pytest.raises(ExecutorUnavailable, match=r"does not hold here: .*read a file beside the workspace: allowed"):
        await executor.open("one")
    await executor.aclose()
    assert fake.machines == {}


def test_who_keeps_the_policy(fake: Cloud, tmp_path: Path) -> None:
    policy = {"allowed_domains": ("example.com",), "open_files": 64, "cpu": 5, "file_size": 1 << 20}
    executor = FakedMicrosandbox(tmp_path / "workspace", memory=300, policy=policy)
    assert executor.enforcement["allowed_domains"] == "no network, proxy"
    assert executor.enforcement["memory"] == "virtual machine"
    assert {executor.enforcement[name] for name in ("open_files", "cpu", "file_size")} == {"rlimit"}
    assert executor.env["https_proxy"] == "http://127.0.0.1:3128"
    assert executor.memory == 300
    assert set(executor.env) & {"PATH", "HOME", "VIRTUAL_ENV"} == set()
    with pytest.raises(ExecutorUnavailable, match=r"policy\.local_binding: it takes Landlock"):
        FakedMicrosandbox(tmp_path / "workspace", policy={"local_binding": False})
    kept = FakedMicrosandbox(tmp_path / "workspace", policy={"local_binding": False, "best_effort": True})
    assert kept.enforcement["local_binding"].startswith("not enforced")


@pytest.mark.parametrize("options", [{"image": ""}, {"memory": 0}, {"cpus": 0}, {"max_duration": 0.0}])
def test_options_that_make_no_sense(fake: Cloud, tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="must be positive"):
        FakedMicrosandbox(tmp_path / "workspace", **options)


HOST = """
import asyncio, sys
import microsandbox
from agentd.core.actions import Action, Bindings, Kind
from tests.fakes.microsandbox_api import KEY, FakedMicrosandbox

class Door:
    def call(self, request):
        return b""

async def main():
    url, workspace, script = sys.argv[1:]
    microsandbox.set_default_backend(microsandbox.BackendKind.CLOUD, url=url, api_key=KEY)
    executor = FakedMicrosandbox(workspace, conversation_id="s1")
    shell = await executor.open("one")
    await shell.run(Action("a", Kind.BASH, script), Bindings(), Door(), lambda text: None)
    if sys.argv[0].endswith("left.py"):
        globals()["left"] = executor

asyncio.run(main())
print("the end")
"""


def host(tmp_path: Path, fake: Cloud, name: str, script: str) -> subprocess.Popen[str]:
    """Start a process that runs a script in a machine."""
    (tmp_path / name).write_text(HOST)
    argv = [sys.executable, str(tmp_path / name), fake.url, str(tmp_path / "workspace"), script]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3]), *sys.path])}
    return subprocess.Popen(argv, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


async def test_the_death_of_the_host_ends_what_runs_and_its_machine_is_removed_later(
    fake: Cloud, tmp_path: Path, mark: str
) -> None:
    script = f"(setsid env -i sleep {mark} </dev/null >/dev/null 2>&1 &); trap '' TERM HUP; sleep {mark}"
    with host(tmp_path, fake, "host.py", script) as process:
        await until_running(mark, 2)
        process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(process.communicate)
    # The runner has seen the end of its input. A cloud's machine stays, one of this machine ends with its maker.
    assert await until_gone(mark) == []
    (left,) = fake.machines
    executor = FakedMicrosandbox(tmp_path / "workspace", conversation_id="s1")
    await executor.open("one")
    assert left not in fake.machines
    await executor.aclose()


async def test_a_program_that_forgets_to_close_ends_quietly(fake: Cloud, tmp_path: Path, mark: str) -> None:
    process = host(tmp_path, fake, "left.py", f"setsid sleep {mark} >/dev/null 2>&1 & echo started")
    out, err = await asyncio.to_thread(process.communicate)
    assert (process.returncode, out, err) == (0, "the end\n", "")
    assert await until_gone(mark) == []
