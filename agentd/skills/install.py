"""Writing the generated files into a workspace, where whoever runs code may have put anything."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from agentd.core.tools import JSON
from agentd.skills import folders
from agentd.skills.catalogue import Catalogue
from agentd.skills.generate import FOLDER, GENERATOR, STAMP, generate
from agentd.skills.stubs import HEADER

_MAX_STAMP = 8 << 20
_MAX_FILE = 16 << 20
_PATH = re.compile(r"(?!\.\.?/)[A-Za-z0-9_.-]+(/(?!\.\.?(/|$))[A-Za-z0-9_.-]+){0,2}")


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What was written last: the digest of all, each file's state, and the folders that were left alone."""

    digest: str = ""
    files: Mapping[str, JSON] = field(default_factory=dict[str, JSON])
    skipped: tuple[str, ...] = ()


def install(catalogue: Catalogue, workspace_dir: Path) -> tuple[str, ...]:
    """Make `skills/` in the workspace say what the catalogue says; see `write_files`."""
    return write_files(generate(catalogue), workspace_dir)


def write_files(files: Mapping[str, str], workspace_dir: Path) -> tuple[str, ...]:
    """Make `skills/` in the workspace hold these files, and none that an earlier call wrote and that are gone now.

    Only what changed is written, each file at once; when nothing did, nothing is. A folder there that was not
    generated is never touched: the names of those that stood in the way are returned. No link is followed.
    """
    digest = _digest(files)
    root = os.open(workspace_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with folders.inside(root, [FOLDER], make=True) as skills:
            assert skills is not None
            stamp = _read_stamp(skills)
            if stamp.digest == digest and _untouched(skills, stamp):
                return stamp.skipped
            return _write(skills, files, digest, stamp)
    finally:
        os.close(root)


def _write(skills: int, files: Mapping[str, str], digest: str, stamp: _Stamp) -> tuple[str, ...]:
    own = {path.partition("/")[0] for path in stamp.files}
    tops = dict.fromkeys(path.partition("/")[0] for path in files)
    skipped = tuple(top for top in tops if top not in own and _is_foreign(skills, top))
    written: dict[str, JSON] = {}
    for path, text in files.items():
        if path.partition("/")[0] not in skipped:
            written[path] = _put(skills, path, text.encode("utf-8", "replace"))
    for path in stamp.files.keys() - written.keys():
        _remove(skills, path)
    content = json.dumps({"digest": digest, "files": written, "skipped": skipped}, separators=(",", ":"))
    folders.replace(skills, STAMP, content.encode())
    return skipped


def _put(skills: int, path: str, content: bytes) -> JSON:
    """Write one file unless it is as it should be; return its state."""
    *parents, name = path.split("/")
    with folders.inside(skills, parents, make=True) as folder:
        assert folder is not None
        if folders.read(folder, name, _MAX_FILE) != content:
            folders.replace(folder, name, content)
        return cast(JSON, folders.state_of(folder, name))


def _remove(skills: int, path: str) -> None:
    """Remove a file that was generated once, and the folders that it leaves empty."""
    if not _PATH.fullmatch(path):
        return  # the stamp lies in the workspace, too: it may name anything
    *parents, name = path.split("/")
    with folders.inside(skills, parents, make=False) as folder:
        if folder is not None and folders.state_of(folder, name) is not None:
            os.unlink(name, dir_fd=folder)
    for depth in range(len(parents), 0, -1):
        with folders.inside(skills, parents[: depth - 1], make=False) as folder:
            if folder is None or not _drop(folder, parents[depth - 1]):
                return


def _drop(folder: int, name: str) -> bool:
    """Remove a folder if it is empty."""
    try:
        os.rmdir(name, dir_fd=folder)
    except OSError:
        return False
    return True


def _untouched(skills: int, stamp: _Stamp) -> bool:
    return all(folders.state_of(skills, path) == state for path, state in stamp.files.items())


def _is_foreign(skills: int, top: str) -> bool:
    """Tell whether something stands there that does not say that it was generated."""
    try:
        os.lstat(top, dir_fd=skills)
    except FileNotFoundError:
        return False
    if top == ".gitignore":
        return True
    name, mark = ("tools.py", HEADER) if top == "lib" else ("SKILL.md", GENERATOR)
    with folders.inside(skills, [top], make=False) as folder:
        content = None if folder is None else folders.read(folder, name, _MAX_FILE)
    return content is None or mark.encode() not in content


def _read_stamp(skills: int) -> _Stamp:
    """Return the stamp; one that is not as it was written counts as none."""
    try:
        whole: object = json.loads(folders.read(skills, STAMP, _MAX_STAMP) or b"")
    except (ValueError, RecursionError):
        return _Stamp()
    if not isinstance(whole, dict):
        return _Stamp()
    known = cast("dict[str, object]", whole)
    digest, files, skipped = known.get("digest"), known.get("files"), known.get("skipped")
    if not (isinstance(digest, str) and isinstance(files, dict) and isinstance(skipped, list)):
        return _Stamp()
    return _Stamp(digest, cast("dict[str, JSON]", files), tuple(str(name) for name in cast("list[object]", skipped)))


def _digest(files: Mapping[str, str]) -> str:
    total = hashlib.sha256()
    for path, text in files.items():
        total.update(f"{path}\0{len(text)}\0".encode())
        total.update(text.encode("utf-8", "replace"))
    return total.hexdigest()
