"""Keeps the processes of one srt sandbox together, and kills all of them as soon as one end is gone.

A program of its own: `python -I -S srt_keeper.py <runner's folder> <control> <host's pid> <socket> [<group> ...]`. It
reads one line of JSON from the control socket, starts Node.js with srt in it, has it say what starts the sandbox, and
starts that with the runner's descriptors. srt leaves everything behind when it is killed; what is started from here
stays below this process, which is a subreaper.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import select
import shlex
import shutil
import sys
import time
import types
from collections.abc import Callable, Mapping, Sequence

_PR_SET_CHILD_SUBREAPER = 36
_LONGEST = 1 << 22
_PATIENCE = 2.0
_END_OF_OPTIONS = "--"
_COVER, _TEMPORARY, _SCRATCH = "--tmpfs", "/tmp", 1 << 30


class _Failed(Exception):
    """What the host is told instead of `started`."""


class _Stopped(Exception):
    """The host is gone, or wants no sandbox any more."""


class Keeper:
    """One sandbox: `job` is what the host has asked for, `passed` are the runner's descriptors."""

    def __init__(self, job: Mapping[str, object], host: int, control: int, passed: Sequence[int]) -> None:
        self._job = job
        self._passed = passed
        self._poll = select.poll()
        self._ends = [control, host]
        for fd in self._ends:
            self._poll.register(fd, select.POLLIN)

    def start(self) -> None:
        """Start Node.js and the sandbox; raises `_Failed` with the reason when that cannot be done."""
        argv = shlex.split(self._ask())
        if argv[0] != self._job["bwrap"] or _END_OF_OPTIONS not in argv or str(self._job["seccomp"]) not in argv[-1]:
            raise _Failed("what srt has made of the policy is not what is known of this version")
        end = argv.index(_END_OF_OPTIONS)
        more = [str(word) for word in _list(self._job["options"])]
        options, command = narrowed(argv[1:end], more), argv[end:]
        # The options hold the key to srt's proxy, and whoever is on this machine can read a command line.
        listed = os.memfd_create("agentd")
        os.write(listed, b"".join(word.encode("utf-8", "surrogateescape") + b"\0" for word in options))
        os.lseek(listed, 0, os.SEEK_SET)
        inherited = [*self._passed, listed]
        for fd in inherited:
            os.set_inheritable(fd, True)
        words = [argv[0], "--args", str(listed), *command]
        pid = os.posix_spawn(argv[0], words, os.environ, setsid=True)
        for fd in inherited:
            os.close(fd)
        self._mind(pid)

    def wait(self) -> None:
        """Return when the host, Node.js or the sandbox has ended."""
        self._poll.poll()

    def _ask(self) -> str:
        """Return the command that srt makes of the settings."""
        here = os.open(".", os.O_RDONLY | os.O_CLOEXEC)
        questions, question = os.pipe()
        answer, answers = os.pipe()
        # Files that srt would put where it was started, to stand for some that are missing, have to be nobody's.
        os.chdir(str(self._job["cwd"]))
        pid = os.posix_spawn(
            str(self._job["node"]),
            [str(self._job["node"]), str(self._job["program"])],
            _strings(self._job["env"]),
            file_actions=[(os.POSIX_SPAWN_DUP2, questions, 0), (os.POSIX_SPAWN_DUP2, answers, 1)],
            setsid=True,
        )
        os.fchdir(here)
        for fd in (here, questions, answers):
            os.close(fd)
        command = " ".join([str(self._job["command"]), *map(str, self._passed)])
        node = self._mind(pid)
        request = json.dumps({**_table(self._job["request"]), "command": command, "folder": self._job["folder"]})
        with contextlib.suppress(BrokenPipeError):  # then it has ended, which is told below
            os.write(question, request.encode() + b"\n")  # it stays open: its end ends Node.js
        line = _read_line(answer, self._poll, node)
        self._poll.register(node, select.POLLIN)
        said = _table(json.loads(line)) if line else {}
        if "command" not in said:
            raise _Failed(str(said.get("error") or "Node.js has ended without a word"))
        return str(said["command"])

    def _mind(self, pid: int) -> int:
        fd = os.pidfd_open(pid)
        self._ends.append(fd)
        self._poll.register(fd, select.POLLIN)
        return fd


def narrowed(options: Sequence[str], more: Sequence[str]) -> list[str]:
    """Return the options with `more` of them, and so that code writes to no folder that srt has made to hide another.

    What srt puts over the folders that are not to be seen is memory that could be filled.
    """
    found: list[str] = []
    covers: list[str] = []
    for word, following in zip(options, [*options[1:], ""], strict=True):
        if word == _COVER and following == _TEMPORARY:
            found += ["--size", str(_SCRATCH)]
        elif word == _COVER:
            covers.append(following)
        found.append(word)
    return [*found, *more, *(word for cover in covers for word in ("--remount-ro", cover))]


def _read_line(fd: int, poll: select.poll, node: int) -> bytes:
    """Return a line, or what there was when its writer had ended; raises `_Stopped` when the host is gone."""
    poll.unregister(node)  # its last words may still be in the pipe
    poll.register(fd, select.POLLIN)
    text = b""
    while not text.endswith(b"\n"):
        ready = {one for one, _ in poll.poll()}
        if ready - {fd}:
            raise _Stopped
        piece = os.read(fd, 1 << 16)
        if not piece:
            break
        text += piece
    poll.unregister(fd)
    return text


def _table(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _Failed("it is not an object")
    return {str(key): item for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _strings(value: object) -> dict[str, str]:
    return {key: str(item) for key, item in _table(value).items()}


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _read_job(control: int) -> dict[str, object]:
    text = b""
    while not text.endswith(b"\n") and len(text) < _LONGEST:
        piece = os.read(control, 1 << 16)
        if not piece:
            raise _Stopped
        text += piece
    return _table(json.loads(text))


def _load(folder: str, name: str) -> types.ModuleType:
    """Import a module of the runner's, which is a package without an `agentd` around it here."""
    package = types.ModuleType("_agentd_runner")
    package.__path__ = [folder]
    sys.modules["_agentd_runner"] = package
    return importlib.import_module(f"_agentd_runner.{name}")


def _bury(kill_below: Callable[[int, Callable[[int], bool]], int], folder: str) -> None:
    """Kill all that is left, take leave of each, and remove the sandbox's folder."""
    while kill_below(os.getpid(), lambda _: True):
        pass
    deadline = time.monotonic() + _PATIENCE
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0] or time.monotonic() < deadline:
            time.sleep(0.001)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    runner, control, host_pid, *passed = sys.argv[1], *map(int, sys.argv[2:])
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for fd in (control, *passed):
        os.set_inheritable(fd, False)
    folder = ""
    kill_below = _load(runner, "processes").kill_below
    try:
        host = os.pidfd_open(host_pid)
        if os.getppid() != host_pid:
            return
        job = _read_job(control)
        folder = str(job["folder"])
        keeper = Keeper(job, host, control, passed)
        try:
            keeper.start()
        except (_Failed, OSError) as error:
            os.write(control, json.dumps({"error": str(error)}).encode() + b"\n")
            return
        os.write(control, b'{"error": ""}\n')
        keeper.wait()
    except (_Stopped, BrokenPipeError):
        pass
    finally:
        _bury(kill_below, folder)


if __name__ == "__main__":
    main()
