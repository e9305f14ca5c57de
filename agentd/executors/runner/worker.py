"""The process that Python blocks run in: forked ahead, told by a socket what to run."""

from __future__ import annotations

import _socket
import array
import os
import sys
from collections import deque
from collections.abc import Iterator
from types import ModuleType

from . import python
from .bindings import Bindings
from .processes import put_on
from .wire import SCM_RIGHTS, SOL_SOCKET, FrameReader, Header, pack, received_fds

_FD_SIZE = array.array("i").itemsize


class Worker:
    """The runner's side of such a process: its control socket and the blocks that wait for it."""

    def __init__(self, pid: int, sock: _socket.socket, digest: str, tag: int) -> None:
        self.pid = pid
        self.sock = sock
        self.digest = digest
        self.tag = tag
        self.reader = FrameReader()
        self.queue: deque[int] = deque()
        self.current = 0


def fork(mark: python.Mark, null: int, top: int, bindings: Bindings | None, digest: str) -> Worker:
    """Fork a process that waits for its first block."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM, 0)
    top = max(top, ours.fileno(), theirs.fileno())
    pid = os.fork()
    if pid == 0:
        try:
            control = python.become(mark, null, top, keep=theirs.fileno())
            _live(control, bindings)
        finally:
            os._exit(1)
    theirs.close()
    # Not by the process itself: it would put this mark over that of a block which it has been given meanwhile.
    put_on(pid, mark.tag)
    return Worker(pid, ours, digest, mark.tag)


def send(sock: _socket.socket, header: dict[str, object], payload: bytes, fds: tuple[int, ...]) -> None:
    """Send one frame with descriptors."""
    frame = memoryview(pack(header, payload))
    sent = sock.sendmsg([frame], [(SOL_SOCKET, SCM_RIGHTS, array.array("i", fds))] if fds else [])
    sock.sendall(frame[sent:])


def _frames(sock: _socket.socket) -> Iterator[tuple[Header, bytes, list[int]]]:
    reader = FrameReader()
    fds: list[int] = []
    while True:
        piece, ancillary, _, _ = sock.recvmsg(1 << 16, _socket.CMSG_SPACE(8 * _FD_SIZE), _socket.MSG_CMSG_CLOEXEC)
        if not piece:
            return
        fds += received_fds(ancillary)
        for header, payload in reader.feed(piece):
            count = header.integer("fds")
            yield header, payload, fds[:count]
            del fds[:count]


def _live(control: int, bindings: Bindings | None) -> None:
    """Run what comes: one block and be gone, or one after another in the same namespace."""
    sock = _socket.socket(fileno=control)
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    module = python.new_main()
    _touch(module)
    for header, payload, fds in _frames(sock):
        source = header.integer("source")
        if header.flag("rebind"):
            bindings = Bindings(payload[:source].decode(), python.shared_calls()) if source else None
        os.dup2(fds[0], 1)
        os.dup2(fds[0], 2)
        os.close(fds[0])
        tools = tuple(fds[1:])
        if tools:
            python.place_tools(tools)
        python.connect(bool(tools), bindings)
        if header.text("cwd"):
            os.chdir(header.text("cwd"))
        code = payload[source:].decode("utf-8", "surrogatepass")
        status = python.run(python.Task(code, header.table("env"), header.words("path"), bindings), module)
        if header.flag("once"):
            sock.close()
            status = python.wind_up(status)
            python.flush()
            os._exit(status)
        os.dup2(null, 1)
        os.dup2(null, 2)
        sock.sendall(pack({"code": status}))
    os._exit(python.wind_up(0))


def _touch(module: ModuleType) -> None:
    """Make the memory that every block writes to our own now: copying it, page by page, takes longer than a block."""
    task = python.Task("print(end='')\nx = [1]\ndef f(): pass\ndel x, f", dict(os.environ), list(sys.path), None)
    python.run(task, module)
    for _ in FrameReader().feed(pack({"env": task.env, "path": task.path})):
        continue
