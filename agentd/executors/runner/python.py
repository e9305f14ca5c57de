"""Python blocks: each in a child that is forked from the warm runner, or in one that stays for a session."""

from __future__ import annotations

import _sitebuiltins
import atexit
import builtins
import fcntl
import gc
import importlib
import io
import os
import resource
import sys
import types
from collections.abc import Mapping

from .bindings import Bindings, Finder
from .calls import Calls
from .signals import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    import traceback

FILE = "<block>"
REQUEST_FD, ANSWER_FD = 3, 4
_HERE = os.path.dirname(os.path.abspath(__file__))
_OFTEN = (
    *("json", "linecache", "traceback", "typing", "dataclasses", "datetime", "pathlib", "random", "signal"),
    *("subprocess", "tempfile"),
)
_calls = Calls()


def shared_calls() -> Calls:
    """Return the one `Calls` of this process."""
    return _calls


class Task:
    """What a child has to run, and with what."""

    def __init__(self, code: str, env: Mapping[str, str], path: list[str], bindings: Bindings | None) -> None:
        self.code = code
        self.env = env
        self.path = path
        self.bindings = bindings


def prepare() -> None:
    """Do before the first fork what every child would have to do itself."""
    raw = io.FileIO(1, "w", closefd=False)
    # One buffer for both streams keeps what is printed to them in order.
    buffer = io.BufferedWriter(raw, 1 << 13)
    sys.stdout = io.TextIOWrapper(buffer, "utf-8", "backslashreplace", line_buffering=True, write_through=True)
    sys.stderr = io.TextIOWrapper(buffer, "utf-8", "backslashreplace", line_buffering=True, write_through=True)
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
    sys.excepthook = show
    for name, value in (("exit", sys.exit), ("quit", sys.exit), ("help", _sitebuiltins._Helper())):  # pyright: ignore[reportPrivateUsage]
        setattr(builtins, name, value)
    sys.argv = [""]
    Finder.install()
    gc.collect()
    gc.freeze()


class Mark:
    """How a block's process is known, and what it may use."""

    def __init__(self, tag: int, cpu: int = 0) -> None:
        self.tag = tag
        self.cpu = cpu


def become(mark: Mark, null: int, top: int, keep: int) -> int:
    """Turn this fork of the runner into a process for blocks; return where the descriptor `keep` is now."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    if mark.cpu:
        resource.setrlimit(resource.RLIMIT_CPU, (mark.cpu, mark.cpu))
    os.dup2(null, 1)
    os.dup2(null, 2)
    kept = fcntl.fcntl(keep, fcntl.F_DUPFD_CLOEXEC, top + 1)
    os.closerange(3, top + 1)
    os.register_at_fork(after_in_child=_calls.after_fork)
    return kept


def place_tools(tools: tuple[int, ...]) -> None:
    """Move the two tool pipes to their own places, whatever is there now."""
    request, answer = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in tools)
    os.dup2(request, REQUEST_FD, inheritable=False)
    os.dup2(answer, ANSWER_FD, inheritable=False)
    for fd in {request, answer, *tools} - {REQUEST_FD, ANSWER_FD}:
        os.close(fd)


def new_main() -> types.ModuleType:
    """Return an empty `__main__`, in its place."""
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    return module


def run(task: Task, module: types.ModuleType) -> int:
    """Run the task in the current directory and return its exit status, with everything printed."""
    _surround(task, module)
    status = _execute(task.code, module)
    flush()
    return status


def connect(tools: bool, bindings: Bindings | None) -> None:
    """Attach the tool pipes of this process, if there are any."""
    fds = (REQUEST_FD, ANSWER_FD) if tools else (-1, -1)
    _calls.connect(*fds, bindings.error if bindings else Exception)


def _surround(task: Task, module: types.ModuleType) -> None:
    environ = os.environ
    if environ != task.env:
        for name in set(environ) - set(task.env):
            del environ[name]
        for name, value in task.env.items():
            if environ.get(name) != value:
                environ[name] = value
    Finder.current = task.bindings
    if task.bindings is not None:
        module.__dict__["__builtins__"] = task.bindings.scope
    sys.path[:] = task.path
    sys.path_importer_cache.pop(task.path[0] if task.path else "", None)


def _execute(code: str, module: types.ModuleType) -> int:
    import linecache

    linecache.cache[FILE] = (len(code), None, code.splitlines(keepends=True), FILE)
    try:
        exec(compile(code, FILE, "exec", dont_inherit=True), module.__dict__)
    except SystemExit as stop:
        return _exit_status(stop)
    except BaseException as error:
        _report(error)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _exit_status(stop: SystemExit) -> int:
    if stop.code is None:
        return 0
    if isinstance(stop.code, int):
        return stop.code & 0xFF
    print(stop.code, file=sys.stderr)
    return 1


def _report(error: BaseException) -> None:
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except BaseException:
        # The block has closed or broken its own streams: nothing can be said any more.
        return


def wind_up(status: int) -> int:
    """Do what an interpreter does at its end, and return the exit status."""
    try:
        threading = sys.modules.get("threading")
        if threading is not None:
            threading._shutdown()
        atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
    except SystemExit as stop:
        return _exit_status(stop)
    except BaseException as error:
        _report(error)
    return status


def flush() -> None:
    """Print what is still in a buffer."""
    for stream in (sys.stdout, sys.stderr, sys.__stdout__):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            continue


def preload() -> None:
    """Import what blocks often do, once for all of them: a process that is forked afterwards has it."""
    for name in _OFTEN:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def show(kind: type[BaseException], error: BaseException, trace: types.TracebackType | None) -> None:
    """Print a traceback of the block's own frames."""
    import traceback

    report = traceback.TracebackException(kind, error, trace, compact=True)
    _strip(report, set())
    print("".join(report.format()), end="", file=sys.stderr)


def _strip(report: traceback.TracebackException | None, seen: set[int]) -> None:
    if report is None or id(report) in seen:
        return
    seen.add(id(report))
    report.stack[:] = [frame for frame in report.stack if not frame.filename.startswith(_HERE)]
    _strip(report.__cause__, seen)
    _strip(report.__context__, seen)
    inner: list[traceback.TracebackException] = getattr(report, "exceptions", None) or []
    for one in inner:
        _strip(one, seen)
