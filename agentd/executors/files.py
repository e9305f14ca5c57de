"""Writing a file inside a workspace whose content is not to be trusted."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from agentd.core.errors import PathRefused
from agentd.core.ids import new_id

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_RESERVED = {".git": "git's own", ".agentd": "agentd's own"}


def write_file(workspace: Path, path: str, text: str) -> int:
    """Write a file below the workspace, all of it or nothing; return its size in bytes.

    Folders are made as needed; the mode of a file that is replaced is kept. Raises `PathRefused` for a path that is
    absolute, has `..`, `.git` or `.agentd` in it, or goes through a symbolic link, and `OSError` when writing fails.
    """
    parts = _parts(path)
    content = as_utf8(text)
    folder = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            below = _enter(folder, part, path)
            os.close(folder)
            folder = below
        _replace(folder, parts[-1], content, path)
    finally:
        os.close(folder)
    return len(content)


def as_utf8(text: str) -> bytes:
    """Encode text: two halves of a character are put together, a half alone becomes U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def _parts(path: str) -> list[str]:
    if not path or "\0" in path or path.endswith("/"):
        raise PathRefused(f"{path!r} is not the name of a file")
    if path.startswith("/"):
        raise PathRefused(f"{path!r} is absolute; give a path relative to the workspace")
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise PathRefused(f"{path!r} is not text") from error
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise PathRefused(f"{path!r} has '..' in it")
    if not parts or path.endswith("/."):
        raise PathRefused(f"{path!r} is not the name of a file")
    for part in parts:
        owner = _RESERVED.get(part.casefold())
        if owner:
            raise PathRefused(f"{path!r}: {part} is {owner} folder")
    return parts


def _enter(folder: int, part: str, path: str) -> int:
    with contextlib.suppress(FileExistsError):
        os.mkdir(part, 0o755, dir_fd=folder)
    try:
        return os.open(part, _FOLDER, dir_fd=folder)
    except OSError as error:
        if stat.S_ISLNK(os.stat(part, dir_fd=folder, follow_symlinks=False).st_mode):
            raise PathRefused(f"{path!r}: {part} is a symbolic link") from error
        if isinstance(error, NotADirectoryError):
            raise PathRefused(f"{path!r}: {part} is a file") from error
        raise


def _replace(folder: int, name: str, content: bytes, path: str) -> None:
    mode = _mode_of(folder, name, path)
    draft = f".{new_id('draft')}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(draft, flags, 0o600, dir_fd=folder)
    try:
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(fd, left) :]
            os.fchmod(fd, mode)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(draft, dir_fd=folder)
        raise


def _mode_of(folder: int, name: str, path: str) -> int:
    try:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return 0o644
    if stat.S_ISLNK(mode):
        raise PathRefused(f"{path!r} is a symbolic link")
    if stat.S_ISDIR(mode):
        raise PathRefused(f"{path!r} is a folder")
    return stat.S_IMODE(mode) & 0o777 if stat.S_ISREG(mode) else 0o644
