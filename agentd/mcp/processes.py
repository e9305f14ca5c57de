"""Ends a server and everything that it has started."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

_PROC = Path("/proc")


def tree_of(pid: int) -> dict[int, int]:
    """Return the processes below `pid` and those of its session, each with its start time in clock ticks."""
    table = _table()
    found: dict[int, int] = {}
    grown = True
    while grown:
        grown = False
        for child, (parent, session, started) in table.items():
            if child not in found and child != pid and (pid in (parent, session) or parent in found):
                found[child] = started
                grown = True
    return found


def kill_tree(pid: int, tree: dict[int, int], *, gently: bool = False) -> None:
    """Signal the process group of `pid` and what is left of `tree`: SIGTERM when `gently`, else SIGKILL."""
    number = signal.SIGTERM if gently else signal.SIGKILL
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
    for child, started in tree.items():
        stat = _stat(child)
        # A number that now belongs to another process is left alone.
        if stat is not None and stat[2] == started:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, number)


def _table() -> dict[int, tuple[int, int, int]]:
    if not _PROC.is_dir():
        return {}
    table: dict[int, tuple[int, int, int]] = {}
    for entry in os.listdir(_PROC):
        if entry.isdigit():
            stat = _stat(int(entry))
            if stat is not None:
                table[int(entry)] = stat
    return table


def _stat(pid: int) -> tuple[int, int, int] | None:
    """Return parent, session and start time; the field before them, the name, may hold blanks and parentheses."""
    try:
        fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
        return int(fields[1]), int(fields[3]), int(fields[19])
    except (OSError, IndexError, ValueError):
        return None
