"""The contracts between the parts. Each has one contract suite that every implementation passes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from agentd.core.actions import Action, ActionResult, Answer, Bindings, Call, Refusal
from agentd.core.events import Event, Record, Usage
from agentd.core.tools import JSON, Progress, ToolResult, ToolSpec


class Tool(Protocol):
    """Something callable with a schema. `call` answers with `ok=False` for a failure of the tool; it does not raise."""

    @property
    def spec(self) -> ToolSpec: ...

    async def call(self, arguments: dict[str, JSON]) -> ToolResult: ...


@runtime_checkable
class BlockingTool(Tool, Protocol):
    """A tool that is an ordinary function: it may be called in any thread, without an event loop."""

    def call_blocking(self, arguments: dict[str, JSON]) -> ToolResult: ...


@runtime_checkable
class ReportingTool(Tool, Protocol):
    """A tool that tells how far a call is; `report` is called on the loop that the call runs on and does not raise."""

    async def call_reporting(self, arguments: dict[str, JSON], report: Callable[[Progress], object]) -> ToolResult: ...


@runtime_checkable
class TimedTool(Tool, Protocol):
    """A tool that may keep time itself: then it ends a call that takes too long, and nobody else does.

    It alone knows what does not count, such as the time that a person takes to answer it.
    """

    @property
    def keeps_time(self) -> bool: ...


class Door(Protocol):
    """The way out of the sandbox for one block: a JSON request in, a JSON answer out.

    The request is `{"tool": name, "arguments": {…}}`, the answer `{"ok": true, "value": …}` or
    `{"ok": false, "error": text}`, both UTF-8 on one line without the newline. Blocks the calling thread; may be
    called from several threads at once; never raises. After the block has ended it answers with an error.
    """

    def call(self, request: bytes) -> bytes: ...


class Shell(Protocol):
    """One session of an executor: its working directory, exported variables and namespace last from block to block.

    `run` hands live output to `on_output` as it comes, in order, from the executor's own event loop. Cancelling it
    kills every process that the block started, within two seconds, and raises `CancelledError`. Blocks of one shell
    may run at the same time. Only a lost executor raises (`ExecutorLost`); all else is in the result.
    """

    async def run(
        self, action: Action, bindings: Bindings, door: Door, on_output: Callable[[str], None]
    ) -> ActionResult: ...

    async def close(self) -> None: ...


class Executor(Protocol):
    """A place where code runs, on one workspace. All its shells live on one event loop."""

    name: str
    workspace_dir: Path

    async def open(self, session: str) -> Shell: ...

    async def aclose(self) -> None: ...


@runtime_checkable
class Described(Protocol):
    """An executor of which the model has to know something: `guidance` is told it with every call."""

    @property
    def guidance(self) -> str: ...


class Store(Protocol):
    """The event log. `append` is durable in the store's own sense when it returns; `seq` starts at 1 in each session.

    `read` gives the records after `after` in order, with neither gap nor double. `follow` does the same and then waits
    for more, until it is closed.
    """

    async def append(self, session: str, turn: str, events: Sequence[Event]) -> list[Record]: ...

    async def read(self, session: str, after: int = 0) -> list[Record]: ...

    def follow(self, session: str, after: int = 0) -> AsyncIterator[Record]: ...


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One call to a model API: `api` is `responses` or `chat`, `body` the JSON to be sent, `first` opens a turn."""

    api: str
    stream: bool
    body: bytes
    first: bool = True


class Reply(Protocol):
    """The answer of a model API as JSON objects: the events of a stream, or one whole response."""

    def __aiter__(self) -> AsyncIterator[dict[str, JSON]]: ...

    async def aclose(self) -> None: ...


class Model(Protocol):
    """Sends a request to a model. Errors of the API or the network are raised as the SDK raises them.

    `cost` is the price of one call in US dollars, `None` when it is not known: `asked` is the model's name in the
    request, `answered` and `tier` are its name and the service tier in the answer, `""` where it has none.
    """

    async def send(self, request: ModelRequest) -> Reply: ...

    def cost(self, usage: Usage, asked: str, answered: str, tier: str) -> float | None: ...


Happening = Event | Answer


class Actions(Protocol):
    """The actions of one message: done away from the caller, in order and each as soon as those before it have ended.

    A refusal takes its place in the order and ends at once. Calls of tools, and with `concurrent` actions too, begin at
    once and run side by side. The last that happens to an action is its `CodeFinished` or its `Answer`. `prepare` says
    that an action is on its way. `take` gives what has happened so far without waiting; `wait` what happens next, and
    `[]` when all that was submitted has ended.
    """

    def prepare(self) -> None: ...

    def submit(self, action: Action | Refusal | Call) -> None: ...

    def take(self) -> list[Happening]: ...

    async def wait(self) -> list[Happening]: ...

    async def cancel(self) -> None: ...
