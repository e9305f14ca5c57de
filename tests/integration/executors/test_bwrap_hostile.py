"""Code in a sandbox that prepares its workspace for the next one, and paths that a policy has to hold on to."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.core.errors import ExecutorUnavailable, OptionError, PathRefused
from agentd.executors import bwrap
from agentd.executors.bwrap import BwrapExecutor
from agentd.executors.mounts import Mount
from tests.contract.executor.harness import Session

LOSE = "kill -9 $PPID; sleep 20"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "workspace").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("SECRET")
    return tmp_path


@pytest.mark.parametrize("clause", ["readable", "writable", "hidden", "protected"])
def test_what_leads_to_a_mount_cannot_be_moved_away_for_the_next_sandbox(place: Path, clause: str) -> None:
    workspace = place / "workspace"
    (workspace / "a" / "b").mkdir(parents=True)
    (workspace / "a" / "b" / "key").write_text("KEY")
    with BwrapExecutor(workspace, policy={clause: ["a/b"]}) as executor:
        moved = executor.execute_bash("mv a a2 && mkdir a && ln -s ../../secret a/b")
        executor.execute_bash(LOSE)
        seen, _ = executor.execute_bash(f"cat {place}/secret/key; echo x > {place}/secret/key; cat a2/b/key")
        assert moved[1] != 0
        assert "SECRET" not in seen
        assert (place / "secret" / "key").read_text() == "SECRET"
        if clause == "hidden":
            assert "KEY" not in seen + executor.execute_bash("cat a/b/key")[0]


def test_a_link_in_a_folder_that_code_writes_leads_nowhere(place: Path) -> None:
    workspace, shared = place / "workspace", place / "common"
    shared.mkdir()
    with BwrapExecutor(workspace, policy={"writable": [str(shared)]}) as executor:
        executor.execute_bash(f"ln -s ../secret {shared}/data; ln -s ../secret data; ln -s ../common round")
    for named in ("data", str(shared / "data"), "round/data"):
        for clause in ("readable", "writable"):
            policy: dict[str, list[str]] = {"writable": [str(shared)]}
            policy[clause] = [*policy.get(clause, []), named]
            with (
                BwrapExecutor(workspace, policy=policy) as executor,
                pytest.raises(OptionError, match="leads through the link"),
            ):
                executor.execute_bash("true")


def test_the_host_makes_no_folder_by_way_of_a_link(place: Path) -> None:
    (place / "secret" / ".git").mkdir()
    (place / "workspace" / "pkg").symlink_to("../secret")
    with BwrapExecutor(place / "workspace", policy={"protected": ["pkg/.git/hooks"]}) as executor:
        assert executor.execute_bash("true") == ("", 0)
    assert not (place / "secret" / ".git" / "hooks").exists()


def test_hidden_means_hidden_wherever_it_lies(place: Path) -> None:
    workspace = place / "workspace" / "in"
    workspace.mkdir()
    hidden = next(path for path in sorted(Path("/usr/share").iterdir()) if path.is_dir() and any(path.iterdir()))
    policy = {"readable": [str(place)], "hidden": [str(place / "workspace"), str(place / "secret"), str(hidden)]}
    with BwrapExecutor(workspace, policy=policy) as executor:
        assert executor.execute_bash(f"ls {hidden}") == ("", 0)
        assert executor.execute_bash(f"ls {place}/secret {place}/workspace; touch x; pwd; touch ../y")[0].startswith(
            f"{place}/secret:\n\n{place}/workspace:\nin\n{workspace}\n"
        )
    assert (workspace / "x").exists()
    assert not (place / "workspace" / "y").exists()


@pytest.mark.parametrize(
    "policy",
    [
        {"hidden": ["."]},
        {"readable": ["/SECRET"], "hidden": ["/SECRET"]},
        {"readable": ["/SECRET/in"], "hidden": ["/SECRET"]},
        {"writable": ["/usr"]},
        {"readable": ["/home"]},
    ],
)
def test_what_contradicts_itself_is_an_error(place: Path, policy: dict[str, list[str]]) -> None:
    (place / "secret" / "in").mkdir()
    named = {key: [text.replace("/SECRET", f"{place}/secret") for text in texts] for key, texts in policy.items()}
    with BwrapExecutor(place / "workspace", policy=named) as executor, pytest.raises(OptionError, match=r"policy\."):
        executor.execute_bash("true")


def test_system_folders_are_no_workspace() -> None:
    for bad in ("/usr", "/etc", "/bin", "/home", "/run/agentd"):
        with pytest.raises(OptionError, match="part of the system"):
            BwrapExecutor(bad)


@pytest.mark.parametrize("spelling", ["ABSOLUTE/.env", "./.env", ".//.env", "**/.env", "skills/.env"])
def test_a_protected_file_is_not_created_over(place: Path, spelling: str) -> None:
    workspace = place / "workspace"
    name = "skills/.env" if spelling.startswith("skills") else ".env"
    (workspace / name).parent.mkdir(exist_ok=True)
    (workspace / name).write_text("KEY")
    protected = [] if spelling.startswith("skills") else [spelling.replace("ABSOLUTE", str(workspace))]
    with BwrapExecutor(workspace, policy={"protected": protected}) as executor:
        with pytest.raises(PathRefused, match="is protected") as caught:
            executor.create_file(name, "x")
        assert str(caught.value).count("must be created") == 1
        assert executor.execute_bash(f"echo x > {name}")[1] != 0
    assert (workspace / name).read_text() == "KEY"


def test_what_is_protected_anywhere_and_stands_is_read_only(place: Path) -> None:
    workspace = place / "workspace"
    (workspace / "deep" / "er").mkdir(parents=True)
    (workspace / "deep" / "er" / ".env").write_text("KEY")
    with BwrapExecutor(workspace, policy={"protected": ["**/.env"]}) as executor:
        for command in ("echo x > deep/er/.env", "rm deep/er/.env", "mv deep/er away", "mv deep away"):
            assert executor.execute_bash(command)[1] != 0, command
    assert (workspace / "deep" / "er" / ".env").read_text() == "KEY"


def test_a_protected_link_is_protected_with_what_it_leads_to(place: Path) -> None:
    workspace = place / "workspace"
    (workspace / "real").write_text("KEY")
    (workspace / ".env").symlink_to("real")
    with BwrapExecutor(workspace, policy={"protected": [".env"]}) as executor:
        assert executor.execute_bash("echo x > .env")[1] != 0
        assert "moved to" in executor.execute_bash("echo trap > other; ln -sfn other .env")[0]
    assert (workspace / "real").read_text() == "KEY"
    assert not (workspace / ".env").is_symlink()


def test_what_the_host_replaces_is_covered_again(place: Path) -> None:
    workspace = place / "workspace"
    for name in (".env", ".envrc"):
        (workspace / name).write_text("old")
    with BwrapExecutor(workspace, policy={"hidden": [".env", "later"], "protected": [".envrc"]}) as executor:
        executor.execute_bash("true")
        for name in (".env", ".envrc"):  # as editors save
            (place / "new").write_text("SECRET")
            (place / "new").rename(workspace / name)
        (workspace / "later").write_text("SECRET")
        output, _ = executor.execute_bash("cat .env later; echo x > .envrc")
        assert "SECRET" not in output
        assert "this is a new sandbox" in output
        assert "new sandbox" not in executor.execute_bash("true")[0]
    assert (workspace / ".envrc").read_text() == "SECRET"


async def test_another_sandbox_that_is_closed_does_not_uncover_anything(place: Path) -> None:
    one, two = BwrapExecutor(place / "workspace"), BwrapExecutor(place / "workspace")
    session, other = Session(await one.open("x")), Session(await two.open("x"))
    await session.bash("true")
    await other.bash("true")
    await two.aclose()
    assert (await session.bash("true")).output == ""
    assert (await session.bash("mkdir -p skills && echo x > skills/trap")).exit_code != 0
    assert not (place / "workspace" / "skills" / "trap").exists()
    await one.aclose()


@pytest.fixture
def swapped(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Put another folder in the place of `conf` after it was looked at, and before it is mounted."""
    conf = place / "workspace" / "conf"
    conf.mkdir()
    whole = bwrap.identities

    def identities(found: list[Mount]) -> dict[str, list[int]]:
        meant = whole(found)
        conf.rename(place / "away")
        (place / "secret").rename(conf)
        return meant

    monkeypatch.setattr(bwrap, "identities", identities)
    monkeypatch.setattr(BwrapExecutor, "_is_outdated", lambda *_: False)
    yield conf


