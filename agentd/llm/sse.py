"""Server-sent events, split and parsed as bytes. Source: WHATWG HTML, 9.2 Server-sent events."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from agentd.core.errors import MalformedReply
from agentd.core.tools import JSON

_SHOWN = 200
_BLANKS = (b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n")


class SseParser:
    """Turns the bytes of a stream, however they are cut, into the JSON objects of its `data` fields.

    `done` is set by the `[DONE]` that ends a Chat Completions stream; what follows it is ignored.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._searched = 0
        self.done = False

    def feed(self, chunk: bytes) -> Iterable[dict[str, JSON]]:
        """Give the objects that are complete now, each parsed when it is asked for."""
        rest = self._rest
        rest += chunk
        end = self._end()
        if not end:
            self._searched = max(0, len(rest) - 3)
            return ()
        whole = bytes(rest[:end])
        del rest[:end]
        self._searched = 0
        return self._events(whole)

    def _end(self) -> int:
        """Return where the last complete event ends, 0 when none does. No byte is searched twice."""
        found = ((self._rest.rfind(blank, self._searched), len(blank)) for blank in _BLANKS)
        return max((at + length for at, length in found if at >= 0), default=0)

    def close(self) -> Iterable[dict[str, JSON]]:
        """The stream has ended: give what its last event holds, though no blank line followed it."""
        whole = bytes(self._rest)
        self._rest.clear()
        return self._events(whole) if whole.strip().endswith((b"}", b"]")) else ()

    def _events(self, whole: bytes) -> Iterator[dict[str, JSON]]:
        lines: list[bytes] = []
        for line in whole.splitlines():
            if line.startswith(b"data:"):
                lines.append(line[6:] if line[5:6] == b" " else line[5:])
            elif not line and lines:
                yield from self._event(lines)
                lines = []
        if lines:
            yield from self._event(lines)

    def _event(self, lines: list[bytes]) -> tuple[dict[str, JSON], ...]:
        data = lines[0] if len(lines) == 1 else b"\n".join(lines)
        if self.done or data.startswith(b"[DONE]"):
            self.done = True
            return ()
        return (parse_object(data),)


def parse_object(data: bytes) -> dict[str, JSON]:
    """Parse one JSON object, or raise `MalformedReply` that shows where it went wrong."""
    try:
        value = json.loads(data)
    except ValueError as error:
        shown = data[:_SHOWN].decode(errors="replace")
        raise MalformedReply(f"it is not JSON ({error}): {shown!r}") from error
    if not isinstance(value, dict):
        raise MalformedReply(f"it is not a JSON object: {data[:_SHOWN].decode(errors='replace')!r}")
    return value  # pyright: ignore[reportUnknownVariableType]
