"""`create`: a file in the workspace, all of it or nothing, and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.core.protocols import Executor
from tests.contract.executor.harness import Session


async def test_a_file_is_created_with_its_folders(session: Session, executor: Executor) -> None:
    result = await session.create("a/b/notes.md", "# Notes\nżółw\n")
    assert (result.exit_code, result.reason) == (0, "")
    assert "notes.md (16 bytes)" in result.output
    file = executor.workspace_dir / "a/b/notes.md"
    assert file.read_text() == "# Notes\nżółw\n"
    assert file.stat().st_mode & 0o777 == 0o644
    assert os.listdir(file.parent) == ["notes.md"]


async def test_replacing_keeps_the_mode_and_breaks_hard_links(session: Session, executor: Executor) -> None:
    await session.bash("echo old > run.sh; chmod 750 run.sh; ln run.sh other")
    assert (await session.create("./run.sh", "new")).exit_code == 0
    file = executor.workspace_dir / "run.sh"
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("new", 0o750)
    assert (executor.workspace_dir / "other").read_text() == "old\n"


@pytest.mark.parametrize(
    "path",
    [
        "/tmp/agentd-escape", "../escape", "a/../../escape", "a/..", "..", ".", "", "/", "dir/", "dir/.",
        ".git/hooks/post-commit", "sub/.git/config", ".GIT/config", ".git", ".agentd/output/x", "nul\0byte", "\udcff",
        "link/escape", "link", "dangling", "inner/up/escape", "file/below", "folder", "loop/x",
    ],
)  # fmt: skip
async def test_paths_that_are_refused(session: Session, executor: Executor, tmp_path: Path, path: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    work = executor.workspace_dir
    (work / "folder").mkdir()
    (work / "inner").mkdir()
    (work / "file").write_text("file")
    (work / "link").symlink_to(outside)
    (work / "dangling").symlink_to(outside / "new")
    (work / "inner/up").symlink_to("../..")
    (work / "loop").symlink_to("loop")
    before = sorted(str(entry) for entry in tmp_path.rglob("*"))
    result = await session.create(path, "text")
    assert (result.exit_code, result.reason) == (1, "refused")
    assert result.output
    after = sorted(str(entry) for entry in tmp_path.rglob("*"))
    assert [entry for entry in after if entry not in before] in ([], [str(work / "a")])
    assert (work / "file").read_text() == "file"


async def test_halves_of_characters(session: Session, executor: Executor) -> None:
    assert (await session.create("x.txt", "\ud83d\ude00 \ud83d!")).exit_code == 0
    assert (executor.workspace_dir / "x.txt").read_text() == "😀 \ufffd!"


async def test_a_full_disk_leaves_the_old_file(make: Callable[..., Executor], small_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "workspace").symlink_to(small_disk)
    executor = make()
    session = Session(await executor.open("one"))
    assert (await session.create("big.txt", "old")).exit_code == 0
    result = await session.create("big.txt", "x" * 2_000_000)
    assert (result.exit_code, result.reason) == (1, "")
    assert "No space left on device" in result.output
    assert set(os.listdir(small_disk)) - {"skills"} == {"big.txt"}  # where that is a mount, it has to be there
    assert (small_disk / "big.txt").read_text() == "old"
    assert (await session.create("big.txt", "new")).exit_code == 0
    await executor.aclose()


async def test_a_large_file(session: Session, executor: Executor) -> None:
    text = "line\n" * 1_000_000
    assert (await session.create("large.txt", text)).exit_code == 0
    assert (executor.workspace_dir / "large.txt").stat().st_size == 5_000_000
