"""Code in a sandbox of Linux namespaces, set up by bubblewrap."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar
from weakref import WeakKeyDictionary

from agentd.core.errors import ExecutorUnavailable
from agentd.executors.environment import UTF8, outline
from agentd.executors.landlock import BIND_ABI, landlock_abi
from agentd.executors.launch import RUNNER_PROCESSES, Launch, Probe, ProcessLaunch, compiled_runner
from agentd.executors.limits import Enforcement
from agentd.executors.link import Link
from agentd.executors.mounted import expected, identities
from agentd.executors.mounts import (
    HOME,
    RUNNER_INSIDE,
    RUNNER_SOURCE,
    Mount,
    covered,
    make_folders,
    mounts,
    system,
)
from agentd.executors.policy import settle
from agentd.executors.ports import proxy_environment
from agentd.executors.sandboxed import SandboxedExecutor
from agentd.executors.standing import Standing

OLDEST = (0, 8, 0)
UID = GID = 1000
_SCRATCH = 1 << 30

_NAMESPACES = (
    "--unshare-user",
    "--unshare-pid",
    "--unshare-net",
    "--unshare-ipc",
    "--unshare-uts",
    "--unshare-cgroup-try",
)
_CLOSED = ("--disable-userns", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "agentd")
# To the kernel, root of the machine is root in there, too, as far as its settings are concerned.
_SETTINGS = ("/proc/sys", "/proc/fs", "/proc/irq", "/proc/bus", "/proc/sysrq-trigger")
_SECRETS = (
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/key-users",
    "/proc/keys",
    "/proc/kpagecgroup",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/pagetypeinfo",
    "/proc/slabinfo",
    "/proc/timer_list",
    "/proc/vmallocinfo",
)


_ANEW = "[what is hidden or protected was replaced from outside: this is a new sandbox, names kept in Python are lost]"


class BwrapExecutor(SandboxedExecutor):
    """Runs code as this user in namespaces of its own: it sees the workspace, the system's programs, and no network.

    The kernel is shared with the machine. Besides namespaces there are a filter of system calls and Landlock. Names
    that the policy allows are reached through a proxy of ours. The workspace has the same path inside as outside.
    """

    name = "bwrap"
    keeps_spare = True
    known_versions = frozenset({"0.8.0"})
    _meant: Mapping[str, object] | None = None
    _standing: Standing | None = None
    _stood: ClassVar[WeakKeyDictionary[Launch, Standing | None]] = WeakKeyDictionary()

    @classmethod
    def probe(cls) -> Probe:
        """Tell whether this back end can run here."""
        if sys.platform != "linux":
            return Probe(False, reason="bubblewrap is for Linux", fix="Use srt or microsandbox")
        found = shutil.which("bwrap")
        if found is None:
            return Probe(
                False, reason="there is no `bwrap` on the PATH", fix="Install bubblewrap: apt install bubblewrap"
            )
        return _tried(found, os.stat(found).st_mtime_ns)

    def _limit(self) -> Enforcement:
        found, most = super()._limit(), self.policy.processes
        if most is None or found.report["processes"] != "watched" or os.geteuid() == 0:
            return found
        # Counted for this user in this namespace of users: for the sandbox alone. Root is not bound by it.
        rlimits = {**found.rlimits, "RLIMIT_NPROC": most + RUNNER_PROCESSES}
        return replace(found, rlimits=rlimits, report={**found.report, "processes": "rlimit"})

    def _keep(self) -> dict[str, str]:
        probe = self.probe()
        probe.demand(self.name)
        keeps: dict[str, str] = dict.fromkeys(("readable", "hidden"), "mount namespace")
        keeps["writable"] = "mount namespace, Landlock"
        keeps["protected"] = "read-only mounts; what is put there later is moved away after each block"
        keeps |= dict.fromkeys(("allowed_domains", "denied_domains", "private_networks"), "network namespace, proxy")
        why: dict[str, str] = {}
        abi = landlock_abi()
        if self.policy.local_binding:
            keeps["local_binding"] = "network namespace"
        elif abi >= BIND_ABI:
            keeps["local_binding"] = "Landlock"
        else:
            why["local_binding"] = f"it takes Landlock 4 (Linux 6.7) to forbid listening; here it is {abi}"
        return settle(self.policy, self.name, {**keeps, **self._limits.report, "wall_time": "runner"}, why)

    def _environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        env = outline(HOME, "agentd")
        if self.policy.allowed_domains:
            env |= proxy_environment()
        return env | dict(extra)

    def _launch(self) -> Launch:
        command = [*self.command(), sys.executable, "-I", "-S", f"{RUNNER_INSIDE}/__main__.py"]
        compiled_runner()
        return ProcessLaunch(command, cwd=Path("/"), env=UTF8, limits=self._limits.group, alone=True)

    def command(self) -> list[str]:
        """Return the command line that makes the sandbox, up to the program that is run in it."""
        found = shutil.which("bwrap")
        if found is None:
            raise ExecutorUnavailable("bwrap: it was on the PATH before, and is no longer")
        command = [found, *_NAMESPACES, *_CLOSED, "--uid", str(UID), "--gid", str(GID)]
        for option, source, place in system():
            command += [option, source, place]
        command += ["--proc", "/proc", "--dev", "/dev"]
        for place in _SETTINGS:
            command += ["--ro-bind-try", place, place]
        for place in filter(os.path.exists, _SECRETS):
            command += ["--ro-bind", "/dev/null", place]
        for place, mode in (("/dev/shm", "1777"), ("/tmp", "1777"), (HOME, "0700")):
            command += ["--perms", mode, "--size", str(_SCRATCH), "--tmpfs", place]
        command += ["--symlink", "/tmp", "/var/tmp"]
        make_folders(self.policy, self.workspace_dir)
        self._claim()
        found = self._mounts()
        self._standing = Standing(covered(self.policy, self.workspace_dir, found, self.present))
        meant = identities(found)
        for mount in found:
            command += _arguments(mount)
        for mount in found:
            if mount.how == "hide" and not mount.source:
                command += ["--remount-ro", mount.place]
        command += ["--ro-bind", RUNNER_SOURCE, RUNNER_INSIDE, "--remount-ro", "/", "--chdir", str(self.workspace_dir)]
        self._meant = expected(command, found, meant)
        return [*command, "--"]

    def warm(self) -> Link:
        """Return the sandbox, made anew if something was put in the place of what it hides or protects.

        A mount ends when the host replaces what it covers, as editors do when they save.
        """
        link = self._link
        if link is not None and not link.lost and not link.busy and self._is_outdated(link):
            for one in (link, self._spare):
                if one is not None and one.loop is link.loop:
                    one.lose("what it hides or protects was replaced from outside", "cancelled")
            self._told.add(_ANEW)
        return super().warm()

    def _is_outdated(self, link: Link) -> bool:
        stood = self._stood.get(link.launch)
        return stood is not None and link.loop is asyncio.get_running_loop() and stood.changed

    def _mounts(self) -> list[Mount]:
        try:
            return mounts(self.policy, self.workspace_dir, self.present)
        except OSError as error:  # paths change under who follows them
            raise ExecutorUnavailable(f"the paths of the sandbox cannot be followed: {error}. Try again") from error

    def _settings(self, launch: Launch) -> dict[str, object]:
        self._stood[launch] = self._standing
        meant = {} if self._meant is None else {"mounted": self._meant}
        return super()._settings(launch) | meant


def _arguments(mount: Mount) -> list[str]:
    if mount.how == "hide" and not mount.source:
        return ["--tmpfs", mount.place]
    return ["--bind" if mount.how == "write" else "--ro-bind", mount.source or mount.place, mount.place]


@lru_cache(maxsize=8)
def _tried(found: str, _changed: int) -> Probe:
    """Make a sandbox that does nothing, and tell what comes of it."""
    told = subprocess.run([found, "--version"], check=False, capture_output=True, text=True)
    match = re.search(r"(\d+)\.(\d+)\.(\d+)", told.stdout)
    if match is None:
        return Probe(False, reason=f"{found} does not tell its version", fix="Install bubblewrap 0.8.0 or newer")
    version = match.group(0)
    if tuple(map(int, match.groups())) < OLDEST:
        needed = ".".join(map(str, OLDEST))
        return Probe(False, version, f"{found} is version {version}", f"Install bubblewrap {needed} or newer")
    argv = [found, *_NAMESPACES, *_CLOSED, "--uid", str(UID), "--gid", str(GID), "--ro-bind", "/", "/"]
    tried = subprocess.run(
        [*argv, "--proc", "/proc", "--dev", "/dev", "true"], check=False, capture_output=True, text=True
    )
    if tried.returncode == 0:
        return Probe(True, version)
    words = tried.stderr.strip() or f"it ended with {tried.returncode}"
    return Probe(False, version, f"a sandbox cannot be made: {words}", _remedy(words))


def _remedy(words: str) -> str:
    if _setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "AppArmor keeps programs from making user namespaces: allow it with `sudo sysctl -w "
            "kernel.apparmor_restrict_unprivileged_userns=0`, or by an AppArmor profile for bwrap with `userns,`"
        )
    if _setting("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        return "Allow user namespaces: `sudo sysctl -w kernel.unprivileged_userns_clone=1`"
    if _setting("/proc/sys/user/max_user_namespaces") == "0":
        return "Allow user namespaces: `sudo sysctl -w user.max_user_namespaces=15000`"
    if "mount proc" in words:
        return "In a container parts of /proc are masked: start it with `--security-opt systempaths=unconfined`"
    return "In a container, allow user namespaces: `--security-opt seccomp=unconfined`, or run agentd outside of it"


def _setting(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
