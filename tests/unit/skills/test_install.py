"""Files are written into a workspace that others write to as well."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from agentd.core.errors import PathRefused
from agentd.skills import Catalogue, generate, install
from agentd.skills.install import write_files
from tests.fakes.catalogues import spec

ONE = Catalogue.of([spec("f", "a"), spec("g", "b")])
LESS = Catalogue.of([spec("f", "a")])
STAMP = ".generated.json"


def tree(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def states(root: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_ino) for path in [root, *root.rglob("*")]}


def test_all_files_are_written(tmp_path: Path) -> None:
    assert install(ONE, tmp_path) == ()
    found = tree(tmp_path / "skills")
    del found[STAMP]
    assert found == dict(generate(ONE))
    assert (tmp_path / "skills/lib/tools.py").stat().st_mode & 0o777 == 0o644


def test_a_second_time_nothing_is_written(tmp_path: Path) -> None:
    install(ONE, tmp_path)
    before = states(tmp_path)
    assert install(Catalogue.of([entry.spec for entry in ONE.entries]), tmp_path) == ()
    assert states(tmp_path) == before


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    install(ONE, tmp_path)
    before = states(tmp_path / "skills" / "a")
    install(ONE.updated([*(entry.spec for entry in ONE.entries), spec("h", "b")]), tmp_path)
    assert states(tmp_path / "skills" / "a") == before
    assert (tmp_path / "skills/b/scripts/h_example.py").exists()


def test_what_was_changed_or_deleted_is_written_again(tmp_path: Path) -> None:
    install(ONE, tmp_path)
    (tmp_path / "skills/lib/tools.py").write_text("broken")
    (tmp_path / "skills/a/SKILL.md").unlink()
    install(ONE, tmp_path)
    assert tree(tmp_path / "skills").items() >= dict(generate(ONE)).items()


def test_what_is_gone_is_removed_with_its_folders(tmp_path: Path) -> None:
    install(ONE, tmp_path)
    (tmp_path / "skills/b/notes.txt").write_text("mine")
    install(LESS, tmp_path)
    found = tree(tmp_path / "skills")
    del found[STAMP]
    assert found == {**generate(LESS), "b/notes.txt": "mine"}
    (tmp_path / "skills/b/notes.txt").unlink()
    (tmp_path / "skills/b").rmdir()
    install(ONE, tmp_path)
    install(LESS, tmp_path)
    assert not (tmp_path / "skills/b").exists()


def test_foreign_folders_are_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "skills" / "a"
    mine.mkdir(parents=True)
    (mine / "SKILL.md").write_text("---\nname: a\n---\nmy own")
    (tmp_path / "skills" / ".gitignore").write_text("# mine\n")
    assert install(ONE, tmp_path) == ("a", ".gitignore")
    assert install(ONE, tmp_path) == ("a", ".gitignore")
    assert tree(mine) == {"SKILL.md": "---\nname: a\n---\nmy own"}
    assert (tmp_path / "skills" / ".gitignore").read_text() == "# mine\n"
    assert (tmp_path / "skills/lib/tools.py").read_text() == generate(ONE)["lib/tools.py"]
    install(Catalogue.of([spec("g", "b")]), tmp_path)
    assert tree(mine) == {"SKILL.md": "---\nname: a\n---\nmy own"}


@pytest.mark.parametrize(
    "stamp",
    ["", "{", "[]", "null", '{"digest": 1}', '{"digest": "", "files": [], "skipped": {}}', "[" * 100_000],
    ids=lambda text: text[:12],
)
def test_a_lost_or_broken_stamp(tmp_path: Path, stamp: str) -> None:
    install(ONE, tmp_path)
    (tmp_path / "skills" / STAMP).write_text(stamp)
    assert install(LESS, tmp_path) == (".gitignore",)
    assert (tmp_path / "skills/lib/tools.py").read_text() == generate(LESS)["lib/tools.py"]


def test_a_stamp_cannot_make_it_remove_other_files(tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("keep")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "own.txt").write_text("keep")
    install(ONE, workspace)
    (workspace / "skills" / "link").symlink_to(tmp_path)
    paths = [
        "../own.txt",
        "../../outside.txt",
        str(outside),
        "link/outside.txt",
        "a/../../own.txt",
        "\0",
        "\ud800",
        "..",
        "",
        "a//b",
    ]
    stamp = {"digest": "", "files": {path: [1, 1, 1] for path in paths}, "skipped": []}
    (workspace / "skills" / STAMP).write_text(json.dumps(stamp))
    install(ONE, workspace)
    assert outside.read_text() == "keep"
    assert (workspace / "own.txt").read_text() == "keep"


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "tools.py").write_text("keep")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "skills").symlink_to(outside)
    with pytest.raises(PathRefused, match="skills is not a folder"):
        install(ONE, workspace)
    (workspace / "skills").unlink()
    install(ONE, workspace)
    (workspace / "skills/lib/tools.py").unlink()
    (workspace / "skills/lib/tools.py").symlink_to(outside / "tools.py")
    install(ONE, workspace)
    assert not (workspace / "skills/lib/tools.py").is_symlink()
    assert tree(outside) == {"tools.py": "keep"}


@pytest.mark.parametrize("place", ["lib", "a", "a/scripts"])
def test_a_link_in_place_of_a_folder(tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    install(ONE, tmp_path)
    folder = tmp_path / "skills" / place
    folder.rename(tmp_path / "moved")
    folder.symlink_to(outside)
    with pytest.raises(PathRefused, match="remove it"):
        install(ONE, tmp_path)
    (tmp_path / "skills" / STAMP).unlink()
    if place == "a/scripts":
        with pytest.raises(PathRefused):
            install(ONE, tmp_path)
    else:
        assert place in install(ONE, tmp_path)
    assert tree(outside) == {}


def test_a_pipe_or_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    install(ONE, tmp_path)
    skill = tmp_path / "skills/a/SKILL.md"
    skill.unlink()
    os.mkfifo(skill)
    install(ONE, tmp_path)
    assert skill.read_text() == generate(ONE)["a/SKILL.md"]
    skill.unlink()
    skill.mkdir()
    with pytest.raises(PathRefused, match=r"SKILL.md is a folder"):
        install(ONE, tmp_path)
    assert not [path for path in (tmp_path / "skills/a").iterdir() if path.name.startswith(".new")]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    texts = {"x" * 200_000, "y" * 200_000}
    write_files({"lib/big.py": "x" * 200_000}, tmp_path)
    seen: set[str] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add((tmp_path / "skills/lib/big.py").read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for place in range(40):
        write_files({"lib/big.py": "xy"[place % 2] * 200_000}, tmp_path)
    stop.set()
    reader.join()
    assert seen <= texts
    assert seen


def test_two_writers_at_once(tmp_path: Path) -> None:
    errors: list[Exception] = []

    def write(catalogue: Catalogue) -> None:
        try:
            for _ in range(20):
                install(catalogue, tmp_path)
        except Exception as error:  # noqa: BLE001  # any is a failure of the test
            errors.append(error)

    writers = [threading.Thread(target=write, args=(ONE,)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert errors == []
    assert tree(tmp_path / "skills").items() >= dict(generate(ONE)).items()
