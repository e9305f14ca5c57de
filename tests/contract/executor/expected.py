"""What each attempt has to come to, in each back end.

A sandbox refuses everything that is not listed here with a reason, and what has to work works. `local` refuses nothing
by itself: what a user may, code may.
"""

from __future__ import annotations

from agentd.executors.battery.report import CONTROL
from agentd.executors.battery.run import ALL

REFUSED, ALLOWED, ABSENT = "refused", "allowed", "absent"

# In `local` these hang on the rights of the user and on how the machine is set up.
RIGHTS = frozenset({
    "kernel-unshare-user", "kernel-unshare-mount", "kernel-unshare-process", "kernel-unshare-network",
    "kernel-unshare-ipc", "kernel-unshare-host", "kernel-clone", "kernel-clone3", "kernel-x32", "kernel-int80",
    "kernel-mount", "kernel-bind-mount", "kernel-remount", "kernel-fsopen", "kernel-umount", "kernel-pivot",
    "kernel-chroot", "kernel-setns", "kernel-new-rights", "kernel-setuid", "kernel-mknod", "kernel-io-uring",
    "kernel-keyctl", "kernel-add-key", "kernel-bpf", "kernel-perf", "kernel-userfaultfd", "kernel-kexec",
    "kernel-module", "kernel-reboot", "kernel-time", "kernel-tick", "kernel-hostname", "kernel-swap",
    "net-interfaces", "net-raw", "net-packet", "net-ping", "net-vsock", "net-alg",
    "process-getfd", "process-trace", "process-memory", "process-readv", "process-writev", "process-namespace",
    "process-own-trace", "process-real-time", "process-raise-limits", "process-terminal", "process-type",
    "process-paste", "read-shadow", "read-other-user-private", "read-init-root", "read-hardlink", "read-handle",
    "read-init-environ", "read-kernel-log", "read-disk", "read-devices", "write-etc", "write-usr",
    "write-interpreter", "write-packages", "write-runner", "write-hardlink", "write-device", "write-capability",
    "write-hostname", "write-core-pattern", "write-sysrq", "write-sys", "write-oom-score", "write-cgroup",
    "write-quota",
})  # fmt: skip

# Even `local` refuses these: the host does not follow links, and leaves no folder open.
KEPT_EVERYWHERE = frozenset({"write-planted-symlink", "protect-state", "read-descriptor"})

# What a sandbox lets through, and why that is so.
LET_THROUGH: dict[str, dict[str, str]] = {
    "bwrap": {
        "net-unix-workspace": "what lies in the workspace is shared with the code, sockets too",
    },
    "srt": {},
}

# Where a sandbox does not have the thing at all, or this machine does not.
MAY_BE_ABSENT = frozenset({
    "net-address", "net-dns", "net-ping", "net-listen", "net-loopback-6", "net-docker", "net-alg", "net-vsock",
    "proxy-address", "proxy-loopback-6", "read-disk", "read-other-user", "read-other-user-private", "read-shadow",
    "read-shm", "read-sysv", "read-queue", "write-shm", "kernel-x32", "kernel-int80", "process-type", "process-paste",
    "process-raise-limits",
})  # fmt: skip


def expected(name: str, case: str) -> frozenset[str]:
    """Return the outcomes that are right."""
    if case.startswith(CONTROL):
        return frozenset({ALLOWED})
    machine = {ABSENT} if case in MAY_BE_ABSENT else set[str]()
    if name == "local":
        return frozenset(machine | _local(case))
    return frozenset(machine | {ALLOWED if case in LET_THROUGH[name] else REFUSED})


def _local(case: str) -> set[str]:
    if case in RIGHTS:
        return {ALLOWED, REFUSED}
    if case in KEPT_EVERYWHERE:
        return {REFUSED}
    return {ABSENT} if case.startswith("proxy-") else {ALLOWED}


def unknown() -> set[str]:
    """Return the cases named here that the battery does not have."""
    named = RIGHTS | KEPT_EVERYWHERE | MAY_BE_ABSENT | {case for told in LET_THROUGH.values() for case in told}
    return set(named) - set(ALL)
