"""Scripts that run outside of the agent's own blocks call tools over HTTP."""

from __future__ import annotations

import json
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from agentd.bridge.client import call
from agentd.skills import Catalogue, bindings, install
from tests.fakes.catalogues import spec


class Handler(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, answer = self.answer(self.path, self.headers["Authorization"] or "", json.loads(body))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(answer)

    def answer(self, path: str, authorization: str, arguments: object) -> tuple[int, bytes]:
        if authorization != "Bearer secret":
            return 401, b'{"error": "wrong token"}'
        named = path.rpartition("/")[2]
        canned = {
            "fail": (200, b'{"ok": false, "error": "no such file"}'),
            "crash": (502, b"<html>"),
            "list": (200, b"[]"),
        }
        said = json.dumps({"ok": True, "value": [path, arguments]}).encode()
        return canned.get(named, (200, said))

    def address_string(self) -> str:
        return "client"

    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002  # the name of the base class


class UnixServer(socketserver.UnixStreamServer):
    pass


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(params=["socket", "url", "url with path", "dead socket, then url"])
def bridge(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("AGENTD_BRIDGE_TOKEN", "secret")
    path = tmp_path / "bridge.sock"
    if request.param == "socket":
        monkeypatch.setenv("AGENTD_BRIDGE_SOCKET", str(path))
        with serving(UnixServer(str(path), Handler)):
            yield ""
        return
    if "dead" in request.param:
        monkeypatch.setenv("AGENTD_BRIDGE_SOCKET", str(path))
    server = HTTPServer(("127.0.0.1", 0), Handler)
    prefix = "/a/b" if "path" in request.param else ""
    monkeypatch.setenv("AGENTD_BRIDGE_URL", f"http://127.0.0.1:{server.server_port}{prefix}/")
    with serving(server):
        yield prefix


def test_answers(bridge: str) -> None:
    assert call("add", {"a": 1, "b": "é"}) == {"ok": True, "value": [f"{bridge}/call/add", {"a": 1, "b": "é"}]}
    assert call("a/../b c", {})["value"] == [f"{bridge}/call/a%2F..%2Fb%20c", {}]
    assert call("fail", {}) == {"ok": False, "error": "no such file"}
    assert call("crash", {}) == {"ok": False, "error": "the bridge answered HTTP 502: <html>"}
    assert call("list", {}) == {"ok": False, "error": "the bridge answered HTTP 200: []"}


def test_a_wrong_token(bridge: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTD_BRIDGE_TOKEN", "guess")
    assert call("add", {}) == {"ok": False, "error": "wrong token"}


def test_arguments_that_are_not_json_are_not_sent(bridge: str) -> None:
    with pytest.raises(TypeError, match="JSON serializable"):
        call("add", {"a": Path("x")})


def test_a_plain_script_and_an_example_call_tools(bridge: str, tmp_path: Path) -> None:
    catalogue = Catalogue.of(
        [spec("get-x", "mcp-server-s", ("path",), path={"type": "string"}), spec("fail", "mcp-server-s")]
    )
    install(catalogue, tmp_path)
    (tmp_path / "script.py").write_text(
        "from pathlib import Path\nfrom lib.tools import ToolError, fail, get_x\nprint(get_x(Path('p')))\n"
        "try:\n    fail()\nexcept ToolError as error:\n    print('failed:', error)\n"
    )
    found = bindings(catalogue, tmp_path)
    env = {**os.environ, "PYTHONPATH": found.python_dirs[0], "PATH": f"{found.bin_dirs[0]}:{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"['{bridge}/call/get-x', {{'path': 'p'}}]\nfailed: no such file\n"
    command = ["skills", "run", "s", "get_x_example.py"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [f"{bridge}/call/get-x", {"path": "example.txt"}]
    done = subprocess.run(
        [*command, '{"path": "q"}'], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)[1] == {"path": "q"}


def test_without_a_bridge(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "neither AGENTD_BRIDGE_SOCKET nor" in str(call("add", {})["error"])
    monkeypatch.setenv("AGENTD_BRIDGE_SOCKET", str(tmp_path / "none.sock"))
    assert str(call("add", {})["error"]).startswith("the bridge cannot be reached: FileNotFoundError")
    monkeypatch.delenv("AGENTD_BRIDGE_SOCKET")
    for url in ("ftp://x", "https://127.0.0.1:1", "nonsense"):
        monkeypatch.setenv("AGENTD_BRIDGE_URL", url)
        assert "must be http://host:port" in str(call("add", {})["error"])
