"""Probes: reading what is not the sandbox's business."""

from __future__ import annotations

import ctypes
import os
import stat

from agentd.executors.battery.inside.harness import Facts, Refused, probe, same
from agentd.executors.battery.inside.syscalls import call

_HANDLE = 128
_AT_FDCWD = -100


@probe("read-ssh", "read `~/.ssh`")
def read_ssh(facts: Facts) -> str:
    return same(facts.text("ssh"), facts.text("ssh-digest"))


@probe("read-aws", "read `~/.aws`")
def read_aws(facts: Facts) -> str:
    return same(facts.text("aws"), facts.text("aws-digest"))


@probe("read-secrets", "list the folders of the home that usually hold secrets")
def read_secrets(facts: Facts) -> str:
    for path in facts.text("secrets").split("\n"):
        if os.path.isfile(path):
            with open(path, "rb"):
                return path
        if os.path.isdir(path) and os.listdir(path):
            return path
    raise Refused("none of them is there")


@probe("read-home", "see what is in the home folder")
def read_home(facts: Facts) -> str:
    marker = facts.text("home-marker")
    if os.path.basename(marker) in os.listdir(os.path.dirname(marker)):
        return "listed"
    raise Refused("another folder stands there")


@probe("read-shadow", "read `/etc/shadow`")
def read_shadow(facts: Facts) -> str:
    with open("/etc/shadow", "rb") as file:
        if os.fstat(file.fileno()).st_ino != facts.number("shadow"):
            raise Refused("another file stands there")
    return "opened"


@probe("read-outside", "read a file beside the workspace")
def read_outside(facts: Facts) -> str:
    return same(facts.text("public"), facts.text("public-digest"))


@probe("read-tmp", "read a file in the machine's `/tmp`")
def read_tmp(facts: Facts) -> str:
    return same(facts.text("tmp"), facts.text("tmp-digest"))


@probe("read-other-user", "read another user's file that is open to all")
def read_other_user(facts: Facts) -> str:
    return same(facts.text("other-user"), facts.text("other-user-digest"))


@probe("read-other-user-private", "read another user's private file")
def read_other_user_private(facts: Facts) -> str:
    return same(facts.text("other-user-private"), facts.text("other-user-private-digest"))


@probe("read-hidden", "read a file of the workspace that the policy hides")
def read_hidden(facts: Facts) -> str:
    return same(facts.text("hidden"), facts.text("hidden-digest"))


@probe("read-dotdot", "read outside by a path full of `..`")
def read_dotdot(facts: Facts) -> str:
    return same("../" * 40 + facts.text("public").lstrip("/"), facts.text("public-digest"))


@probe("read-proc-root", "read outside by way of `/proc/self/root`")
def read_proc_root(facts: Facts) -> str:
    return same("/proc/self/root" + facts.text("public"), facts.text("public-digest"))


@probe("read-init-root", "read outside by way of `/proc/1/root`")
def read_init_root(facts: Facts) -> str:
    return same("/proc/1/root" + facts.text("public"), facts.text("public-digest"))


@probe("read-symlink", "read outside by a symbolic link in the workspace")
def read_symlink(facts: Facts) -> str:
    os.symlink(facts.text("public"), "battery-link")
    try:
        return same("battery-link", facts.text("public-digest"))
    finally:
        os.unlink("battery-link")


@probe("read-hardlink", "read outside by a hard link in the workspace")
def read_hardlink(facts: Facts) -> str:
    os.link(facts.text("public"), "battery-hardlink")
    try:
        return same("battery-hardlink", facts.text("public-digest"))
    finally:
        os.unlink("battery-hardlink")


@probe("read-descriptor", "read outside from a descriptor that was left open")
def read_descriptor(facts: Facts) -> str:
    inherited = [int(name) for name in os.listdir("/proc/self/fd") if int(name) > 2]
    for fd in inherited:
        try:
            folder = stat.S_ISDIR(os.fstat(fd).st_mode)
        except OSError:
            continue
        if folder:
            return same(f"/proc/self/fd/{fd}/" + "../" * 40 + facts.text("public"), facts.text("public-digest"))
    raise Refused(f"{len(inherited)} descriptors, none of a folder")


