"""The text of an event stream as its blocks, and back: none is lost, and joining them gives the same events."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_BLOCK = re.compile(r"(?:event: ?(?P<event>[^\n]+)\n)?data: ?(?P<data>[^\n]*)")


@dataclass(frozen=True, slots=True)
class Block:
    """What stands between two blank lines: an event of one line of data, or else `raw`, with its line ends."""

    event: str
    data: str
    raw: str | None = None

    @property
    def text(self) -> str:
        if self.raw is not None:
            return self.raw
        return f"event: {self.event}\ndata: {self.data}\n\n" if self.event else f"data: {self.data}\n\n"


def split(text: str) -> Iterator[Block]:
    """Cut the text of a stream into its blocks; the last may be incomplete."""
    if "\r\n" in text and text.count("\r") == text.count("\r\n"):
        text = text.replace("\r\n", "\n")
    pieces = text.split("\n\n")
    for piece in pieces[:-1]:
        match = None if "\r" in piece else _BLOCK.fullmatch(piece)
        yield Block(match["event"] or "", match["data"]) if match else Block("", "", f"{piece}\n\n")
    if pieces[-1]:
        yield Block("", "", pieces[-1])


def join(blocks: Iterable[Block]) -> str:
    """Return the text of a stream."""
    return "".join(block.text for block in blocks)
