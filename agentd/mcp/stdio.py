"""A server process and its pipes, as a transport of the MCP SDK.

The SDK's own transport writes the server's standard error to the terminal, leaves grandchildren alive, takes
quadratic time for a long line and cannot tell a request that was never written from one that was; this one does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from types import TracebackType
from typing import cast

import anyio
import mcp_types as types
from mcp import MCPError, StdioServerParameters
from mcp.client._transport import TransportStreams  # what its public functions take and give
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage

from agentd.core.ids import new_id
from agentd.mcp.lines import LineSplitter, LongLine, Tail
from agentd.mcp.pipes import Incoming, Outgoing
from agentd.mcp.processes import MARK, kill_marked, kill_tree, marked, tree_of

NOT_SENT = -32081
TOO_LARGE = -32082
MAX_GARBAGE = 4 << 20

_LEAVE_TIME = 0.7
_KILL_TIME = 0.4
_DRAIN_TIME = 0.3

_log = logging.getLogger("agentd.mcp")


class _Protocol(asyncio.subprocess.SubprocessStreamProtocol):
    """Tells of the process's exit itself: `wait()` may wait for a pipe that a grandchild holds open."""

    def __init__(self, exited: asyncio.Event) -> None:
        super().__init__(limit=1 << 17, loop=asyncio.get_running_loop())
        self._exited = exited

    def process_exited(self) -> None:
        super().process_exited()
        self._exited.set()


class StdioTransport:
    """Starts the server when entered; leaving it ends the server and everything that it has started.

    `over` is set when no more answers can come. Lines of standard output that are no messages are skipped and kept,
    with standard error, in `tail`. A message over `limit` bytes fails the call that it answers and no other.
    """

    def __init__(self, parameters: StdioServerParameters, limit: int) -> None:
        self.over = asyncio.Event()
        self.tail = Tail()
        self._token = new_id("server")
        self._parameters = parameters
        self._limit = limit
        self._incoming = Incoming()
        self._outgoing = Outgoing(self._write)
        self._exited = asyncio.Event()
        self._pending: set[str | int] = set()
        self._garbage = 0
        self._noted = False
        self._ended = False

    async def __aenter__(self) -> TransportStreams:
        parameters = self._parameters
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_exec(
            lambda: _Protocol(self._exited),
            parameters.command,
            *parameters.args,
            env=get_default_environment() | (parameters.env or {}) | {MARK: self._token},
            cwd=parameters.cwd,
            start_new_session=True,
        )
        self._transport = transport
        self._process = asyncio.subprocess.Process(transport, protocol, loop)
        self._tasks = [asyncio.create_task(work()) for work in (self._read, self._read_errors, self._watch)]
        self._errors_read = self._tasks[1]
        return self._incoming, self._outgoing

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            self.over.set()
            if self._ended:
                # It ended by itself: its last words are on their way.
                await asyncio.wait((self._errors_read,), timeout=_DRAIN_TIME)
                if await self._exits_within(_DRAIN_TIME):
                    self._note_exit()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._end_process()
            self._finish()

    async def _end_process(self) -> None:
        pid = self._process.pid
        # Found before the server leaves: afterwards nothing leads from it to children in sessions of their own.
        tree = tree_of(pid) | marked(self._token)
        stdin = self._process.stdin
        if stdin is not None:
            stdin.close()
        try:
            if not await self._exits_within(_LEAVE_TIME):
                kill_tree(pid, tree, gently=True)
                await self._exits_within(_KILL_TIME)
        finally:
            kill_tree(pid, tree)
            kill_marked(self._token)
        await self._exits_within(_KILL_TIME)
        self._transport.close()
        # One pass, so that the closed pipes are really gone when the caller closes its loop.
        await asyncio.sleep(0)

    async def _exits_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._exited.wait(), seconds)
        return self._exited.is_set()

    async def _watch(self) -> None:
        await self._exited.wait()
        self._note_exit()
        # What the server wrote before it died is still read; a grandchild that holds the pipes is not waited for.
        await asyncio.sleep(_DRAIN_TIME)
        self._finish()

    def _note_exit(self) -> None:
        code = self._process.returncode
        if not self._noted and code is not None:
            self._noted = True
            self.tail.note(f"[exit code {code}]" if code >= 0 else f"[ended by signal {-code}]")

    def _finish(self) -> None:
        """End the session: from here on the SDK's own writes fail at once, and visibly unsent."""
        self._ended = True
        self.over.set()
        self._outgoing.closed = True
        self._incoming.end()

    async def _read(self) -> None:
        stdout = cast(asyncio.StreamReader, self._process.stdout)
        lines = LineSplitter(self._limit)
        while data := await stdout.read(1 << 17):
            for line in lines.feed(data):
                await self._take(line)
            if self._garbage > MAX_GARBAGE:
                self.tail.note("printed too much that is not MCP on its standard output")
                break
        self._finish()

    async def _take(self, line: bytes | LongLine) -> None:
        if isinstance(line, LongLine):
            for number in self._answered_by(line):
                await self._fail(number, TOO_LARGE, f"the answer has {line.size} bytes; the limit is {self._limit}")
            return
        message = self._parse(line)
        if message is None:
            return
        self._garbage = 0
        if isinstance(message, types.JSONRPCResponse | types.JSONRPCError) and message.id is not None:
            self._pending.discard(message.id)
        await self._incoming.put(SessionMessage(message))

    def _parse(self, line: bytes) -> types.JSONRPCMessage | None:
        if line.lstrip()[:1] == b"{":
            with contextlib.suppress(ValueError):
                return types.jsonrpc_message_adapter.validate_json(line, by_name=False)
        if line.strip():
            self._garbage += len(line)
            self.tail.note("[stdout] " + line[:500].decode("utf-8", "replace"))
        return None

    def _answered_by(self, line: LongLine) -> Iterator[str | int]:
        found = line.answers() & self._pending
        yield from found or (self._pending if len(self._pending) == 1 else set[str | int]())

    async def _fail(self, number: str | int, code: int, message: str) -> None:
        self._pending.discard(number)
        error = types.JSONRPCError(jsonrpc="2.0", id=number, error=types.ErrorData(code=code, message=message))
        await self._incoming.put(SessionMessage(error))

    async def _write(self, item: SessionMessage) -> None:
        """Write a message; a request that the server provably does not get raises here."""
        stdin = cast(asyncio.StreamWriter, self._process.stdin)
        message = item.message
        number = message.id if isinstance(message, types.JSONRPCRequest) else None
        try:
            data = message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
        except ValueError as error:
            if number is None:
                return
            raise MCPError(types.INVALID_PARAMS, f"the arguments are not valid JSON: {error}") from error
        if number is not None:
            self._pending.add(number)
        if self._put(stdin, data):
            with contextlib.suppress(ConnectionError):
                await stdin.drain()
        elif number is not None:
            self._pending.discard(number)
            raise MCPError(NOT_SENT, "the server had ended before the request was sent")

    def _put(self, stdin: asyncio.StreamWriter, data: bytes) -> bool:
        """Write `data`; false when provably not one byte of it has reached the server."""
        pipe = stdin.transport
        if pipe.is_closing() or self._exited.is_set():
            return False
        idle = pipe.get_write_buffer_size() == 0
        stdin.write(data)
        return not (idle and pipe.is_closing())

    async def _read_errors(self) -> None:
        stderr = cast(asyncio.StreamReader, self._process.stderr)
        while data := await stderr.read(1 << 16):
            self.tail.add(data)

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return self._process.pid
