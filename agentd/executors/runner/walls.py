"""Walls that the runner puts around itself before it starts anything: Landlock, and a filter of system calls.

They hold for all that is started afterwards, need no rights, and cannot be taken down again. Landlock keeps from
writing outside of some folders, from signalling processes outside, from abstract Unix sockets of others, and from
binding TCP ports. It does not see mode, owner and times of files, UDP, sockets that have a path, or a TCP socket that
listens without having been bound: that one gets a port by chance.
"""

from __future__ import annotations

import _ctypes
import array
import binascii
import errno
import os
import stat
import struct
import sys
from collections.abc import Callable, Iterator, Sequence

from .wire import Header

LEAST_ABI = 2  # the first one refuses every move of a file from one folder to another
BIND_ABI = 4

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, _PR_SET_NO_NEW_PRIVS = 22, 2, 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # on every kind of machine
_PATH_BENEATH, _ASK_ABI = 1, 1

_EXECUTE, _WRITE, _READ, _LIST = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_TRUNCATE, _DEVICE_CONTROL = 1 << 14, 1 << 15
_OF_A_FILE = _EXECUTE | _WRITE | _READ | _TRUNCATE | _DEVICE_CONTROL
_RIGHTS_SINCE = {5: 16, 3: 15, 2: 14}  # how many rights on files there are
_BIND_TCP = 1 << 0
_SCOPES_SINCE, _SCOPES = 6, 1 << 0 | 1 << 1  # abstract Unix sockets, signals

_ALWAYS_READ = _EXECUTE | _READ | _LIST
# Devices are used; nothing is made there, except shared memory. What lies in `/proc` is not written at all: there are
# the kernel's own settings, and to it root of the machine is root in a sandbox, too.
_ALWAYS_WRITTEN = {"/dev": _WRITE | _TRUNCATE | _DEVICE_CONTROL}
_SHARED_MEMORY = "/dev/shm"
_ANYTHING = (1 << 64) - 1

# It takes `None` for this process itself, which its type does not say.
_open_library: Callable[[str | None, int], int] = getattr(_ctypes, "dlopen")  # noqa: B009


# `_ctypes` alone: all of `ctypes` takes five times as long to import, at the start of every sandbox.
class _Function(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO


def apply(walls: Header) -> dict[str, int]:
    """Build the walls that were asked for around this process; return which stand now.

    `landlock` asks for that with the folders (or files) in `writable`, and to refuse binding of TCP ports unless
    `bind`. `seccomp` is a filter in base64, empty for none. In what is returned `landlock` is the version that is in
    force, 0 for none, and `bind` says whether ports may be bound. Raises `OSError` for a wall that cannot be built.
    """
    landlocked, bind = walls.flag("landlock"), walls.flag("bind")
    if not landlocked and not bind:
        raise OSError("only Landlock can keep code from binding ports, and it was not asked for")
    _prctl("forgoing new privileges", _PR_SET_NO_NEW_PRIVS, 1)
    version = _landlock(walls.words("writable"), bind) if landlocked else 0
    program = binascii.a2b_base64(walls.text("seccomp"))
    if program:
        _filter(program)
    return {"landlock": version, "seccomp": bool(program), "bind": bind}


def landlock_abi() -> int:
    """Return the version of Landlock's interface that this kernel offers; 0 when it has none, or it is off."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, _function("syscall")(_CREATE_RULESET, 0, 0, _ASK_ABI))


def _landlock(writable: Sequence[str], bind: bool) -> int:
    version = landlock_abi()
    _check(version, bind)
    rights = (1 << next(count for since, count in _RIGHTS_SINCE.items() if version >= since)) - 1
    network = 0 if bind else _BIND_TCP
    scopes = _SCOPES if version >= _SCOPES_SINCE else 0
    handled = struct.pack("=QQQ", rights, network, scopes)
    rules = _system_call("making Landlock's rules", _CREATE_RULESET, handled, len(handled), 0)
    try:
        for path, allowed in _places(writable):
            _allow(rules, path, allowed & rights)
        _system_call("applying Landlock's rules", _RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)
    return version


def _check(version: int, bind: bool) -> None:
    if not version:
        raise OSError("this kernel has no Landlock, or it is not among the `lsm=` that it was started with")
    if version < LEAST_ABI:
        raise OSError("Landlock of this kernel cannot allow moving files between folders: Linux 5.19 is needed")
    if not bind and version < BIND_ABI:
        raise OSError("Landlock of this kernel cannot refuse binding of ports: Linux 6.7 is needed")


def _places(writable: Sequence[str]) -> Iterator[tuple[str, int]]:
    yield "/", _ALWAYS_READ
    yield from _ALWAYS_WRITTEN.items()
    if os.path.isdir(_SHARED_MEMORY) and not os.path.islink(_SHARED_MEMORY):
        yield _SHARED_MEMORY, _ANYTHING & ~(_MAKE_CHAR | _MAKE_BLOCK)
    for path in writable:
        yield path, _ANYTHING & ~(_MAKE_CHAR | _MAKE_BLOCK)


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise OSError(f"{path} cannot be made writable by Landlock: {error.strerror}") from error
    try:
        kind = os.fstat(fd).st_mode
        if stat.S_ISLNK(kind):
            raise OSError(f"{path} cannot be made writable by Landlock: it is a symbolic link")
        if not stat.S_ISDIR(kind):
            rights &= _OF_A_FILE
        _system_call(f"Landlock's rule for {path}", _ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", rights, fd), 0)
    finally:
        os.close(fd)


def _filter(program: bytes) -> None:
    steps = array.array("B", program)
    # struct sock_fprog: how many, and where
    head = struct.pack("HP", len(program) // 8, steps.buffer_info()[0])
    _prctl("installing the filter of system calls", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, head)


def _prctl(what: str, option: int, *arguments: int | bytes) -> None:
    _call(what, "prctl", (option, *arguments, *(0,) * (4 - len(arguments))))


def _system_call(what: str, number: int, *arguments: int | bytes) -> int:
    return _call(what, "syscall", (number, *arguments))


def _call(what: str, name: str, arguments: Sequence[int | bytes]) -> int:
    result: int = _function(name)(*arguments)
    if result < 0:
        code = _ctypes.get_errno()
        hint = " (sixteen are already in force)" if code == errno.E2BIG else ""
        raise OSError(f"{what} failed: {os.strerror(code)}{hint}")
    return result


def _function(name: str) -> _Function:
    return _Function(_ctypes.dlsym(_open_library(None, os.RTLD_NOW), name))
