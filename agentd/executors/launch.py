"""Starting a runner: what every back end has to give, and how it is done with a process of this machine."""

from __future__ import annotations

import compileall
import os
import socket
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from agentd.core.errors import ExecutorUnavailable
from agentd.executors.cgroups import Group
from agentd.executors.doorway import Doorway
from agentd.executors.runner.processes import everyone, kill_below

RUNNER = Path(__file__).with_name("runner")
RUNNER_PROCESSES = 3  # the guard, the runner, a process in reserve
PATIENCE = 2.0


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether a back end can run here: its version, or why it cannot and what would help."""

    ok: bool
    version: str = ""
    reason: str = ""
    fix: str = ""

    def demand(self, name: str) -> None:
        """Raise `ExecutorUnavailable` unless the back end can run."""
        if not self.ok:
            raise ExecutorUnavailable(f"{name}: {self.reason}" + (f". {self.fix}" if self.fix else ""))


class Launch(Protocol):
    """A runner that has been started somewhere, and the way to it.

    `sock` is the host's end of a stream that carries the runner's frames, `passes_fds` tells whether descriptors can
    travel along it; if not, `doorway` is where blocks connect to for their tool calls. `census` is the file that tells
    how many processes there are, empty when nobody counts or it could not be passed on. `started` returns when the
    place is up, or raises `ExecutorUnavailable`; `gone` tells whether all of it has ended. `destroy` kills what is left
    and tidies up: it blocks, and may be called twice, in any thread.
    """

    sock: socket.socket
    passes_fds: bool
    doorway: Doorway | None
    census: str

    async def started(self) -> None: ...

    def gone(self) -> bool: ...

    def destroy(self) -> None: ...

    def last_words(self) -> str: ...


class ProcessLaunch:
    """A runner that is a process of this machine, in a control group of its own where limits ask for one.

    `command` starts it; the numbers of its descriptors are added to that: the socket, and one a control group, which
    it joins by itself before it starts anything. `fds` are more that it inherits; `alone` says that the runner's own
    parent is the first process of a namespace, which ends with it.
    """

    passes_fds = True
    doorway: Doorway | None = None

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        limits: Mapping[str, int],
        fds: Sequence[int] = (),
        alone: bool = False,
    ) -> None:
        try:
            self._group = Group(_with_room_for_runner(limits))
        except OSError as error:
            told = ", ".join(f"{name}={value}" for name, value in limits.items())
            raise ExecutorUnavailable(f"the limits cannot be set ({told}): {error.strerror or error}") from error
        # Whoever forgets to close leaves no group behind: the processes go by themselves when the socket does.
        removal = weakref.finalize(self, _remove, self._group, os.getpid())
        removal.atexit = False  # at the end of the program the executor is closed in its own order, or goes as above
        self.census = self._group.census
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  # open as long as the runner
        self.sock, theirs = socket.socketpair()
        groups: list[int] = []
        try:
            groups += self._group.entrances()
            passed = [theirs.fileno(), *groups]
            self._process = subprocess.Popen(
                [*command, *map(str, passed), *(["alone"] if alone else [])],
                pass_fds=[*passed, *fds],
                start_new_session=True,
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
            )
        except OSError as error:
            self._group.remove()
            self.sock.close()
            self._stderr.close()
            raise ExecutorUnavailable(f"the runner cannot be started: {error}") from error
        finally:
            theirs.close()
            for fd in groups:
                os.close(fd)

    @property
    def pid(self) -> int:
        """The process that was started here; in a sandbox the runner is further below."""
        return self._process.pid

    async def started(self) -> None:
        """A process has started when it was made."""

    def gone(self) -> bool:
        """Tell whether the process has ended."""
        return self._process.poll() is not None

    def destroy(self) -> None:
        """Kill what is left, and remove the control group."""
        if self._process.poll() is None:
            kill_below(self._process.pid, everyone)
            self._process.kill()
            self._process.wait()
        self._group.remove()
        self._stderr.close()

    def last_words(self) -> str:
        """Return what the process has complained of."""
        if self._stderr.closed:
            return ""
        self._stderr.seek(0)
        return self._stderr.read(4000).decode("utf-8", "replace").strip()


def runner_command() -> list[str]:
    """Return what starts the runner with this interpreter; the numbers of its descriptors follow."""
    return [sys.executable, "-I", "-S", str(RUNNER / "__main__.py")]


@lru_cache(maxsize=1)
def compiled_runner() -> None:
    """Have the runner compiled, where that can be kept: inside a sandbox its files cannot be written beside."""
    compileall.compile_dir(RUNNER, maxlevels=0, quiet=2)


def _with_room_for_runner(limits: Mapping[str, int]) -> dict[str, int]:
    return {name: value + RUNNER_PROCESSES if name == "processes" else value for name, value in limits.items()}


def _remove(group: Group, owner: int) -> None:
    if os.getpid() == owner:  # and not a child that was forked from it
        group.remove()
