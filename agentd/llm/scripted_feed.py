"""The way of a scripted answer over the wire: its pace, and what is made to go wrong with it."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from agentd.llm.scripted_http import Connection, CutOff, EventStream, head
from agentd.llm.scripted_script import Reply

BROKEN_EVENT = {
    "json": b'data: {"type":"response.output_text.delta","delta":"ab\n\n',
    "utf8": b'data: {"type":"response.output_text.delta","delta":"\xff\xfe"}\n\n',
    "array": b"data: [1,2]\n\n",
}
BROKEN_BODY = {
    "utf8": b'{"object":"\xff\xfe"}',
    "array": b"[1,2]",
    "html": b"<html><body>Bad gateway</body></html>",
    "end": b"",
}


class Feed:
    """A stream's events: `put` sends one, `delta` one that counts, is paced, and before which the script may cut."""

    def __init__(self, reply: Reply, stream: EventStream) -> None:
        self._reply = reply
        self._stream = stream
        self._deltas = 0

    def put(self, event: bytes) -> None:
        self._stream.put(event)

    def delta(self, event: bytes) -> None:
        if self._deltas == self._reply.cut_after:
            self._cut()
        self._stream.put(event)
        self._deltas += 1
        if self._deltas == 1:
            self._break()
        if self._reply.delay:
            self._stream.flush()
            self._stream.connection.wait(self._reply.delay)

    def hold(self, gate: threading.Event) -> None:
        """Send what there is, then wait for the script's gate."""
        self._stream.flush()
        self._stream.connection.hold(gate)

    def end(self) -> bool:
        """After the last delta: make go wrong what has not yet; say whether the answer is to be completed."""
        if self._reply.cut_after is not None:
            self._cut()
        if self._deltas == 0:
            self._break()
        return self._reply.malformed != "end"

    def _break(self) -> None:
        if self._reply.malformed in BROKEN_EVENT:
            self._stream.put(BROKEN_EVENT[self._reply.malformed])

    def _cut(self) -> None:
        self._stream.flush()
        raise CutOff


def send_whole(
    connection: Connection, reply: Reply, body: bytes, headers: Mapping[str, str], status: int = 200
) -> None:
    """Send an answer that is not a stream, broken where the script says so."""
    kind = "application/json"
    if reply.malformed == "json":
        body = body[: len(body) // 2]
    elif reply.malformed is not None:
        body = BROKEN_BODY[reply.malformed]
        kind = "text/html" if reply.malformed == "html" else kind
    if reply.raw_body is not None:
        body = reply.raw_body.encode() if isinstance(reply.raw_body, str) else reply.raw_body
    fields = {"Content-Type": kind, "Content-Length": str(len(body)), **headers}
    start = head(status, fields)
    if reply.cut_after is not None:
        connection.send(start + body[: len(body) // 2])
        raise CutOff
    connection.send(start + body)
