"""Those who hide things from the look at protected paths, race with it, or make it do harm: nothing of that works."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.executors import folders, wards
from agentd.executors.policy import TRAPS
from agentd.executors.wards import Wards
from tests.unit.executors.planted import refused, write
from tests.unit.executors.walled import ORDINARY, skip_unless_root


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


NAMES = st.sampled_from(["a", "b", ".git", "hooks", "HEAD", "refs", "objects", "x.sample", ".bashrc", "pre-push"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
STEPS = st.lists(
    st.tuples(st.just("write"), PATHS, PATHS)
    | st.tuples(st.just("folder"), PATHS, PATHS)
    | st.tuples(st.just("move"), PATHS, PATHS)
    | st.tuples(st.just("link"), PATHS, PATHS)
    | st.tuples(st.just("look"), PATHS, PATHS),
    max_size=25,
)


def do(root: Path, step: str, one: str, other: str) -> None:
    path = root / one
    try:
        if step == "write":
            write(path)
        elif step == "folder":
            path.mkdir(parents=True)
        elif step == "move":
            path.rename(root / other)
        elif step == "link":
            path.symlink_to(root / other)
    except OSError:
        pass  # the steps do not always fit together


def things(root: Path) -> int:
    """Return how many files and links there are."""
    listed = ((top, name) for top, names, files in os.walk(root) for name in (*names, *files))
    return sum(1 for top, name in listed if not stat.S_ISDIR(os.lstat(f"{top}/{name}").st_mode))


def offences(root: Path) -> set[str]:
    """Return what a plain search finds, as often as it likes."""
    found = {".bashrc"} if os.path.lexists(root / ".bashrc") else set[str]()
    for top, names, files in os.walk(root):
        if top == str(root) and ".agentd" in names:
            names.remove(".agentd")
        hooks, everything = Path(top, "hooks"), {*names, *files}
        if hooks.is_symlink() and ({"HEAD", "refs", "objects"} <= everything or Path(top).name == ".git"):
            found.add(str(hooks))
        elif hooks.is_dir() and ({"HEAD", "refs", "objects"} <= everything or Path(top).name == ".git"):
            found |= {str(hook) for hook in hooks.iterdir() if hook.suffix != ".sample"}
    return found


@given(STEPS)
def test_nothing_is_left_and_nothing_is_lost(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, str]]
) -> None:
    root = tmp_path_factory.mktemp("tree")
    watch = Wards(root, [".bashrc", "**/.git/hooks"])
    for step, one, other in steps:
        do(root, step, one, other)
        if step == "look":
            before = things(root)
            notes = watch.look()
            assert offences(root) == set()
            assert things(root) == before
            assert all("it was moved to" in note for note in notes)
    watch.look()
    assert offences(root) == set()
    assert watch.look() == []


RACE = """
import os, sys, time
workspace, outside, until = sys.argv[1], sys.argv[2], time.monotonic() + 20
os.chdir(workspace)
print("racing", flush=True)
while time.monotonic() < until:
    for name in ("a", "a/.git", "a/.git/hooks", ".agentd", ".agentd/refused", ".vscode"):
        try:
            os.makedirs(name, exist_ok=True)
            if name.endswith("hooks"):
                open(name + "/pre-commit", "w").close()
            os.rename(name, "kept%d" % time.monotonic_ns())
            os.symlink(outside + "/" + name.split("/")[-1], name)
            os.unlink(name)
        except OSError:
            pass
"""


def test_who_swaps_folders_for_links_moves_nothing_outside(workspace: Path) -> None:
    outside = workspace.parent / "outside"
    for path in (
        ".git/hooks/pre-commit",
        "hooks/pre-commit",
        "a/.git/hooks/pre-commit",
        "refused/kept",
        ".vscode/tasks.json",
    ):
        write(outside / path, "mine")
    before = sorted(str(path) for path in outside.rglob("*"))
    watch = Wards(workspace, TRAPS)
    racer = subprocess.Popen([sys.executable, "-c", RACE, str(workspace), str(outside)], stdout=subprocess.PIPE)
    try:
        assert racer.stdout is not None
        assert racer.stdout.readline() == b"racing\n"
        notes: list[str] = []
        until = time.monotonic() + 1.5
        while time.monotonic() < until or not notes:
            notes += watch.look()
        assert racer.poll() is None
    finally:
        racer.kill()
        racer.communicate()
    assert sorted(str(path) for path in outside.rglob("*")) == before
    watch.look()
    assert watch.look() == []


def test_what_is_brought_back_again_and_again_gets_no_deeper(workspace: Path) -> None:
    watch = Wards(workspace, TRAPS)
    write(workspace / "a/.git/hooks/pre-commit")
    for number in range(30):
        (note,) = watch.look()
        assert "it was moved to .agentd/refused/" in note
        (workspace / ".agentd").rename(workspace / f"b{number}")


@pytest.mark.parametrize("kind", ["link", "file", "closed"])
def test_where_the_usual_place_is_taken(workspace: Path, kind: str) -> None:
    outside = workspace.parent / "outside"
    outside.mkdir()
    watch = Wards(workspace, TRAPS)
    if kind == "link":
        (workspace / ".agentd").symlink_to(outside)
    elif kind == "file":
        write(workspace / ".agentd")
    else:
        (workspace / ".agentd").mkdir()
        (workspace / ".agentd/refused").symlink_to(outside)
    write(workspace / ".bashrc")
    (note,) = watch.look()
    assert "it was moved to .agentd-refused-look_" in note
    assert refused(workspace) == [".bashrc"]
    assert list(outside.iterdir()) == []
    assert watch.look() == []


AS_OTHER = """
import json, os, sys
from pathlib import Path
from agentd.executors.policy import TRAPS
from agentd.executors.wards import Wards
root, user = Path(sys.argv[1]), int(sys.argv[2])
os.setgroups([]), os.setresgid(user, user, user), os.setresuid(user, user, user)
watch = Wards(root, TRAPS)
print("watching", flush=True)
sys.stdin.readline()
"""
CLOSED = """
(root / "a/b/.git/hooks").mkdir(parents=True)
(root / "a/b/.git/hooks/pre-commit").write_text("planted")
(root / ".vscode").mkdir()
for path, mode in (("a/b/.git/hooks", 0o111), ("a/b/.git", 0o311), ("a/b", 0), (".vscode", 0o555)):
    (root / path).chmod(mode)
