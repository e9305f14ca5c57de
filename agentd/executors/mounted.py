"""Whether a sandbox has the mounts that were meant: what a runner is to compare, before any code runs in it.

Places are named to bubblewrap by their paths, and a workspace can be written by code in other sandboxes meanwhile: what
was a folder when its path was checked can be a link when it is mounted.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Sequence

from agentd.core.errors import ExecutorUnavailable
from agentd.executors.mounts import Mount
from agentd.executors.runner.mounted import unescaped

_TWO_WORDS = ("--bind", "--ro-bind", "--ro-bind-try")
_ONE_WORD = ("--tmpfs", "--proc", "--dev")
_PATH_ONLY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def expected(command: Sequence[str], found: Iterable[Mount], identities: dict[str, list[int]]) -> dict[str, object]:
    """Return what a runner is to find: how often something is mounted at each place, and what is at some of them."""
    points = Counter(["/", *_mounted(command)])
    sources = [mount.source for mount in found if mount.source]
    for point in _here():
        if any(point.startswith(f"{source.rstrip('/')}/") for source in (*sources, "/usr", "/etc")):
            points[point] += 1
    return {"points": dict(points), "needed": [mount.place for mount in found], "identities": identities}


def identities(found: Iterable[Mount]) -> dict[str, list[int]]:
    """Return which file or folder is meant by each mount; raises `ExecutorUnavailable` where a path became a link."""
    return {mount.place: _identity(mount.place) for mount in found if mount.source == mount.place}


def _identity(place: str) -> list[int]:
    folder = os.open("/", _PATH_ONLY)
    try:
        for part in place.split("/")[1:]:
            below = os.open(part, _PATH_ONLY, dir_fd=folder)
            os.close(folder)
            folder = below
        status = os.fstat(folder)
    except OSError as error:
        raise ExecutorUnavailable(
            f"{place} has changed while a sandbox was made: {error.strerror}. Try again"
        ) from error
    finally:
        os.close(folder)
    if stat.S_ISLNK(status.st_mode):
        raise ExecutorUnavailable(f"{place} has become a link while a sandbox was made. Try again")
    return [status.st_dev, status.st_ino]


def _mounted(command: Sequence[str]) -> list[str]:
    """Return where the arguments mount something."""
    found: list[str] = []
    for at, word in enumerate(command):
        if word in _TWO_WORDS:
            found.append(command[at + 2])
        elif word in _ONE_WORD:
            found.append(command[at + 1])
    return found


def _here() -> list[str]:
    """Return where something is mounted on this machine: a mount brings those below it along."""
    with open("/proc/self/mountinfo", "rb") as lines:
        return [os.fsdecode(unescaped(line.split()[4])) for line in lines]
