"""Tool calls out of a Python block: one line of JSON into a pipe, one line back.

While the block has one thread a call is one write and one read. Once it has more, requests carry a number
(`#12 {…}`), the host answers each as it is ready, and whichever thread reads an answer hands it to the one it is for.
"""

from __future__ import annotations

import _thread
import os
from collections.abc import Mapping

from .jsons import encode, scan

_count = _thread._count  # pyright: ignore[reportPrivateUsage]  # the threads besides the main one
_PIECE = 1 << 16
_MARK = ord("#")


class ToolError(Exception):
    """A tool call failed; the text is the tool's own message."""


ToolError.__module__ = "lib.tools"


class Calls:
    """The two pipes of a block and who waits for what on them."""

    def __init__(self) -> None:
        self._error: type[Exception] = ToolError
        self._trouble = "tools cannot be called here"
        self._request = self._answer = -1
        self._abandoned = 0
        self._lock = _thread.allocate_lock()
        self._write_lock = _thread.allocate_lock()
        self._reading = False
        self._number = 0
        self._waiting: dict[int, _thread.LockType] = {}
        self._answers: dict[int, bytes] = {}
        self._rest = b""

    def connect(self, request: int, answer: int, error: type[Exception]) -> None:
        """Use these pipes from now on; failures raise `error`."""
        self._request, self._answer, self._error = request, answer, error
        self._trouble = "" if request >= 0 else "no tools are connected to this block"
        self._abandoned = 0
        self._rest = b""

    def after_fork(self) -> None:
        """Keep a forked child from reading its parent's answers."""
        self._trouble = "tools cannot be called from a forked child process; call them in the block itself"

    def call(self, tool: str, arguments: Mapping[str, object]) -> object:
        """Call a tool of the host and return its value."""
        if self._trouble:
            raise self._error(self._trouble)
        line = encode({"tool": tool, "arguments": arguments}).encode()
        line = self._alone(line) if _count() == 0 else self._among_threads(line)
        answer = scan(line.decode(), 0)[0]
        if answer.get("ok"):
            return answer.get("value")
        raise self._error(str(answer.get("error")))

    def _alone(self, line: bytes) -> bytes:
        while self._abandoned:
            self._read_line()
            self._abandoned -= 1
        self._write(line + b"\n")
        try:
            answer = os.read(self._answer, _PIECE) if not self._rest else b""
            if answer.find(b"\n") == len(answer) - 1 >= 0 and answer[0] != _MARK:  # nearly always
                return answer
            self._rest += answer
            answer = self._read_line()
        except BaseException:  # an alarm or an interrupt: its answer is still to come
            self._abandoned += 1
            raise
        while answer.startswith(b"#"):  # for a thread that was given up
            answer = self._read_line()
        return answer

    def _write(self, data: bytes) -> None:
        try:
            done = os.write(self._request, data)
            while done < len(data):
                done += os.write(self._request, data[done:])
        except OSError as error:
            raise self._error("the host has closed the way to the tools") from error

    def _read_line(self) -> bytes:
        data = self._rest
        while (end := data.find(b"\n")) < 0:
            piece = os.read(self._answer, _PIECE)
            if not piece:
                raise self._error("the host has closed the way to the tools")
            data = data + piece if data else piece
            if len(data) > _PIECE:
                data = self._read_long(data)
        self._rest = data[end + 1 :]
        return data[:end]

    def _read_long(self, start: bytes) -> bytes:
        pieces = [start]
        while b"\n" not in pieces[-1]:
            pieces.append(os.read(self._answer, 16 * _PIECE))
            if not pieces[-1]:
                raise self._error("the host has closed the way to the tools")
        return b"".join(pieces)

    def _among_threads(self, line: bytes) -> bytes:
        turn = _thread.allocate_lock()
        turn.acquire()
        with self._lock:
            self._number += 1
            number = self._number
            self._waiting[number] = turn
        try:
            with self._write_lock:
                self._write(b"#%d %b\n" % (number, line))
            return self._wait(number, turn)
        finally:
            with self._lock:
                self._waiting.pop(number, None)
                self._answers.pop(number, None)

    def _wait(self, number: int, turn: _thread.LockType) -> bytes:
        while True:
            with self._lock:
                if number in self._answers:
                    return self._answers.pop(number)
                lead = not self._reading
                self._reading = True
            if not lead:
                turn.acquire()
                continue
            try:
                while number not in self._answers:
                    self._hand_over(self._read_line())
            finally:
                self._step_down(number)

    def _hand_over(self, line: bytes) -> None:
        mark, _, answer = line.partition(b" ")
        number = int(mark[1:]) if mark[:1] == b"#" else 0
        with self._lock:
            turn = self._waiting.get(number)
            if turn is not None:
                self._answers[number] = answer
                _release(turn)

    def _step_down(self, number: int) -> None:
        """Let one of the others read next."""
        with self._lock:
            self._reading = False
            for other, turn in self._waiting.items():
                if other != number and other not in self._answers:
                    _release(turn)
                    return


def _release(turn: _thread.LockType) -> None:
    if turn.locked():
        turn.release()
