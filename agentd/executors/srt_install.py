"""Finding srt, and the programs that it needs."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from agentd.executors.bwrap import BwrapExecutor
from agentd.executors.launch import Probe

PACKAGE = "@anthropic-ai/sandbox-runtime"
VERSION = "0.0.83"
INSTALL = f"npm install -g {PACKAGE}@{VERSION}"
_DEBIAN = {"node": "nodejs", "bwrap": "bubblewrap", "socat": "socat", "rg": "ripgrep", "bash": "bash"}
_MACHINES = {"x86_64": "x64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Installed:
    """A copy of srt, and what its commands are called here."""

    folder: Path
    version: str
    programs: Mapping[str, str]

    @property
    def library(self) -> Path:
        """What Node.js imports."""
        return self.folder / "dist" / "index.js"

    @property
    def seccomp(self) -> Path:
        """The program that takes Unix sockets away from code; without it srt would only warn."""
        return _helper(self.folder)


def examine(srt_path: str | Path | None = None) -> tuple[Probe, Installed | None]:
    """Tell whether srt can run here, and what it consists of.

    `srt_path` is the command, or the folder of its package; by default the `srt` on the PATH.
    """
    if sys.platform != "linux":
        return Probe(False, reason="code is run by a runner that needs Linux", fix="Use microsandbox"), None
    given = shutil.which("srt") if srt_path is None else os.fspath(srt_path)
    if given is None:
        return Probe(False, reason="there is no `srt` on the PATH", fix=f"Install it: {INSTALL}"), None
    folder = _package(Path(given))
    if folder is None:
        fix = f"Install it by `{INSTALL}`, or give the folder of that package as srt_path"
        return Probe(False, reason=f"{given} is not {PACKAGE}", fix=fix), None
    version = str(_manifest(folder).get("version"))
    programs = {name: os.path.realpath(found) for name in _DEBIAN if (found := _which(name))}
    missing = [name for name in _DEBIAN if name not in programs]
    if missing:
        fix = f"Install what is missing: apt install {' '.join(_DEBIAN[name] for name in missing)}"
        return Probe(False, version, f"srt needs {', '.join(missing)}, not found on the PATH", fix), None
    if not os.access(_helper(folder), os.X_OK):
        reason = f"this copy of srt has no seccomp helper for {platform.machine()}: Unix sockets would stay open"
        return Probe(False, version, reason, "Use bwrap, or a machine with x86-64 or arm64"), None
    bwrap = BwrapExecutor.probe()
    if not bwrap.ok:
        return Probe(False, version, bwrap.reason, bwrap.fix), None
    return Probe(True, version), Installed(folder, version, programs)


def _which(name: str) -> str | None:
    # The shell is run inside, where no other folders are seen.
    return shutil.which(name, path="/usr/bin:/bin" if name == "bash" else None)


def _helper(folder: Path) -> Path:
    return folder / "vendor" / "seccomp" / _MACHINES.get(platform.machine(), "unknown") / "apply-seccomp"


def _package(given: Path) -> Path | None:
    """Return the folder of the package that a command belongs to, or that was given itself."""
    real = Path(os.path.realpath(given))
    return next((folder for folder in (real, *real.parents) if _manifest(folder).get("name") == PACKAGE), None)


def _manifest(folder: Path) -> dict[str, object]:
    try:
        read: object = json.loads((folder / "package.json").read_text())
    except (OSError, ValueError):
        return {}
    return cast("dict[str, object]", read) if isinstance(read, dict) else {}
