"""System calls by number: the probes ask the kernel itself, and no library decides for it."""

from __future__ import annotations

import ctypes
import errno
import os

from agentd.executors.battery.inside.harness import Absent

_X86_64 = {
    "acct": 163, "add_key": 248, "adjtimex": 159, "bpf": 321, "chroot": 161, "clone": 56, "finit_module": 313,
    "kexec_load": 246, "keyctl": 250, "mount": 165, "msgctl": 71, "msgget": 68, "name_to_handle_at": 303,
    "open_by_handle_at": 304, "perf_event_open": 298, "pivot_root": 155, "process_vm_readv": 310,
    "process_vm_writev": 311, "ptrace": 101, "reboot": 169, "sethostname": 170, "setns": 308, "settimeofday": 164,
    "shmat": 30, "shmctl": 31, "shmdt": 67, "shmget": 29, "swapon": 167, "syslog": 103, "umount2": 166, "unshare": 272,
    "userfaultfd": 323,
}  # fmt: skip
_AARCH64 = {
    "acct": 89, "add_key": 217, "adjtimex": 171, "bpf": 280, "chroot": 51, "clone": 220, "finit_module": 273,
    "kexec_load": 104, "keyctl": 219, "mount": 40, "msgctl": 187, "msgget": 186, "name_to_handle_at": 264,
    "open_by_handle_at": 265, "perf_event_open": 241, "pivot_root": 41, "process_vm_readv": 270,
    "process_vm_writev": 271, "ptrace": 117, "reboot": 142, "sethostname": 161, "setns": 268, "settimeofday": 170,
    "shmat": 196, "shmctl": 195, "shmdt": 197, "shmget": 194, "swapon": 224, "syslog": 116, "umount2": 39,
    "unshare": 97, "userfaultfd": 282,
}  # fmt: skip
_EVERYWHERE = {"clone3": 435, "fsopen": 430, "io_uring_setup": 425, "pidfd_getfd": 438, "pidfd_open": 434}
NUMBERS = {"x86_64": _X86_64, "aarch64": _AARCH64}

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = (
    0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip

Argument = int | bytes | ctypes.Array[ctypes.c_char] | None
_libc = ctypes.CDLL(None, use_errno=True)


def number(name: str) -> int:
    """Return the number of a system call on this machine."""
    table = NUMBERS.get(os.uname().machine)
    if table is None:
        raise Absent(f"no numbers of system calls for {os.uname().machine}")
    return {**table, **_EVERYWHERE}[name]


def call(name: str, *arguments: Argument) -> int:
    """Make a system call; raises `OSError` when it fails."""
    return raw(number(name), *arguments)


def raw(which: int, *arguments: Argument) -> int:
    """Make a system call by number; raises `OSError` when it fails."""
    _libc.syscall.restype = ctypes.c_long
    ctypes.set_errno(0)
    result = _libc.syscall(ctypes.c_long(which), *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(result)


def permitted(name: str, *arguments: Argument, past: int) -> str:
    """Make a call that cannot succeed: the error `past` comes only after the permission has been looked at."""
    try:
        call(name, *arguments)
    except OSError as error:
        if error.errno == past:
            return f"{name} is let through ({errno.errorcode[past]})"
        raise
    return f"{name} has succeeded"
