"""Walking a tree of folders that somebody else changes meanwhile: no link is followed, and little is read twice."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass, field

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ENTER = stat.S_IRUSR | stat.S_IXUSR
DEEPEST = 64  # a descriptor is open for each level
MOST_FOLDERS = 100_000
MOST_NAMES = 2_000_000
# A folder that changes twice within one tick of the clock keeps its times: what was read so soon is read again.
TICK = 20_000_000

Visit = Callable[[int, str, frozenset[str]], None]


@dataclass(frozen=True, slots=True)
class _Listing:
    times: tuple[int, int]
    settled: bool
    folders: tuple[str, ...]
    marks: frozenset[str]


@dataclass(slots=True)
class _Walk:
    device: int
    visit: Visit
    seen: dict[tuple[int, int], _Listing] = field(default_factory=dict[tuple[int, int], _Listing])
    names: int = 0
    left_out: dict[str, str] = field(default_factory=dict[str, str])


class Tree:
    """Finds the folders that have entries of certain names. What has not changed since the last walk is not read."""

    def __init__(self, names: Collection[str], skipped: Callable[[str], bool]) -> None:
        """Look out for `names`; leave out those folders directly below the root that `skipped` says."""
        self._names = frozenset(names)
        self._skipped = skipped
        self._known: dict[tuple[int, int], _Listing] = {}

    def walk(self, root: int, visit: Visit) -> dict[str, str]:
        """Call `visit` with each folder (open), its path and which names it has; return what was left out, and why.

        Other file systems are left out without a word. A folder is visited before what is in it is looked at.
        """
        walk = _Walk(os.fstat(root).st_dev, visit)
        self._enter(walk, root, "", 0)
        self._known = walk.seen
        return walk.left_out

    def _enter(self, walk: _Walk, folder: int, path: str, depth: int) -> None:
        status = os.fstat(folder)
        listing = self._listing(walk, folder, status)
        walk.seen[status.st_dev, status.st_ino] = listing
        if listing.marks:
            walk.visit(folder, path, listing.marks)
        for name in listing.folders:
            if not path and self._skipped(name):
                continue
            self._below(walk, folder, f"{path}/{name}" if path else name, name, depth + 1)

    def _below(self, walk: _Walk, folder: int, path: str, name: str, depth: int) -> None:
        status = status_of(folder, name)
        if status is None or status.st_dev != walk.device or not stat.S_ISDIR(status.st_mode):
            return
        known = self._current(status)
        if known is not None and not known.folders and not known.marks:
            walk.seen[status.st_dev, status.st_ino] = known
            return
        if len(walk.seen) >= MOST_FOLDERS or walk.names >= MOST_NAMES:
            walk.left_out.setdefault("", "there is too much")
            return
        if depth > DEEPEST:
            walk.left_out[path] = "it is too deep"
            return
        try:
            with opened(folder, name, status.st_mode) as below:
                self._enter(walk, below, path, depth)
        except OSError as error:
            now = status_of(folder, name)
            if now is not None and stat.S_ISDIR(now.st_mode):  # it was not merely taken away meanwhile
                walk.left_out[path] = error.strerror or str(error)

    def _current(self, status: os.stat_result) -> _Listing | None:
        known = self._known.get((status.st_dev, status.st_ino))
        fresh = known is not None and known.settled and known.times == (status.st_mtime_ns, status.st_ctime_ns)
        return known if fresh else None

    def _listing(self, walk: _Walk, folder: int, status: os.stat_result) -> _Listing:
        known = self._current(status)
        if known is not None:
            return known
        settled = status.st_ctime_ns + TICK < time.time_ns()
        folders: list[str] = []
        marks: list[str] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                walk.names += 1
                if entry.name in self._names:
                    marks.append(entry.name)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                if walk.names >= MOST_NAMES:
                    settled = False
                    walk.left_out.setdefault("", "there is too much")
                    break
        return _Listing((status.st_mtime_ns, status.st_ctime_ns), settled, tuple(folders), frozenset(marks))


@contextlib.contextmanager
def opened(parent: int, name: str, mode: int) -> Generator[int]:
    """Open a folder below another, and no link; its owner goes in whatever its mode. Raises `OSError`."""
    closed = mode & _ENTER != _ENTER and os.geteuid() != 0
    if closed:
        change_mode(parent, name, mode | _ENTER)
    folder = os.open(name, FOLDER, dir_fd=parent)
    try:
        yield folder
    finally:
        if closed:
            with contextlib.suppress(OSError):
                os.fchmod(folder, stat.S_IMODE(mode))
        os.close(folder)


def change_mode(parent: int, name: str, mode: int) -> None:
    """Change the mode of what is below a folder, and is no link; nothing happens where that is not possible."""
    with contextlib.suppress(OSError, NotImplementedError):
        os.chmod(name, stat.S_IMODE(mode), dir_fd=parent, follow_symlinks=False)


def status_of(parent: int, name: str) -> os.stat_result | None:
    """Return what is known of an entry below a folder; a link is not followed. `None` when there is none."""
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except OSError:
        return None
