"""What a dialect reads out of a model's reply."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from agentd.core.actions import ActionResult
from agentd.core.events import Usage
from agentd.core.tools import JSON

Frame = dict[str, JSON]


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of the assistant's text; the engine answers with `show` for as much of it as is visible."""

    text: str


@dataclass(frozen=True, slots=True)
class PartEnded:
    """A stretch of text is complete; what is held back of it is due now."""


@dataclass(frozen=True, slots=True)
class Thought:
    """A piece of the model's reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class Passed:
    """A frame that goes on to the caller."""

    frame: Frame


Piece = Said | PartEnded | Thought | Passed


@dataclass(slots=True)
class Block:
    """One block of a message and, once it has ended, its result."""

    id: str
    header: str
    code: str
    markup: str
    result: ActionResult | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a model call ended: `stop_reason` is the API's word; with `wants_caller` the caller must answer a call."""

    usage: Usage
    stop_reason: str = ""
    wants_caller: bool = False
    failed: bool = False


class Round(Protocol):
    """One model call as its dialect sees it.

    `read` interprets a frame of the reply. `show` makes the frame that carries visible text. `end` closes what is open
    and says how the call ended; with `kept` the model was stopped, and that text is all that counts of what it said.
    """

    def read(self, frame: Frame) -> Iterable[Piece]: ...

    def show(self, text: str) -> Frame: ...

    def end(self, kept: str | None) -> tuple[list[Frame], Ending]: ...


class Dialect(Protocol):
    """A wire format of a model API, over the whole turn.

    `code_frames` tells the caller of a finished block, `record` adds a round and what is fed back to the transcript,
    `finish` ends the stream, and `whole` is the one response that stands for the turn.
    """

    api: str
    model: str

    def body(self) -> bytes: ...

    def begin(self) -> Round: ...

    def code_frames(self, block: Block) -> list[Frame]: ...

    def record(self, blocks: list[Block], feedback: str) -> None: ...

    def finish(self, status: str) -> list[Frame]: ...

    def whole(self) -> Frame: ...
