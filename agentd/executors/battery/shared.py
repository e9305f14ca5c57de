"""Shared memory and a message queue of the host, as another program would have them."""

from __future__ import annotations

import contextlib
import ctypes
import secrets

from agentd.executors.battery.inside.harness import Absent
from agentd.executors.battery.inside.syscalls import call

_CREATE = 0o1000 | 0o666
_REMOVE = 0


def plant(stack: contextlib.ExitStack, content: str) -> dict[str, object]:
    """Make both, and have `stack` remove them; return what the probes are told. Nothing where there are none."""
    key = secrets.randbelow(1 << 30) + 1
    try:
        segment = call("shmget", key, 4096, _CREATE)
        stack.callback(call, "shmctl", segment, _REMOVE, None)
        queue = call("msgget", key, _CREATE)
        stack.callback(call, "msgctl", queue, _REMOVE, None)
        address = call("shmat", segment, None, 0)
    except (OSError, Absent):
        return {}
    ctypes.memmove(address, content.encode() + b"\0", len(content) + 1)
    call("shmdt", address)
    return {"sysv": key, "sysv-content": content, "queue": key}
