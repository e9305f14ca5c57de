"""What paths stood for at one time, and whether they still do."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from agentd.executors.folders import TICK

_Stamp = tuple[int, int, int, int]


class Standing:
    """Remembers which file each path leads to.

    To find another one there, something was put into the folder that holds it: while no such folder has changed, and
    their times are old enough to tell, only links are looked at again.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._was = {path: _which(path) for path in paths}
        self._links = [path for path in self._was if path.is_symlink()]
        self._folders = {path.parent for path in self._was}
        self._settled: dict[Path, _Stamp | None] = {}

    @property
    def changed(self) -> bool:
        """Whether one of the paths leads to something else now, to nothing, or no longer to nothing."""
        now = {folder: _stamp(folder) for folder in self._folders}
        old = time.time_ns() - TICK
        suspects = self._links if now == self._settled else self._was
        if any(_which(path) != self._was[path] for path in suspects):
            return True
        self._settled = now if all(stamp is None or stamp[3] < old for stamp in now.values()) else {}
        return False


def _which(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _stamp(folder: Path) -> _Stamp | None:
    try:
        status = os.stat(folder)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns
