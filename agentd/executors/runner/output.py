"""A block's output on its way out: head and tail within a budget, the whole of it in a file when that is not enough."""

from __future__ import annotations

import os

FOLDER = ".agentd/output"


class Output:
    """Collects what a block prints, in bounded memory.

    The first half of the budget and the last half are kept. Once the budget is exceeded all output goes to a file, up
    to `spill_cap` bytes. `live` holds what has yet to be shown, up to `live_cap` bytes in all.
    """

    def __init__(self, workspace: str, name: str, budget: int, spill_cap: int, live_cap: int) -> None:
        self._workspace = workspace
        self._name = _plain(name)[:100] or "block"
        self._budget = max(budget, 64)
        self._spill_cap = spill_cap
        self._live_left = live_cap
        self._start = bytearray()
        self._tail = bytearray()
        self._file = -1
        self._written = 0
        self._trouble = ""
        self.total = 0
        self.lines = 0
        self.spill = ""
        self.live = bytearray()
        self.shown_at = 0.0

    def add(self, piece: bytes) -> None:
        """Take what was just read."""
        self.total += len(piece)
        self.lines += piece.count(b"\n")
        self._show(piece)
        if self.total <= self._budget:
            self._start += piece
            return
        if not self._tail:
            self._open_spill()
            self._tail += self._start[self._budget // 2 :]
            self._start += piece[: self._budget]
            del self._start[self._budget // 2 :]
        self._keep_tail(piece)
        self._write(piece)

    @property
    def full(self) -> bool:
        """Whether the file has reached its cap."""
        return self._written >= self._spill_cap

    def add_late(self, piece: bytes) -> None:
        """Take what a process that outlived its block has printed: it goes to the file only."""
        if not self.spill and not self._trouble:
            self._open_spill()
        self._write(piece)

    def text(self) -> bytes:
        """Return the output within the budget."""
        if self.total <= self._budget:
            return bytes(self._start)
        head = _whole_lines(bytes(self._start))
        tail = _from_line(bytes(self._tail[-(self._budget // 2) :]))
        cut = self.total - len(head) - len(tail)
        where = f"all of it is in {self.spill}" if self.spill else "it could not be kept"
        if self.full:
            where = f"the first {self._spill_cap:,} bytes are in {self.spill}"
        note = f"[... {cut:,} of {self.total:,} bytes ({self.lines:,} lines) left out; {where}{self._trouble} ...]\n"
        newline = b"" if not head or head.endswith(b"\n") else b"\n"
        return head + newline + note.encode() + tail

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _show(self, piece: bytes) -> None:
        if self._live_left <= 0:
            return
        self.live += piece[: self._live_left]
        self._live_left -= len(piece)
        if self._live_left <= 0:
            self.live += b"\n[... no more live output of this block ...]\n"

    def _keep_tail(self, piece: bytes) -> None:
        half = self._budget // 2
        self._tail += piece[-half:]
        if len(self._tail) > 4 * half:
            del self._tail[:-half]

    def _open_spill(self) -> None:
        folder = os.path.join(self._workspace, FOLDER)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            os.makedirs(folder, exist_ok=True)
            _ignore(os.path.join(self._workspace, ".agentd", ".gitignore"))
            self._file = os.open(os.path.join(folder, self._name + ".txt"), flags, 0o644)
        except OSError as error:
            self._trouble = f" ({error.strerror})"
            return
        self.spill = f"{FOLDER}/{self._name}.txt"
        self._write(self._start)

    def _write(self, piece: bytes | bytearray) -> None:
        room = self._spill_cap - self._written
        if self._file < 0 or room <= 0:
            return
        left = memoryview(piece)[:room]
        try:
            while left:
                done = os.write(self._file, left)
                self._written += done
                left = left[done:]
        except OSError as error:
            self._trouble = f", but not whole: {error.strerror}"
            self.close()


def _plain(name: str) -> str:
    return "".join(sign if sign in "_-" or (sign.isascii() and sign.isalnum()) else "_" for sign in name)


def _ignore(path: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, 0o644)
    except FileExistsError:
        return
    try:
        os.write(fd, b"*\n")
    finally:
        os.close(fd)


def _whole_lines(head: bytes) -> bytes:
    """Cut at the end of the last line, or else between two characters."""
    end = head.rfind(b"\n") + 1
    if end > len(head) // 2:
        return head[:end]
    cut = len(head)
    while cut and len(head) - cut < 4 and head[cut - 1] & 0xC0 == 0x80:
        cut -= 1
    if cut and head[cut - 1] >= 0xC0 and _width(head[cut - 1]) > len(head) - cut + 1:
        return head[: cut - 1]
    return head


def _width(lead: int) -> int:
    return 4 if lead >= 0xF0 else 3 if lead >= 0xE0 else 2


def _from_line(tail: bytes) -> bytes:
    """Begin at the start of a line, or else of a character."""
    start = tail.find(b"\n") + 1
    if 0 < start < len(tail) // 2:
        return tail[start:]
    start = 0
    while start < min(3, len(tail)) and tail[start] & 0xC0 == 0x80:
        start += 1
    return tail[start:]
