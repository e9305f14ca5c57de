"""One session of an executor whose code runs in a runner."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from agentd.core.actions import Action, ActionResult, Bindings, Kind
from agentd.core.errors import ExecutorLost, PathRefused
from agentd.core.protocols import Door
from agentd.executors.doorway import Ticket
from agentd.executors.files import as_utf8, write_file
from agentd.executors.launch import PATIENCE
from agentd.executors.link import Link, Pending
from agentd.executors.toolpipe import PipeEnds, ToolPipe

GRACE = 2.5
_OBITUARY = (
    "[the process that runs the code is gone, and with it what this block was doing; the next block gets a new one. "
    "The working directory and exported variables are those from before this block, names kept in Python are lost]\n"
)


class Home(Protocol):
    """What a shell needs of its executor."""

    workspace_dir: Path

    def warm(self) -> Link: ...

    def seconds(self, action: Action) -> float:
        """Return how long an action may run."""
        ...

    def environment(self, link: Link, action: Action) -> dict[str, str]:
        """Return the variables of an action, as they hold inside."""
        ...

    def ticket(self, link: Link, door: Door) -> Ticket:
        """Return a block's way to its tools, where descriptors cannot be sent."""
        ...

    def guard(self, path: str) -> None:
        """Raise `PathRefused` for a file that may not be created."""
        ...

    async def look(self) -> list[str]:
        """Return what is to be said about what a block has done."""
        ...

    def forget(self, session: str) -> Link | None: ...


class RunnerShell:
    """One session.

    What a finished block left running (`python -m http.server &`) stays until the shell is closed, and its further
    output goes to the block's file; what a block started that timed out or was cancelled is killed with it.
    """

    def __init__(self, home: Home, session: str) -> None:
        self._home = home
        self._session = session
        self._closed = False
        self.state: tuple[str, dict[str, str]] | None = None

    async def run(
        self, action: Action, bindings: Bindings, door: Door, on_output: Callable[[str], None]
    ) -> ActionResult:
        """Run an action to its end."""
        if self._closed:
            raise ExecutorLost("the shell is closed")
        begun = time.perf_counter()
        if action.kind is Kind.CREATE:
            code, output, reason = await asyncio.to_thread(_create, self._home, action)
            return ActionResult(code, output, time.perf_counter() - begun, reason, len(output.encode()))
        if "\0" in action.code:
            return ActionResult(2, "the code has a NUL character in it", time.perf_counter() - begun, "refused")
        link = self._home.warm()
        pending = self._begin(link, action, bindings, door, on_output)
        try:
            outcome = await pending.future
        except BaseException:
            await _end(link, pending)
            raise
        if outcome.reason == "lost":
            outcome.output = _OBITUARY
        notes = await self._home.look()
        return ActionResult(
            exit_code=outcome.exit_code,
            output=_with_notes(outcome.output, notes),
            duration=time.perf_counter() - begun,
            reason=outcome.reason,
            total_bytes=outcome.total,
            spill=outcome.spill,
        )

    def _begin(
        self, link: Link, action: Action, bindings: Bindings, door: Door, on_output: Callable[[str], None]
    ) -> Pending:
        timeout = self._home.seconds(action)
        python = action.kind is Kind.PYTHON
        header: dict[str, object] = {"kind": action.kind.value, "name": action.id, "timeout": timeout}
        env = self._home.environment(link, action)
        if env:
            header["env"] = env
        if action.cwd:
            header["cwd"] = action.cwd
        if bindings.bin_dirs:
            header["bin"] = bindings.bin_dirs
        way: ToolPipe | Ticket | None = None
        fds: tuple[int, ...] = ()
        if python:
            header |= {"path": bindings.python_dirs, "keep": action.keep_state, "digest": bindings.digest}
        if python and bindings.source:
            link.bind(bindings.digest, bindings.source)
            if link.passes_fds:
                ends = PipeEnds()
                way, fds = ToolPipe(link.loop, door, ends), ends.theirs
            else:
                way = self._home.ticket(link, door)
                header["key"] = way.key
        pending = link.run(self._session, header, as_utf8(action.code), way, fds, on_output)
        pending.guard = link.loop.call_later(timeout + GRACE, link.lose, "it did not end a block in time")
        return pending

    def restore(self, link: Link, name: str) -> None:
        """Tell a new runner what an earlier one knew."""
        if self.state is not None:
            cwd, env = self.state
            link.send({"op": "shell", "shell": name, "cwd": cwd, "env": env})

    async def close(self) -> None:
        """Kill everything that was started in this shell."""
        if self._closed:
            return
        self._closed = True
        link = self._home.forget(self._session)
        if link is not None and link.loop is asyncio.get_running_loop():
            await link.close_shell(self._session)


def _with_notes(output: str, notes: list[str]) -> str:
    if notes and output and not output.endswith("\n"):
        output += "\n"
    return output + "".join(f"{note}\n" for note in notes)


def _create(home: Home, action: Action) -> tuple[int, str, str]:
    workspace = home.workspace_dir
    try:
        home.guard(action.path)
        existed = _exists(workspace, action.path)
        size = write_file(workspace, action.path, action.code)
    except PathRefused as error:
        return 1, str(error), "refused"
    except OSError as error:
        return 1, f"{action.path!r} could not be written: {error.strerror or error}", ""
    return 0, f"{'replaced' if existed else 'created'} {action.path} ({size} bytes)", ""


def _exists(workspace: Path, path: str) -> bool:
    try:
        return (workspace / path).exists()
    except (OSError, ValueError):  # writing says why
        return False


async def _end(link: Link, pending: Pending) -> None:
    """Have a block killed that nobody waits for any more."""
    link.kill(pending, "cancelled")
    await asyncio.wait([pending.ended], timeout=PATIENCE)
    if not pending.ended.done():
        link.lose("it did not end a cancelled block in time")
