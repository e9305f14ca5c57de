"""The environment that code starts with: built from a short list, not inherited."""

from __future__ import annotations

import os
import pwd
import site
import sys
import sysconfig
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

_PLAIN = ("", "C", "POSIX", "C.UTF-8", "C.utf8")
_TAKEN = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "LANG", "LC_ALL", "LC_CTYPE")

# All of `C.UTF-8` that means anything. With LANG or LC_ALL every program reads a dozen files more when it starts, which
# takes bash as long as a seventh of its life.
UTF8 = {"LC_CTYPE": "C.UTF-8"}


def built(extra: Mapping[str, str]) -> dict[str, str]:
    """Return what every block finds in its environment: a few facts about the user, and `extra`."""
    env = {name: os.environ[name] for name in _TAKEN if os.environ.get(name)}
    for name, value in _account().items():
        env.setdefault(name, value)
    if env.get("LC_ALL", env.get("LANG", "")) in _PLAIN:
        env = {name: value for name, value in env.items() if name not in ("LANG", "LC_ALL")} | UTF8
    env["TERM"] = "dumb"
    path = [part for part in env.get("PATH", os.defpath).split(os.pathsep) if os.path.isabs(part)]
    own = os.path.dirname(os.path.abspath(sys.executable))
    env["PATH"] = os.pathsep.join(dict.fromkeys([own, *path]))
    if sys.prefix != sys.base_prefix:
        env["VIRTUAL_ENV"] = sys.prefix
    return env | dict(extra)


def outline(home: str, user: str) -> dict[str, str]:
    """Return the environment of a sandbox: nothing in it is the host's but time zone and interpreter."""
    env = dict(UTF8)
    if os.environ.get("TZ"):
        env["TZ"] = os.environ["TZ"]
    own = os.path.dirname(os.path.abspath(sys.executable))
    env["PATH"] = os.pathsep.join(dict.fromkeys([own, "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"]))
    if sys.prefix != sys.base_prefix:
        env["VIRTUAL_ENV"] = sys.prefix
    return env | {"HOME": home, "USER": user, "LOGNAME": user, "SHELL": "/bin/bash", "TERM": "dumb"}


def data_dir() -> Path:
    """Return where agentd keeps what is to last, by the rules of the XDG: a folder that may be yet to be made."""
    given = os.environ.get("XDG_DATA_HOME", "")
    return (Path(given) if os.path.isabs(given) else Path.home() / ".local" / "share") / "agentd"


def _account() -> dict[str, str]:
    try:
        entry = pwd.getpwuid(os.getuid())
    except KeyError:
        return {"HOME": "/", "SHELL": "/bin/sh"}
    return {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name, "SHELL": entry.pw_shell}


@lru_cache(maxsize=1)
def package_dirs() -> tuple[str, ...]:
    """Return where this interpreter finds installed packages, with what `.pth` files add to it."""
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()}
    if site.ENABLE_USER_SITE:
        folders.add(site.getusersitepackages())
    added = {line for folder in folders for line in _pth_lines(Path(folder))}
    return tuple(entry for entry in sys.path if entry in folders or entry in added)


def _pth_lines(folder: Path) -> list[str]:
    lines: list[str] = []
    for file in folder.glob("*.pth"):
        for line in file.read_text("utf-8", "replace").splitlines():
            if line.strip() and not line.startswith(("#", "import ", "import\t")):
                lines.append(os.path.abspath(folder / line.strip()))
    return lines
