"""What a dialect reads out of a model's reply."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from agentd.core.actions import Action, ActionResult, Answer, Call, Refusal
from agentd.core.events import Usage
from agentd.core.tools import JSON, Schema

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


@dataclass(frozen=True, slots=True)
class Called:
    """A JSON call of a tool of ours: `id` joins it to its result, `item` is the whole call on the wire.

    One that is `cut` is not known to be complete, since the message was broken off: it must not be made.
    """

    id: str
    name: str
    arguments: str
    item: Frame
    cut: bool = False


Piece = Said | PartEnded | Thought | Passed | Called


@dataclass(slots=True)
class Block:
    """One action of a message and, once it has ended, its result.

    A fenced block has `markup`; a JSON call has `called`, and if it was not code, `server` and `answer`.
    """

    id: str
    header: str
    code: str
    markup: str
    result: ActionResult | None = None
    called: Called | None = None
    server: str = ""
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class Definition:
    """A tool as the model API is told of it; `parameters` is JSON Schema in a form that the API takes."""

    name: str
    description: str
    parameters: Schema
    strict: bool = False


class Toolkit(Protocol):
    """The tools that the model may call as JSON in one turn.

    `owns` tells whose a called name is: what is not ours goes to the caller. `action` makes what is to be done of a
    call, under the id `block`: code for the executor, a call of a tool, or one with a `problem`, which the model is
    told. `server` names the MCP server that a name belongs to. `media_in_results` says that results may hold images;
    elsewhere they follow in a message of their own.
    """

    definitions: Sequence[Definition]
    media_in_results: bool

    def owns(self, name: str) -> bool: ...

    def server(self, name: str) -> str: ...

    def action(self, block: str, name: str, arguments: str) -> Action | Call: ...


class NoTools:
    """The toolkit of a turn without JSON calls: all of them are the caller's."""

    definitions: Sequence[Definition] = ()
    media_in_results = False

    def owns(self, name: str) -> bool:
        return False

    def server(self, name: str) -> str:
        return ""

    def action(self, block: str, name: str, arguments: str) -> Action | Call:
        return Call(block, name, {}, f"no tool is called {name!r}")


NO_TOOLS = NoTools()


@dataclass(frozen=True, slots=True)
class Ending:
    """How a model call ended: `stop_reason` is the API's word; with `wants_caller` the caller must answer a call.

    With `cut`, calls of ours were broken off, so that there is no use in going on.
    `model` and `tier` are the model's name and the service tier as the API answered them, `""` when it did not.
    """

    usage: Usage
    stop_reason: str = ""
    model: str = ""
    tier: str = ""
    wants_caller: bool = False
    failed: bool = False
    cut: bool = False


class Coming:
    """The opening of a block is complete: its code is being written."""


COMING = Coming()
Outcome = str | Action | Refusal | Call | Coming


class Reading(Protocol):
    """One message of the assistant as a calling convention reads it: visible text and actions, in their order.

    `kept` is set as soon as the model writes on after its actions where it should have waited: the text up to there is
    all that counts. `settle` gives the message's actions when it has ended.
    """

    kept: str | None
    blocks: list[Block]

    def feed(self, text: str) -> list[Outcome]: ...

    def end_part(self) -> list[Outcome]: ...

    def call(self, called: Called) -> list[Outcome]: ...

    def text(self) -> str: ...

    def settle(self) -> list[Block]: ...


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

    `block_frames` tells the caller of a finished block, `record` adds a round and what is fed back to the transcript,
    `finish` ends the stream, and `whole` is the one response that stands for the turn. `abandon` is told the blocks of
    the message at which a turn was broken off.
    """

    api: str
    model: str

    def body(self) -> bytes: ...

    def begin(self) -> Round: ...

    def block_frames(self, block: Block) -> list[Frame]: ...

    def record(self, blocks: list[Block]) -> None: ...

    def finish(self, status: str) -> list[Frame]: ...

    def whole(self) -> Frame: ...

    def abandon(self, blocks: list[Block]) -> None: ...
