"""What is planted on the host before a battery, looked at after it, and removed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from agentd.executors.battery import shared
from agentd.executors.battery.listeners import Listeners, other_address
from agentd.executors.launch import RUNNER
from agentd.executors.policy import SECRETS

BESIDE = (
    "write-outside", "write-delete", "write-rename", "write-chmod", "write-proc-root", "write-symlink",
    "write-hardlink", "write-host-cwd",
)  # fmt: skip
PROTECTED = {
    "protect-config": ".git/config",
    "protect-bashrc": ".bashrc",
    "protect-env": ".env",
    "protect-replace": ".gitconfig",
    "protect-hardlink": ".profile",
    "protect-chmod": ".mcp.json",
}
HOOK = ".git/hooks/post-checkout"
UNBORN = {
    "protect-hooks": ".git/hooks/pre-commit",
    "protect-new": ".zshrc",
    "protect-new-symlink": ".zprofile",
    "protect-nested": f"nested/{HOOK}",
    "protect-renamed": f"renamed/{HOOK}",
    "protect-late": f"late/{HOOK}",
    "protect-state-hook": f"state/{HOOK}",
    "write-setuid": "battery-setuid",
    "write-setuid-open": "battery-setuid-open",
    "write-device": "battery-device",
    "write-capability": "battery-capability",
}
# Whether anything has changed is asked of the whole folder, not of the file alone.
TRAPS = ("write-planted-symlink", "protect-state")
HIDDEN = "hidden.txt"

Signature = tuple[object, ...] | None


@dataclass(frozen=True, slots=True)
class Ground:
    """Where the whole battery may plant: a workspace that is nobody's, and folders that are nobody's either.

    `home` is what code would take for the user's home, `readable` a folder that the policy lets it read.
    `env_secret` is a value that stands in this process's environment; `others` are another user's files, by key, each
    with the SHA-256 of its content.
    """

    workspace: Path
    home: Path
    readable: Path
    env_secret: str
    others: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])


class Canaries:
    """Files, processes, sockets and shared memory of the host, as long as the `with` block lasts."""

    def __init__(self, workspace: Path, ground: Ground | None = None) -> None:
        """Plant little beside any workspace; with a `ground` everything, also in the workspace itself."""
        self._workspace = workspace
        self._ground = ground
        self._stack = contextlib.ExitStack()
        self._name = f"agentd-battery-{secrets.token_hex(6)}"
        self._before: dict[str, Signature] = {}
        self._targets: dict[str, Path] = {}
        self._listeners = Listeners()
        self._prey: subprocess.Popen[bytes] | None = None
        self.told: dict[str, object] = {}

    def __enter__(self) -> Self:
        try:
            self._plant()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def touch_late(self) -> None:
        """Tell what was left running that its time has come."""
        Path(str(self.told["late"])).touch()

    def evidence(self, case: str) -> bool | None:
        """Say whether the host has seen an attempt succeed; `None` when it cannot see that."""
        if case.startswith(("net-", "proxy-")) and case not in _UNHEARD:
            return case in self._listeners.heard
        if case == "process-signal" and self._prey is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._prey.wait(0.05)
            return self._prey.returncode is not None
        path = self._targets.get(case)
        if path is None:
            return None
        look = _LOOKS.get(case)
        return look(path) if look else self._sign(case) != self._before[case]

    def _plant(self) -> None:
        self.told |= {"mark": f"{self._name}:", "workspace": str(self._workspace)}
        beside = Path(tempfile.mkdtemp(prefix="agentd-battery-", dir=self._workspace.parent if self._ground else None))
        self._stack.callback(shutil.rmtree, beside, ignore_errors=True)
        beside.chmod(0o755)
        self._file("public", beside / "public.txt")
        for case in BESIDE:
            self._existing(case, beside / f"{case}.txt")
        self._new("works-workspace", self._workspace / self._name)
        self._new("write-tmp", Path(tempfile.gettempdir(), f"{self._name}-made"))
        self._processes(beside)
        self._sockets(beside)
        if self._ground:
            self._everything(self._ground, beside)
        self._system()
        self._listeners.start()
        self.told |= {f"target:{case}": str(path) for case, path in self._targets.items()}
        self._before = {case: self._sign(case) for case in self._targets}

    def _everything(self, ground: Ground, beside: Path) -> None:
        self._file("ssh", ground.home / ".ssh" / self._name)
        self._file("aws", ground.home / ".aws" / self._name)
        self._file("home-marker", ground.home / self._name)
        self._file("hidden", ground.workspace / HIDDEN)
        self._file("tmp", Path(tempfile.gettempdir(), f"{self._name}-there"))
        self._existing("write-readable", ground.readable / self._name)
        for name, (path, digest) in ground.others.items():
            self.told |= {name: path, f"{name}-digest": digest}
        self.told |= {"env-reversed": ground.env_secret[::-1], "late": str(self._workspace / f"{self._name}-late")}
        for case, place in _places(ground).items():
            self._new(case, place / f"{self._name}-{case}")
        self._state_of(ground.workspace, beside)
        with contextlib.suppress(OSError):
            self._file("shm", Path("/dev/shm", self._name))
            self._new("write-shm", Path("/dev/shm", f"{self._name}-made"))
        self.told |= shared.plant(self._stack, self._name)

    def _state_of(self, workspace: Path, beside: Path) -> None:
        """Plant what the policy protects, and name what is not there yet."""
        (workspace / ".git" / "hooks").mkdir(parents=True)
        (workspace / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
        (workspace / ".bash_profile").write_text("untouched\n")
        (workspace / ".vscode").mkdir()
        for case, name in PROTECTED.items():
            self._existing(case, workspace / name)
        for case, name in UNBORN.items():
            self._new(case, workspace / name)
        for case in TRAPS:
            (beside / case).mkdir()
            self._existing(case, beside / case / "file.txt")
        self._targets["protect-symlinked"] = workspace / ".vscode"

    def _processes(self, beside: Path) -> None:
        mark = f"{1_000_000_000 + secrets.randbelow(1 << 31)}"
        with open(str(self.told["public"]), "rb") as held:
            for _ in range(2):
                argv = ["sleep", mark]
                self._prey = victim = subprocess.Popen(argv, stdin=held, cwd=beside, stdout=subprocess.DEVNULL)
                self._stack.callback(victim.wait)
                self._stack.callback(victim.kill)
                self.told.setdefault("victim", victim.pid)
                self.told["prey"] = victim.pid
        self.told |= {"victim-mark": mark, "host": os.getpid(), "init-started": _started("1")}

    def _sockets(self, beside: Path) -> None:
        listen, told = self._listeners, self.told
        self._stack.callback(listen.close)
        told["tcp"], told["udp"] = listen.tcp("127.0.0.1"), listen.udp("127.0.0.1")
        told["tcp6"] = listen.tcp("::1") or None
        address = other_address()
        reached = address and listen.tcp(address, int(str(told["tcp"]))) and listen.udp(address, int(str(told["udp"])))
        told["address"] = address if reached else None
        told["machine"] = os.uname().nodename
        told["abstract"] = self._name if listen.unix(f"\0{self._name}") else None
        told["unix"] = str(beside / "socket") if listen.unix(beside / "socket") else None
        if self._ground:
            path = self._workspace / "battery-socket"
            told["unix-workspace"] = "battery-socket" if listen.unix(path) else None
            run = Path("/run", f"{self._name}.sock")
            told["unix-run"] = str(run) if listen.unix(run) else None
            self._stack.callback(run.unlink, missing_ok=True)

    def _system(self) -> None:
        """Tell what the machine has by itself."""
        self.told["shadow"] = os.stat("/etc/shadow").st_ino if os.path.exists("/etc/shadow") else None
        there = [os.path.expanduser(path) for path in SECRETS]
        self.told["secrets"] = "\n".join(path for path in there if _full(path)) or None
        devices = [entry.stat() for entry in os.scandir("/dev") if not entry.name.startswith(("loop", "ram"))]
        self.told["disk"] = next((one.st_rdev for one in devices if stat.S_ISBLK(one.st_mode)), None)

    def _file(self, key: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stack.callback(path.unlink, missing_ok=True)
        path.write_text(f"{key} {secrets.token_hex(16)}\n")
        self.told |= {key: str(path), f"{key}-digest": _digest(path)}

    def _existing(self, case: str, path: Path) -> None:
        self._stack.callback(_remove, path)
        path.write_text("untouched\n")
        self._targets[case] = path

    def _new(self, case: str, path: Path) -> None:
        self._stack.callback(_remove, path)
        self._targets[case] = path

    def _sign(self, case: str) -> Signature:
        path = self._targets[case]
        try:
            info = os.lstat(path)
        except OSError:
            return None
        around = tuple(sorted(os.listdir(path.parent))) if case in TRAPS else ()
        return (info.st_ino, info.st_mode, info.st_size, info.st_mtime_ns, info.st_uid, around)


# What these have opened tells nobody.
_UNHEARD = {"net-raw", "net-packet", "net-vsock", "net-alg", "net-interfaces", "net-listen", "net-ping"}


def _mode(path: Path) -> int:
    try:
        return os.lstat(path).st_mode
    except OSError:
        return 0


def _has_capability(path: Path) -> bool:
    try:
        return bool(os.getxattr(path, "security.capability", follow_symlinks=False))
    except OSError:
        return False


_LOOKS: dict[str, Callable[[Path], bool]] = {
    "write-setuid": lambda path: bool(_mode(path) & stat.S_ISUID),
    "write-setuid-open": lambda path: bool(_mode(path) & stat.S_ISUID),
    "write-device": lambda path: stat.S_ISCHR(_mode(path)),
    "write-capability": _has_capability,
}


def _places(ground: Ground) -> dict[str, Path]:
    return {
        "write-etc": Path("/etc"),
        "write-usr": Path("/usr"),
        "write-var-tmp": Path("/var/tmp"),
        "write-home": ground.home,
        "write-parent": ground.workspace.parent,
        "write-interpreter": Path(sys.executable).resolve().parent,
        "write-packages": Path(sysconfig.get_path("purelib")),
        "write-runner": RUNNER,
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _started(pid: str) -> str:
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19].decode()


def _full(path: str) -> bool:
    try:
        return os.path.isfile(path) or bool(os.listdir(path))
    except OSError:
        return False


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
