"""Ends a server and everything that it has started."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

MARK = "AGENTD_MCP_SERVER"

_PROC = Path("/proc")
_PASSES = 5


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


def marked(token: str) -> dict[int, int]:
    """Return the processes that have `MARK=token` in their environment, each with its start time.

    Those are the ones that a server has started, wherever they have gone since: also into a session of their own, with
    their parents dead. One that was started with an environment of its own is not found.
    """
    wanted = f"{MARK}={token}".encode()
    found: dict[int, int] = {}
    for child, (_, _, started) in _table().items():
        try:
            environment = (_PROC / str(child) / "environ").read_bytes()
        except OSError:
            continue
        if wanted in environment.split(b"\0"):
            found[child] = started
    return found


def kill_marked(token: str) -> None:
    """Kill all that `marked` finds, until there is nothing that was started meanwhile."""
    for _ in range(_PASSES):
        left = {child: started for child, started in marked(token).items() if _runs(child)}
        if not left:
            return
        _signal(left, signal.SIGKILL)


def kill_tree(pid: int, tree: dict[int, int], *, gently: bool = False) -> None:
    """Signal the process group of `pid` and what is left of `tree`: SIGTERM when `gently`, else SIGKILL."""
    number = signal.SIGTERM if gently else signal.SIGKILL
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
    _signal(tree, number)


def _signal(processes: dict[int, int], number: signal.Signals) -> None:
    for child, started in processes.items():
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


def _runs(pid: int) -> bool:
    try:
        return (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def _stat(pid: int) -> tuple[int, int, int] | None:
    """Return parent, session and start time; the field before them, the name, may hold blanks and parentheses."""
    try:
        fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
        return int(fields[1]), int(fields[3]), int(fields[19])
    except (OSError, IndexError, ValueError):
        return None
