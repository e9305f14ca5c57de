"""Code on the caller's own machine, with the caller's own rights."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypedDict, Unpack

from agentd.core.actions import Action, ActionResult, Bindings, Kind
from agentd.core.errors import ExecutorLost, ExecutorUnavailable, OptionError, PathRefused
from agentd.core.protocols import Door
from agentd.executors import environment
from agentd.executors.files import as_utf8, write_file
from agentd.executors.limits import Limits, enforce
from agentd.executors.link import PATIENCE, Link, Pending, in_thread
from agentd.executors.toolpipe import ToolPipe

SPILL_CAP = 64 << 20
LIVE_CAP = 1 << 20
BYTES_PER_TOKEN = 4
_GRACE = 2.5
_OBITUARY = (
    "[the process that runs the code is gone, and with it what this block was doing; the next block gets a new one. "
    "The working directory and exported variables are those from before this block, names kept in Python are lost]\n"
)


class Options(TypedDict, total=False):
    """The options of an executor besides its workspace and time-out."""

    output_tokens: int
    limits: Limits | None
    env: Mapping[str, str] | None


class LocalExecutor:
    """Runs code as processes of this user: no isolation, only order.

    Code may read and change whatever the user may, `/proc/<pid>/environ` of this very process included. What it gets
    is an environment without the host's variables, limits, time-outs, and a way to end everything that it has started.
    """

    name = "local"

    def __init__(
        self,
        workspace_dir: str | Path,
        *,
        timeout: float = 60.0,
        output_tokens: int = 5000,
        limits: Limits | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        if sys.platform != "linux":
            raise ExecutorUnavailable("local needs Linux: it finds the processes of a block through /proc")
        if timeout <= 0 or output_tokens < 1:
            raise OptionError("timeout and output_tokens must be positive")
        self.workspace_dir = Path(workspace_dir).absolute()
        self.workspace_dir.mkdir(parents=True, exist_ok=True)
        self.timeout = timeout
        self.output_tokens = output_tokens
        self.limits = limits or Limits()
        self._enforcement = enforce(self.limits)
        self.env = environment.built(env or {})
        self._shells: dict[str, LocalShell] = {}
        self._link: Link | None = None
        self._old: list[Link] = []
        self._closed = False

    def __repr__(self) -> str:
        return f"LocalExecutor({str(self.workspace_dir)!r}: no isolation, code runs with your rights)"

    @property
    def limits_report(self) -> dict[str, str]:
        """Who keeps each limit here: `cgroup`, `rlimit` or `watched`."""
        return dict(self._enforcement.report)

    async def open(self, session: str) -> LocalShell:
        """Return the shell of a session, the same one as long as it is open, and have the runner start meanwhile."""
        self.warm()
        shell = self._shells.get(session)
        if shell is None:
            shell = self._shells[session] = LocalShell(self, session)
        return shell

    def warm(self) -> Link:
        """Return the runner, started if there is none. Does not wait for it to be ready."""
        if self._closed:
            raise ExecutorLost("the executor is closed")
        link, loop = self._link, asyncio.get_running_loop()
        if link is not None and not link.lost and link.loop is loop:
            return link
        if link is not None:
            self._give_up(link, loop)
        self.workspace_dir.mkdir(parents=True, exist_ok=True)
        hello = {
            "workspace": str(self.workspace_dir),
            "path": list(environment.package_dirs()),
            "prefix": sys.prefix,
            "budget": self.output_tokens * BYTES_PER_TOKEN,
            "spill_cap": min(SPILL_CAP, self.limits.file_size or SPILL_CAP),
            "live_cap": LIVE_CAP,
            "processes": self.limits.processes or 0,
            "cpu": self._enforcement.cpu,
            "rlimits": self._enforcement.rlimits,
            "score": "memory" in self._enforcement.group,
        }
        link = Link(self.workspace_dir, self.env, self._enforcement, hello, self._keep_state)
        self._link = link
        for name, shell in self._shells.items():
            shell.restore(link, name)
        return link

    def _give_up(self, link: Link, loop: asyncio.AbstractEventLoop) -> None:
        if link.loop is not loop and not link.loop.is_closed():
            raise OptionError("an executor belongs to one event loop; this one is in use on another")
        if link.loop is loop:
            self._old.append(link)
            task = loop.create_task(link.aclose())
            task.add_done_callback(lambda _: self._old.remove(link))
        else:
            link.close()

    def _keep_state(self, session: str, cwd: str, env: dict[str, str]) -> None:
        shell = self._shells.get(session)
        if shell is not None:
            shell.state = (cwd, env)

    def forget(self, session: str) -> Link | None:
        """Take a shell off the list; return the runner that still knows it."""
        self._shells.pop(session, None)
        return self._link

    async def aclose(self) -> None:
        """Kill everything that was started here, and return when it is gone."""
        self._closed = True
        link, self._link = self._link, None
        links = [*self._old, *([link] if link else [])]
        for one in links:
            if one.loop is asyncio.get_running_loop():
                await one.aclose()
            else:
                one.close()

    def close(self) -> None:
        """Do what `aclose` does, from a place that has no event loop."""
        link = self._link
        elsewhere = link is not None and link.loop.is_running() and link.loop is not _current_loop()
        if link is not None and elsewhere:
            asyncio.run_coroutine_threadsafe(self.aclose(), link.loop).result(3 * PATIENCE)
            return
        self._closed = True
        self._link = None
        if link is not None:
            link.close()


class SubprocessExecutor(LocalExecutor):
    """What earlier releases called `LocalExecutor`; without a workspace it makes one that is removed with it."""

    def __init__(
        self, timeout: float = 60.0, workspace_dir: str | Path | None = None, **options: Unpack[Options]
    ) -> None:
        self._temporary = None
        if workspace_dir is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="agentd-", ignore_cleanup_errors=True)
            workspace_dir = self._temporary.name
        super().__init__(workspace_dir, timeout=timeout, **options)

    async def aclose(self) -> None:
        """Kill everything that was started here, and remove the workspace that was made here."""
        await super().aclose()
        if self._temporary is not None:
            await in_thread(self._temporary.cleanup)

    def close(self) -> None:
        """Do what `aclose` does, from a place that has no event loop."""
        super().close()
        if self._temporary is not None:
            self._temporary.cleanup()


class LocalShell:
    """One session on this machine.

    What a finished block left running (`python -m http.server &`) stays until the shell is closed, and its further
    output goes to the block's file; what a block started that timed out or was cancelled is killed with it.
    """

    def __init__(self, executor: LocalExecutor, session: str) -> None:
        self._executor = executor
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
            code, output, reason = await asyncio.to_thread(_create, self._executor.workspace_dir, action)
            return ActionResult(code, output, time.perf_counter() - begun, reason, len(output.encode()))
        if "\0" in action.code:
            return ActionResult(2, "the code has a NUL character in it", time.perf_counter() - begun, "refused")
        link = self._executor.warm()
        pending = self._begin(link, action, bindings, door, on_output)
        try:
            outcome = await pending.future
        except BaseException:
            await _end(link, pending)
            raise
        if outcome.reason == "lost":
            outcome.output = _OBITUARY
        return ActionResult(
            exit_code=outcome.exit_code,
            output=outcome.output,
            duration=time.perf_counter() - begun,
            reason=outcome.reason,
            total_bytes=outcome.total,
            spill=outcome.spill,
        )

    def _begin(
        self, link: Link, action: Action, bindings: Bindings, door: Door, on_output: Callable[[str], None]
    ) -> Pending:
        timeout = self._executor.timeout if action.timeout is None else max(0.0, action.timeout)
        python = action.kind is Kind.PYTHON
        header: dict[str, object] = {"kind": action.kind.value, "name": action.id, "timeout": timeout}
        if action.env:
            header["env"] = action.env
        if bindings.bin_dirs:
            header["bin"] = bindings.bin_dirs
        pipe = None
        if python:
            header |= {"path": bindings.python_dirs, "keep": action.keep_state, "digest": bindings.digest}
            if bindings.source:
                link.bind(bindings.digest, bindings.source)
                pipe = ToolPipe(link.loop, door)
        pending = link.run(self._session, header, as_utf8(action.code), pipe, on_output)
        pending.guard = link.loop.call_later(timeout + _GRACE, link.lose, "it did not end a block in time")
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
        link = self._executor.forget(self._session)
        if link is not None and link.loop is asyncio.get_running_loop():
            await link.close_shell(self._session)


def _current_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _create(workspace: Path, action: Action) -> tuple[int, str, str]:
    existed = (workspace / action.path).exists() if "\0" not in action.path else False
    try:
        size = write_file(workspace, action.path, action.code)
    except PathRefused as error:
        return 1, str(error), "refused"
    except OSError as error:
        return 1, f"{action.path!r} could not be written: {error.strerror or error}", ""
    return 0, f"{'replaced' if existed else 'created'} {action.path} ({size} bytes)", ""


async def _end(link: Link, pending: Pending) -> None:
    """Have a block killed that nobody waits for any more."""
    link.kill(pending, "cancelled")
    await asyncio.wait([pending.ended], timeout=PATIENCE)
    if not pending.ended.done():
        link.lose("it did not end a cancelled block in time")