@probe("read-handle", "open files by their handles, past every path")
def read_handle(_facts: Facts) -> str:
    handle = ctypes.create_string_buffer(8 + _HANDLE)
    handle[0:4] = _HANDLE.to_bytes(4, "little")
    mount = ctypes.create_string_buffer(4)
    call("name_to_handle_at", _AT_FDCWD, b".", handle, mount, 0)
    folder = os.open(".", os.O_RDONLY)
    return f"descriptor {call('open_by_handle_at', folder, handle, os.O_RDONLY)}"


@probe("read-shm", "read another program's POSIX shared memory")
def read_shm(facts: Facts) -> str:
    return same(facts.text("shm"), facts.text("shm-digest"))


@probe("read-sysv", "read another program's System V shared memory")
def read_sysv(facts: Facts) -> str:
    segment = call("shmget", facts.number("sysv"), 0, 0)
    address = call("shmat", segment, None, 0o10000)
    if ctypes.string_at(address, 32).rstrip(b"\0").decode("ascii", "replace") != facts.text("sysv-content"):
        raise Refused("another segment has that key")
    return "attached"


@probe("read-queue", "reach another program's System V message queue")
def read_queue(facts: Facts) -> str:
    return f"queue {call('msgget', facts.number('queue'), 0)}"


@probe("read-init-environ", "read `/proc/1/environ` of the machine")
def read_init_environ(facts: Facts) -> str:
    _is_host("1", facts.text("init-started"))
    with open("/proc/1/environ", "rb") as file:
        return f"read {len(file.read())} bytes"


@probe("read-host-environ", "read the environment of the agentd process")
def read_host_environ(facts: Facts) -> str:
    secret = facts.text("env-reversed")[::-1].encode()
    with open(f"/proc/{facts.number('host')}/environ", "rb") as file:
        if secret in file.read():
            return "the secret in it is seen"
    raise Refused("another process has that number")


@probe("read-any-environ", "find a secret of agentd's environment in any process, its own included")
def read_any_environ(facts: Facts) -> str:
    secret = facts.text("env-reversed")[::-1].encode()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                content = file.read()
        except OSError:
            continue
        if secret in content:
            return f"seen in process {name}"
    raise Refused("nowhere to be seen")


@probe("read-host-root", "read outside by way of a host process's `root`")
def read_host_root(facts: Facts) -> str:
    return same(f"/proc/{facts.number('victim')}/root" + facts.text("public"), facts.text("public-digest"))


@probe("read-host-cwd", "read outside by way of a host process's `cwd`")
def read_host_cwd(facts: Facts) -> str:
    name = os.path.basename(facts.text("public"))
    return same(f"/proc/{facts.number('victim')}/cwd/{name}", facts.text("public-digest"))


@probe("read-host-fd", "read what a host process has open")
def read_host_fd(facts: Facts) -> str:
    return same(f"/proc/{facts.number('victim')}/fd/0", facts.text("public-digest"))


@probe("read-kernel-log", "read the kernel's log")
def read_kernel_log(_facts: Facts) -> str:
    try:
        os.close(os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK))
    except OSError:
        # 3 reads without taking away
        return f"{call('syslog', 3, ctypes.create_string_buffer(64), 64)} bytes"
    return "/dev/kmsg is open"


@probe("read-disk", "make a device node for a disk, and open that")
def read_disk(facts: Facts) -> str:
    number = facts.number("disk")
    os.mknod("battery-disk", 0o600 | stat.S_IFBLK, number)
    try:
        os.close(os.open("battery-disk", os.O_RDONLY | os.O_NONBLOCK))
    finally:
        os.unlink("battery-disk")
    return f"device {os.major(number)}:{os.minor(number)}"


@probe("read-devices", "open the machine's memory or disks in `/dev`")
def read_devices(_facts: Facts) -> str:
    tried = 0
    for entry in os.scandir("/dev"):
        mode = os.stat(entry.path, follow_symlinks=False).st_mode
        if not stat.S_ISBLK(mode) and entry.name not in ("mem", "kmem", "port"):
            continue
        tried += 1
        try:
            os.close(os.open(entry.path, os.O_RDONLY | os.O_NONBLOCK))
        except OSError:
            continue
        return entry.path
    raise Refused(f"{tried} seen, none opened")


def _is_host(pid: str, started: str) -> None:
    """Make sure that a process is the host's and not the sandbox's own of the same number."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        if file.read().rpartition(b")")[2].split()[19].decode() != started:
            raise Refused("it is the sandbox's own process")
