"""Protected paths that did not exist when the sandbox was made, and hooks of repositories that were made in it.

A back end mounts what exists read-only. What comes into being later is found here, on the host, after each block, and
moved to where no program looks for it. Only names are judged, never what is in a file: the settings of a repository
that was made inside (`core.hooksPath`, `core.fsmonitor`) are not covered, nor is one whose parts are spread over
several folders, nor anything in another file system or outside of the workspace.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from agentd.core.errors import OptionError
from agentd.core.ids import new_id
from agentd.executors.folders import FOLDER, TICK, Tree, change_mode, opened, status_of

ANYWHERE = "**/"
REFUSED = (".agentd", "refused")
MOST_MOVES = 10_000
MOST_NOTES = 20

_SKIPPED = ("skills", ".agentd")
_ELSEWHERE = ".agentd-refused-"  # where `.agentd` cannot be used, for it is the guest's to write, too
_HOOKS = (".git", "hooks")
_REPOSITORY = frozenset({"HEAD", "objects", "refs", "hooks"})
_SHOWN = 200
_KEPT = 24  # parts of a path: what is moved again and again must not lie deeper each time

# A name in a folder, and the kind of thing that it names.
_Spot = tuple[int, int, str, int]
_Hook = tuple[int, int, int, str]


class Wards:
    """Watches over the protected paths of a workspace. Its calls block: they belong in a thread."""

    def __init__(self, workspace: Path, protected: Sequence[str]) -> None:
        """Remember what there is now: it is left alone. Raises `OSError` when the workspace cannot be read."""
        self._workspace = workspace
        self._fixed, self._anywhere = protected_parts(workspace, protected)
        self._hooks_too = _HOOKS in self._anywhere
        names = {parts[0] for parts in self._anywhere}
        names |= _REPOSITORY if self._hooks_too else frozenset()
        self._tree = Tree(names, lambda name: name in _SKIPPED or name.startswith(_ELSEWHERE)) if names else None
        self._lock = threading.Lock()
        self._stood: dict[_Spot, int] = {}
        self._stood_hooks: set[_Hook] = set()
        self._present: dict[str, None] = {}
        self._replaced: dict[str, None] = {}
        self._told: set[str] = set()
        self._refused: _Refused | None = None
        self._settled: tuple[int, int] | None = None
        self._round()

    @property
    def present(self) -> tuple[str, ...]:
        """The protected paths that stood there at the start: for the back end to mount read-only."""
        return tuple(self._present)

    @property
    def replaced(self) -> tuple[str, ...]:
        """Those of them that are another file now: replaced by the host, which ends a mount, or in want of one."""
        return tuple(self._replaced)

    def look(self) -> list[str]:
        """Move what has come into being since the start to `.agentd/refused`; return a note for each thing.

        A place that cannot be looked into is told once. No longer having a workspace is no error.
        """
        with self._lock:
            try:
                self._refused = _Refused(self._workspace)
            except FileNotFoundError:
                return []
            try:
                left_out = self._round()
                news = {path: why for path, why in left_out.items() if path not in self._told}
                self._told = set(left_out)
                return self._refused.notes(news)
            finally:
                self._refused.close()
                self._refused = None

    def _round(self) -> dict[str, str]:
        root = os.open(self._workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            status = os.fstat(root)
            times = status.st_mtime_ns, status.st_ctime_ns
            settled = status.st_ctime_ns + TICK < time.time_ns()
            for parts in self._fixed:
                # Nothing has come into being directly in the workspace, or its times were others.
                if len(parts) > 1 or times != self._settled:
                    self._check(root, "", parts)
            self._settled = times if settled else None
            return self._tree.walk(root, self._visit) if self._tree else {}
        finally:
            os.close(root)

    def _visit(self, folder: int, path: str, marks: frozenset[str]) -> None:
        for parts in self._anywhere:
            if parts[0] in marks:
                self._check(folder, path, parts)
        if self._hooks_too and marks >= _REPOSITORY:
            self._check_hooks(folder, path)

    def _check(self, folder: int, path: str, parts: tuple[str, ...]) -> None:
        """Go down to what `parts` names. A link on the way there would stand in for it, and is judged in its place."""
        with contextlib.ExitStack() as way, contextlib.suppress(OSError):
            for part in parts[:-1]:
                status = status_of(folder, part)
                path = f"{path}/{part}" if path else part
                if status is None:
                    return
                if stat.S_ISLNK(status.st_mode) and parts != _HOOKS:
                    self._judge(folder, part, path, status)
                if not stat.S_ISDIR(status.st_mode):
                    return
                folder = way.enter_context(opened(folder, part, status.st_mode))
            if parts == _HOOKS:
                self._check_hooks(folder, path)
                return
            status = status_of(folder, parts[-1])
            if status is not None:
                path = f"{path}/{parts[-1]}" if path else parts[-1]
                if self._refused is None:
                    self._present[path] = None
                self._judge(folder, parts[-1], path, status)

    def _check_hooks(self, repository: int, path: str) -> None:
        """Judge what is in a repository's folder of hooks; examples of hooks are never run."""
        status = status_of(repository, "hooks")
        if status is None:
            return
        path = f"{path}/hooks" if path else "hooks"
        if stat.S_ISLNK(status.st_mode):
            self._judge(repository, "hooks", path, status)
        if not stat.S_ISDIR(status.st_mode):
            return
        # The walk tells of what cannot be opened.
        with contextlib.suppress(OSError), opened(repository, "hooks", status.st_mode) as folder:
            self._judge_hooks(folder, path)

    def _judge_hooks(self, folder: int, path: str) -> None:
        if self._refused is None:
            self._present[path] = None
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.endswith(".sample"):
                    self._judge_hook(folder, entry, path)

    def _judge_hook(self, folder: int, entry: os.DirEntry[str], path: str) -> None:
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            return  # gone meanwhile
        hook = (status.st_dev, status.st_ino, status.st_ctime_ns, entry.name)
        if self._refused is None:
            self._stood_hooks.add(hook)
        elif hook not in self._stood_hooks:
            self._refused.take(folder, entry.name, f"{path}/{entry.name}")

    def _judge(self, folder: int, name: str, path: str, status: os.stat_result) -> None:
        """Leave a thing alone that stood in this very folder at the start: a new one of the same name is another."""
        parent = os.fstat(folder)
        spot = (parent.st_dev, parent.st_ino, name, stat.S_IFMT(status.st_mode))
        if self._refused is None:
            self._stood[spot] = status.st_ino
        elif spot not in self._stood:
            self._refused.take(folder, name, path)
        elif self._stood[spot] != status.st_ino:
            if stat.S_ISLNK(status.st_mode):  # it cannot be mounted, and so be replaced by code
                self._refused.take(folder, name, path)
            else:
                self._replaced[path] = None


