"""A bare HTTP server on the loopback, for any provider's API: it keeps each request and answers with given bytes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Raw:
    """One answer."""

    content: bytes
    kind: str = "application/json"


def whole(answer: Any) -> Raw:
    """Return an answer that is one JSON value."""
    return Raw(json.dumps(answer).encode())


def events(*chunks: Any, done: bool = True) -> Raw:
    """Return a stream of server-sent events, with the `[DONE]` of OpenAI's APIs at its end."""
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks] + ["data: [DONE]\n\n"] * done
    return Raw("".join(lines).encode(), "text/event-stream")


def json_lines(*chunks: Any) -> Raw:
    """Return a stream of JSON values, one a line."""
    return Raw("".join(json.dumps(chunk) + "\n" for chunk in chunks).encode(), "application/x-ndjson")


class RawServer:
    """Answers every request with what was last given to `say`."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self._answer = whole({})
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                server.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                server.headers.append({name.lower(): value for name, value in self.headers.items()})
                answer = server._answer
                self.send_response(200)
                self.send_header("content-type", answer.kind)
                self.send_header("content-length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def say(self, answer: Raw) -> None:
        self._answer = answer

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@contextmanager
def raw_server() -> Iterator[RawServer]:
    """Run a server for the length of the block."""
    server = RawServer()
    try:
        yield server
    finally:
        server.close()
