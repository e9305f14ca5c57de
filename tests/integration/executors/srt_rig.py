"""What the tests of the srt back end share: the installed package and copies of it, its processes, a server."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from agentd.executors.runner.processes import descendants
from agentd.executors.srt import SrtExecutor

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "tools" / "node_modules" / "@anthropic-ai" / "sandbox-runtime"
USER = 1000


def need_srt() -> None:
    """Skip where srt cannot run, with the reason."""
    probe = SrtExecutor.probe(PACKAGE)
    if not probe.ok:
        pytest.skip(f"not installable: {probe.reason}")


def name_of(pid: int) -> str:
    """Return what a process of a sandbox is: `keeper`, or its program (`node`, `socat`); empty when it is gone."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return ""
    if any(word.endswith("srt_keeper.py") for word in words):
        return "keeper"
    return os.path.basename(words[0])


def parts(root: int) -> dict[int, str]:
    """Return the living processes of the sandboxes below a process, with what they are."""
    keepers = [one.pid for one in descendants(root) if name_of(one.pid) == "keeper"]
    found = {pid: name_of(pid) for keeper in keepers for pid in (keeper, *(one.pid for one in descendants(keeper)))}
    return {pid: name for pid, name in found.items() if name}


def part(root: int, wanted: str) -> int:
    """Return the first process of that name in a sandbox below a process."""
    return min(pid for pid, name in parts(root).items() if name == wanted)


def left_of(pids: dict[int, str], seconds: float = 5.0) -> dict[int, str]:
    """Wait until none of these processes lives; return those that still do."""
    deadline = time.monotonic() + seconds
    left = pids
    while left and time.monotonic() < deadline:
        left = {pid: name for pid, name in pids.items() if _lives(pid) and name_of(pid) == name}
        time.sleep(0.01)
    return left


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def files_left(folder: Path, seconds: float = 5.0) -> list[str]:
    """Wait until a folder is empty; return what is still in it."""
    deadline = time.monotonic() + seconds
    while (left := os.listdir(folder)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return left


@contextmanager
def server() -> Iterator[int]:
    """Run an HTTP server on this machine that answers `hello`; yield its port."""
    site = ThreadingHTTPServer(("127.0.0.1", 0), _Hello)
    thread = Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield site.server_port
    finally:
        site.shutdown()
        site.server_close()
        thread.join()


class _Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name in the base class
        """Say nothing."""


def package(folder: Path, library: str, version: str = "0.0.83") -> Path:
    """Make a package with another library in it, but srt's own helper; `REAL` stands for srt's library."""
    (folder / "dist").mkdir(parents=True)
    manifest = f'{{"name": "@anthropic-ai/sandbox-runtime", "version": "{version}", "type": "module"}}'
    (folder / "package.json").write_text(manifest)
    real = (PACKAGE / "dist" / "index.js").as_uri()
    (folder / "dist" / "index.js").write_text(library.replace("REAL", real))
    shutil.copytree(PACKAGE / "vendor" / "seccomp", folder / "vendor" / "seccomp")
    return folder
