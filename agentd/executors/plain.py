"""Running code by plain calls, without a model: blocking, and as coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from os import PathLike, fspath
from os.path import isabs
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from agentd.core.actions import Action, ActionResult, Bindings, Kind
from agentd.core.background import background_loop, runs_in
from agentd.core.errors import OptionError, PathRefused
from agentd.core.ids import new_id
from agentd.core.protocols import Shell

T = TypeVar("T")
_NO_TOOLS = b'{"ok": false, "error": "no tools are connected to a plain call"}'


class _NoTools:
    def call(self, request: bytes) -> bytes:
        return _NO_TOOLS


class PlainCalls:
    """`execute_bash`, `execute_python` and `create_file` on an executor, and the same with an `a` in front to await.

    Every call has a shell of its own: what it changes lasts in files only, and what it leaves running is killed. They
    may be made in any thread and on any event loop.
    """

    workspace_dir: Path

    def execute_bash(
        self, command: str, cwd: str | PathLike[str] | None = None, *, timeout: float | None = None
    ) -> tuple[str, int]:
        """Run a bash script in `cwd` (the workspace, or relative to it); return its output and its exit code.

        The output is standard output and error as they came. A script that runs longer than `timeout` seconds, by
        default the executor's, is killed: its exit code is 124.
        """
        return self._wait(self._run(Kind.BASH, command, cwd, timeout))

    def execute_python(
        self, code: str, cwd: str | PathLike[str] | None = None, *, timeout: float | None = None
    ) -> tuple[str, int]:
        """Run Python code in a fresh interpreter; else as `execute_bash`."""
        return self._wait(self._run(Kind.PYTHON, code, cwd, timeout))

    def create_file(self, filename: str, content: str, cwd: str | PathLike[str] | None = None) -> str:
        """Write a file inside the workspace, all of it or nothing; return what was done, in words.

        `filename` is relative to `cwd`, which is the workspace or relative to it. Raises `PathRefused` for a file
        elsewhere, or reached through a symbolic link, and `OSError` when it cannot be written.
        """
        return self._wait(self._create(filename, content, cwd))

    async def aexecute_bash(  # the parameters of the blocking calls
        self,
        command: str,
        cwd: str | PathLike[str] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> tuple[str, int]:
        """Do what `execute_bash` does, from any event loop."""
        return await self._elsewhere(self._run(Kind.BASH, command, cwd, timeout))

    async def aexecute_python(
        self,
        code: str,
        cwd: str | PathLike[str] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> tuple[str, int]:
        """Do what `execute_python` does, from any event loop."""
        return await self._elsewhere(self._run(Kind.PYTHON, code, cwd, timeout))

    async def acreate_file(self, filename: str, content: str, cwd: str | PathLike[str] | None = None) -> str:
        """Do what `create_file` does, from any event loop."""
        return await self._elsewhere(self._create(filename, content, cwd))

    def verify(self) -> tuple[bool, str]:
        """Tell whether code runs here as it is promised to, and in words what was found; does not raise for that.

        A sandbox is tried by a short list of escapes, which takes a second or two and leaves nothing behind.
        """
        return self._wait(self._verified())

    async def averify(self) -> tuple[bool, str]:
        """Do what `verify` does, from any event loop."""
        return await self._elsewhere(self._verified())

    async def _verified(self) -> tuple[bool, str]:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def open(self, session: str) -> Shell:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def _loop(self) -> asyncio.AbstractEventLoop | None:
        raise NotImplementedError

    async def _run(
        self, kind: Kind, code: str, cwd: str | PathLike[str] | None, seconds: float | None
    ) -> tuple[str, int]:
        where = "" if cwd is None else fspath(cwd)
        result = await self._do(Action(new_id("call"), kind, code, timeout=seconds, cwd=where))
        return result.output, result.exit_code

    async def _create(self, filename: str, content: str, cwd: str | PathLike[str] | None) -> str:
        folder = Path(cwd or ".")
        if folder.is_absolute() and folder.is_relative_to(self.workspace_dir):
            folder = folder.relative_to(self.workspace_dir)
        path = filename if folder == Path() or isabs(filename) else f"{folder}/{filename}"
        result = await self._do(Action(new_id("call"), Kind.CREATE, content, path=path))
        if result.reason == "refused":
            raise PathRefused(result.output.removeprefix(str(PathRefused("x"))[:-1]))
        if result.exit_code:
            raise OSError(result.output)
        return result.output

    async def _do(self, action: Action) -> ActionResult:
        shell = await self.open(action.id)
        try:
            return await shell.run(action, Bindings(), _NoTools(), lambda _: None)
        finally:
            await shell.close()

    def _wait(self, work: Coroutine[object, object, T]) -> T:
        loop = self._loop() or background_loop()
        if runs_in(loop):
            work.close()
            raise OptionError("a blocking call on the executor's own event loop would wait for itself: await its twin")
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def _elsewhere(self, work: Coroutine[object, object, T]) -> T:
        loop = self._loop() or background_loop()
        if runs_in(loop):
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))
