"""Which system calls code in a sandbox may make: a filter that the kernel runs before each of them.

Programs, compilers, threads and servers need none of what is refused. It is what reaches other processes, other name
spaces, devices and kernel modules, and the parts of a kernel where most ways out of a sandbox have been found. A call
that is not refused stays subject to everything else. A filter is inherited, and cannot be taken off.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from agentd.core.errors import ExecutorUnavailable

MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_*
# A number above is either of a kernel newer than this table, which programs have to do without on an older one, or of
# the x32 ABI, which has a second number for each call.
NEWEST = 469  # file_setattr

_REFUSED: dict[str, tuple[int | None, int | None]] = {
    # other name spaces and file system trees
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_mrelease": (448, 448),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    # files past the tree of folders
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "lookup_dcookie": (212, 18),
    # what the kernel keeps for the whole machine
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "syslog": (103, 116),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "reboot": (169, 142),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "nfsservctl": (180, 42),
    "vhangup": (153, 58),
    # parts of the kernel that are wide, and rarely looked at
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "uselib": (134, None),
}
# As on a kernel that does not have them: programs have another way then. glibc forks by clone3, whose flags a filter
# cannot see, and takes clone instead.
_ABSENT: dict[str, tuple[int | None, int | None]] = {
    "clone3": (435, 435),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "process_madvise": (440, 440),
    "openat2": (437, 437),  # its mode lies where a filter cannot see
}
# Which argument is the mode of a file. Code must not lend its rights to who runs the file outside of the sandbox.
_MODES: dict[str, tuple[int, tuple[int | None, int | None]]] = {
    "chmod": (1, (90, None)),
    "fchmod": (1, (91, 52)),
    "fchmodat": (2, (268, 53)),
    "fchmodat2": (2, (452, 452)),
    "creat": (1, (85, None)),
    "open": (2, (2, None)),
    "openat": (3, (257, 56)),
    "mkdir": (1, (83, None)),
    "mkdirat": (2, (258, 34)),
    "mknod": (1, (133, None)),
    "mknodat": (2, (259, 33)),
}
_LOOKED_INTO: dict[str, tuple[int | None, int | None]] = {
    "clone": (56, 220),
    "ioctl": (16, 29),
    "personality": (135, 92),
    "socket": (41, 198),
    "socketpair": (53, 199),
    **{name: numbers for name, (_, numbers) in _MODES.items()},
}

_SET_ID = 0o6000
_NEW_NAMESPACE = 0x7E020000  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}; NEWTIME is not known to clone
_TYPE_INTO_TERMINAL = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
# Plain Linux, the question which it is, and ADDR_NO_RANDOMIZE, by which sanitizers start themselves anew.
_PERSONALITIES = (0, 0xFFFFFFFF, 0x0040000)
# Linux's own numbers, not those of the machine that this runs on: the filter may be for a virtual one.
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK, _AF_VSOCK = 1, 2, 10, 16, 40
_SOCK_STREAM, _SOCK_DGRAM = 1, 2
_SOCK_TYPE = 0xF  # the rest are SOCK_CLOEXEC and SOCK_NONBLOCK
_PROTOCOLS = (0, 1, 6, 17, 58)  # what goes with the type, ICMP, TCP, UDP, ICMPv6
_NETLINK_ROUTE = 0
_EPERM, _ENOSYS, _EPROTONOSUPPORT, _EAFNOSUPPORT = 1, 38, 93, 97

# Where `struct seccomp_data` has what; of an argument the lower half, which is all that these calls look at.
_NUMBER, _MACHINE = 0, 4
_ARGUMENTS = (16, 24, 32, 40)

_ALLOW, _KILL_PROCESS, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _RETURN, _AND, _JUMP = 0x20, 0x06, 0x54, 0x05
_JUMP_EQUAL, _JUMP_ABOVE, _JUMP_ANY_BIT = 0x15, 0x25, 0x45
_INSTRUCTION = struct.Struct("=HBBI")
_FAR = 255


@dataclass(frozen=True, slots=True)
class _Step:
    """One instruction; `then` and `other` are labels, and empty for the next instruction."""

    code: int
    value: int = 0
    then: str = ""
    other: str = ""


_Line = _Step | str  # a string is a label: it names the step after it


def program(machine: str | None = None, *, vsock: bool = False) -> bytes:
    """Return the filter as the bytes of a `struct sock_filter[]`.

    It is for the machine that this runs on, or for another (`x86_64`, `aarch64`); raises `ExecutorUnavailable` for one
    that has no table. `vsock` allows sockets to the host of a virtual machine. What is refused fails with `EPERM`,
    sockets with `EAFNOSUPPORT` or `EPROTONOSUPPORT`, and what programs know to do without with `ENOSYS`; a call in the
    way of another machine (32-bit ones) ends the process.
    """
    machine = machine or os.uname().machine
    if machine not in MACHINES:
        known = ", ".join(sorted(MACHINES))
        raise ExecutorUnavailable(f"there is no table of system calls for {machine!r}, only for {known}")
    return _assemble([*_begin(machine), *_look_into(vsock), *_end()])


def numbers(machine: str) -> dict[str, int]:
    """Return the numbers of the system calls that the filter knows by name."""
    column = list(MACHINES).index(machine)
    known = {name: both[column] for name, both in (_REFUSED | _ABSENT | _LOOKED_INTO).items()}
    return {name: number for name, number in known.items() if number is not None}


def _begin(machine: str) -> Iterator[_Line]:
    by_name = numbers(machine)
    yield _Step(_LOAD, _MACHINE)
    yield _Step(_JUMP_EQUAL, MACHINES[machine], other="kill")
    yield _Step(_LOAD, _NUMBER)
    yield _Step(_JUMP_ABOVE, NEWEST, then="absent")
    # The kernel remembers which numbers are allowed whatever their arguments: the length of this costs nothing there.
    for names, label in ((_LOOKED_INTO, ""), (_ABSENT, "absent"), (_REFUSED, "refused")):
        for name in names:
            if name in by_name:
                yield _Step(_JUMP_EQUAL, by_name[name], then=label or name)
    yield _Step(_JUMP, then="allowed")


def _look_into(vsock: bool) -> Iterator[_Line]:
    yield "clone"
    yield _Step(_LOAD, _ARGUMENTS[0])
    yield _Step(_JUMP_ANY_BIT, _NEW_NAMESPACE, then="refused", other="allowed")

    yield "ioctl"
    yield _Step(_LOAD, _ARGUMENTS[1])
    yield from (_Step(_JUMP_EQUAL, request, then="refused") for request in _TYPE_INTO_TERMINAL)
    yield _Step(_JUMP, then="allowed")

    yield "personality"
    yield _Step(_LOAD, _ARGUMENTS[0])
    yield from (_Step(_JUMP_EQUAL, kind, then="allowed") for kind in _PERSONALITIES)
    yield _Step(_JUMP, then="refused")

    for name, (at, _) in _MODES.items():
        yield name
        yield _Step(_LOAD, _ARGUMENTS[at])
        yield _Step(_JUMP_ANY_BIT, _SET_ID, then="refused", other="allowed")

    yield "socket"
    yield "socketpair"
    yield _Step(_LOAD, _ARGUMENTS[0])
    for family in (_AF_UNIX, *((_AF_VSOCK,) if vsock else ())):
        yield _Step(_JUMP_EQUAL, family, then="allowed")
    yield _Step(_JUMP_EQUAL, _AF_NETLINK, then="netlink")
    yield _Step(_JUMP_EQUAL, _AF_INET, then="internet")
    yield _Step(_JUMP_EQUAL, _AF_INET6, then="internet", other="no family")

    yield "netlink"  # of its many protocols the one that lists addresses; the others change the kernel's tables
    yield _Step(_LOAD, _ARGUMENTS[2])
    yield _Step(_JUMP_EQUAL, _NETLINK_ROUTE, then="allowed", other="no protocol")

    yield "internet"  # neither raw packets nor protocols that load modules (SCTP, L2TP, SMC), nor MPTCP
    yield _Step(_LOAD, _ARGUMENTS[1])
    yield _Step(_AND, _SOCK_TYPE)
    yield _Step(_JUMP_EQUAL, _SOCK_STREAM, then="protocol")
    yield _Step(_JUMP_EQUAL, _SOCK_DGRAM, other="refused")
    yield "protocol"
    yield _Step(_LOAD, _ARGUMENTS[2])
    yield from (_Step(_JUMP_EQUAL, protocol, then="allowed") for protocol in _PROTOCOLS)
    yield _Step(_JUMP, then="no protocol")


def _end() -> Iterator[_Line]:
    yield "allowed"
    yield _Step(_RETURN, _ALLOW)
    yield "refused"
    yield _Step(_RETURN, _ERRNO | _EPERM)
    yield "absent"
    yield _Step(_RETURN, _ERRNO | _ENOSYS)
    yield "no family"
    yield _Step(_RETURN, _ERRNO | _EAFNOSUPPORT)
    yield "no protocol"
    yield _Step(_RETURN, _ERRNO | _EPROTONOSUPPORT)
    yield "kill"
    yield _Step(_RETURN, _KILL_PROCESS)


def _assemble(lines: list[_Line]) -> bytes:
    """Put numbers in the place of labels. Jumps lead forward only, which is all that the kernel takes."""
    labels: dict[str, int] = {}
    steps: list[_Step] = []
    for line in lines:
        if isinstance(line, _Step):
            steps.append(line)
        else:
            labels[line] = len(steps)
    return b"".join(_encode(step, at, labels) for at, step in enumerate(steps))


def _encode(step: _Step, at: int, labels: dict[str, int]) -> bytes:
    then, other = (labels[label] - at - 1 if label else 0 for label in (step.then, step.other))
    if step.code == _JUMP:
        return _INSTRUCTION.pack(step.code, 0, 0, then)
    if not (0 <= then <= _FAR and 0 <= other <= _FAR):
        raise AssertionError(f"{step} jumps too far")
    return _INSTRUCTION.pack(step.code, then, other, step.value)
