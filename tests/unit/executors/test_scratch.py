"""Temporary folders by the name of who made them, and what becomes of those whose makers were killed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.core.errors import ExecutorUnavailable
from agentd.executors import scratch
from agentd.executors.owner import mark

MAKE = (
    "import os, signal, sys\nfrom agentd.executors import scratch\n"
    "print(scratch.make('test', 4), flush=True)\nif sys.argv[1:]:\n    os.kill(os.getpid(), signal.SIGKILL)\ninput()"
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # names of sockets have to be short
        monkeypatch.setattr(tempfile, "tempdir", folder)
        scratch._sweep.cache_clear()
        yield Path(folder)


def killed(place: Path) -> Path:
    """Return the folder of a process that was killed."""
    argv = [sys.executable, "-c", MAKE, "and die"]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(place)})
    return Path(done.stdout.strip())


def test_what_a_killed_process_has_left_is_removed_by_the_next(place: Path) -> None:
    left = killed(place)
    (left / "below").mkdir()
    (left / "below" / "link").symlink_to(place / "kept")
    (place / "kept").mkdir()
    made = scratch.make("test", 4)
    assert not left.exists()
    assert sorted(os.listdir(place)) == sorted(["kept", made.name])
    assert (made.stat().st_mode & 0o777, f"-{mark()}-" in made.name) == (0o700, True)


def test_what_belongs_to_others_stays(place: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", MAKE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(place)},
    ) as living:
        assert living.stdout
        theirs = living.stdout.readline().strip()
        gone = killed(place).name
        os.rename(place / gone, place / "real")
        (place / gone).symlink_to("real")  # a link is nobody's folder
        other = f"agentd-other-{gone.removeprefix('agentd-test-')}"
        (place / other).mkdir()
        (place / f"agentd-test-0123456789-1-1-{gone[-8:]}").mkdir()  # of another machine, or another boot
        before = set(os.listdir(place))
        made = scratch.make("test", 4)
        assert set(os.listdir(place)) - {made.name} == before
        assert Path(theirs).is_dir()
        living.communicate("\n")


def test_a_socket_has_room_in_it_however_long_the_usual_place_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    made = scratch.make("test", 40)
    made.rmdir()
    assert made.parent == Path("/tmp")
    assert len(f"{made}/") + 40 <= 107


def test_where_there_is_no_room_that_is_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(place / "nowhere"))
    with pytest.raises(ExecutorUnavailable, match=r"no temporary folder can be made: .*No such file"):
        scratch.make("test", 4)
