"""Calls tools over HTTP from any Python process that the agent's code starts. Standard library only.

This file is copied into the workspace as `lib/_bridge.py`. It finds the bridge by `AGENTD_BRIDGE_SOCKET` (a Unix
socket) or `AGENTD_BRIDGE_URL`, and shows it `AGENTD_BRIDGE_TOKEN`.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Mapping
from typing import cast
from urllib.parse import quote, urlsplit

_CONNECT_SECONDS = 10.0


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_CONNECT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def call(tool: str, arguments: Mapping[str, object]) -> dict[str, object]:
    """Return the bridge's answer, `{"ok": true, "value": …}` or `{"ok": false, "error": text}`.

    A bridge that cannot be reached is such an error too. An argument that is not JSON raises `TypeError` before
    anything is sent. There is no limit to how long a tool may take.
    """
    body = json.dumps(arguments).encode()
    connection: http.client.HTTPConnection | None = None
    try:
        connection, base = _connected()
        connection.request("POST", f"{base}/call/{quote(tool, safe='')}", body, _headers())
        response = connection.getresponse()
        return _answer(response.status, response.read())
    except ValueError as error:
        return _error(str(error))
    except (OSError, http.client.HTTPException) as error:
        return _error(f"the bridge cannot be reached: {type(error).__name__}: {error}")
    finally:
        if connection is not None:
            connection.close()


def _connected() -> tuple[http.client.HTTPConnection, str]:
    """Return a connection, and the path under which the bridge answers on it.

    The socket is tried first: it is the one that no other user of the machine can reach. Some sandboxes have none.
    """
    path, url = os.environ.get("AGENTD_BRIDGE_SOCKET"), os.environ.get("AGENTD_BRIDGE_URL")
    if not path and not url:
        raise ValueError(
            "tools cannot be called from here: neither AGENTD_BRIDGE_SOCKET nor AGENTD_BRIDGE_URL is set; "
            "run this from the agent's own code"
        )
    if path:
        try:
            return _open(_UnixConnection(path)), ""
        except OSError:
            if not url:
                raise
    parts = urlsplit(url or "")
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"AGENTD_BRIDGE_URL must be http://host:port, not {url!r}")
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=_CONNECT_SECONDS)
    return _open(connection), parts.path.rstrip("/")


def _open(connection: http.client.HTTPConnection) -> http.client.HTTPConnection:
    try:
        connection.connect()
    except OSError:
        connection.close()
        raise
    connection.sock.settimeout(None)
    return connection


def _headers() -> dict[str, str]:
    token = os.environ.get("AGENTD_BRIDGE_TOKEN", "")
    return {"Content-Type": "application/json", "Authorization": f"Bearer {token}", "Connection": "close"}


def _answer(status: int, body: bytes) -> dict[str, object]:
    try:
        answer: object = json.loads(body)
    except ValueError:
        answer = None
    if isinstance(answer, dict) and "ok" in answer:
        return cast("dict[str, object]", answer)
    if isinstance(answer, dict) and isinstance(text := cast("dict[str, object]", answer).get("error"), str):
        return _error(text)
    return _error(f"the bridge answered HTTP {status}: {body[:200].decode(errors='replace')}")


def _error(text: str) -> dict[str, object]:
    return {"ok": False, "error": text}
