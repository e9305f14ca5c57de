"""What is seen inside a sandbox of our own making, and with which rights: a policy as a list of mounts."""

from __future__ import annotations

import os
import stat
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from agentd.core.errors import OptionError
from agentd.executors.environment import package_dirs
from agentd.executors.launch import RUNNER
from agentd.executors.policy import ANYWHERE, Policy, resolve

HOME = "/home/agentd"
RUNNER_INSIDE = "/run/agentd/runner"
SKILLS = "skills"
_ETC = Path(__file__).with_name("inside") / "etc"
_SYSTEM = ("/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin")
# What programs need to start, to know certificates and the time; nothing that says who uses this machine.
_PARTS_OF_ETC = (
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "debian_version",
    "fonts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "os-release",
    "pki",
    "protocols",
    "services",
    "ssl",
    "timezone",
)
_NOT_TO_SHARE = ("/", "/proc", "/sys", "/dev", "/run", "/boot")


@dataclass(frozen=True, slots=True)
class Mount:
    """One place inside: `how` is `read`, `write` or `hide`, `source` what of the host is seen there."""

    place: str
    how: str
    source: str = ""


def workspace_for(given: Path) -> Path:
    """Return the folder to work in, links followed, made if it is missing; raises `OptionError` for one that cannot be.

    Inside, the folder has the same path.
    """
    folder = Path(os.path.realpath(given))
    if os.path.lexists(given) and not given.exists():
        raise OptionError(f"the workspace {given} is a link to nowhere")
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"the workspace {given} is not a folder")
    if str(folder) in _NOT_TO_SHARE or _below(str(folder), ("/proc", "/sys", "/dev")):
        raise OptionError(f"the workspace {given} is part of the system; take a folder of its own")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def system() -> list[tuple[str, str, str]]:
    """Return the arguments for the system's programs and settings: option, source and place."""
    found = [("--ro-bind", "/usr", "/usr")]
    for place in _SYSTEM:
        if os.path.islink(place):
            found.append(("--symlink", os.readlink(place), place))
        elif os.path.isdir(place):
            found.append(("--ro-bind", place, place))
    found += [("--ro-bind-try", f"/etc/{part}", f"/etc/{part}") for part in _PARTS_OF_ETC]
    found += [("--ro-bind", str(file), f"/etc/{file.name}") for file in sorted(_ETC.iterdir())]
    return found


def interpreter() -> list[str]:
    """Return the folders of this interpreter and its packages that are not part of `/usr`.

    What `.pth` files add, such as the source of a package that is installed editable, is not among them.
    """
    folders = {sys.prefix, sys.base_prefix, os.path.dirname(os.path.realpath(sys.executable)), *packages()}
    folders |= {os.path.realpath(folder) for folder in folders}
    return sorted(_outermost(folder for folder in folders if folder != "/usr" and not _below(folder, ("/usr",))))


def packages() -> list[str]:
    """Return where code inside finds installed packages."""
    own = (sys.prefix, sys.base_prefix, os.path.expanduser("~/.local"), sysconfig.get_path("purelib"))
    return [entry for entry in package_dirs() if _below(entry, own) and os.path.isdir(entry)]


def mounts(policy: Policy, workspace: Path) -> list[Mount]:
    """Return the mounts of a policy, each after those that it lies in; raises `OptionError` for one that cannot be."""
    found: dict[str, Mount] = {}
    for place in interpreter():
        found[place] = Mount(place, "read", place)
    for clause, how in (("readable", "read"), ("writable", "write")):
        for text in getattr(policy, clause):
            place = _shared(clause, text, workspace)
            found[place] = Mount(place, how, place)
    found[str(workspace)] = Mount(str(workspace), "write", str(workspace))
    for place in [place for place in interpreter() if place != str(workspace)]:
        found[place] = Mount(place, "read", place)  # nothing that this interpreter runs is written from inside
    for mount in _protections(policy, workspace, found):
        found.setdefault(mount.place, mount)
    visible = tuple(found)
    for text in policy.hidden:
        place = str(resolve(text, workspace))
        if os.path.lexists(place) and (place in found or _below(place, visible)):
            found[place] = Mount(place, "hide", "" if os.path.isdir(place) else "/dev/null")
    return sorted(found.values(), key=lambda mount: (mount.place.count("/"), mount.place))


def writable(policy: Policy, workspace: Path) -> list[str]:
    """Return the folders that are written to inside."""
    return [str(workspace), "/tmp", HOME, *(str(resolve(text, workspace)) for text in policy.writable)]


def _shared(clause: str, text: str, workspace: Path) -> str:
    place = str(resolve(text, workspace))
    if not os.path.exists(place):
        raise OptionError(f"policy.{clause}: {text} does not exist")
    if place in _NOT_TO_SHARE or _below(place, ("/proc", "/sys", "/dev")):
        raise OptionError(f"policy.{clause}: {text} is part of the system, and not for a sandbox; name what is needed")
    return place


def _protections(policy: Policy, workspace: Path, found: Iterable[str]) -> Iterator[Mount]:
    """Give what is protected a mount of its own, read-only, and each folder on the way to it one, which holds its name.

    A folder that is a mount cannot be renamed, and so nothing else put in its place.
    """
    roots = [str(workspace), *(str(resolve(text, workspace)) for text in policy.writable)]
    generated = workspace / SKILLS
    if not os.path.lexists(generated):
        generated.mkdir()  # the tools' bindings may come after the sandbox has been made
    for text in (*policy.protected, SKILLS):
        place = workspace / Path(text.removeprefix(ANYWHERE)).expanduser()
        if place.parent.name == ".git" and _is_folder(place.parent) and not os.path.lexists(place):
            place.mkdir()  # hooks are looked for in no other place
        root = next((root for root in roots if _below(str(place), (root,))), None)
        if root is None or not _is_plain(place):
            continue
        for folder in place.parents:
            if str(folder) == root:
                break
            yield Mount(str(folder), "write", str(folder))
        yield Mount(str(place), "read", str(place))


def _is_plain(path: Path) -> bool:
    """Tell whether a path exists and no part of it is a link."""
    return os.path.lexists(path) and os.path.realpath(path) == str(path)


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def _below(path: str, folders: Iterable[str]) -> bool:
    return any(path != folder and path.startswith(folder.rstrip("/") + "/") for folder in folders)


def _outermost(folders: Iterable[str]) -> list[str]:
    known = set(folders)
    return [folder for folder in known if not _below(folder, known - {folder})]


RUNNER_SOURCE = str(RUNNER)
