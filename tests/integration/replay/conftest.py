from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@dataclass
class Service:
    """An HTTP service of any kind on the loopback: counts what came, and answers with what it is told."""

    url: str = ""
    came: list[str] = field(default_factory=list)
    answer: str = '{"ok": true}'
    kind: str = "application/json"
    go_on: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            made.came.append(f"{self.command} {self.path} {body.decode()}")
            if self.path == "/endless":
                self.endless()
                return
            text = made.answer.replace("NUMBER", str(len(made.came))).encode()
            self.send_response(200)
            self.send_header("content-type", made.kind)
            self.send_header("set-cookie", "session=cookie-of-the-server-1234")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def endless(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            self.wfile.write(b"data: first\n\n")
            made.go_on.wait(30)

        do_GET = do_POST = handle_any  # noqa: N815 - http.server's names

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    made.go_on.set()
    server.shutdown()
    server.server_close()
    thread.join(5)


def chat_answer(text: str) -> str:
    """Return a Chat Completions answer."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]})
