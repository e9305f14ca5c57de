"""A bare Messages API (Anthropic's) on the loopback: it keeps each request as it came and says what it is told to."""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOLD_SECONDS = 30.0


@dataclass
class Said:
    """One answer: content blocks, whole or as a stream, or with a `status` from 400 on an error.

    `ends` says whether a stream has its closing events. After the content it waits for `release`, before the head for
    `head`. `events` are sent instead of the opening ones, for a client that thinks this is another API.
    """

    content: Sequence[dict[str, Any]] = ({"type": "text", "text": "Well."},)
    status: int = 200
    error: dict[str, Any] = field(default_factory=dict[str, Any])
    headers: dict[str, str] = field(default_factory=dict[str, str])
    usage: dict[str, int] = field(default_factory=lambda: {"input_tokens": 11, "output_tokens": 5})
    stop: str = "end_turn"
    ends: bool = True
    head: threading.Event | None = None
    release: threading.Event | None = None
    events: Sequence[dict[str, Any]] | None = None


@dataclass
class Asked:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class MessagesServer:
    """Answers with what `say` was given, in its order. `left` is set when a client hangs up on a held answer."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.arrived = threading.Event()
        self.left = threading.Event()
        self._answers: list[Said] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                server.asked.append(Asked(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                server.arrived.set()
                server._answer(self, server._answers.pop(0), bool(body.get("stream")))

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def say(self, *answers: Said) -> None:
        """Add answers to what is still to be said."""
        self._answers += answers

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def _answer(self, http: BaseHTTPRequestHandler, said: Said, stream: bool) -> None:
        if said.head is not None and not self._hold(http.connection, said.head):
            return
        if said.status >= 400:
            self._send(http, said, "application/json", json.dumps({"type": "error", "error": said.error}).encode())
        elif not stream:
            whole = {**_message(said), "content": list(said.content), "stop_reason": said.stop}
            self._send(http, said, "application/json", json.dumps(whole).encode())
        else:
            self._stream(http, said)

    def _send(self, http: BaseHTTPRequestHandler, said: Said, kind: str, body: bytes) -> None:
        http.send_response(said.status)
        for name, value in {**said.headers, "content-type": kind, "content-length": str(len(body))}.items():
            http.send_header(name, value)
        http.end_headers()
        http.wfile.write(body)

    def _stream(self, http: BaseHTTPRequestHandler, said: Said) -> None:
        http.send_response(said.status)
        for name, value in {**said.headers, "content-type": "text/event-stream", "connection": "close"}.items():
            http.send_header(name, value)
        http.end_headers()
        http.close_connection = True
        for event in said.events if said.events is not None else _opening(said):
            http.wfile.write(_sse(event))
        http.wfile.flush()
        if said.release is not None and not self._hold(http.connection, said.release):
            return
        for event in _closing(said) if said.ends else ():
            http.wfile.write(_sse(event))

    def _hold(self, connection: socket.socket, until: threading.Event) -> bool:
        """Wait for the event, and meanwhile notice a client that goes away."""
        for _ in range(int(HOLD_SECONDS / 0.01)):
            if until.wait(0.01):
                return True
            if select.select([connection], [], [], 0)[0] and not connection.recv(1, socket.MSG_PEEK):
                self.left.set()
                return False
        return True


@contextmanager
def messages_server() -> Iterator[MessagesServer]:
    """Run a server for the length of the block."""
    server = MessagesServer()
    try:
        yield server
    finally:
        server.close()


def _message(said: Said) -> dict[str, Any]:
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-test", "stop_sequence": None}
    return {**head, "content": [], "stop_reason": None, "usage": said.usage}


def _opening(said: Said) -> Iterator[dict[str, Any]]:
    yield {"type": "message_start", "message": _message(said)}
    for index, block in enumerate(said.content):
        start, deltas = _pieces(block)
        yield {"type": "content_block_start", "index": index, "content_block": start}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}


def _pieces(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return how a block starts, and the deltas that make it whole."""
    if block["type"] == "text":
        return {"type": "text", "text": ""}, [{"type": "text_delta", "text": block["text"]}]
    if block["type"] == "thinking":
        signature = {"type": "signature_delta", "signature": block["signature"]}
        deltas = [{"type": "thinking_delta", "thinking": half} for half in _halves(block["thinking"])]
        return {"type": "thinking", "thinking": "", "signature": ""}, [*deltas, signature]
    if block["type"] == "tool_use":
        deltas = [{"type": "input_json_delta", "partial_json": half} for half in _halves(json.dumps(block["input"]))]
        return {**block, "input": {}}, deltas
    return block, []


def _halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]


def _closing(said: Said) -> Iterator[dict[str, Any]]:
    yield {"type": "message_delta", "delta": {"stop_reason": said.stop, "stop_sequence": None}, "usage": said.usage}
    yield {"type": "message_stop"}


def _sse(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
