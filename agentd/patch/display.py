"""The stream of a patched client for people: text, code with its output, and the end of the turn."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from agentd.core import events
from agentd.core.errors import NotPatched


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of what the model says to the user; code is never in it."""

    type: ClassVar[Literal["text_delta"]] = "text_delta"
    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A piece of the model's reasoning, as far as its API shows it."""

    type: ClassVar[Literal["reasoning_delta"]] = "reasoning_delta"
    text: str


@dataclass(frozen=True, slots=True)
class CodeStarted:
    """A block has started to run; `id` is that of its `CodeOutput`s and its `CodeExecution`."""

    type: ClassVar[Literal["code_started"]] = "code_started"
    id: str
    kind: str
    code: str


@dataclass(frozen=True, slots=True)
class CodeOutput:
    """A piece of a running block's output, as it comes."""

    type: ClassVar[Literal["code_output"]] = "code_output"
    id: str
    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """Code, or the model itself, has called a tool; `result` is the start of its JSON answer, `duration` in seconds."""

    type: ClassVar[Literal["tool_call"]] = "tool_call"
    tool: str
    arguments: str
    result: str
    ok: bool
    duration: float


@dataclass(frozen=True, slots=True)
class CodeExecution:
    """A block has ended. `kind` is `bash`, `python` or `create`; for `create`, `code` begins with the file's path.

    `status` is `failed` when the exit code is not 0, when the block was stopped, and when it was not run at all.
    """

    type: ClassVar[Literal["code_execution"]] = "code_execution"
    code: str
    output: str
    status: Literal["completed", "failed"]
    id: str = ""
    kind: str = ""
    exit_code: int = 0
    duration: float = 0.0


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """The end of the call, once. `status` is `completed`, `failed`, `cancelled` or `max_turns`.

    The tokens are the sums over all model calls, as is `cost_usd`, which is `None` when a price is not known.
    """

    type: ClassVar[Literal["turn_end"]] = "turn_end"
    status: str
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class ToolProgress:
    """A running tool call tells how far it is; `total` is what `progress` leads to, where the tool knows it."""

    type: ClassVar[Literal["tool_progress"]] = "tool_progress"
    tool: str
    progress: float
    total: float | None
    message: str


DisplayEvent = TextDelta | ReasoningDelta | CodeStarted | CodeOutput | ToolProgress | ToolCall | CodeExecution | TurnEnd


class Display:
    """Turns the events of one turn into what is shown of them."""

    def __init__(self) -> None:
        self._started: dict[str, events.CodeStarted] = {}
        self._calls: dict[str, events.ToolStarted] = {}

    def show(self, event: events.Event) -> DisplayEvent | None:
        """Return what is shown of an event, `None` for nothing."""
        if isinstance(event, events.TextDelta):
            return TextDelta(event.text)
        if isinstance(event, events.CodeOutput):
            return CodeOutput(event.id, event.text)
        if isinstance(event, events.ReasoningDelta):
            return ReasoningDelta(event.text)
        if isinstance(event, events.CodeStarted):
            self._started[event.id] = event
            return CodeStarted(event.id, event.kind, _code(event))
        if isinstance(event, events.CodeFinished):
            return self._execution(event)
        return self._other(event)

    def _other(self, event: events.Event) -> DisplayEvent | None:
        if isinstance(event, events.ToolStarted):
            self._calls[event.id] = event
        elif isinstance(event, events.ToolFinished):
            call = self._calls.pop(event.id, None)
            if call is not None:
                return ToolCall(call.tool, call.arguments, event.result, event.ok, event.duration)
        elif isinstance(event, events.ToolProgress) and event.id in self._calls:
            tool = self._calls[event.id].tool
            return ToolProgress(tool, event.progress, event.total, event.message)
        elif isinstance(event, events.TurnEnded):
            return TurnEnd(
                event.status,
                event.input_tokens,
                event.output_tokens,
                event.cached_tokens,
                event.reasoning_tokens,
                event.cost_usd,
            )
        return None

    def _execution(self, event: events.CodeFinished) -> CodeExecution:
        # Whoever read the start of the stream by other means has taken the block's beginning, too.
        started = self._started.pop(event.id, None) or events.CodeStarted(event.id, "", "")
        good = event.exit_code == 0 and not event.reason
        status = "completed" if good else "failed"
        return CodeExecution(
            _code(started), event.output, status, event.id, started.kind, event.exit_code, event.duration
        )


def _code(started: events.CodeStarted) -> str:
    code = started.code.removesuffix("\n")
    return f"{started.path}:create\n{code}" if started.path else code


def _turn_of(stream: Any) -> Any:
    """Find the turn behind a stream of a patched client, also behind the helpers that `.stream()` gives."""
    response = getattr(stream, "response", None) or getattr(stream, "_response", None)
    turn = getattr(getattr(response, "stream", None), "turn", None)
    if turn is None:
        raise NotPatched(f"display_events takes the stream of a patched client, not {type(stream).__name__}")
    return turn


def display_events(stream: Any) -> Iterator[DisplayEvent]:
    """Iterate over a patched client's stream as display events.

    `stream` is what `responses.create(..., stream=True)` or `chat.completions.create(..., stream=True)` returned.
    Readers ignore the types that they do not know. Leaving the loop early and closing the stream cancels what runs.
    """
    turn = _turn_of(stream)
    return _display(turn)


def _display(turn: Any) -> Iterator[DisplayEvent]:
    display = Display()
    for item in turn:
        if not isinstance(item, dict):
            shown = display.show(item)
            if shown is not None:
                yield shown


def display_events_async(stream: Any) -> AsyncIterator[DisplayEvent]:
    """The same as `display_events` for the stream of an asynchronous client."""
    return _display_async(_turn_of(stream))


async def _display_async(turn: Any) -> AsyncIterator[DisplayEvent]:
    display = Display()
    async for item in turn:
        if not isinstance(item, dict):
            shown = display.show(item)
            if shown is not None:
                yield shown