def test_a_sandbox_whose_paths_changed_meanwhile_is_not_used(place: Path, swapped: Path) -> None:
    executor = BwrapExecutor(place / "workspace", policy={"protected": ["conf"]})
    with executor, pytest.raises(ExecutorUnavailable, match="conf is not what was meant"):
        executor.execute_bash("cat conf/key")


@pytest.mark.parametrize("where", ["/opt/extra", "/tmp", "/usr"])
def test_a_sandbox_with_a_mount_too_many_is_not_used(place: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    whole = BwrapExecutor.command

    def command(self: BwrapExecutor) -> list[str]:
        *words, end = whole(self)
        at = words.index("--remount-ro")
        return [*words[:at], "--ro-bind", str(place / "secret"), where, *words[at:], end]

    monkeypatch.setattr(BwrapExecutor, "command", command)
    # What hides the interpreter keeps the runner from starting at all.
    executor = BwrapExecutor(place / "workspace")
    with executor, pytest.raises(ExecutorUnavailable, match=f"{where} is mounted, which was not meant|could not be"):
        executor.execute_bash("true")


def test_a_read_only_workspace_can_be_read(place: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("not installable: it takes root to mount")
    workspace = place / "workspace"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(workspace)], check=True)
    try:
        with BwrapExecutor(workspace) as executor:
            assert executor.execute_bash("echo x; touch y")[0].startswith("x\n")
    finally:
        subprocess.run(["umount", str(workspace)], check=True)


