"""Probes: changing what is not the sandbox's business. The host looks afterwards what has really changed."""

from __future__ import annotations

import ctypes
import os
import stat
import sys

from agentd.executors.battery.inside.harness import Facts, Refused, probe
from agentd.executors.battery.inside.syscalls import call


def _append(path: str) -> str:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"changed\n")
    os.close(fd)
    return "written"


def _make(path: str) -> str:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    return "made"


@probe("write-etc", "make a file in `/etc`")
def write_etc(facts: Facts) -> str:
    return _make(facts.target("write-etc"))


@probe("write-usr", "make a file in `/usr`")
def write_usr(facts: Facts) -> str:
    return _make(facts.target("write-usr"))


@probe("write-home", "make a file in the home folder")
def write_home(facts: Facts) -> str:
    return _make(facts.target("write-home"))


@probe("write-tmp", "make a file in the machine's `/tmp`")
def write_tmp(facts: Facts) -> str:
    return _make(facts.target("write-tmp"))


@probe("write-var-tmp", "make a file in `/var/tmp`")
def write_var_tmp(facts: Facts) -> str:
    return _make(facts.target("write-var-tmp"))


@probe("write-shm", "make a file in the machine's `/dev/shm`")
def write_shm(facts: Facts) -> str:
    return _make(facts.target("write-shm"))


@probe("write-parent", "make a file beside the workspace")
def write_parent(facts: Facts) -> str:
    return _make(facts.target("write-parent"))


@probe("write-interpreter", "make a file beside the interpreter, on the host's `PATH`")
def write_interpreter(facts: Facts) -> str:
    return _make(facts.target("write-interpreter"))


@probe("write-packages", "make a file among agentd's own packages")
def write_packages(facts: Facts) -> str:
    return _make(facts.target("write-packages"))


@probe("write-runner", "change the program that runs its code")
def write_runner(facts: Facts) -> str:
    # This process is a copy of the one that was started with that program.
    folder = next(word for word in sys.orig_argv[1:] if word.startswith("/")).removesuffix("/__main__.py")
    return _make(os.path.join(folder, os.path.basename(facts.target("write-runner"))))


@probe("write-readable", "change a file that the policy lets it read")
def write_readable(facts: Facts) -> str:
    return _append(facts.target("write-readable"))


@probe("write-outside", "change a file beside the workspace")
def write_outside(facts: Facts) -> str:
    return _append(facts.target("write-outside"))


@probe("write-delete", "delete a file beside the workspace")
def write_delete(facts: Facts) -> str:
    os.unlink(facts.target("write-delete"))
    return "deleted"


@probe("write-rename", "move a file from beside the workspace into it")
def write_rename(facts: Facts) -> str:
    os.rename(facts.target("write-rename"), "battery-moved")
    os.unlink("battery-moved")
    return "moved"


@probe("write-chmod", "change the mode of a file beside the workspace")
def write_chmod(facts: Facts) -> str:
    os.chmod(facts.target("write-chmod"), 0o640)
    return "changed"


@probe("write-proc-root", "change a file by way of `/proc/self/root`")
def write_proc_root(facts: Facts) -> str:
    return _append("/proc/self/root" + facts.target("write-proc-root"))


@probe("write-host-cwd", "change a file by way of a host process's `cwd`")
def write_host_cwd(facts: Facts) -> str:
    name = os.path.basename(facts.target("write-host-cwd"))
    return _append(f"/proc/{facts.number('victim')}/cwd/{name}")


@probe("write-symlink", "change a file by a symbolic link in the workspace")
def write_symlink(facts: Facts) -> str:
    os.symlink(facts.target("write-symlink"), "battery-write-link")
    try:
        return _append("battery-write-link")
    finally:
        os.unlink("battery-write-link")


@probe("write-hardlink", "change a file by a hard link in the workspace")
def write_hardlink(facts: Facts) -> str:
    os.link(facts.target("write-hardlink"), "battery-write-hardlink")
    try:
        return _append("battery-write-hardlink")
    finally:
        os.unlink("battery-write-hardlink")


