"""Folders opened step by step without following a link, and files replaced in them whole."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress

from agentd.core.errors import PathRefused
from agentd.core.ids import new_id

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def inside(parent: int, names: Sequence[str], *, make: bool) -> Generator[int | None]:
    """Give the descriptor of the folder `names` below `parent`, `None` when there is none and `make` is false.

    What stands in the way of a folder to be made, as a link, is refused.
    """
    opened: list[int] = []
    try:
        current = parent
        for name in names:
            step = _open(current, name, make)
            if step is None:
                yield None
                return
            opened.append(step)
            current = step
        yield current
    finally:
        for descriptor in opened:
            os.close(descriptor)


def read(folder: int, name: str, limit: int) -> bytes | None:
    """Return the content of a regular file of at most `limit` bytes; `None` for all else."""
    try:
        descriptor = os.open(name, _READ, dir_fd=folder)
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > limit:
            return None
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(limit)
    finally:
        os.close(descriptor)


def replace(folder: int, name: str, content: bytes) -> None:
    """Give the file `name` this content at once; what stood there, be it a link, is gone."""
    temporary = f".{new_id('new')}"
    descriptor = os.open(temporary, _WRITE, 0o644, dir_fd=folder)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError as error:
        os.unlink(temporary, dir_fd=folder)
        if isinstance(error, IsADirectoryError):
            raise PathRefused(f"{name} is a folder where a generated file belongs; remove it") from error
        raise


def state_of(folder: int, path: str) -> list[int] | None:
    """Return size, time of change and inode of a file, `None` when it is none."""
    try:
        found = os.lstat(path, dir_fd=folder)
    except (OSError, ValueError):
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ino] if stat.S_ISREG(found.st_mode) else None


def _open(parent: int, name: str, make: bool) -> int | None:
    try:
        return os.open(name, _FOLDER, dir_fd=parent)
    except FileNotFoundError:
        if not make:
            return None
    except OSError as error:
        if not make:
            return None
        raise PathRefused(f"{name} is not a folder of the workspace itself but a link or a file; remove it") from error
    with suppress(FileExistsError):  # made by somebody else meanwhile
        os.mkdir(name, dir_fd=parent)
    return os.open(name, _FOLDER, dir_fd=parent)
