"""Code in containers: of the fake engine, and of a real one where there is one that has the image."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from agentd.core.actions import Action, Bindings, Kind
from agentd.core.errors import ExecutorUnavailable
from agentd.executors.docker import IMAGE, DockerExecutor
from agentd.executors.docker_engine import Engine
from agentd.executors.docker_launch import OWNER
from agentd.executors.egress.names import Rules
from agentd.executors.egress.proxy import Egress
from agentd.executors.owner import mark
from tests.fakes.docker_engine import FakeEngine

SOURCE = "def echo(*, value):\n    return _call('echo', {'value': value})\n"
HOST = """
import asyncio, sys
from agentd.executors.docker import DockerExecutor

async def main():
    executor = DockerExecutor(sys.argv[1], base_url=sys.argv[2], name_prefix="doomed")
    await executor.open("one")
    print("up", flush=True)
    await asyncio.sleep(100)

asyncio.run(main())
"""


class Echo:
    def call(self, request: bytes) -> bytes:
        return json.dumps({"ok": True, "value": json.loads(request)["arguments"]["value"]}).encode()


@pytest.fixture(params=["fake", "real"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "fake":
        with FakeEngine() as engine:
            yield engine.url
        return
    try:
        engine = Engine()
        engine.facts()
        engine.image(IMAGE)
    except ExecutorUnavailable as error:
        pytest.skip(f"not installable: {error}")
    yield f"unix://{engine.path}"


@pytest.fixture
async def make(url: str, tmp_path: Path) -> AsyncIterator[Callable[..., DockerExecutor]]:
    made: list[DockerExecutor] = []

    def build(**options: object) -> DockerExecutor:
        workspace = tmp_path / "workspace"
        made.append(DockerExecutor(workspace, base_url=url, **options))  # pyright: ignore[reportArgumentType]
        return made[-1]

    yield build
    for executor in made:
        await executor.aclose()


def ours(url: str, owner: str) -> list[str]:
    with Engine(url).client("looking") as client:
        return [str(one["Id"]) for one in client.containers(all=True, filters={"label": f"{OWNER}={owner}"})]


async def until_none(url: str, owner: str) -> None:
    deadline = time.monotonic() + 20
    while await asyncio.to_thread(ours, url, owner):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_blocks_and_their_tools(make: Callable[..., DockerExecutor]) -> None:
    executor = make(env={"MINE": "1"}, timeout=30)
    assert repr(executor).startswith(f"DockerExecutor('{executor.workspace_dir}', image='{IMAGE}', engine ")
    shell = await executor.open("one")
    live: list[str] = []
    bindings = Bindings(SOURCE, "v1")
    await shell.run(Action("a", Kind.CREATE, "text", path="made.txt"), bindings, Echo(), live.append)
    bash = Action("b", Kind.BASH, "pwd; cat made.txt; echo $MINE $HOME; echo words >&2; exit 3")
    result = await shell.run(bash, bindings, Echo(), live.append)
    assert (result.exit_code, result.output) == (3, f"{executor.workspace_dir}\ntext1 /home/agentd\nwords\n")
    assert "".join(live) == result.output
    code = "print([echo(value=n) for n in range(100)] == list(range(100)), len(echo(value='x' * 500_000)))"
    result = await shell.run(Action("c", Kind.PYTHON, code), bindings, Echo(), live.append)
    assert result.output == "True 500000\n"


async def test_a_large_output_and_what_a_time_out_kills(make: Callable[..., DockerExecutor]) -> None:
    executor = make(timeout=30)
    shell = await executor.open("one")
    action = Action("a", Kind.BASH, "head -c 3000000 /dev/zero | tr '\\0' x")
    result = await shell.run(action, Bindings(), Echo(), lambda _: None)
    assert (result.exit_code, result.total_bytes) == (0, 3_000_000)
    assert (executor.workspace_dir / result.spill).stat().st_size == 3_000_000
    assert (await executor.aexecute_bash("sleep 60 & (setsid sleep 60 &); sleep 60", timeout=0.3))[1] == 124
    code = """
import os
print([pid for pid in os.listdir('/proc') if pid.isdigit() and 'sleep' in open(f'/proc/{pid}/cmdline').read()])
"""
    assert await executor.aexecute_python(code) == ("[]\n", 0)


async def test_nothing_of_the_machine_is_seen(make: Callable[..., DockerExecutor], tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    code = f"""
import os, socket
def refused(work):
    try:
        work()
    except OSError as error:
        return error.strerror
