"""Probes: parts of the kernel that have let people out before, and what only a machine's administrator does."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import signal
import struct

from agentd.executors.battery.inside.harness import Absent, Facts, Refused, probe
from agentd.executors.battery.inside.syscalls import (
    NEWIPC,
    NEWNET,
    NEWNS,
    NEWPID,
    NEWUSER,
    NEWUTS,
    call,
    number,
    permitted,
    raw,
)

_SPACES = {
    "user": NEWUSER,
    "mount": NEWNS,
    "process": NEWPID,
    "network": NEWNET,
    "IPC": NEWIPC,
    "host name": NEWUTS,
}
_NOWHERE = b"/agentd-is-not-there"
_X32 = 0x40000000


def _unshare(case: str, kind: str, flag: int) -> None:
    @probe(case, f"make a new {kind} namespace")
    def _(_facts: Facts) -> str:
        call("unshare", flag)
        return "made"


for _kind, _flag in _SPACES.items():
    _unshare(f"kernel-unshare-{_kind.split()[0].lower()}", _kind, _flag)


def _cloned(pid: int) -> str:
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "made"


@probe("kernel-clone", "make a new user namespace with a new process (clone)")
def kernel_clone(_facts: Facts) -> str:
    return _cloned(call("clone", NEWUSER | int(signal.SIGCHLD), 0, 0, 0, 0))


@probe("kernel-clone3", "make a new user namespace with a new process (clone3)")
def kernel_clone3(_facts: Facts) -> str:
    arguments = struct.pack("8Q", NEWUSER, 0, 0, 0, int(signal.SIGCHLD), 0, 0, 0)
    return _cloned(call("clone3", ctypes.create_string_buffer(arguments), len(arguments)))


@probe("kernel-x32", "make a new user namespace by another numbering of system calls (x32)")
def kernel_x32(_facts: Facts) -> str:
    if os.uname().machine != "x86_64":
        raise Absent("x86-64 only")
    raw(_X32 | number("unshare"), NEWUSER)
    return "made"


@probe("kernel-int80", "make a new user namespace by a 32-bit system call")
def kernel_int80(_facts: Facts) -> str:
    if os.uname().machine != "x86_64":
        raise Absent("x86-64 only")
    # push rbx; mov eax, 310 (unshare); mov ebx, CLONE_NEWUSER; int 0x80; pop rbx; ret
    code = b"\x53\xb8" + (310).to_bytes(4, "little") + b"\xbb" + NEWUSER.to_bytes(4, "little") + b"\xcd\x80\x5b\xc3"
    memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    result = ctypes.CFUNCTYPE(ctypes.c_int)(address)()
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return "made"


@probe("kernel-mount", "mount a file system")
def kernel_mount(_facts: Facts) -> str:
    return permitted("mount", b"none", b"/", b"agentd-is-no-file-system", 0, None, past=errno.ENODEV)


@probe("kernel-bind-mount", "mount one folder over another")
def kernel_bind_mount(_facts: Facts) -> str:
    return permitted("mount", _NOWHERE, b"/", None, 4096, None, past=errno.ENOENT)


@probe("kernel-remount", "mount read-only folders anew, writable")
def kernel_remount(_facts: Facts) -> str:
    # The workspace is no mount point of its own where this gets as far as to be told so.
    os.mkdir("battery-remount")
    try:
        return permitted("mount", None, b"battery-remount", None, 32 | 4096, None, past=errno.EINVAL)
    finally:
        os.rmdir("battery-remount")


@probe("kernel-fsopen", "mount by the new calls (fsopen)")
def kernel_fsopen(_facts: Facts) -> str:
    return f"descriptor {call('fsopen', b'tmpfs', 0)}"


@probe("kernel-umount", "unmount what hides a file")
def kernel_umount(_facts: Facts) -> str:
    os.mkdir("battery-umount")
    try:
        return permitted("umount2", b"battery-umount", 2, past=errno.EINVAL)
    finally:
        os.rmdir("battery-umount")


@probe("kernel-pivot", "change the root of the file system (pivot_root)")
def kernel_pivot(_facts: Facts) -> str:
    return permitted("pivot_root", _NOWHERE, _NOWHERE, past=errno.ENOENT)


@probe("kernel-chroot", "change the root of the file system (chroot)")
def kernel_chroot(_facts: Facts) -> str:
    call("chroot", b".")
    return "changed"


@probe("kernel-setns", "enter a namespace by its file")
def kernel_setns(_facts: Facts) -> str:
    call("setns", os.open("/proc/self/ns/uts", os.O_RDONLY), NEWUTS)
    return "entered"


@probe("kernel-new-rights", "get more rights from a setuid program, as `su`")
def kernel_new_rights(_facts: Facts) -> str:
    with open("/proc/self/status") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    if status.get("NoNewPrivs") == "1":
        raise Refused("no_new_privs is set")
    return "no_new_privs is not set"


@probe("kernel-setuid", "become another user")
def kernel_setuid(_facts: Facts) -> str:
    other = 12345 if os.getuid() != 12345 else 12346
    try:
        os.setresuid(other, other, other)
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise Refused("no other user is known here") from error
        raise
    return f"is now {other}"


@probe("kernel-mknod", "make a device node")
def kernel_mknod(_facts: Facts) -> str:
    os.mknod("battery-node", 0o600 | 0o020000, os.makedev(1, 3))
    os.unlink("battery-node")
    return "made"


@probe("kernel-io-uring", "use `io_uring`")
def kernel_io_uring(_facts: Facts) -> str:
    return f"descriptor {call('io_uring_setup', 1, ctypes.create_string_buffer(120))}"


@probe("kernel-keyctl", "look at the kernel's keyrings")
def kernel_keyctl(_facts: Facts) -> str:
    # 0 is KEYCTL_GET_KEYRING_ID, -4 the user's keyring
    return f"keyring {call('keyctl', 0, -4, 1)}"


@probe("kernel-add-key", "put a key into the kernel's keyring")
def kernel_add_key(_facts: Facts) -> str:
    return f"key {call('add_key', b'user', b'agentd-battery', ctypes.create_string_buffer(b'x'), 1, -2)}"


@probe("kernel-bpf", "load programs or maps into the kernel (bpf)")
def kernel_bpf(_facts: Facts) -> str:
    attributes = struct.pack("4I", 2, 4, 4, 1) + bytes(56)
    return f"descriptor {call('bpf', 0, ctypes.create_string_buffer(attributes), 72)}"


@probe("kernel-perf", "count the processor's events (perf_event_open)")
def kernel_perf(_facts: Facts) -> str:
    # a software clock of this process, without what happens in the kernel
    attributes = struct.pack("2I4Q", 1, 112, 0, 0, 0, 0) + struct.pack("Q", 1 << 5 | 1 << 6) + bytes(64)
    return f"descriptor {call('perf_event_open', ctypes.create_string_buffer(attributes), 0, -1, -1, 0)}"


@probe("kernel-userfaultfd", "handle page faults itself (userfaultfd)")
def kernel_userfaultfd(_facts: Facts) -> str:
    return f"descriptor {call('userfaultfd', 1)}"


@probe("kernel-kexec", "start another kernel (kexec)")
def kernel_kexec(_facts: Facts) -> str:
    return permitted("kexec_load", 0, 0, None, 0x4000, past=errno.EINVAL)


@probe("kernel-module", "load a kernel module")
def kernel_module(_facts: Facts) -> str:
    return permitted("finit_module", -1, b"", 0, past=errno.EBADF)


@probe("kernel-reboot", "restart the machine")
def kernel_reboot(_facts: Facts) -> str:
    return permitted("reboot", 0, 0, 0, None, past=errno.EINVAL)


@probe("kernel-time", "set the machine's clock")
def kernel_time(_facts: Facts) -> str:
    zone = ctypes.create_string_buffer(struct.pack("2i", 10_000, 0))
    return permitted("settimeofday", None, zone, past=errno.EINVAL)


@probe("kernel-tick", "make the machine's clock run faster")
def kernel_tick(_facts: Facts) -> str:
    # modes ADJ_TICK with a tick of 0, which is out of range
    return permitted("adjtimex", ctypes.create_string_buffer(struct.pack("I", 0x4000) + bytes(252)), past=errno.EINVAL)


@probe("kernel-hostname", "change the machine's name")
def kernel_hostname(_facts: Facts) -> str:
    return permitted("sethostname", b"x", 1000, past=errno.EINVAL)


@probe("kernel-swap", "switch swap space")
def kernel_swap(_facts: Facts) -> str:
    return permitted("swapon", _NOWHERE, 0, past=errno.ENOENT)
