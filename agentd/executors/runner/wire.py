"""Frames between host and runner: two lengths, a JSON header, raw bytes.

What comes from a sandbox is checked when it is read: a field of another type than asked for is a `FrameError`.
"""

from __future__ import annotations

import _socket
import array
import struct
from collections.abc import Iterator, Mapping

from .jsons import decode, encode

TYPE_CHECKING = False  # `typing` takes a millisecond of every start
if TYPE_CHECKING:
    from typing import cast
else:

    def cast(_kind, value):
        return value


LENGTHS = struct.Struct("!II")
MAX_HEADER = 16 << 20
MAX_PAYLOAD = 512 << 20
BINDINGS_KEPT = 8
SOL_SOCKET, SCM_RIGHTS = _socket.SOL_SOCKET, _socket.SCM_RIGHTS
_FD_SIZE = array.array("i").itemsize


class FrameError(Exception):
    """The other end sent something that is not a frame."""


class Header:
    """The fields of a frame, read by type."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, object]) -> None:
        self._fields = fields

    def text(self, name: str) -> str:
        value = self._fields.get(name, "")
        if not isinstance(value, str):
            raise FrameError(name)
        return value

    def integer(self, name: str) -> int:
        value = self._fields.get(name, 0)
        if not isinstance(value, int) or isinstance(value, bool):
            raise FrameError(name)
        return value

    def number(self, name: str) -> float:
        value = self._fields.get(name, 0.0)
        if not isinstance(value, (int, float)):
            raise FrameError(name)
        return float(value)

    def flag(self, name: str) -> bool:
        return self._fields.get(name) is True

    def words(self, name: str) -> list[str]:
        return [_word(name, item) for item in _list(name, self._fields.get(name, []))]

    def table(self, name: str) -> dict[str, str]:
        return {key: _word(name, item) for key, item in _table(name, self._fields.get(name, {})).items()}

    def integers(self, name: str) -> dict[str, int]:
        return {key: _whole(name, item) for key, item in _table(name, self._fields.get(name, {})).items()}

    def pairs(self, name: str) -> dict[str, tuple[int, int]]:
        return {key: _pair(name, item) for key, item in _table(name, self._fields.get(name, {})).items()}

    def section(self, name: str) -> Header | None:
        """Return the fields of a table; `None` when there is none."""
        return Header(_table(name, self._fields[name])) if name in self._fields else None

    def __contains__(self, name: str) -> bool:
        return name in self._fields


def _list(name: str, value: object) -> list[object]:
    if not isinstance(value, list):
        raise FrameError(name)
    return cast("list[object]", value)


def _table(name: str, value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise FrameError(name)
    return cast("dict[str, object]", value)


def _word(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise FrameError(name)
    return value


def _whole(name: str, value: object) -> int:
    if not isinstance(value, int):
        raise FrameError(name)
    return value


def _pair(name: str, value: object) -> tuple[int, int]:
    items = _list(name, value)
    if len(items) != 2:
        raise FrameError(name)
    return _whole(name, items[0]), _whole(name, items[1])


def pack(header: Mapping[str, object], payload: bytes = b"") -> bytes:
    """Return one frame."""
    head = encode(header).encode()
    return b"".join((LENGTHS.pack(len(head), len(payload)), head, payload))


class FrameReader:
    """Puts frames together from whatever pieces they arrive in."""

    def __init__(self, most: int = MAX_PAYLOAD) -> None:
        self._data = bytearray()
        self._most = most

    def feed(self, piece: bytes) -> Iterator[tuple[Header, bytes]]:
        """Yield the frames that are complete with this piece; raises `FrameError` for what cannot be one."""
        self._data += piece
        while len(self._data) >= LENGTHS.size:
            head, body = LENGTHS.unpack_from(self._data)
            if head > MAX_HEADER or body > self._most:
                raise FrameError("too long")
            end = LENGTHS.size + head + body
            if len(self._data) < end:
                return
            fields = _object(self._data[LENGTHS.size : LENGTHS.size + head])
            payload = bytes(self._data[LENGTHS.size + head : end])
            del self._data[:end]
            yield Header(fields), payload


def _object(text: bytes | bytearray) -> dict[str, object]:
    try:
        value = decode(text.decode())
    except ValueError as error:
        raise FrameError(str(error)) from error
    return _table("not an object", value)


def received_fds(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    """Return the descriptors that came with a message."""
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % _FD_SIZE])
    return list(fds)
