"""Bounded buffers for what a server prints."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_EDGE = 4096
_ID_AT_START = re.compile(rb'^\s*\{\s*"jsonrpc"\s*:\s*"2\.0"\s*,\s*"id"\s*:\s*(\d+|"[^"\\]{1,100}")\s*,')
_ID_AT_END = re.compile(rb'"id"\s*:\s*(\d+|"[^"\\]{1,100}")\s*\}\s*$')


@dataclass(frozen=True, slots=True)
class LongLine:
    """A line over the limit: its two ends and its size."""

    head: bytes
    tail: bytes
    size: int

    def answers(self) -> set[str | int]:
        """Return the ids that stand where a JSON-RPC response has its own."""
        found = [match[1] for match in (_ID_AT_START.search(self.head), _ID_AT_END.search(self.tail)) if match]
        return {text[1:-1].decode() if text.startswith(b'"') else int(text) for text in found}


class LineSplitter:
    """Cuts a stream of bytes into lines, in linear time and bounded memory."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._head = b""
        self._tail = b""

    def feed(self, data: bytes) -> Iterator[bytes | LongLine]:
        """Yield the lines that `data` completes, without their newlines."""
        *complete, rest = data.split(b"\n")
        for piece in complete:
            self._take(piece)
            yield self._flush()
        self._take(rest)

    def _take(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= self._limit:
            if piece:
                self._parts.append(piece)
            return
        if self._parts:
            whole = b"".join(self._parts)
            self._head, self._tail = whole[:_EDGE], whole[-_EDGE:]
            self._parts.clear()
        elif not self._head:
            self._head = piece[:_EDGE]
        self._tail = (self._tail + piece[-_EDGE:])[-_EDGE:]

    def _flush(self) -> bytes | LongLine:
        if self._size > self._limit:
            line: bytes | LongLine = LongLine(self._head, self._tail, self._size)
        else:
            line = b"".join(self._parts)
        self._parts.clear()
        self._size, self._head, self._tail = 0, b"", b""
        return line


class Tail:
    """The last 64 KB of what a server wrote to its standard error."""

    def __init__(self, limit: int = 1 << 16) -> None:
        self._limit = limit
        self._data = bytearray()

    def add(self, data: bytes) -> None:
        """Append `data` and forget what is over the limit, from the start."""
        self._data += data
        if len(self._data) > self._limit:
            del self._data[: -self._limit]

    def note(self, text: str) -> None:
        """Append one line of text."""
        self.add(text.encode("utf-8", "replace") + b"\n")

    def last_lines(self, count: int = 10, width: int = 500) -> str:
        """Return the last lines that are not blank, each cut at `width` characters."""
        lines = [line for line in self._data.decode("utf-8", "replace").splitlines() if line.strip()]
        return "\n".join(line[:width] for line in lines[-count:])

    def __len__(self) -> int:
        return len(self._data)