print(os.path.exists({str(tmp_path / "secret")!r}), os.path.exists({os.getcwd()!r}), os.path.exists({__file__!r}))
print([name for _, name in socket.if_nameindex()])
print(refused(lambda: open('/usr/x', 'w')), refused(lambda: open('/run/agentd/runner/x', 'w')))
print(refused(lambda: os.unlink('/run/agentd/door/door')), refused(lambda: open('/run/agentd/door/x', 'w')))
print(len([pid for pid in os.listdir('/proc') if pid.isdigit()]) < 12)
print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith(('CapEff', 'CapBnd', 'NoNewPrivs'))))
print(os.getuid(), os.getgid())
"""
    output, _ = await make().aexecute_python(code)
    read_only = "Read-only file system"
    assert output.splitlines() == [
        "False False False",
        "['lo']",
        f"{read_only} {read_only}",
        f"{read_only} {read_only}",
        "True",
        f"{0:016} {0:016} 1",
        f"{os.getuid()} {os.getgid()}",
    ]


async def test_the_paths_of_the_policy(make: Callable[..., DockerExecutor], tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    for folder in ("workspace/.git/hooks", "workspace/cellar", "shown", "written"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "file").write_text("content")
    (workspace / ".env").write_text("KEY=1")
    (workspace / "hidden file").write_text("hush")
    policy = {
        "readable": [str(tmp_path / "shown")],
        "writable": [str(tmp_path / "written")],
        "protected": [".env", "**/.git/hooks"],
        "hidden": ["cellar", "hidden file"],
    }
    script = f"""
cat {tmp_path}/shown/file {tmp_path}/written/file .env; echo
cat 'hidden file' 2>/dev/null; ls cellar
for file in {tmp_path}/shown/file .env .git/hooks/new cellar/new; do (: > $file) 2>/dev/null && echo "wrote $file"; done
mv .git moved 2>/dev/null && echo moved; rm -rf .env 2>/dev/null && echo removed
echo changed > {tmp_path}/written/file; echo changed > ./there
"""
    executor = make(policy=policy)
    assert await executor.aexecute_bash(script) == ("contentcontentKEY=1\n", 0)
    assert (tmp_path / "written" / "file").read_text() == (workspace / "there").read_text() == "changed\n"
    assert executor.enforcement["protected"].startswith("read-only mounts")


async def test_names_are_reached_through_the_door(make: Callable[..., DockerExecutor]) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        await writer.drain()
        writer.close()

    async def resolve(_name: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    async with await asyncio.start_server(serve, "127.0.0.1") as site:
        port = site.sockets[0].getsockname()[1]
        executor = make(policy={"allowed_domains": ["ok.test"]})
        networks = ("127.0.0.0/8",)
        executor._egress = lambda: Egress(Rules(["ok.test"]), networks, resolve)  # its own names, for the test
        code = f"""
import urllib.request, urllib.error
for name in ('ok.test', 'other.test', '10.0.0.1'):
    try:
        handler = urllib.request.ProxyHandler({{'http': __import__('os').environ['http_proxy']}})
        print(urllib.request.build_opener(handler).open(f'http://{{name}}:{port}/', timeout=20).read())
    except urllib.error.HTTPError as error:
        print(error.code)
"""
        assert (await executor.aexecute_python(code))[0].splitlines() == ["b'hello'", "403", "403"]


async def test_closing_removes_the_container(make: Callable[..., DockerExecutor], url: str) -> None:
    executor = make()
    await executor.open("one")
    assert len(ours(url, mark())) == 1
    await executor.aclose()
    assert ours(url, mark()) == []


async def test_a_container_that_is_killed(make: Callable[..., DockerExecutor], url: str) -> None:
    executor = make()
    shell = await executor.open("one")
    await shell.run(Action("a", Kind.BASH, "export KEPT=1"), Bindings(), Echo(), lambda _: None)
    begun = asyncio.Event()
    action = Action("b", Kind.BASH, "echo begun; sleep 60")
    block = asyncio.create_task(shell.run(action, Bindings(), Echo(), lambda _: begun.set()))
    await begun.wait()

    def kill() -> None:
        with Engine(url).client("killing") as client:
            client.remove_container(ours(url, mark())[0], v=True, force=True)

    await asyncio.to_thread(kill)
    result = await block
    assert (result.exit_code, result.reason) == (137, "lost")
    result = await shell.run(Action("c", Kind.BASH, "echo $KEPT"), Bindings(), Echo(), lambda _: None)
    assert result.output == "1\n"


async def test_the_death_of_the_host_ends_the_container(url: str, tmp_path: Path) -> None:
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, str(tmp_path / "workspace"), url], stdout=subprocess.PIPE, text=True
    )
    assert host.stdout is not None
    assert await asyncio.to_thread(host.stdout.readline) == "up\n"
    place, _, _ = mark().split("-")
    owner = f"{place}-{host.pid}-{_begun(host.pid)}"
    assert len(ours(url, owner)) == 1
    host.send_signal(signal.SIGKILL)
    host.wait()
    host.stdout.close()
    await until_none(url, owner)


async def test_what_dead_hosts_have_left_is_removed(make: Callable[..., DockerExecutor], url: str) -> None:
    place, pid, begun = mark().split("-")
    dead, alive = f"{place}-{pid}-{int(begun) + 1}", f"{place}-1-{_begun(1)}"
    engine = Engine(url)
    with engine.client("making orphans") as client:
        for owner in (dead, alive):
            config = {"Image": IMAGE, "Entrypoint": ["sleep", "60"], "Labels": {OWNER: owner}}
            made = client.create_container_from_config(config, f"orphan-{owner}")
            client.start(str(made["Id"]))
    await make().open("one")
    assert ours(url, dead) == []
    [left] = ours(url, alive)
    with engine.client("tidying up") as client:
        client.remove_container(left, v=True, force=True)


def _begun(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19].decode()
