"""Things that appear at protected paths: found whatever way they came, moved away, and nothing else touched."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from agentd.core.errors import OptionError
from agentd.executors import folders
from agentd.executors.policy import TRAPS
from agentd.executors.wards import Wards
from tests.unit.executors.planted import refused, write

GIT = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "PATH": os.environ["PATH"]}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


def git(folder: Path, *argv: str) -> str:
    env = GIT | {"HOME": str(folder)}
    identity = ("-c", "user.name=n", "-c", "user.email=e")
    done = subprocess.run(["git", *identity, *argv], cwd=folder, env=env, capture_output=True, text=True, check=True)
    return done.stdout


def test_a_new_file_is_moved_and_told(workspace: Path) -> None:
    watch = Wards(workspace, TRAPS)
    write(workspace / ".bashrc")
    write(workspace / "sub/.bashrc")
    write(workspace / ".vscode/tasks.json")
    notes = watch.look()
    assert len(notes) == 2
    place = next((workspace / ".agentd/refused").iterdir())
    assert (
        f"[.bashrc may not be written here (policy.protected): it was moved to .agentd/refused/{place.name}/.bashrc]"
        in notes
    )
    assert (place / ".bashrc").read_text() == "planted"
    assert refused(workspace) == [".bashrc", ".vscode/tasks.json"]
    assert sorted(path.name for path in workspace.iterdir()) == [".agentd", "sub"]
    assert watch.look() == []


def test_what_stood_there_at_the_start_is_left_alone(workspace: Path) -> None:
    git(workspace, "init", "-q")
    git(workspace, "init", "-q", "--bare", "bare")
    write(workspace / ".git/hooks/pre-commit", "mine")
    write(workspace / ".git/hooks/update", "mine")
    write(workspace / ".bashrc", "mine")
    (workspace / ".envrc").symlink_to("elsewhere")
    watch = Wards(workspace, TRAPS)
    assert sorted(watch.present) == [".bashrc", ".envrc", ".git/config", ".git/hooks", "bare/hooks"]
    (workspace / ".bashrc").write_text("mine, changed")
    assert watch.look() == []
    assert watch.replaced == ()
    git(workspace, "config", "a.b", "c")  # makes a new file of it
    assert watch.look() == []
    assert watch.replaced == (".git/config",)
    write(workspace / ".git/hooks/update", "not mine")  # a hook that is changed is another hook
    (workspace / ".envrc").unlink()
    write(workspace / ".envrc")  # a file where there was a link
    write(workspace / ".git/hooks/post-commit")
    told = {note.split()[0] for note in watch.look()}
    assert told == {"[.envrc", "[.git/hooks/post-commit", "[.git/hooks/update"}
    assert (workspace / ".git/hooks/pre-commit").read_text() == "mine"


def test_a_folder_that_takes_the_place_of_another_is_new(workspace: Path) -> None:
    git(workspace, "init", "-q")
    watch = Wards(workspace, TRAPS)
    (workspace / ".git").rename(workspace / "old")
    write(workspace / ".git/config", "[core]\nfsmonitor = planted")
    assert [note.split()[0] for note in watch.look()] == ["[.git/config"]
    (workspace / ".git").rmdir()
    (workspace / "old").rename(workspace / ".git")
    assert watch.look() == []


def test_hooks_of_repositories_made_inside(workspace: Path) -> None:
    watch = Wards(workspace, TRAPS)
    proof = workspace.parent / "run"
    hook = f"#!/bin/sh\ntouch {proof}\n"
    git(workspace, "init", "-q", "a/b")
    git(workspace, "init", "-q", "--bare", "bare.git")
    for folder in (workspace / "a/b/.git/hooks", workspace / "bare.git/hooks"):
        write(folder / "pre-commit", hook).chmod(0o755)
        write(folder / "some.sample")
    write(workspace / "early/.git/hooks/post-checkout", hook).chmod(0o755)  # before there is a repository
    notes = watch.look()
    assert {note.split()[0] for note in notes} == {
        "[a/b/.git/hooks/pre-commit",
        "[bare.git/hooks/pre-commit",
        "[early/.git/hooks/post-checkout",
    }
    assert (workspace / "a/b/.git/hooks/some.sample").exists()
    write(workspace / "a/b/f")
    git(workspace / "a/b", "add", "f")
    git(workspace / "a/b", "commit", "-qm", "one")
    assert not proof.exists()
    assert watch.look() == []
    git(workspace, "clone", "-q", "a/b", "c")
    assert watch.look() == []
    assert git(workspace / "c", "log", "--format=%s") == "one\n"


def test_hooks_by_links_and_git_files(workspace: Path) -> None:
    watch = Wards(workspace, TRAPS)
    git(workspace, "init", "-q", "--separate-git-dir", "real", "work")
    assert (workspace / "work/.git").is_file()
    write(workspace / "real/hooks/pre-commit")
    git(workspace, "init", "-q", "linked")
    (workspace / "linked/.git/hooks").rename(workspace / "aside")
    (workspace / "linked/.git/hooks").symlink_to(workspace / "aside")
    write(workspace / "aside/pre-commit")
    git(workspace, "init", "-q", "--bare", "third")
    write(workspace / "third/hooks/pre-commit")
    (workspace / "user").mkdir()
    (workspace / "user/.git").symlink_to(workspace / "third")
    assert {note.split()[0] for note in watch.look()} == {
        "[real/hooks/pre-commit",
        "[linked/.git/hooks",
        "[third/hooks/pre-commit",
    }
    assert (workspace / "aside/pre-commit").exists()
    assert git(workspace / "work", "status", "--short") == ""


def test_a_link_on_the_way_is_moved_and_never_followed(workspace: Path) -> None:
    outside = workspace.parent / "outside"
    write(outside / "config")
    write(outside / "tasks.json")
    (workspace / "own").symlink_to(outside)
    watch = Wards(workspace, [".git/config", "own/config", ".bashrc", "**/.vscode/tasks.json"])
    (workspace / ".git").symlink_to(outside)
    (workspace / ".bashrc").symlink_to(outside / "config")
    (workspace / "sub").mkdir()
    (workspace / "sub/.vscode").symlink_to(outside)
    write(workspace / "sub/deep/.vscode/tasks.json")
    assert {note.split()[0] for note in watch.look()} == {
        "[.git",
        "[.bashrc",
        "[sub/.vscode",
        "[sub/deep/.vscode/tasks.json",
    }
    assert sorted(path.name for path in outside.iterdir()) == ["config", "tasks.json"]
    assert (workspace / "own").is_symlink()


def test_hardly_anything_is_read_twice(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        write(workspace / f"a{number % 7}/b{number}/f")
    time.sleep(0.1)  # until the times of the folders tell the next change from the last
    watch = Wards(workspace, TRAPS)
    read = count_reads(monkeypatch)
    assert watch.look() == []
    assert read == []
    write(workspace / "a3/b10/new/f")
    assert watch.look() == []
    assert len(read) == 2
    write(workspace / "a3/b10/new/.git/hooks/update")
    assert len(watch.look()) == 1


def test_what_has_just_changed_is_read_again(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "TICK", 3600 * 10**9)
    write(workspace / "a/b/f")
    watch = Wards(workspace, TRAPS)
    read = count_reads(monkeypatch)
    watch.look()
    assert len(read) == 3


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return a list that gets longer with each folder that is read."""
    read: list[object] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: read.append(folder) or scandir(folder))
    return read


def test_generated_and_own_folders_are_left_alone(workspace: Path) -> None:
    watch = Wards(workspace, TRAPS)
    for top in ("skills", ".agentd"):
        write(workspace / top / ".git/hooks/pre-commit")
    write(workspace / "sub/skills/.git/hooks/pre-commit")
    assert [note.split()[0] for note in watch.look()] == ["[sub/skills/.git/hooks/pre-commit"]


def test_odd_policies_and_workspaces(workspace: Path) -> None:
    for text in ("**/", ".", str(workspace)):
        with pytest.raises(OptionError, match="the whole workspace cannot be protected"):
            Wards(workspace, [text])
    with pytest.raises(OSError, match="missing"):
        Wards(workspace / "missing", TRAPS)
    link = workspace.parent / "link"
    link.symlink_to(workspace)
    watch = Wards(link, [str(workspace / "x"), "~/nowhere", "/etc/passwd"])
    write(workspace / "x")
    assert len(watch.look()) == 1
    workspace.rename(workspace.parent / "gone")
    assert watch.look() == []