print(json.dumps([watch.look(), watch.look(), oct((root / "a/b").stat().st_mode)]))
"""


def as_other(folder: Path, code: str, plant: Callable[[], object] = lambda: None) -> list[object]:
    """Watch over a folder as another user, and let `plant` come in between."""
    argv = [sys.executable, "-c", AS_OTHER + code, str(folder), str(ORDINARY)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "watching\n"
        plant()
        answer, _ = child.communicate("go on\n", timeout=60)
    return json.loads(answer)


def test_modes_hide_nothing(opened: Path) -> None:
    first, second, mode = as_other(opened, CLOSED)
    assert isinstance(first, list)
    assert [note.split()[0] for note in first] == ["[.vscode", "[a/b/.git/hooks/pre-commit"]
    assert all("it was moved to .agentd/refused/" in note for note in first)
    assert (second, mode) == ([], "0o40000")


def test_what_belongs_to_another_user_is_told(opened: Path) -> None:
    write(opened / "closed/file")
    (opened / "closed").chmod(0o700)
    code = "print(json.dumps([watch.look(), watch.look()]))"
    first, second = as_other(opened, code, lambda: write(opened / "foreign/.git/hooks/pre-commit"))
    stays = (
        "[foreign/.git/hooks/pre-commit may not be written here (policy.protected): "
        "it is still there, for it could not be moved (Operation not permitted)]"
    )
    assert first == [stays, "[closed was not searched for protected paths: Permission denied]"]
    assert second == [stays]


@pytest.fixture
def opened() -> Iterator[Path]:
    """Return a folder of the ordinary user's."""
    skip_unless_root()
    with tempfile.TemporaryDirectory(prefix="agentd-wards-") as name:
        os.chown(name, ORDINARY, ORDINARY)
        yield Path(name)


def test_too_deep_and_too_much_are_told(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Wards(workspace, TRAPS)
    before = len(os.listdir("/proc/self/fd"))
    write(workspace / "/".join(["d"] * 62) / ".git/hooks/pre-push")
    write(workspace / "e" / "/".join(["d"] * 70) / ".git/hooks/pre-push")
    notes = watch.look()
    assert [note for note in notes if "pre-push may not" in note] != []
    assert [note for note in notes if note.endswith("was not searched for protected paths: it is too deep]")] != []
    assert len(notes) == 2
    assert watch.look() == []
    monkeypatch.setattr(folders, "MOST_FOLDERS", 10)
    assert "[the workspace was not searched for protected paths: there is too much]" in watch.look()
    assert len(os.listdir("/proc/self/fd")) == before


def test_many_things_are_told_in_few_words(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wards, "MOST_MOVES", 40)
    watch = Wards(workspace, TRAPS)
    for number in range(50):
        write(workspace / f".git/hooks/h{number}")
    notes = watch.look()
    assert (len(notes), notes[-1]) == (21, "[and 30 more like these]")
    assert len(list((workspace / ".git/hooks").iterdir())) == 10
    assert len(watch.look()) == 10
    assert len(refused(workspace)) == 50


def test_names_are_told_on_one_line(workspace: Path) -> None:
    watch = Wards(workspace, TRAPS)
    name = b"a\nb]\xff\x1b" + b"x" * 240
    os.makedirs(os.fsencode(workspace) + b"/" + name + b"/.git/hooks/c")
    (note,) = watch.look()
    assert note.isprintable()
    assert note.startswith("[a\\nb]\\udcff\\x1bxxx" if "udcff" in note else "[a\\nb]\\xff\\x1bxxx")
    assert len(note) < 600
    assert not (workspace / os.fsdecode(name) / ".git/hooks/c").exists()
