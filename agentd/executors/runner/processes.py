"""Finding and killing everything that a block has started.

Every block gets a number that its processes cannot lose by accident: the soft `RLIMIT_RTTIME`, a limit that only
concerns real-time scheduling, is inherited through fork, exec, `setsid` and `env -i`, and is read for one system call.
A subreaper above keeps double-forked processes among its descendants, so that they are found at all.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable

from .signals import signal

TAGGED = 1 << 40
SHELL_BITS = 20


def tag_of(shell: int, block: int) -> int:
    """Return the number that marks the processes of one block of one shell."""
    return TAGGED | (shell << SHELL_BITS) | (block % (1 << SHELL_BITS))


def shell_of(tag: int) -> int:
    """Return the number of the shell in a tag."""
    return (tag - TAGGED) >> SHELL_BITS


def wear(tag: int) -> None:
    """Give the tag to this process and to all that it starts from now on."""
    hard = resource.getrlimit(resource.RLIMIT_RTTIME)[1]
    resource.setrlimit(resource.RLIMIT_RTTIME, (tag, hard))


def put_on(pid: int, tag: int) -> None:
    """Give the tag to another process, if it is still there."""
    try:
        hard = resource.prlimit(pid, resource.RLIMIT_RTTIME)[1]
        resource.prlimit(pid, resource.RLIMIT_RTTIME, (tag, hard))
    except ProcessLookupError:
        return


def tag_on(pid: int) -> int:
    """Return the tag of a process; 0 when it has none or is gone."""
    try:
        soft = resource.prlimit(pid, resource.RLIMIT_RTTIME)[0]
    except PermissionError:  # a setuid program
        soft = _listed_limit(pid)
    except OSError:
        return 0
    return soft if soft >= TAGGED else 0


def _listed_limit(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/limits") as lines:
            for line in lines:
                if line.startswith("Max realtime timeout"):
                    return int(line.split()[3])
    except (OSError, ValueError):
        pass
    return 0


class Process:
    """A living process, its parent and its process group."""

    __slots__ = ("group", "parent", "pid")

    def __init__(self, pid: int, parent: int, group: int) -> None:
        self.pid = pid
        self.parent = parent
        self.group = group


def _living() -> list[Process]:
    """Return every process that is not a zombie."""
    found: list[Process] = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            fd = os.open(f"/proc/{name}/stat", os.O_RDONLY)
        except OSError:
            continue
        try:
            fields = os.read(fd, 1024).rpartition(b")")[2].split()
        except OSError:
            continue
        finally:
            os.close(fd)
        if len(fields) > 2 and fields[0] not in (b"Z", b"X"):
            found.append(Process(int(name), int(fields[1]), int(fields[2])))
    return found


def descendants(root: int) -> list[Process]:
    """Return the living processes below `root`."""
    children: dict[int, list[Process]] = {}
    for process in _living():
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    queue = [root]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += [process.pid for process in below]
    return found


def everyone(_pid: int) -> bool:
    """Doom every process."""
    return True


def kill_below(root: int, doomed: Callable[[int], bool], patience: float = 5.0) -> int:
    """Kill the doomed processes below `root` and wait until they are gone; return how many were found.

    They are stopped first, and the search repeated until it finds nobody new: what is stopped cannot fork. Stopping
    whole process groups at once is what gets ahead of a fork bomb; a block shares its groups with nobody.
    """
    deadline = time.monotonic() + patience
    stopped: set[int] = set()
    spared = {os.getpgrp(), _group_of(root)}
    while time.monotonic() < deadline:
        fresh = [one for one in descendants(root) if one.pid not in stopped and doomed(one.pid)]
        if not fresh:
            break
        for group in {one.group for one in fresh} - spared:
            _send(os.killpg, group, signal.SIGSTOP)
        for one in fresh:
            _send(os.kill, one.pid, signal.SIGSTOP)
            stopped.add(one.pid)
    pause = 0.0005
    while time.monotonic() < deadline:
        left = [one for one in descendants(root) if one.pid in stopped or doomed(one.pid)]
        if not left:
            break
        for group in {one.group for one in left} - spared:
            _send(os.killpg, group, signal.SIGKILL)
        for one in left:
            _send(os.kill, one.pid, signal.SIGKILL)
        time.sleep(pause)
        pause = min(0.02, pause * 2)
    return len(stopped)


def _group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def _send(how: Callable[[int, int], None], target: int, number: int) -> None:
    try:
        how(target, number)
    except (ProcessLookupError, PermissionError):
        return
