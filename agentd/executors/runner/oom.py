"""Whom the kernel is to kill first when memory runs out: a block, and not the runner."""

from __future__ import annotations

import os

_RAISED = 300
_MOST = 1000


class Sacrifice:
    """While it is entered, what is forked is killed before the runner is.

    The runner's own score is raised and set back, since blocks inherit it and cannot write theirs: behind walls nothing
    in `/proc` can be written. Where `wanted` is false nothing is done.
    """

    def __init__(self, wanted: bool) -> None:
        self._fd = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC) if wanted else -1
        self._own = os.read(self._fd, 16) if wanted else b""
        self._raised = str(min(_MOST, max(_RAISED, int(self._own or 0)))).encode()

    def __enter__(self) -> None:
        if self._fd >= 0:
            os.pwrite(self._fd, self._raised, 0)

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.pwrite(self._fd, self._own, 0)
