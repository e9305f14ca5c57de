"""The fenced calling convention: what the assistant says is text to be shown or blocks to be run."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from agentd.core.actions import Action, Kind, Refusal
from agentd.fences import Block as FenceBlock
from agentd.fences import Cut, Opened, Piece, Refused, Scanner, Text
from agentd.loop.wire import COMING, Block, Called, Outcome

MAX_BLOCKS = 50
_OPTIONS = {"timeout", "state"}


class FencedMessage:
    """Reads one message of the assistant, part by part, and gives out visible text and blocks in their order.

    `kept` is set as soon as the model has begun to write on after a group of blocks: the text up to there, which is
    all that counts. Further parts are read as one message: text after the blocks of an earlier part cuts, too.
    """

    def __init__(self, new_id: Callable[[], str], max_blocks: int = MAX_BLOCKS) -> None:
        self._new_id = new_id
        self._max_blocks = max_blocks
        self._scanner: Scanner | None = None
        self._part: list[str] = []
        self._parts: list[str] = []
        self._spans: list[tuple[int, int, int]] = []
        self.blocks: list[Block] = []
        self.kept: str | None = None

    def feed(self, text: str) -> list[Outcome]:
        """Read the next piece of the message."""
        self._part.append(text)
        if self._scanner is None:
            self._scanner = Scanner()
        return self._take(self._scanner.feed(text))

    def end_part(self) -> list[Outcome]:
        """The part of the message that was being read is complete."""
        if self._scanner is None:
            return []
        outcomes = self._take(self._scanner.close())
        self._parts.append("".join(self._part))
        self._part = []
        self._scanner = None
        return outcomes

    def call(self, called: Called) -> list[Outcome]:
        """All JSON calls are the caller's."""
        return []

    def text(self) -> str:
        """Return all that has been read."""
        return "".join([*self._parts, *self._part])

    def settle(self) -> list[Block]:
        """The message has ended: return its blocks, each with its markup as the model wrote it."""
        texts = [*self._parts, "".join(self._part)]
        for block, (part, start, end) in zip(self.blocks, self._spans, strict=True):
            block.markup = texts[part][start:end]
        return self.blocks

    def _take(self, pieces: Iterable[Piece]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for piece in pieces:
            if isinstance(piece, Text):
                if self.blocks and piece.text.strip():
                    self._cut(0)
                    break
                if not self.blocks:
                    outcomes.append(piece.text)
            elif isinstance(piece, FenceBlock | Refused):
                outcomes.append(self._block(piece))
            elif isinstance(piece, Opened) and piece.kind:
                outcomes.append(COMING)
            elif isinstance(piece, Cut):
                self._cut(piece.at)
        return outcomes

    def _cut(self, at: int) -> None:
        self.kept = "".join(self._parts) + "".join(self._part)[:at]

    def _block(self, piece: FenceBlock | Refused) -> Action | Refusal:
        block = Block(self._new_id(), piece.header, piece.body, "")
        self.blocks.append(block)
        self._spans.append((len(self._parts), piece.start, piece.end))
        if isinstance(piece, Refused):
            return Refusal(block.id, block.header, block.code, piece.reason)
        problem = self._problem(piece)
        if problem:
            return Refusal(block.id, block.header, block.code, problem)
        timeout = piece.options.get("timeout")
        return Action(
            block.id,
            Kind(piece.kind),
            piece.body,
            piece.path,
            float(timeout) if timeout else None,
            piece.options.get("state") == "session",
        )

    def _problem(self, piece: FenceBlock) -> str:
        if len(self.blocks) > self._max_blocks:
            return f"at most {self._max_blocks} blocks run in one message; send the rest in your next message"
        unknown = sorted(set(piece.options) - _OPTIONS)
        if unknown:
            return f"unknown option {unknown[0]!r}; the options are timeout=SECONDS and state=session"
        if piece.options.get("state", "session") != "session":
            return "the only value of state is session"
        timeout = piece.options.get("timeout", "1")
        try:
            valid = 0 < float(timeout) <= 86_400
        except ValueError:
            valid = False
        return "" if valid else f"timeout={timeout} is not a number of seconds between 0 and 86400"
