"""The bwrap executor: its policy clause by clause, on real files and sockets of this machine."""

from __future__ import annotations

import asyncio
import http.server
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.core.actions import Action, Bindings, Kind
from agentd.core.errors import ExecutorUnavailable, OptionError, PathRefused
from agentd.executors import bwrap, host, sandboxed
from agentd.executors.bwrap import BwrapExecutor
from tests.contract.executor.harness import Session


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "workspace"


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def web() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def test_what_a_policy_names_is_seen_and_nothing_else(workspace: Path, tmp_path: Path) -> None:
    for name in ("open", "secret", "shared"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    (tmp_path / "open" / "hidden").mkdir()
    (tmp_path / "open" / "hidden" / "key").write_text("key")
    (tmp_path / "open" / "note").write_text("note")
    policy = {
        "readable": [str(tmp_path / "open")],
        "writable": [str(tmp_path / "shared")],
        "hidden": [str(tmp_path / "open" / "hidden"), str(tmp_path / "open" / "note")],
    }
    with BwrapExecutor(workspace, policy=policy) as executor:
        assert executor.execute_bash(f"cat {tmp_path}/open/file; ls -A {tmp_path}/open/hidden") == ("open", 0)
        assert executor.execute_bash(f"cat {tmp_path}/open/note")[1] != 0
        assert executor.execute_bash(f"echo x > {tmp_path}/open/file")[1] != 0
        assert executor.execute_bash(f"echo x > {tmp_path}/open/hidden/x")[1] != 0
        assert executor.execute_bash(f"ls {tmp_path}/secret")[1] != 0
        assert executor.execute_bash(f"echo new > {tmp_path}/shared/file") == ("", 0)
    assert (tmp_path / "open" / "file").read_text() == "open"
    assert (tmp_path / "shared" / "file").read_text() == "new\n"


def test_what_is_protected_cannot_be_written_or_replaced(workspace: Path) -> None:
    (workspace / "deep" / "er").mkdir(parents=True)
    (workspace / "deep" / "er" / ".env").write_text("KEY=1")
    subprocess.run(["git", "init", "-q", str(workspace)], check=True)
    tries = [
        "echo x > deep/er/.env",
        "rm deep/er/.env",
        "mv deep/er deep/away",
        "mv deep away",
        "ln deep/er/.env link && echo x > link",
        "echo x > .git/hooks/pre-commit",
        "mv .git away",
        "git config user.name x",
    ]
    with BwrapExecutor(workspace, policy={"protected": ["deep/er/.env", "**/.git/hooks", ".git/config"]}) as executor:
        for command in tries:
            assert executor.execute_bash(command)[1] != 0, command
        commit = "git -c user.name=a -c user.email=b commit -q --allow-empty -m x && git log --oneline | wc -l"
        assert executor.execute_bash(commit) == ("1\n", 0)
        with pytest.raises(PathRefused, match=r"\.env is protected"):
            executor.create_file("deep/er/.env", "x")
        made = executor.execute_bash("git init -q inner && echo x > inner/.git/hooks/post-commit")
        assert made[1] == 0
        assert "inner/.git/hooks/post-commit" in made[0]
        assert not (workspace / "inner" / ".git" / "hooks" / "post-commit").exists()
    assert (workspace / "deep" / "er" / ".env").read_text() == "KEY=1"
    assert not (workspace / ".git" / "hooks" / "pre-commit").exists()


def test_hooks_are_looked_for_in_all_that_can_be_written(workspace: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    with BwrapExecutor(workspace, policy={"writable": [str(shared)]}) as executor:
        output, code = executor.execute_bash(
            f"git init -q {shared}/inner && echo x > {shared}/inner/.git/hooks/post-commit"
        )
        assert (code, "inner/.git/hooks/post-commit" in output) == (0, True)
        assert not (shared / "inner" / ".git" / "hooks" / "post-commit").exists()


def test_allowed_names_are_reached_and_others_are_not(workspace: Path, web: int) -> None:
    policy = {"allowed_domains": [f"localhost:{web}"], "private_networks": ["127.0.0.0/8", "::1/128"]}
    with BwrapExecutor(workspace, policy=policy) as executor:
        curl = "curl -sS -m 20 --noproxy ''"
        assert executor.execute_bash(f"{curl} http://localhost:{web}/") == ("hello", 0)
        assert executor.execute_bash(f"{curl} --socks5-hostname 127.0.0.1:3128 http://localhost:{web}/") == ("hello", 0)
        output, code = executor.execute_bash(f"{curl} https://example.com/")
        assert code != 0
        assert "[refused: example.com:443 is not in allowed_domains]" in output
        assert "address: names only" in executor.execute_bash(f"{curl} http://127.0.0.1:{web}/")[0]
        assert executor.execute_bash(f"curl -sS -m 20 --noproxy '*' http://127.0.0.1:{web}/")[1] == 7


def test_no_allowed_names_is_no_way_out(workspace: Path, web: int) -> None:
    with BwrapExecutor(workspace, policy={"allowed_domains": []}) as executor:
        output, code = executor.execute_bash(f"env | grep -ci proxy; curl -sS -m 20 http://127.0.0.1:{web}/")
        assert (output.splitlines()[0], code) == ("0", 7)
        assert executor.execute_bash("python3 -c \"import socket; socket.getaddrinfo('localhost', 1)\"")[1] == 0
        here = "python3 -m http.server -b 127.0.0.1 8000 >/dev/null 2>&1 & curl -sS --retry 50 --retry-connrefused "
        assert executor.execute_bash(f"{here} --retry-delay 0 -o /dev/null http://127.0.0.1:8000/")[1] == 0


def test_listening_can_be_forbidden(workspace: Path) -> None:
    with BwrapExecutor(workspace, policy={"local_binding": False}) as executor:
        output, code = executor.execute_bash("python3 -c \"import socket; socket.socket().bind(('127.0.0.1', 8000))\"")
        assert code == 1
        assert "PermissionError" in output


async def test_another_sandbox_stands_ready_when_one_is_lost(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "SPARE_AFTER", 0.0)
    executor = BwrapExecutor(workspace)
    session = Session(await executor.open("one"))
    await session.bash("export KEPT=1; mkdir -p d; cd d")
    while executor._spare is None or not executor._spare.ready.done():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    spare = executor._spare
    assert (await session.bash("kill -9 $PPID; sleep 30")).reason == "lost"
    assert await session.out('echo "$KEPT ${PWD##*/}"') == "1 d\n"
    assert executor._link is spare
    await executor.aclose()


async def test_the_end_of_the_sandbox_is_the_end_of_all_in_it(workspace: Path) -> None:
    executor = BwrapExecutor(workspace)
    session = Session(await executor.open("one"))
    assert executor._link is not None
    block = asyncio.create_task(session.bash("sleep 60"))
    await asyncio.sleep(0.3)
    os.kill(executor._link._launch.pid, signal.SIGKILL)  # pyright: ignore[reportAttributeAccessIssue]
    assert (await block).reason == "lost"
    assert await session.out("echo next") == "next\n"
    await executor.aclose()


def test_workspaces_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for bad, why in {"/": "part of the system", "/proc/1": "part of the system"}.items():
        with pytest.raises(OptionError, match=why):
            BwrapExecutor(bad)
    with pytest.raises(OptionError, match="link to nowhere"):
        BwrapExecutor(tmp_path / "dangling")
    with pytest.raises(OptionError, match="not a folder"):
        BwrapExecutor(tmp_path / "file")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with BwrapExecutor(tmp_path / "link") as executor:
        assert executor.workspace_dir == tmp_path / "real"
        assert executor.execute_bash("pwd -P") == (f"{tmp_path}/real\n", 0)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("", "there is no `bwrap` on the PATH.* apt install bubblewrap"),
        ("echo bubblewrap 0.4.1", "is version 0.4.1.* Install bubblewrap 0.8.0 or newer"),
        ("echo nothing", "does not tell its version"),
        (
            'echo bubblewrap 0.8.0; echo "Can\'t mount proc on /newroot/proc" >&2; test $1 = --version',
            "cannot be made: .*systempaths=unconfined",
        ),
    ],
)
def test_a_bwrap_that_does_not_do(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    if script:
        (folder / "bwrap").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    probe = BwrapExecutor.probe()
    assert not probe.ok
    with pytest.raises(ExecutorUnavailable, match=reason):
        BwrapExecutor(workspace)
    assert not workspace.exists() or not list(workspace.iterdir())


async def test_a_version_that_is_not_known_has_to_hold(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BwrapExecutor, "known_versions", frozenset({"0.0.1"}))
    monkeypatch.setattr(sandboxed, "_vouched", set())
    executor = BwrapExecutor(workspace)
    assert await Session(await executor.open("one")).out("echo x") == "x\n"
    assert sandboxed._vouched == {("bwrap", executor.version)}
    await executor.aclose()
    # A sandbox that lets out what it must not is refused.
    monkeypatch.setattr(sandboxed, "_vouched", set())
    whole = BwrapExecutor.command
    monkeypatch.setattr(
        BwrapExecutor, "command", lambda self: [part for part in whole(self) if part != "--unshare-net"]
    )
    executor = BwrapExecutor(workspace)
    # Nor does anybody who comes meanwhile get in.
    opened = await asyncio.gather(executor.open("one"), executor.open("two"), return_exceptions=True)
    assert [type(one) for one in opened] == [ExecutorUnavailable] * 2
    with pytest.raises(ExecutorUnavailable, match=r"bwrap 0.8.0 does not hold here: (?s:.*)known to hold: 0.0.1"):
        await executor.open("one")
    await executor.aclose()


async def test_a_sandbox_that_cannot_be_made_is_an_error_with_its_words(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = BwrapExecutor(workspace)
    monkeypatch.setattr(executor, "command", lambda: ["bwrap", "--ro-bind", "/nowhere", "/x"])
    with pytest.raises(ExecutorUnavailable, match="Can't find source path /nowhere"):
        await executor.open("one")
    await executor.aclose()


def test_the_hosts_environment_stays_outside(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    with BwrapExecutor(workspace, env={"MINE": "1"}) as executor:
        output, _ = executor.execute_bash("env; cat /proc/[0-9]*/environ | tr '\\0' '\\n'")
        assert "MINE=1" in output
        assert "canary" not in output


async def test_many_at_once_share_a_workspace(workspace: Path) -> None:
    one, two = BwrapExecutor(workspace), BwrapExecutor(workspace)
    first, second = Session(await one.open("x")), Session(await two.open("x"))
    assert await first.out("echo from one > file; cat file") == "from one\n"
    assert await second.out("cat file; ps ax | grep -c [s]leep || true") == "from one\n0\n"
    action = Action("a", Kind.BASH, "echo ok")
    results = await asyncio.gather(*(first.shell.run(action, Bindings(), first.door, lambda _: None) for _ in range(5)))
    assert [result.output for result in results] == ["ok\n"] * 5
    await one.aclose()
    await two.aclose()


def test_the_model_is_told_where_its_code_runs(workspace: Path) -> None:
    policy = {"allowed_domains": ["github.com", "*.python.org"]}
    with BwrapExecutor(workspace) as closed, BwrapExecutor(workspace, policy=policy) as opened:
        assert closed.guidance.endswith("only, and reach nothing of the network.")
        assert "only github.com, *.python.org (by the proxy" in opened.guidance


@pytest.mark.parametrize(
    ("setting", "value", "fix"),
    [
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"),
        ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", "0", "user.max_user_namespaces=15000"),
        ("kernel/none", "", "In a container, allow user namespaces"),
    ],
)
def test_the_remedy_goes_with_what_forbids_user_namespaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, value: str, fix: str
) -> None:
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho bubblewrap 0.8.0; echo No permissions >&2; test $1 = --version\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(bwrap, "_setting", lambda path: value if path == f"/proc/sys/{setting}" else "")
    probe = BwrapExecutor.probe()
    assert (probe.ok, probe.version) == (False, "0.8.0")
    assert "No permissions" in probe.reason
    assert fix in probe.fix
