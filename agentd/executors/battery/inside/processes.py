"""Probes: other people's processes."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import signal
import struct
import termios

from agentd.executors.battery.inside.harness import Absent, Facts, Refused, probe
from agentd.executors.battery.inside.syscalls import call

_PTRACE_SEIZE = 0x4206


def _is_victim(facts: Facts, key: str = "victim") -> int:
    """Return the number of a host process, unless that belongs to one of the sandbox's own."""
    pid = facts.number(key)
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read()
    except OSError:
        return pid
    if facts.text("victim-mark").encode() not in words:
        raise Refused("another process has that number")
    return pid


@probe("process-see", "see the machine's processes")
def process_see(facts: Facts) -> str:
    mark = facts.text("victim-mark").encode()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                if mark in file.read().split(b"\0"):
                    return f"process {name}"
        except OSError:
            continue
    raise Refused("only its own")


@probe("process-signal", "send a signal to a host process")
def process_signal(facts: Facts) -> str:
    os.kill(_is_victim(facts, "prey"), signal.SIGTERM)
    return "sent"


@probe("process-exists", "ask whether a host process exists")
def process_exists(facts: Facts) -> str:
    os.kill(_is_victim(facts), 0)
    return "it does"


@probe("process-pidfd", "take hold of a host process (pidfd)")
def process_pidfd(facts: Facts) -> str:
    return f"descriptor {call('pidfd_open', _is_victim(facts), 0)}"


@probe("process-getfd", "take a descriptor out of a host process")
def process_getfd(facts: Facts) -> str:
    held = call("pidfd_open", _is_victim(facts), 0)
    return f"descriptor {call('pidfd_getfd', held, 0, 0)}"


@probe("process-trace", "trace a host process")
def process_trace(facts: Facts) -> str:
    call("ptrace", _PTRACE_SEIZE, _is_victim(facts), 0, 0)
    return "traced"


@probe("process-memory", "open a host process's memory")
def process_memory(facts: Facts) -> str:
    os.close(os.open(f"/proc/{_is_victim(facts)}/mem", os.O_RDWR))
    return "opened"


def _vector(name: str, pid: int) -> str:
    # The remote address is not mapped: EFAULT comes only after the permission has been looked at.
    buffer = ctypes.create_string_buffer(1)
    near = ctypes.create_string_buffer(struct.pack("@PN", ctypes.addressof(buffer), 1))
    far = ctypes.create_string_buffer(struct.pack("@PN", 1, 1))
    try:
        call(name, pid, near, 1, far, 1, 0)
    except OSError as error:
        if error.errno == errno.EFAULT:
            return f"{name} is let through (EFAULT)"
        raise
    return f"{name} has succeeded"


@probe("process-readv", "read a host process's memory (process_vm_readv)")
def process_readv(facts: Facts) -> str:
    return _vector("process_vm_readv", _is_victim(facts))


@probe("process-writev", "change a host process's memory (process_vm_writev)")
def process_writev(facts: Facts) -> str:
    return _vector("process_vm_writev", _is_victim(facts))


@probe("process-limits", "change the limits of a host process")
def process_limits(facts: Facts) -> str:
    pid = _is_victim(facts)
    resource.prlimit(pid, resource.RLIMIT_CORE, resource.prlimit(pid, resource.RLIMIT_CORE))
    return "set to what they were"


@probe("process-priority", "change the priority of a host process")
def process_priority(facts: Facts) -> str:
    pid = _is_victim(facts)
    os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid))
    return "set to what it was"


@probe("process-namespace", "enter a host process's namespaces")
def process_namespace(facts: Facts) -> str:
    fd = os.open(f"/proc/{_is_victim(facts)}/ns/uts", os.O_RDONLY)
    call("setns", fd, 0)
    return "entered"


@probe("process-own-trace", "trace a process of its own")
def process_own_trace(_facts: Facts) -> str:
    child = os.fork()
    if child == 0:
        signal.pause()
    try:
        call("ptrace", _PTRACE_SEIZE, child, 0, 0)
    finally:
        os.kill(child, signal.SIGKILL)
    return "traced"


@probe("process-real-time", "take the processor for itself (real-time priority)")
def process_real_time(_facts: Facts) -> str:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return "taken, and given back"


@probe("process-raise-limits", "raise its own limits")
def process_raise_limits(_facts: Facts) -> str:
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if hard == resource.RLIM_INFINITY:
        raise Absent("there is no limit to be raised")
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard + 4096))
    except ValueError as error:  # what Python makes of EPERM
        raise Refused("not allowed") from error
    return f"raised above {hard}"


@probe("process-terminal", "open the terminal that agentd runs in")
def process_terminal(_facts: Facts) -> str:
    for path in ("/dev/tty", "/dev/console"):
        try:
            os.close(os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK))
        except OSError:
            continue
        return path
    raise Refused("neither /dev/tty nor /dev/console opens")


@probe("process-type", "type into a terminal (TIOCSTI)")
def process_type(_facts: Facts) -> str:
    try:
        _, slave = os.openpty()
    except OSError as error:
        raise Absent("no terminal can be made here") from error
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    fcntl.ioctl(slave, termios.TIOCSTI, b"x")
    return "typed into one of its own"


@probe("process-paste", "paste into a terminal (TIOCLINUX)")
def process_paste(_facts: Facts) -> str:
    try:
        _, slave = os.openpty()
    except OSError as error:
        raise Absent("no terminal can be made here") from error
    try:
        fcntl.ioctl(slave, 0x541C, b"\x02" + bytes(31))
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EINVAL):  # the request went as far as the terminal
            return "TIOCLINUX is let through"
        raise
    return "TIOCLINUX has succeeded"
