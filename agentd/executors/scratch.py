"""Private temporary folders that say in their names whose they are; those whose makers were killed are removed."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from agentd.core.errors import ExecutorUnavailable
from agentd.executors.owner import is_orphan, mark

_LONGEST_ADDRESS = 107  # what the address of a Unix socket has room for, in bytes
_RANDOM = 8  # what `tempfile` adds to a name
_SHORT = "/tmp"
Tidy = Callable[[Path], object]


def make(kind: str, room: int, tidy: Tidy = shutil.rmtree) -> Path:
    """Return a new folder of a kind, that only this user enters; Unix sockets may have names of `room` bytes in it.

    The first one that a process makes has the orphans of that kind removed, by `tidy`. Raises `ExecutorUnavailable`.
    """
    prefix = f"agentd-{kind}-{mark()}-"
    longest = _LONGEST_ADDRESS - len(prefix) - _RANDOM - room - len("//")
    try:
        place = tempfile.gettempdir()
        place = place if len(os.fsencode(place)) <= longest else _SHORT
        _sweep(kind, place, tidy)
        return Path(tempfile.mkdtemp(prefix=prefix, dir=place))
    except OSError as error:
        raise ExecutorUnavailable(f"no temporary folder can be made: {error}") from error


@lru_cache
def _sweep(kind: str, place: str, tidy: Tidy) -> None:
    """Remove what processes of this user have left here that are gone."""
    name = re.compile(rf"agentd-{kind}-([0-9a-f-]+)-[a-z0-9_]{{{_RANDOM}}}", re.ASCII)
    with os.scandir(place) as entries:
        found = [(entry, match[1]) for entry in entries if (match := name.fullmatch(entry.name))]
    for entry, owner in found:
        try:
            status = entry.stat(follow_symlinks=False)
            ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
            if ours and is_orphan(owner, up=True):
                tidy(Path(entry.path))
        except OSError:
            continue  # another process may be at it
