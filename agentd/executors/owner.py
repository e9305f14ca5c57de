"""Whose something is that can outlive its process: a mark to name it by, and whether who made the mark still lives."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

_MARK = re.compile(r"([0-9a-f]{10})-([0-9]+)-([0-9]+)", re.ASCII)


def mark() -> str:
    """Return what tells this process from all others, of other machines and other times too, in letters fit for a name.

    The machine's current boot and the process namespace stand in it: only there does a process number mean something.
    """
    return f"{_place()}-{os.getpid()}-{begun(os.getpid())}"


def is_orphan(mark: str, up: bool) -> bool:
    """Tell whether what has this mark may be removed: its process is gone, or cannot be seen from here and it is down.

    What bears no mark is nobody's to remove.
    """
    found = _MARK.fullmatch(mark)
    if found is None:
        return False
    place, pid, since = found.groups()
    if place != _place():
        return not up
    return begun(int(pid)) != since


def _place() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return hashlib.sha256(f"{boot} {os.readlink('/proc/self/ns/pid')}".encode()).hexdigest()[:10]


def begun(pid: int) -> str:
    """Return when a process was started, in ticks since the boot; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19].decode()
    except (OSError, IndexError):
        return ""
