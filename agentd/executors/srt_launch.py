"""Starting a runner in a sandbox of srt's: a keeper of ours, and below it Node.js, srt's helpers and the sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from agentd.core.errors import ExecutorUnavailable
from agentd.executors.launch import RUNNER, ProcessLaunch

KEEPER = Path(__file__).with_name("srt_keeper.py")
NODE_PROGRAM = Path(__file__).with_name("srt_host.mjs")
WITHIN = 60.0
_AT_ONCE = 0.5  # what hears that nobody talks to it any more ends at once, or not at all
_ENVIRONMENT = {"LANG": "C.UTF-8"}


class Job(TypedDict):
    """What the keeper is to do: see there."""

    folder: str
    cwd: str
    node: str
    program: str
    env: dict[str, str]
    bwrap: str
    seccomp: str
    options: list[str]
    command: str
    request: dict[str, object]


class SrtLaunch(ProcessLaunch):
    """A keeper with one sandbox. It ends with the sandbox, with Node.js and with this process, and all below it too."""

    def __init__(self, job: Job, limits: Mapping[str, int]) -> None:
        self._folder = job["folder"]
        self._loop = asyncio.get_running_loop()
        self._control, theirs = socket.socketpair()
        self._control.setblocking(False)
        command = [sys.executable, "-I", "-S", str(KEEPER), str(RUNNER), str(theirs.fileno()), str(os.getpid())]
        try:
            with theirs:
                super().__init__(command, cwd=Path("/"), env=_ENVIRONMENT, limits=limits, fds=[theirs.fileno()])
        except BaseException:
            self._control.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self._talk = self._loop.create_task(self._converse(job))
        self._talk.add_done_callback(_heard)

    async def started(self) -> None:
        """Return when the sandbox runs; raises `ExecutorUnavailable` when it could not be started."""
        await asyncio.shield(self._talk)

    def destroy(self) -> None:
        """Kill what is left, and remove the sandbox's folder and its control group."""
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_AT_ONCE)
        super().destroy()
        if self._process.returncode:  # it was killed before it had killed all others
            tidy(Path(self._folder))
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._talk.done() or self._loop.is_closed():
            self._control.close()
        else:
            self._loop.call_soon_threadsafe(self._talk.add_done_callback, self._hang_up)

    def _hang_up(self, _talk: asyncio.Task[None]) -> None:
        self._control.close()

    async def _converse(self, job: Job) -> None:
        try:
            async with asyncio.timeout(WITHIN):
                answer = await self._ask(json.dumps(job).encode() + b"\n")
        except TimeoutError as error:
            raise ExecutorUnavailable(f"srt: it has not started a sandbox within {WITHIN:g} seconds") from error
        except OSError:
            answer = b""
        if not answer:
            raise ExecutorUnavailable(f"srt: {self.last_words() or 'its keeper has ended without a word'}")
        problem = str(json.loads(answer)["error"])
        if problem:
            words = self.last_words()
            raise ExecutorUnavailable(f"srt: {problem}" + (f" ({words})" if words else ""))

    async def _ask(self, question: bytes) -> bytes:
        await self._loop.sock_sendall(self._control, question)
        answer = b""
        while not answer.endswith(b"\n"):
            piece = await self._loop.sock_recv(self._control, 1 << 16)
            if not piece:
                return b""
            answer += piece
        return answer


def tidy(folder: Path) -> None:
    """Remove the folder of a sandbox whose keeper was killed, and kill those helpers of srt's that were left then.

    They are the ones whose home it is.
    """
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # it is somebody else's, or gone
            fd = os.pidfd_open(int(environ.parent.name))
            try:
                if os.fsencode(f"HOME={folder}") in environ.read_bytes().split(b"\0"):
                    signal.pidfd_send_signal(fd, signal.SIGKILL)
            finally:
                os.close(fd)
    shutil.rmtree(folder, ignore_errors=True)


def _heard(talk: asyncio.Task[None]) -> None:
    """Take note of how it went: nobody has to ask."""
    if not talk.cancelled():
        talk.exception()
