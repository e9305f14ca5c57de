"""The transcript as bytes: what has been said is encoded once and joined, never walked again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from agentd.core.tools import JSON


def dumps(value: JSON) -> bytes:
    """Encode as compact UTF-8 JSON; lone surrogates, which UTF-8 cannot hold, stay escaped."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


class Transcript:
    """A request body whose list under `key` grows: `body()` costs one copy of its bytes, whatever its length.

    `params` is the rest of the body.
    """

    def __init__(self, key: str, params: Mapping[str, JSON], items: Sequence[JSON]) -> None:
        self._key = key
        self._params = {name: value for name, value in params.items() if name != key}
        self._buffer = bytearray(self._head())
        self._start = len(self._buffer)
        self._buffer += dumps(list(items))[1:-1]
        self._empty = not items

    def change(self, name: str, value: JSON) -> None:
        """Set a parameter of the later requests."""
        self._params[name] = value
        head = self._head()
        self._buffer[: self._start] = head
        self._start = len(head)

    def _head(self) -> bytes:
        head = dumps(self._params)[:-1] + (b"," if self._params else b"")
        return head + b'"' + self._key.encode() + b'":['

    def append(self, item: JSON) -> None:
        """Add one item at the end."""
        if not self._empty:
            self._buffer += b","
        self._empty = False
        self._buffer += dumps(item)

    def items(self) -> bytes:
        """Return the list's JSON without its brackets."""
        return bytes(self._buffer[self._start :])

    def precede(self, items: bytes) -> None:
        """Put items, as `items` returns them, before those that are there."""
        if items:
            self._buffer[self._start : self._start] = items if self._empty else items + b","
            self._empty = False

    def clear(self) -> None:
        """Drop all items."""
        del self._buffer[self._start :]
        self._empty = True

    def body(self) -> bytes:
        """Return the whole request body."""
        return bytes(self._buffer) + b"]}"
