"""What happens in a turn: one frozen dataclass an event, one `Event` union.

An event is committed to a log as a `Record` before anyone sees it. `to_json` and `from_json` are exact inverses; a
reader that meets a type it does not know gets `None` and goes on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

type_ = type
Status = Literal["completed", "failed", "cancelled", "max_turns"]


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """A turn has begun; `api` is the wire dialect."""

    type: ClassVar[Literal["turn.started"]] = "turn.started"
    model: str
    api: str


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the assistant's visible text. Need not be stored: `Message` repeats it."""

    type: ClassVar[Literal["text.delta"]] = "text.delta"
    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A piece of the model's reasoning, as far as its API shows it. Need not be stored."""

    type: ClassVar[Literal["reasoning.delta"]] = "reasoning.delta"
    text: str


@dataclass(frozen=True, slots=True)
class Message:
    """One whole message of the transcript: the assistant's, or the results that were sent back to it."""

    type: ClassVar[Literal["message"]] = "message"
    role: str
    text: str


@dataclass(frozen=True, slots=True)
class CodeStarted:
    """A block of the model's code has been handed to the executor. `path` is set when `kind` is `create`."""

    type: ClassVar[Literal["code.started"]] = "code.started"
    id: str
    kind: str
    code: str
    path: str = ""


@dataclass(frozen=True, slots=True)
class CodeOutput:
    """A piece of a block's live output. Need not be stored: `CodeFinished` repeats it within the budget."""

    type: ClassVar[Literal["code.output"]] = "code.output"
    id: str
    text: str


@dataclass(frozen=True, slots=True)
class CodeFinished:
    """A block has ended. `reason` says why when it did not simply exit; `duration` is in seconds."""

    type: ClassVar[Literal["code.finished"]] = "code.finished"
    id: str
    exit_code: int
    output: str
    duration: float
    reason: str = ""
    spill: str = ""


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A tool was called: by code, then `block` is the id of the block that did, or by the model itself."""

    type: ClassVar[Literal["tool.started"]] = "tool.started"
    id: str
    block: str
    tool: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A tool call ended; `result` is the start of its JSON answer, `duration` in seconds."""

    type: ClassVar[Literal["tool.finished"]] = "tool.finished"
    id: str
    ok: bool
    result: str
    duration: float


@dataclass(frozen=True, slots=True)
class ToolProgress:
    """A running tool call tells how far it is; `total` is what `progress` leads to, where the tool knows it."""

    type: ClassVar[Literal["tool.progress"]] = "tool.progress"
    id: str
    progress: float
    total: float | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class FileChanged:
    """A block created or replaced a file; `path` is relative to the workspace."""

    type: ClassVar[Literal["file.changed"]] = "file.changed"
    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one model call; `estimated` when the call was cut and its own figures never came.

    `cost_usd` is its price in US dollars, `None` when the price of the model is not known.
    """

    type: ClassVar[Literal["usage"]] = "usage"
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The one terminal event of a turn; `stop_reason` is the model API's own word where there is one.

    The tokens and `cost_usd` are the sums of the turn's `Usage` events; the price of a turn with a model call of
    unknown price is unknown.
    """

    type: ClassVar[Literal["turn.ended"]] = "turn.ended"
    status: Status
    stop_reason: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class ErrorRaised:
    """An error ended the turn; `message` is for people."""

    type: ClassVar[Literal["error"]] = "error"
    kind: str
    message: str


Event = (
    TurnStarted
    | TextDelta
    | ReasoningDelta
    | Message
    | CodeStarted
    | CodeOutput
    | CodeFinished
    | ToolStarted
    | ToolFinished
    | ToolProgress
    | FileChanged
    | Usage
    | TurnEnded
    | ErrorRaised
)

EVENT_TYPES: dict[str, type_[Event]] = {cls.type: cls for cls in Event.__args__}
FLEETING = frozenset({TextDelta.type, ReasoningDelta.type, CodeOutput.type, ToolProgress.type})


@dataclass(frozen=True, slots=True)
class Record:
    """An event in its place: `seq` rises by one within a session, `ts` is Unix time in seconds."""

    session: str
    seq: int
    turn: str
    ts: float
    event: Event


def data_of(event: Event) -> dict[str, object]:
    """Return the event's fields as a plain dict."""
    return {field.name: getattr(event, field.name) for field in fields(event)}


def to_json(record: Record) -> str:
    """Return the record as one line of JSON."""
    event = record.event
    whole = {"session": record.session, "seq": record.seq, "turn": record.turn, "ts": record.ts, "type": event.type}
    return json.dumps(whole | {"data": data_of(event)}, ensure_ascii=False, separators=(",", ":"))


def from_json(line: str) -> Record | None:
    """Read a record back; `None` when its event type is unknown. Unknown fields of a known type are dropped."""
    whole = json.loads(line)
    cls = EVENT_TYPES.get(whole["type"])
    if cls is None:
        return None
    known = {field.name for field in fields(cls)}
    event = cls(**{name: value for name, value in whole["data"].items() if name in known})
    return Record(whole["session"], whole["seq"], whole["turn"], whole["ts"], event)
