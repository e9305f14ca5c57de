"""What is asked of the engine, and what comes of an engine that is missing, unfit or ill."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentd.core.errors import ExecutorUnavailable, OptionError
from agentd.executors.docker import DockerExecutor
from tests.fakes.docker_engine import IMAGE, FakeEngine, Faults


def refusal(workspace: Path, faults: Faults | None = None, **options: Any) -> str:
    """Return why an executor on a faulty engine is refused."""
    with FakeEngine(faults=faults) as engine, pytest.raises(ExecutorUnavailable) as caught:
        engine.executor(workspace, **options)
    return str(caught.value)


async def late_refusal(workspace: Path, faults: Faults, **options: Any) -> str:
    """Return why a container is not started."""
    with FakeEngine(faults=faults) as engine:
        executor = engine.executor(workspace, **options)
        with pytest.raises(ExecutorUnavailable) as caught:
            await executor.aexecute_bash("true")
        await executor.aclose()
        assert engine.containers == {}
    return str(caught.value)


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that happens in the engine's threads."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 20
    while not true():
        assert loop.time() < deadline
        await asyncio.sleep(0.01)


async def test_how_a_container_is_confined(tmp_path: Path) -> None:
    policy = {"processes": 50, "memory": "64 MiB", "file_size": 1000, "open_files": 200, "cpu": 5}
    with FakeEngine() as engine:
        executor = engine.executor(tmp_path / "workspace", policy=policy, name_prefix="chat 7/é")
        await executor.open("one")
        [container] = engine.containers.values()
        await executor.aclose()
        assert engine.containers == {}
    assert container.name.startswith("chat-7-c_")
    config, host = container.config, container.config["HostConfig"]
    assert {key: config[key] for key in ("Entrypoint", "User", "StdinOnce", "NetworkDisabled", "Image")} == {
        "Entrypoint": ["python3", "-I", "/run/agentd/runner", "-"],
        "User": f"{os.getuid()}:{os.getgid()}",
        "StdinOnce": True,
        "NetworkDisabled": True,
        "Image": engine.images[IMAGE]["Id"],
    }
    mounts = {mount["Target"]: (mount["Source"], mount["ReadOnly"]) for mount in host.pop("Mounts")}
    assert mounts[str(tmp_path / "workspace")] == (str(tmp_path / "workspace"), False)
    assert [target for target, (_, read_only) in mounts.items() if not read_only] == [str(tmp_path / "workspace")]
    assert sorted(host.pop("Tmpfs")) == ["/home/agentd", "/tmp"]
    assert host == {
        "NetworkMode": "none",
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true"],
        "IpcMode": "private",
        "CgroupnsMode": "private",
        "Init": True,
        "AutoRemove": True,
        "LogConfig": {"Type": "none"},
        "PidsLimit": 54,
        "Memory": 64 << 20,
        "MemorySwap": 64 << 20,
        "Ulimits": [
            {"Name": "core", "Soft": 0, "Hard": 0},
            {"Name": "fsize", "Soft": 1000, "Hard": 1000},
            {"Name": "nofile", "Soft": 200, "Hard": 200},
        ],
    }
    limits = {name: executor.enforcement[name] for name in policy}
    assert limits == dict.fromkeys(("processes", "memory"), "cgroup") | dict.fromkeys(
        ("file_size", "open_files", "cpu"), "rlimit"
    )


async def test_an_engine_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4321)  # not root's, by chance or not
    faults = Faults(info={"SecurityOptions": ["name=rootless"], "MemoryLimit": False, "PidsLimit": False})
    with FakeEngine(faults=faults) as engine:
        executor = engine.executor(tmp_path, policy={"memory": "1 GiB", "processes": 64})
        await executor.open("one")
        await executor.aclose()
        assert engine.created[0]["User"] == "0:0"
        assert not {"PidsLimit", "Memory"} & set(engine.created[0]["HostConfig"])
    assert (executor.enforcement["memory"], executor.enforcement["processes"]) == ("rlimit", "watched")


async def test_engines_that_map_users_or_label_files(tmp_path: Path) -> None:
    with FakeEngine(faults=Faults(info={"SecurityOptions": ["name=userns", "name=selinux"]})) as engine:
        executor = engine.executor(tmp_path)
        await executor.open("one")
        await executor.aclose()
        assert engine.created[0]["HostConfig"]["UsernsMode"] == "host"
        assert engine.created[0]["HostConfig"]["SecurityOpt"] == ["no-new-privileges:true", "label=disable"]


def test_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = tmp_path / "docker.sock"
    with pytest.raises(ExecutorUnavailable, match=rf"no engine at {nowhere}\. Install and start Docker"):
        DockerExecutor(tmp_path, base_url=f"unix://{nowhere}")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(nowhere))
    with pytest.raises(ExecutorUnavailable, match=r"nobody listens at .*systemctl start docker"):
        DockerExecutor(tmp_path, base_url=f"unix://{nowhere}")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{nowhere}")
    probe = DockerExecutor.probe()
    assert (probe.ok, probe.reason) == (False, f"nobody listens at {nowhere}")
    assert probe.fix == "Start Docker: systemctl start docker"


def test_an_engine_that_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeEngine() as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.url)
        assert (DockerExecutor.probe().ok, DockerExecutor.probe().version) == (True, "27.5.1")


def test_a_socket_of_others(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("not installable: becoming another user needs root")
    code = (
        "import os, sys\nfrom agentd.executors.docker import DockerExecutor\n"
        "import docker.api, requests\nos.setgid(65534); os.setuid(65534)\n"
        "try:\n    DockerExecutor('.', base_url=sys.argv[1])\nexcept Exception as error:\n    print(error)"
    )
    with FakeEngine() as engine:
        engine.path.parent.chmod(0o755)
        engine.path.chmod(0o600)
        told = subprocess.check_output([sys.executable, "-c", code, engine.url], text=True)
    assert f"this user may not use {engine.path}. Run Docker rootless" in told


@pytest.mark.parametrize(
    "url", ["tcp://10.0.0.1:2375", "ssh://host", "npipe:////./pipe/docker", "/var/run/docker.sock", "http://[::1"]
)
def test_engines_elsewhere(tmp_path: Path, url: str) -> None:
    with pytest.raises(ExecutorUnavailable, match=r"cannot be used .*so the engine must be here too"):
        DockerExecutor(tmp_path, base_url=url)


def test_engines_that_will_not_do(tmp_path: Path) -> None:
    assert "on another machine, or in a virtual one (its kernel is 6.6.6" in refusal(
        tmp_path, Faults(info={"KernelVersion": "6.6.6"})
    )
    assert "has windows containers" in refusal(tmp_path, Faults(info={"OSType": "windows"}))
    assert "speaks version 1.40 of the API, 1.41 is needed. Install Docker 20.10" in refusal(
        tmp_path, Faults(api="1.40")
    )
    assert "Is " in (told := refusal(tmp_path, Faults(nonsense=True)))
    assert "a Docker engine, and is it well?" in told


def test_an_engine_that_no_longer_knows_old_versions(tmp_path: Path) -> None:
    with FakeEngine(faults=Faults(api="1.52", oldest_api="1.44")) as engine:
        assert engine.executor(tmp_path).execute_bash("echo new") == ("new\n", 0)


def test_an_image_that_is_missing_is_not_fetched(tmp_path: Path) -> None:
    with FakeEngine() as engine:
        with pytest.raises(ExecutorUnavailable, match=r"image 'mine:1' is not there.*Fetch it: docker pull mine:1"):
            engine.executor(tmp_path, image="mine:1")
        assert not [request for request in engine.requests if request.startswith("POST")]


def test_a_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(ExecutorUnavailable, match=r"pip install 'agentd\[docker\]'"):
        DockerExecutor(tmp_path)
    assert DockerExecutor.probe().fix == "Install it: pip install 'agentd[docker]'"


def test_what_cannot_be_kept(tmp_path: Path) -> None:
    old = Faults(info={"ServerVersion": "20.10.24"})
    told = refusal(tmp_path, old, policy={"local_binding": False})
    assert "docker cannot keep all of the policy: policy.local_binding: it takes Docker 23" in told
    with FakeEngine(faults=old) as engine:
        executor = engine.executor(tmp_path, policy={"local_binding": False, "best_effort": True})
        assert executor.enforcement["local_binding"].startswith("not enforced: it takes Docker 23")
        with pytest.raises(OptionError, match="name_prefix"):
            engine.executor(tmp_path, name_prefix="/")
        with pytest.raises(OptionError, match=r"policy\.memroy: there is no such clause, did you mean memory"):
            engine.executor(tmp_path, policy={"memroy": 5})


async def test_the_engines_words_are_told(tmp_path: Path) -> None:
    told = await late_refusal(tmp_path, Faults(), policy={"memory": 1000})
    assert "starting a container: Minimum memory limit allowed is 6MB" in told
    told = await late_refusal(tmp_path, Faults(refuse_create=(500, "no space left on device")))
    assert "starting a container: no space left on device" in told
    told = await late_refusal(tmp_path, Faults(refuse_start=(400, 'exec: "python3": executable file not found')))
    assert "executable file not found" in told
    elsewhere = (400, 'invalid mount config for type "bind": bind source path does not exist: /workspace')
    told = await late_refusal(tmp_path, Faults(refuse_create=elsewhere))
    assert "The engine does not see the files of this process" in told


async def test_an_image_without_python(tmp_path: Path) -> None:
    with FakeEngine() as engine:
        engine.images[IMAGE]["Config"]["Env"] = ["PATH=/nowhere"]
        executor = engine.executor(tmp_path)
        with pytest.raises(ExecutorUnavailable, match=r"the runner could not be started: .*python3"):
            await executor.open("one")
        await executor.aclose()


@pytest.mark.parametrize("step", ["create", "start"])
async def test_a_start_that_takes_for_ever_can_be_given_up(tmp_path: Path, step: str) -> None:
    go_on = threading.Event()
    faults = Faults(create_waits=go_on) if step == "create" else Faults(start_waits=go_on)
    with FakeEngine(faults=faults) as engine:
        executor = engine.executor(tmp_path)
        opening = asyncio.create_task(executor.open("one"))
        await until(lambda: any(request.endswith(f"/{step}") for request in engine.requests))
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        closing = asyncio.create_task(executor.aclose())
        await until(lambda: any(request.startswith("DELETE") for request in engine.requests))
        go_on.set()
        await closing
        assert engine.containers == {}
        assert sum(request.endswith("/start") for request in engine.requests) == (step == "start")


async def test_a_removal_that_is_under_way_is_waited_for(tmp_path: Path) -> None:
    with FakeEngine(faults=Faults(busy_removals=3)) as engine:
        executor = engine.executor(tmp_path)
        await executor.open("one")
        await executor.aclose()
        assert (engine.containers, engine.faults.busy_removals) == ({}, 0)


@pytest.mark.parametrize("name", ["a b", "100%20", "ü", "a:80", "q+;&"])
def test_a_socket_with_an_odd_name(tmp_path: Path, name: str) -> None:
    path = Path(os.path.relpath(tmp_path)).resolve() / name
    with FakeEngine(path=path) as engine:
        assert engine.executor(tmp_path / "work").execute_bash("echo hi") == ("hi\n", 0)


@pytest.mark.parametrize("url", ["unix://", "unix:///", "unix:relative", "unix:///a\0b", "unix:///a#b", "unix:///a?b"])
def test_an_address_that_names_no_socket(tmp_path: Path, url: str) -> None:
    with pytest.raises(ExecutorUnavailable, match=r"names no socket\. Write unix:///path"):
        DockerExecutor(tmp_path, base_url=url)


def test_variables_for_other_engines_are_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", "/nowhere")
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:2376")
    probe = DockerExecutor.probe()
    assert (probe.ok, "DOCKER_TLS_VERIFY and DOCKER_CERT_PATH cannot be used" in probe.reason) == (False, True)
    assert probe.fix.startswith("Unset them, or give base_url")


@pytest.mark.parametrize("answer", [b"null", b"[]", b"5", b'"x"', b"{"])
def test_an_engine_that_answers_with_something_else(answer: bytes, tmp_path: Path) -> None:
    class Other(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                self.rfile.readline()
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))

    path = tmp_path / "s"
    with socketserver.ThreadingUnixStreamServer(str(path), Other) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with pytest.raises(ExecutorUnavailable, match="a Docker engine, and is it well"):
            DockerExecutor(tmp_path, base_url=f"unix://{path}")
        server.shutdown()


@pytest.mark.parametrize("clause", ["hidden", "writable"])
async def test_a_path_that_is_not_utf_8_is_refused(tmp_path: Path, clause: str) -> None:
    """With another sign in its place the engine would cover something that is not there."""
    name = os.fsdecode(b"bad\xff")
    (tmp_path / name).mkdir()
    with FakeEngine() as engine:
        executor = engine.executor(tmp_path, policy={clause: [name]})
        with pytest.raises(OptionError, match=r"bad\\xff.* is not UTF-8, and the engine takes no such path: rename it"):
            await executor.open("one")
        await executor.aclose()
        assert engine.created == []
