"""What is seen inside a sandbox of our own making, and with which rights: a policy as a list of mounts."""

from __future__ import annotations

import contextlib
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from agentd.core.errors import ExecutorUnavailable, OptionError
from agentd.executors.environment import package_dirs
from agentd.executors.launch import RUNNER
from agentd.executors.policy import ANYWHERE, Policy, resolve

HOME = "/home/agentd"
RUNNER_INSIDE, RUNNER_SOURCE = "/run/agentd/runner", str(RUNNER)
SKILLS = "skills"
_ETC = Path(__file__).with_name("inside") / "etc"
_SYSTEM = ("/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin")
# What programs need to start, to know certificates and the time; nothing that says who uses this machine.
_PARTS_OF_ETC = (
    "alternatives",
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
_NOT_TO_WRITE = ("/usr", "/etc", "/var", "/home", *_SYSTEM, *map(os.path.realpath, _SYSTEM))
_MOST_PROTECTED = 500


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
    if _is_the_systems(str(folder)) or str(folder) in _NOT_TO_WRITE:
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


@lru_cache(maxsize=1)
def interpreter() -> tuple[str, ...]:
    """Return the folders of this interpreter and its packages that are not part of `/usr`.

    What `.pth` files add, such as the source of a package that is installed editable, is not among them. They are
    looked for once: later their links may be the work of code in a workspace that they lie in.
    """
    folders = {sys.prefix, sys.base_prefix, os.path.dirname(os.path.realpath(sys.executable)), *packages()}
    folders |= {os.path.realpath(folder) for folder in folders}
    if "/" in folders:
        raise ExecutorUnavailable(
            "this interpreter's prefix is `/`: to show it would be to show everything. Use a venv"
        )
    return tuple(sorted(_outermost(folder for folder in folders if folder != "/usr" and not _below(folder, ("/usr",)))))


def packages() -> list[str]:
    """Return where code inside finds installed packages."""
    own = (sys.prefix, sys.base_prefix, os.path.expanduser("~/.local"), sysconfig.get_path("purelib"))
    return [entry for entry in package_dirs() if _below(entry, own) and os.path.isdir(entry)]


def mounts(policy: Policy, workspace: Path, present: Sequence[str] = ()) -> list[Mount]:
    """Return the mounts of a policy, each after those that it lies in; raises `OptionError` for one that cannot be.

    `present` are paths in the workspace, found by who looked, that are protected besides those with a place of their
    own. Each folder on the way from what is writable to another mount is a mount, too: it holds its name. A folder that
    is a mount cannot be renamed, and so nothing else put in its place, for this sandbox or the next.
    """
    make_folders(policy, workspace)
    roots = _roots(policy, workspace)
    shared = [
        Mount(place, how, place)
        for clause, how in (("readable", "read"), ("writable", "write"))
        for place in _shared(policy, clause, workspace, roots)
    ]
    own = [Mount(place, "read", place) for place in interpreter()]
    ours = Mount(str(workspace), "write", str(workspace))
    # Nothing that this interpreter runs is written from inside.
    found = {mount.place: mount for mount in (*own, *shared, ours, *(one for one in own if one.place != ours.place))}
    named = {*found}
    for mount in _hidden(policy, workspace, found):
        found[mount.place] = mount
    _refuse_what_hides(found, named, [mount.place for mount in shared], policy, workspace)
    for place in _protected(policy, workspace, roots, present):
        _hold(found, place, "read")
    for place in sorted(found, key=lambda place: place.count("/")):
        for folder in reversed(Path(place).parents):
            _hold(found, str(folder), "write")
    return sorted(found.values(), key=lambda mount: (mount.place.count("/"), mount.place))


def _hidden(policy: Policy, workspace: Path, found: Iterable[str]) -> list[Mount]:
    visible = (*found, *(place for _, _, place in system()))
    places = {str(resolve(text, workspace)) for text in policy.hidden}
    seen = [
        place for place in sorted(places) if os.path.lexists(place) and (place in visible or _below(place, visible))
    ]
    return [
        Mount(place, "hide", "" if os.path.isdir(place) else "/dev/null") for place in seen if not _below(place, seen)
    ]


def _refuse_what_hides(
    found: Mapping[str, Mount], named: Iterable[str], shared: Iterable[str], policy: Policy, workspace: Path
) -> None:
    """Raise `OptionError` for what is to be seen and never seen. What the sandbox needs shows through, from below."""
    for place in named:
        if found[place].how == "hide":
            raise OptionError(f"policy.hidden: {place} is the workspace, the interpreter, or given to be seen as well")
    hidden = [str(resolve(text, workspace)) for text in policy.hidden]
    for place in shared:
        if place in hidden or _below(place, hidden):
            raise OptionError(f"policy.hidden: {place} lies within what is hidden, and is given to be seen as well")


def _hold(found: dict[str, Mount], place: str, how: str) -> None:
    """Add a mount where it makes a difference: below what is written, and not below what is hidden or read-only."""
    around = next((found[str(folder)] for folder in Path(place).parents if str(folder) in found), None)
    new = place not in found or (how == "read" and found[place].how == "write")
    if new and around is not None and around.how == "write":
        found[place] = Mount(place, how, place)


def writable(policy: Policy, workspace: Path) -> list[str]:
    """Return the folders that are written to inside."""
    return ["/tmp", HOME, *_roots(policy, workspace)]


def _roots(policy: Policy, workspace: Path) -> list[str]:
    return [str(workspace), *(str(resolve(text, workspace)) for text in policy.writable)]


def _shared(policy: Policy, clause: str, workspace: Path, roots: Sequence[str]) -> Iterator[str]:
    texts: tuple[str, ...] = getattr(policy, clause)
    for text in texts:
        place = str(resolve(text, workspace))
        if not os.path.exists(place):
            raise OptionError(f"policy.{clause}: {text} does not exist")
        if _is_the_systems(place) or (clause == "writable" and place in _NOT_TO_WRITE):
            raise OptionError(
                f"policy.{clause}: {text} is part of the system, and not for a sandbox; name what is needed"
            )
        if place == HOME or _below(HOME, (place,)):
            raise OptionError(f"policy.{clause}: {text} would cover {HOME}, the home inside; name what is needed in it")
        for link in _links(workspace / Path(text).expanduser()):
            if _below(link, roots):
                raise OptionError(
                    f"policy.{clause}: {text} leads through the link {link}, which code in a sandbox can write; "
                    f"name the place that is meant, now {place}"
                )
        yield place


def _links(path: Path) -> Iterator[str]:
    """Yield every symbolic link that is followed on the way to a path, by the place where it really lies."""
    here, left, most = "/", [*reversed(path.parts[1:])], 40
    while left and most:
        part = left.pop()
        if part in ("", "."):
            continue
        there = os.path.dirname(here) if part == ".." else os.path.join(here, part)
        try:
            target = os.readlink(there)
        except OSError:
            here = there
            continue
        yield there
        most -= 1
        here = "/" if target.startswith("/") else here
        left += reversed(target.split("/"))


def make_folders(policy: Policy, workspace: Path) -> None:
    """Make those protected folders that have to be there to be mounted; whatever code made in the way is left alone."""
    _make(workspace, (SKILLS,))  # the tools' bindings may come after the sandbox has been made
    for text in policy.protected:
        place = workspace / Path(text.removeprefix(ANYWHERE)).expanduser()
        if place.parent.name == ".git" and place.is_relative_to(workspace):
            _make(workspace, place.relative_to(workspace).parts)  # hooks are looked for in no other place


def _make(workspace: Path, parts: Sequence[str]) -> None:
    """Make a folder below folders that are there and no links. Where that fails, code cannot make it either."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(OSError), contextlib.ExitStack() as way:
        folder = os.open(workspace, flags)
        way.callback(os.close, folder)
        for part in parts[:-1]:
            folder = os.open(part, flags, dir_fd=folder)
            way.callback(os.close, folder)
        os.mkdir(parts[-1], dir_fd=folder)


def _protected(policy: Policy, workspace: Path, roots: Sequence[str], present: Sequence[str]) -> list[str]:
    """Return what is protected and there. A link cannot be mounted: what it leads to is protected in its place."""
    texts = [*(text.removeprefix(ANYWHERE) for text in policy.protected), SKILLS, *present]
    paths = [workspace / Path(text).expanduser() for text in texts]
    places = {os.path.realpath(path) for path in paths if os.path.exists(path)}
    found = sorted((place for place in places if _below(place, roots)), key=lambda place: place.count("/"))
    if len(found) > _MOST_PROTECTED:
        raise OptionError(
            f"policy.protected: there are {len(found)} such paths, more than {_MOST_PROTECTED}; name fewer"
        )
    return found


def covered(policy: Policy, workspace: Path, found: Iterable[Mount], present: Sequence[str] = ()) -> list[Path]:
    """Return the paths that mounts cover, if something is there; the workspace, too, has to be what was mounted."""
    visible = (*(mount.place for mount in found), *(place for _, _, place in system()))
    hidden = [text for text in policy.hidden if _below(str(resolve(text, workspace)), visible)]
    texts = (*hidden, *(text.removeprefix(ANYWHERE) for text in policy.protected), SKILLS, *present)
    return [workspace, *(workspace / Path(text).expanduser() for text in texts)]


def _is_the_systems(place: str) -> bool:
    return place in (*_NOT_TO_SHARE, "/run/agentd") or _below(place, ("/proc", "/sys", "/dev", "/boot", "/run/agentd"))


def _below(path: str, folders: Iterable[str]) -> bool:
    return any(path != folder and path.startswith(folder.rstrip("/") + "/") for folder in folders)


def _outermost(folders: Iterable[str]) -> list[str]:
    known = set(folders)
    return [folder for folder in known if not _below(folder, known - {folder})]