@probe("write-planted-symlink", "have agentd create a file through a symbolic link that the code has planted")
def write_planted_symlink(facts: Facts) -> str:
    # The host then creates `battery-planted/file` and `battery-planted-file`, and looks at what the links lead to.
    target = facts.target("write-planted-symlink")
    os.symlink(os.path.dirname(target), "battery-planted")
    os.symlink(target, "battery-planted-file")
    raise Refused("planted; it is the host that writes")


@probe("write-moved-parent", "move the workspace's own folder away")
def write_moved_parent(facts: Facts) -> str:
    workspace = facts.text("workspace")
    os.rename(workspace, workspace + "-moved")
    os.rename(workspace + "-moved", workspace)
    return "moved, and back"


@probe("write-setuid", "leave a program in the workspace that gives the user's rights to others (setuid)")
def write_setuid(facts: Facts) -> str:
    path = facts.target("write-setuid")
    _make(path)
    os.chmod(path, 0o4700)
    if not os.stat(path).st_mode & stat.S_ISUID:
        raise Refused("the bit was dropped")
    return "the bit is set"


@probe("write-setuid-open", "leave such a program by making it with that mode")
def write_setuid_open(facts: Facts) -> str:
    path = facts.target("write-setuid-open")
    os.umask(0)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o4700))
    if not os.stat(path).st_mode & stat.S_ISUID:
        raise Refused("the bit was dropped")
    return "the bit is set"


@probe("write-device", "leave a device node in the workspace")
def write_device(facts: Facts) -> str:
    os.mknod(facts.target("write-device"), 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    return "made"


@probe("write-capability", "leave a program in the workspace that gives capabilities to others")
def write_capability(facts: Facts) -> str:
    path = facts.target("write-capability")
    _make(path)
    # version 2, effective; CAP_NET_RAW permitted
    value = (0x02000001).to_bytes(4, "little") + (1 << 13).to_bytes(4, "little") + bytes(12)
    os.setxattr(path, "security.capability", value)
    return "the attribute is set"


@probe("write-hostname", "change the machine's name by `/proc/sys`")
def write_hostname(_facts: Facts) -> str:
    return _opened_for_writing("/proc/sys/kernel/hostname")


@probe("write-core-pattern", "say what the kernel runs when a program crashes")
def write_core_pattern(_facts: Facts) -> str:
    return _opened_for_writing("/proc/sys/kernel/core_pattern")


@probe("write-sysrq", "reach `/proc/sysrq-trigger`")
def write_sysrq(_facts: Facts) -> str:
    return _opened_for_writing("/proc/sysrq-trigger")


@probe("write-sys", "change the kernel's settings in `/sys`")
def write_sys(_facts: Facts) -> str:
    for path in ("/sys/kernel/mm/ksm/run", "/sys/power/state", "/sys/kernel/uevent_helper", "/sys/kernel/profiling"):
        if os.path.exists(path):
            return _opened_for_writing(path)
    raise Refused("nothing of /sys is there")


@probe("write-oom-score", "make itself the last that is killed when memory runs out")
def write_oom_score(_facts: Facts) -> str:
    fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    os.write(fd, b"-900")
    return "done"


@probe("write-cgroup", "make a control group")
def write_cgroup(_facts: Facts) -> str:
    with open("/proc/self/mountinfo", "rb") as file:
        lines = [line.split(b" - ") for line in file.read().splitlines()]
    points = [before.split()[4].decode() for before, after in lines if after.startswith(b"cgroup")]
    for point in points:
        folder = os.path.join(point, "agentd-battery")
        try:
            os.mkdir(folder)
        except OSError:
            continue
        os.rmdir(folder)
        return point
    raise Refused(f"{len(points)} hierarchies are seen")


@probe("write-quota", "switch the kernel's accounting to another file")
def write_quota(_facts: Facts) -> str:
    try:
        call("acct", ctypes.create_string_buffer(b"/agentd-is-not-there/acct"))
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            return "acct is let through (ENOENT)"
        raise
    return "acct has succeeded"


def _opened_for_writing(path: str) -> str:
    """Open a file for writing and write nothing: the kernel asks for the right to when it is opened."""
    os.close(os.open(path, os.O_WRONLY))
    return "opened for writing"
