"""Starts the runner, and above it a guard that outlives it: `python -I -S <this folder> <descriptor>`."""

from __future__ import annotations

import _socket
import importlib
import os
import sys
import types

_PR_SET_CHILD_SUBREAPER = 36


def _load() -> None:
    """Make this folder a package under a name that no block of code will import by chance."""
    package = types.ModuleType("_agentd_runner")
    package.__path__ = [os.path.dirname(os.path.abspath(__file__))]
    sys.modules["_agentd_runner"] = package


def _guard(runner: int, go: int) -> None:
    """Adopt what loses its parent; when the runner is gone, kill all that is left."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.close(go)
    processes = importlib.import_module("_agentd_runner.processes")
    while os.waitpid(-1, 0)[0] != runner:
        pass
    while processes.kill_below(os.getpid(), processes.everyone):
        pass


def main() -> None:
    sock = int(sys.argv[1])
    os.set_inheritable(sock, False)
    sys.path[:] = [entry for entry in sys.path if entry != os.path.dirname(os.path.abspath(__file__))]
    _load()
    # The host speaks first, once this process is in its control group: a child must not come before that.
    host = _socket.socket(fileno=sock)
    host.recv(1, _socket.MSG_PEEK)
    wait, go = os.pipe()
    runner = os.fork()
    if runner:
        host.close()
        os.close(wait)
        _guard(runner, go)
        return
    os.close(go)
    serve = importlib.import_module("_agentd_runner.serve")
    os.read(wait, 1)
    os.close(wait)
    serve.main(host)


main()