class _Refused:
    """Where the things of one look go: a folder of their own, which is made for the first of them."""

    def __init__(self, workspace: Path) -> None:
        self._root = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._id = new_id("look")
        self._notes: list[str] = []
        self._count = 0

    def close(self) -> None:
        os.close(self._root)

    def notes(self, left_out: dict[str, str]) -> list[str]:
        """Return what is to be told: about things that were moved, and places that were not looked into."""
        told = [
            f"[{_shown(path) or 'the workspace'} was not searched for protected paths: {why}]"
            for path, why in left_out.items()
        ]
        unsaid = max(0, self._count - MOST_NOTES) + max(0, len(told) - MOST_NOTES)
        return self._notes + told[:MOST_NOTES] + ([f"[and {unsaid} more like these]"] if unsaid else [])

    def take(self, folder: int, name: str, path: str) -> None:
        """Move a thing here; what is moved is whatever has that name in that folder by then, and never its target."""
        self._count += 1
        outcome = (
            "there are too many: it is still there" if self._count > MOST_MOVES else self._move(folder, name, path)
        )
        if self._count <= MOST_NOTES:
            self._notes.append(f"[{_shown(path)} may not be written here (policy.protected): {outcome}]")

    def _move(self, folder: int, name: str, path: str) -> str:
        parents = path.split("/")[-_KEPT:-1]
        why = ""
        for begin in ((*REFUSED, self._id), (_ELSEWHERE + self._id,)):
            try:
                target = self._make((*begin, *parents))
                try:
                    _rename(folder, name, target)
                finally:
                    os.close(target)
            except OSError as error:
                if status_of(folder, name) is None:
                    return "it is gone again"
                why = error.strerror or str(error)
            else:
                return f"it was moved to {_shown('/'.join((*begin, *parents, name)))}"
        return f"it is still there, for it could not be moved ({why})"

    def _make(self, parts: Sequence[str]) -> int:
        """Make folders as needed, each in the one before; a link in their place is an error."""
        folder = os.dup(self._root)
        for part in parts:
            try:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=folder)
                below = os.open(part, FOLDER, dir_fd=folder)
            finally:
                os.close(folder)
            folder = below
        return folder


def protected_parts(workspace: Path, protected: Sequence[str]) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Return the parts of the paths below the workspace, and of those that count anywhere in it."""
    fixed: list[tuple[str, ...]] = []
    anywhere: list[tuple[str, ...]] = []
    roots = {workspace, Path(os.path.realpath(workspace))}
    for text in protected:
        if text.startswith(ANYWHERE):
            anywhere.append(tuple(part for part in text.split("/")[1:] if part not in ("", ".")))
            continue
        path = workspace / Path(text).expanduser()
        fixed += [path.relative_to(root).parts for root in roots if path.is_relative_to(root)]
    if () in fixed or () in anywhere:
        raise OptionError("policy.protected: the whole workspace cannot be protected from what is written into it")
    return fixed, anywhere


def _rename(folder: int, name: str, target: int) -> None:
    try:
        os.rename(name, name, src_dir_fd=folder, dst_dir_fd=target)
    except PermissionError:
        # Moving takes leave to write to the folder, and to a folder that is moved: both are the guest's to take away.
        os.fchmod(folder, stat.S_IMODE(os.fstat(folder).st_mode) | stat.S_IRWXU)
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            change_mode(folder, name, status.st_mode | stat.S_IRWXU)
        os.rename(name, name, src_dir_fd=folder, dst_dir_fd=target)


def _shown(path: str) -> str:
    """Return a path as text on one line, not too long: its name is the guest's choice."""
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    text = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]}…{text[-_SHOWN // 2 :]}"
