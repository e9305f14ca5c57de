"""The host's end of a block's tool calls: two pipes or a socket, and a thread only once the block calls."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import queue
import select
import socket
import threading
from typing import Protocol

from agentd.core.protocols import Door

MAX_REQUEST = 64 << 20
AT_ONCE = 64
_PIECE = 1 << 16


class Ends(Protocol):
    """The host's two ends of the way: requests come by one descriptor, answers are written to the other."""

    requests: int
    answers: int

    def read(self, most: int) -> bytes:
        """Wait for requests and return what there is of them; nothing when there will be none, or by `wake`."""
        ...

    def write(self, data: bytes | memoryview) -> int:
        """Write what there is room for; raises `BlockingIOError` when there is none."""
        ...

    def wake(self) -> None:
        """Have who waits for requests, or will, read nothing."""
        ...

    def close(self) -> None: ...


class PipeEnds:
    """Two pipes, whose other ends a block inherits."""

    def __init__(self) -> None:
        self.requests, their_requests = os.pipe()
        their_answers, self.answers = os.pipe()
        self.theirs = their_requests, their_answers
        os.set_blocking(self.requests, False)
        os.set_blocking(self.answers, False)
        # What is in a pipe a block can take out again, the end of it too; this one it has no end of.
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._kept = os.dup(their_requests)  # nobody has to look when the block's own end is closed
        self._poll = select.poll()
        for fd in (self.requests, self._bell):
            self._poll.register(fd, select.POLLIN)

    def read(self, most: int) -> bytes:
        while True:
            if any(fd == self._bell for fd, _ in self._poll.poll()):
                return b""
            with contextlib.suppress(BlockingIOError):
                return os.read(self.requests, most)

    def write(self, data: bytes | memoryview) -> int:
        return os.write(self.answers, data)

    def wake(self) -> None:
        os.eventfd_write(self._bell, 1)

    def close(self) -> None:
        for fd in (self.requests, self.answers, self._bell, self._kept):
            os.close(fd)


class SocketEnds:
    """One socket for both ways, that the block's side has connected."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(True)
        self._sock = sock
        self.requests = self.answers = sock.fileno()

    def read(self, most: int) -> bytes:
        return os.read(self.requests, most)

    def write(self, data: bytes | memoryview) -> int:
        return self._sock.send(data, socket.MSG_DONTWAIT)

    def wake(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        self._sock.close()


class ToolPipe:
    """Reads requests of one block, hands them to its door, and writes the answers.

    Requests come one at a time and are answered in the reading thread. Those with a number come from several threads
    of the block, and are answered by as many threads here.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, door: Door, ends: Ends) -> None:
        self._loop = loop
        self._door = door
        self._ends = ends
        self._requests = ends.requests
        self._read = ends.read
        self._write = ends.write
        self._ended = False
        self._threaded = False
        self._writing = threading.Lock()
        self._counting = threading.Lock()
        self._apart: queue.SimpleQueue[tuple[bytes, bytes] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._helpers = 0
        self._open = 1
        loop.add_reader(self._requests, self._first)

    def end(self) -> None:
        """Answer nothing more."""
        if self._ended:
            return
        self._ended = True
        if not self._threaded:
            self._loop.remove_reader(self._requests)
            self._release()
            return
        with self._counting:
            if self._open:
                self._ends.wake()  # what reads sees `_ended` after that

    def _first(self) -> None:
        self._loop.remove_reader(self._requests)
        self._threaded = True
        threading.Thread(target=self._serve, name="agentd-tools", daemon=True).start()

    def _serve(self) -> None:
        rest = b""
        try:
            while not self._ended:
                piece = self._read(_PIECE)
                if self._ended or not piece:
                    return
                # Nearly always one whole request.
                if not rest and piece.find(b"\n") == len(piece) - 1:
                    self._take(piece[:-1])
                    continue
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    self._take(line)
                if len(rest) > _PIECE:
                    rest = self._long(rest)
        except OSError:
            return  # the block's side has broken off, with an answer unread
        finally:
            for _ in range(self._helpers):
                self._apart.put(None)
            self._release()

    def _long(self, start: bytes) -> bytes:
        pieces, size = [start], len(start)
        while not self._ended and size < MAX_REQUEST:
            piece = self._read(16 * _PIECE)
            pieces.append(piece)
            size += len(piece)
            if not piece or b"\n" in piece:
                break
        else:
            self._ended = True
            return b""
        *lines, rest = b"".join(pieces).split(b"\n")
        for line in lines:
            self._take(line)
        return rest

    def _take(self, line: bytes) -> None:
        if line[:1] == b"#":
            mark, _, request = line.partition(b" ")
            self._help()
            self._apart.put((mark, request))
        elif line:
            self._send(self._ask(line) + b"\n")

    def _help(self) -> None:
        """Make sure that somebody is free for one more request, or that there are as many as there may be."""
        if self._helpers >= AT_ONCE:
            self._idle.acquire()
        elif not self._idle.acquire(blocking=False):
            self._helpers += 1
            with self._counting:
                self._open += 1
            threading.Thread(target=self._answer_apart, name="agentd-tools", daemon=True).start()

    def _answer_apart(self) -> None:
        try:
            while (item := self._apart.get()) is not None:
                mark, request = item
                answer = self._ask(request)
                # Free before it is told: the caller's next request may be here at once.
                self._idle.release()
                with self._writing:
                    self._send(mark + b" " + answer + b"\n")
        finally:
            self._release()

    def _ask(self, request: bytes) -> bytes:
        try:
            return self._door.call(request)
        except Exception as error:  # noqa: BLE001  # a rim: whatever a tool does, its caller gets an answer
            return json.dumps({"ok": False, "error": f"{type(error).__name__}: {error}"}).encode()

    def _send(self, data: bytes) -> None:
        try:
            done = self._write(data)
        except BlockingIOError:
            done = 0
        except OSError:
            self._ended = True
            return
        if done < len(data):
            self._send_slowly(memoryview(data)[done:])

    def _send_slowly(self, left: memoryview) -> None:
        poll = select.poll()
        poll.register(self._ends.answers, select.POLLOUT)
        while left and not self._ended:
            if not poll.poll(200):
                continue
            try:
                left = left[self._write(left) :]
            except BlockingIOError:
                continue
            except OSError:
                self._ended = True

    def _release(self) -> None:
        with self._counting:
            self._open -= 1
            if not self._open:
                self._ends.close()
