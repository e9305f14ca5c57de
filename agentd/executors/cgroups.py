"""Limits for a whole tree of processes by control groups, version 1 or 2, where this process may make one."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from agentd.core.ids import new_id
from agentd.executors.owner import begun

CONTROLLERS = {"processes": "pids", "memory": "memory"}
_FILES = {
    "pids": ("pids.max", "pids.max"),
    "memory": ("memory.limit_in_bytes", "memory.max"),
}
_PREFIX = "agentd-"


@dataclass(frozen=True, slots=True)
class _Parent:
    folder: Path
    version: int


def _parent(controller: str) -> _Parent | None:
    """Return where a group with this controller can be made."""
    for parent in _candidates(controller):
        probe = parent.folder / f"{_PREFIX}probe-{new_id('p')}"
        try:
            probe.mkdir()
        except OSError:
            continue
        usable = os.access(probe / _FILES[controller][parent.version - 1], os.W_OK)
        usable = usable and os.access(parent.folder / "cgroup.procs", os.W_OK)
        with contextlib.suppress(OSError):
            probe.rmdir()
        if usable:
            return parent
    return None


def _candidates(controller: str) -> Iterator[_Parent]:
    try:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        memberships = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    own = {name: path for _, names, path in (line.split(":", 2) for line in memberships) for name in names.split(",")}
    for line in mounts:
        before, _, after = line.partition(" - ")
        root, point = before.split()[3:5]
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup" and controller in options.split(",") and controller in own:
            yield _Parent(_inside(point, root, own[controller]), 1)
        elif kind == "cgroup2" and "" in own:
            here = _inside(point, root, own[""])
            yield _Parent(here, 2)
            # A group that has processes cannot share out its controllers, but the one above it may.
            if here != Path(point):
                yield _Parent(here.parent, 2)


def _inside(point: str, root: str, path: str) -> Path:
    if root != "/" and path.startswith(root):
        path = path[len(root) :]
    return Path(point) / path.lstrip("/")


def membership(controller: str) -> Path | None:
    """Return the group with this controller that this process is in."""
    return next((parent.folder for parent in _candidates(controller)), None)


def available(controller: str) -> bool:
    """Say whether groups with this controller can be made here."""
    return _parent(controller) is not None


class Group:
    """A control group of our own, or one a controller with version 1."""

    def __init__(self, limits: Mapping[str, int]) -> None:
        """Make the group with limits by name (`processes`, `memory`)."""
        name = f"{_PREFIX}{os.getpid()}-{begun(os.getpid())}-{new_id('g')}"
        self._folders: list[Path] = []
        try:
            for limit, value in limits.items():
                self._make(CONTROLLERS[limit], name, value)
        except OSError:
            self.remove()
            raise

    def _make(self, controller: str, name: str, value: int) -> None:
        parent = _parent(controller)
        if parent is None:
            raise OSError(f"no control group for {controller} can be made here")
        _sweep(parent.folder)
        folder = parent.folder / name
        if folder not in self._folders:
            folder.mkdir()
            self._folders.append(folder)
        (folder / _FILES[controller][parent.version - 1]).write_text(str(value))

    @property
    def census(self) -> str:
        """The file that tells how many processes and threads are in the group; empty when nobody counts."""
        counts = (folder / "pids.current" for folder in self._folders)
        return next((str(file) for file in counts if file.exists()), "")

    def entrances(self) -> list[int]:
        """Return open files: a process that writes `0` to each is in the group, with what it starts from then on."""
        return [os.open(folder / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC) for folder in self._folders]

    def add(self, pid: int) -> None:
        """Move a process into the group; what it starts from then on is in it too."""
        for folder in self._folders:
            (folder / "cgroup.procs").write_text(str(pid))

    def kill(self) -> None:
        """Kill every process in the group."""
        for folder in self._folders:
            _kill(folder)

    def remove(self) -> None:
        """Kill what is left and remove the group."""
        for folder in self._folders:
            _remove(folder)
        self._folders.clear()


def _kill(folder: Path) -> None:
    with contextlib.suppress(OSError):
        (folder / "pids.max").write_text("0")  # nobody forks while we count
    deadline = time.monotonic() + 1.5
    while (pids := _members(folder)) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)


def _members(folder: Path) -> list[int]:
    try:
        return [int(line) for line in (folder / "cgroup.procs").read_text().split() if line != "0"]
    except OSError:
        return []


def _remove(folder: Path) -> None:
    _kill(folder)
    for _ in range(100):
        try:
            folder.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:  # its last processes are not quite gone
            time.sleep(0.005)


def _sweep(parent: Path) -> None:
    """Remove the groups of hosts that died without doing so."""
    for folder in parent.glob(f"{_PREFIX}[0-9]*-*-*"):
        pid, started = folder.name.removeprefix(_PREFIX).split("-")[:2]
        if begun(int(pid)) != started:
            _remove(folder)