def test_a_forked_child_has_a_sandbox_of_its_own_and_ends_none(place: Path) -> None:
    with BwrapExecutor(place / "workspace") as executor:
        executor.execute_bash("true")
        link = executor._link
        for uses_it in (True, False):
            child = os.fork()
            if child == 0:
                signal.alarm(20)
                good = False
                try:
                    good = not uses_it or executor.execute_bash("echo child") == ("child\n", 0)
                    executor.close()
                finally:
                    os._exit(0 if good else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert executor.execute_bash("echo parent") == ("parent\n", 0)
        assert executor._link is link


async def test_an_impossible_folder_costs_no_other_session_its_process(place: Path) -> None:
    executor = BwrapExecutor(place / "workspace")
    session = Session(await executor.open("one"))
    await session.python("kept = 1", keep_state=True)
    for odd in ("a\0b", "\ud800", "nowhere"):
        result = await session.bash("true", cwd=odd)
        assert (result.exit_code, result.reason) == (126, ""), odd
    assert (await session.create("x" * 300, "text")).exit_code == 1
    assert (await session.python("print(kept)", keep_state=True)).output == "1\n"
    assert await session.out("pwd") == f"{place}/workspace\n"
    await executor.aclose()


def test_variables_that_cannot_be_are_an_error(place: Path) -> None:
    for bad in ({"A=B": "x"}, {"": "x"}, {"A": "x\0"}, {"A": 3}):
        with pytest.raises(OptionError, match="env: there can be no variable"):
            BwrapExecutor(place / "workspace", env=bad)  # pyright: ignore[reportArgumentType]
    with pytest.raises(OptionError, match="positive"):
        BwrapExecutor(place / "workspace", timeout=float("nan"))
    with pytest.raises(ExecutorUnavailable, match="limits cannot be set"):
        BwrapExecutor(place / "workspace", policy={"processes": 1 << 80}).execute_bash("true")


async def test_a_workspace_that_was_made_anew_is_used(place: Path) -> None:
    executor = BwrapExecutor(place / "workspace")
    session = Session(await executor.open("one"))
    await session.bash("true")
    await asyncio.to_thread(subprocess.run, ["rm", "-rf", str(place / "workspace")], check=True)
    (place / "workspace").mkdir()
    assert (await session.bash("echo x > file")).exit_code == 0
    assert (place / "workspace" / "file").read_text() == "x\n"
    await executor.aclose()
