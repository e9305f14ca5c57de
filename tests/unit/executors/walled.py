"""Real processes behind the walls that the runner builds: started here, and asked what they could do."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import pytest

from agentd.core.tools import JSON
from agentd.executors.runner import walls

RUNNER = str(Path(walls.__file__).parent)
ORDINARY = 1000

# As in the runner: its modules under its own name, the walls before anything else runs.
_ENTER = """
import importlib, json, os, sys, types
package = types.ModuleType("_agentd_runner")
package.__path__ = [sys.argv[1]]
sys.modules["_agentd_runner"] = package
wire, walls = (importlib.import_module("_agentd_runner." + name) for name in ("wire", "walls"))
import ctypes, errno, mmap, multiprocessing.synchronize, signal, socket, subprocess, threading, time
asked, user = json.loads(sys.argv[2]), int(sys.argv[3])
if user:
    os.setgroups([]), os.setresgid(user, user, user), os.setresuid(user, user, user)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: becoming another user takes /proc/self away
try:
    stand = walls.apply(wire.Header(asked))
except OSError as error:
    sys.exit(f"{type(error).__name__}: {error}")
sys.argv[1:] = sys.argv[4:]
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

def attempt(what, *args, **options):
    'Return the name of the error that this fails with, or an empty text.'
    try:
        what(*args, **options)
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    return ''

def call(number, *args):
    'Make a system call.'
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args))
    if result == -1:
        raise OSError(ctypes.get_errno(), 'failed')
    return result

def answer(value):
    print(json.dumps(value), flush=True)
"""


Answers = tuple[dict[str, str], dict[str, str]]


@dataclass(frozen=True)
class Walls:
    """The settings of the walls, as the host says them."""

    seccomp: str = ""
    landlock: bool = False
    bind: bool = True
    writable: Sequence[str] = ()


def filtered(program: bytes) -> Walls:
    return Walls(seccomp=base64.b64encode(program).decode())


def locked(*writable: Path, bind: bool = True) -> Walls:
    return Walls(landlock=True, bind=bind, writable=[str(path) for path in writable])


def run(
    built: Walls, code: str, *args: str, user: int = 0, start: Sequence[str] = (sys.executable,)
) -> subprocess.CompletedProcess[str]:
    """Run Python, started by the argv `start`, behind walls; `attempt`, `call` and `answer` are there for it."""
    argv = [*start, "-I", "-S", "-c", _ENTER + code, RUNNER, json.dumps(asdict(built)), str(user), *args]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60, start_new_session=True)


def ask(built: Walls, code: str, *args: str, user: int = 0, start: Sequence[str] = (sys.executable,)) -> JSON:
    """Run Python behind walls and return its answer."""
    done = run(built, code, *args, user=user, start=start)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def pairs(built: Walls, code: str, *args: str, user: int = 0, start: Sequence[str] = (sys.executable,)) -> Answers:
    """Run Python behind walls that answers with two errors a name, and return them."""
    answered = cast("dict[str, tuple[str, str]]", ask(built, code, *args, user=user, start=start))
    return {name: inside for name, (inside, _) in answered.items()}, {name: out for name, (_, out) in answered.items()}


def skip_unless_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("not installable: becoming another user needs root")
