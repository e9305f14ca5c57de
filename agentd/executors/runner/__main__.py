"""Starts the runner, and above it a guard that outlives it: `python -I -S <this file> <socket> [<word> …]`.

The socket is an inherited descriptor, or `-` for standard input and output. Each further word is the number of an open
file of a control group that the runner is to be in, or `alone`: then there is no guard, since the runner's parent is
the first process of a namespace that ends with it.
"""

from __future__ import annotations

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


def _join(group: int) -> None:
    os.write(group, b"0")
    os.close(group)


def main() -> None:
    _, way, *words = sys.argv
    for word in words:
        if word != "alone":
            _join(int(word))
    sys.path[:] = [entry for entry in sys.path if entry != os.path.dirname(os.path.abspath(__file__))]
    _load()
    channel = importlib.import_module("_agentd_runner.channel").open_channel(way)
    if "alone" in words:
        importlib.import_module("_agentd_runner.serve").main(channel)
        return
    wait, go = os.pipe()
    runner = os.fork()
    if runner:
        channel.close()
        os.close(wait)
        _guard(runner, go)
        return
    os.close(go)
    serve = importlib.import_module("_agentd_runner.serve")
    os.read(wait, 1)
    os.close(wait)
    serve.main(channel)


main()
