"""The socket that blocks come to for their tools: who is let in, and who is not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentd.core.errors import ExecutorUnavailable
from agentd.executors.doorway import Doorway

ANSWER = b'{"ok": true, "value": 1}'


class One:
    def call(self, request: bytes) -> bytes:
        return ANSWER


@pytest.fixture
async def doorway() -> AsyncIterator[Doorway]:
    made = Doorway()
    yield made
    made.close()
    assert not made.folder.exists()


async def connected(doorway: Doorway) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.setblocking(False)
    for _ in range(10_000):
        with contextlib.suppress(BlockingIOError):  # its queue is full
            sock.connect(str(doorway.path))
            return sock
        await asyncio.sleep(0.001)
    raise AssertionError("nobody accepts")


async def said(doorway: Doorway, words: bytes) -> bytes:
    """Return what somebody is answered who says this."""
    with await connected(doorway) as sock:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(20):
            with contextlib.suppress(ConnectionError):
                await loop.sock_sendall(sock, words)
                return await loop.sock_recv(sock, 1000)
    return b""


async def test_a_key_opens_once_and_nothing_else_does(doorway: Doorway) -> None:
    ticket = doorway.issue(One())
    for words in (b"\n", b"x\n", b"net 1\n", ticket.key[:-1].encode() + b"\n", b"\xff\n", b"x" * 1000):
        assert await said(doorway, words + b"{}\n") == b""
    assert await said(doorway, f"{ticket.key}\n{{}}\n".encode()) == ANSWER + b"\n"
    assert await said(doorway, f"{ticket.key}\n{{}}\n".encode()) == b""
    revoked = doorway.issue(One())
    revoked.end()
    assert await said(doorway, f"{revoked.key}\n{{}}\n".encode()) == b""
    ticket.end()


async def test_those_who_say_nothing_keep_nobody_out(doorway: Doorway) -> None:
    silent = [await connected(doorway) for _ in range(300)]
    ticket = doorway.issue(One())
    assert await said(doorway, f"{ticket.key}\n{{}}\n".encode()) == ANSWER + b"\n"
    ticket.end()
    for sock in silent:
        sock.close()


async def test_the_last_descriptors_are_the_programs_own(doorway: Doorway, monkeypatch: pytest.MonkeyPatch) -> None:
    ticket = doorway.issue(One())
    monkeypatch.setattr(resource, "getrlimit", lambda _: (4, 4))
    assert await said(doorway, f"{ticket.key}\n{{}}\n".encode()) == b""
    monkeypatch.undo()
    assert await said(doorway, f"{ticket.key}\n{{}}\n".encode()) == ANSWER + b"\n"
    ticket.end()


async def test_without_any_descriptor_it_waits_and_does_not_spin(doorway: Doorway) -> None:
    ticket = doorway.issue(One())
    accepts = 0
    accept = doorway._accept

    def counted() -> None:
        nonlocal accepts
        accepts += 1
        accept()

    asyncio.get_running_loop().add_reader(doorway._sock, counted)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    with await connected(doorway) as sock:
        sock.sendall(f"{ticket.key}\n{{}}\n".encode())
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limit[1]))
        try:
            await asyncio.sleep(0.3)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        assert accepts == 1
        async with asyncio.timeout(20):
            assert await asyncio.get_running_loop().sock_recv(sock, 1000) == ANSWER + b"\n"
    ticket.end()


async def test_a_block_that_leaves_before_its_answer_is_no_error(
    doorway: Doorway, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    ticket = doorway.issue(One())
    with await connected(doorway) as sock:
        sock.sendall(f"{ticket.key}\n{{}}\n".encode())
        async with asyncio.timeout(20):
            await _readable(sock)  # and left there
    async with asyncio.timeout(20):
        for thread in [one for one in threading.enumerate() if one.name == "agentd-tools"]:
            await asyncio.to_thread(thread.join)
    assert failed == []
    ticket.end()


async def _readable(sock: socket.socket) -> None:
    ready = asyncio.Event()
    asyncio.get_running_loop().add_reader(sock, ready.set)
    await ready.wait()
    asyncio.get_running_loop().remove_reader(sock)


async def test_what_cannot_be_made_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made: list[Path] = []

    def elsewhere(kind: str, room: int) -> Path:
        made.append(tmp_path / ("x" * 100))
        made[0].mkdir()
        return made[0] / "gone"

    monkeypatch.setattr("agentd.executors.scratch.make", elsewhere)
    with pytest.raises((ExecutorUnavailable, OSError)) as caught:
        Doorway()
    assert isinstance(caught.value, ExecutorUnavailable), caught.value
    assert "no socket can be made at" in str(caught.value)


def test_who_forgets_to_close_leaves_no_folder() -> None:
    code = (
        "import asyncio\nfrom agentd.executors.doorway import Doorway\n"
        "async def main():\n    global kept\n    kept = Doorway()\n    print(kept.folder)\nasyncio.run(main())"
    )
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        env = {**os.environ, "TMPDIR": folder}
        told = subprocess.check_output([sys.executable, "-c", code], text=True, env=env).strip()
        assert told.startswith(folder)
        assert os.listdir(folder) == []
