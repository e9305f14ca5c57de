"""A cloud of microsandbox on the loopback: its HTTP API, and behind it machines that are processes of this one.

The SDK's own client speaks with it. What a machine is asked to run is really run, here and with the caller's rights:
nothing shuts it in. Of a machine's mounts only the names are kept: `/opt/agentd/runner/x` is run as the file that is
mounted there. Commands go over a WebSocket that carries the guest agent's protocol: frames of a length, a number, flags
and a CBOR envelope, of which what is needed to run commands is spoken here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import struct
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import cbor2
from aiohttp import WSMsgType, web

from agentd.executors.doorway import Doorway
from agentd.executors.launch import Probe
from agentd.executors.microsandbox import MicrosandboxExecutor
from agentd.executors.microsandbox_sdk import Sdk
from agentd.executors.runner.processes import everyone, kill_below

KEY = "msb_of_a_test"
GENERATION = 6  # of the protocol: the newest without flow control of its own
_IDS = (1, 1 << 20)
_LAST = 1  # the flag of the last frame of a command
_LENGTH = struct.Struct("!I")
_FRAME = struct.Struct("!IB")
_PIECE = 1 << 16


def _frame(number: int, kind: str, payload: dict[str, Any], flags: int = 0) -> bytes:
    body = cbor2.dumps({"v": GENERATION, "t": kind, "p": cbor2.dumps(payload)})
    return _LENGTH.pack(_FRAME.size + len(body)) + _FRAME.pack(number, flags) + body


@dataclass
class Machine:
    """A machine as it was asked for, and the commands that run in it."""

    asked: dict[str, Any]
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "running"
    commands: set[int] = field(default_factory=set[int])
    exits: list[int] = field(default_factory=list[int])

    def told(self) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat()
        name = self.asked["name"]
        who = {"id": self.id, "org_id": self.id, "name": name, "slug": name, "status": self.status}
        return who | {"ephemeral": False, "created_at": now, "started_at": now}

    def here(self, word: str) -> str:
        """Return what a path inside is on this machine."""
        for mount in self.asked.get("mounts", []):
            inside, host = mount["guest"], mount.get("host")
            if host and (word == inside or word.startswith(inside + "/")):
                return host + word[len(inside) :]
        return word

    def end(self) -> None:
        """Kill everything that runs in it."""
        self.status = "stopped"
        for pid in list(self.commands):
            _kill(pid)


def _kill(pid: int) -> None:
    while kill_below(pid, everyone):
        pass
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class Command:
    """One command in a machine."""

    def __init__(
        self, machine: Machine, number: int, asked: dict[str, Any], ws: web.WebSocketResponse, path: str
    ) -> None:
        self._machine = machine
        self._number = number
        self._image = {"PATH": path, "HOME": "/root", "USER": "root", "LOGNAME": "root"}
        self._asked = asked
        self._ws = ws
        self._input: asyncio.Queue[bytes] = asyncio.Queue()
        self._process: asyncio.subprocess.Process | None = None
        self.task = asyncio.create_task(self._run())

    def feed(self, data: bytes) -> None:
        self._input.put_nowait(data)

    def signal(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def _run(self) -> None:
        asked = self._asked
        given = dict(text.split("=", 1) for text in asked["env"])
        argv = [shutil.which(asked["cmd"], path=self._image["PATH"]) or asked["cmd"], *asked["args"]]
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                *map(self._machine.here, argv),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=self._machine.here(asked["cwd"]),
                env={**self._image, "FROM_THE_IMAGE": "1", **given},
                start_new_session=True,
            )
        except OSError as error:
            failure = {"kind": "not_found", "errno": error.errno, "message": str(error)}
            await self._tell("core.exec.failed", failure, _LAST)
            return
        self._machine.commands.add(process.pid)
        feeding = asyncio.create_task(self._feed(process))
        try:
            await self._tell("core.exec.started", {"pid": process.pid})
            assert process.stdout and process.stderr
            await asyncio.gather(self._show(process.stdout, "stdout"), self._show(process.stderr, "stderr"))
            code = await process.wait()
            self._machine.exits.append(code)
            await self._tell("core.exec.exited", {"code": code}, _LAST)
        finally:
            feeding.cancel()
            self._machine.commands.discard(process.pid)

    async def _feed(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin
        with contextlib.suppress(ConnectionError):
            while data := await self._input.get():
                process.stdin.write(data)
                await process.stdin.drain()
        process.stdin.close()

    async def _show(self, stream: asyncio.StreamReader, name: str) -> None:
        while data := await stream.read(_PIECE):
            await self._tell(f"core.exec.{name}", {"data": data})

    async def _tell(self, kind: str, payload: dict[str, Any], flags: int = 0) -> None:
        with contextlib.suppress(ConnectionError):  # nobody listens any more; what runs is ended by who sees that
            await self._ws.send_bytes(_frame(self._number, kind, payload, flags))


Answer = web.StreamResponse


class Cloud:
    """The API. `fault`, when it is set, is asked before every request, and may answer in its place.

    `path` is where machines look for programs.
    """

    def __init__(self) -> None:
        self.machines: dict[str, Machine] = {}
        self.created: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self.commands: list[list[str]] = []
        self.url = ""
        self.fault: Callable[[web.Request], Awaitable[Answer | None]] | None = None
        self._running: set[asyncio.Task[None]] = set()
        self.path = f"{os.path.dirname(sys.executable)}:/usr/local/bin:/usr/bin:/bin"

    async def aclose(self) -> None:
        """Kill everything that is still running, and return when it is gone."""
        for machine in list(self.machines.values()):
            await asyncio.to_thread(machine.end)
        await asyncio.gather(*self._running)

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._check], client_max_size=1 << 24)
        app.router.add_post("/v1/sandboxes", self._create)
        app.router.add_get("/v1/sandboxes", self._list)
        app.router.add_get("/v1/sandboxes/{id}/agent", self._agent)
        for place in ("/v1/sandboxes/by-name/{name}", "/v1/sandboxes/{id}"):
            app.router.add_get(place, self._get)
            app.router.add_post(f"{place}/stop", self._stop)
            app.router.add_delete(place, self._remove)
        return app

    @web.middleware
    async def _check(self, request: web.Request, handler: Callable[[web.Request], Any]) -> Answer:
        self.requests.append(f"{request.method} {request.path_qs}")
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return refusal(401, "unauthorized", "this is not a key")
        answer = await self.fault(request) if self.fault is not None else None
        return answer or await handler(request)

    async def _create(self, request: web.Request) -> Answer:
        asked = await request.json()
        if asked["name"] in self.machines:
            return refusal(409, "sandbox_already_exists", "there is one of this name")
        self.created.append(asked)
        machine = self.machines[asked["name"]] = Machine(asked)
        return web.json_response(machine.told())

    async def _list(self, request: web.Request) -> Answer:
        names = sorted(self.machines)
        begin, limit = int(request.query.get("cursor", "0")), int(request.query["limit"])
        page = [self.machines[name].told() for name in names[begin : begin + limit]]
        following = str(begin + limit) if begin + limit < len(names) else None
        return web.json_response({"data": page, "next_cursor": following})

    def _find(self, request: web.Request) -> Machine | None:
        name, number = request.match_info.get("name"), request.match_info.get("id")
        return next((one for one in self.machines.values() if name == one.asked["name"] or number == one.id), None)

    async def _get(self, request: web.Request) -> Answer:
        machine = self._find(request)
        return web.json_response(machine.told()) if machine else _missing()

    async def _stop(self, request: web.Request) -> Answer:
        machine = self._find(request)
        if machine is None:
            return _missing()
        await asyncio.to_thread(machine.end)
        return web.json_response(machine.told())

    async def _remove(self, request: web.Request) -> Answer:
        machine = self._find(request)
        if machine is None:
            return _missing()
        if machine.status == "running":
            return refusal(409, "sandbox_still_running", "stop it first")
        del self.machines[machine.asked["name"]]
        return web.json_response({"message": "removed"})

    async def _agent(self, request: web.Request) -> Answer:
        machine = self._find(request)
        if machine is None or machine.status != "running":
            return _missing()
        ws = web.WebSocketResponse(max_msg_size=0)
        await ws.prepare(request)
        await ws.send_bytes(struct.pack("!II", *_IDS))
        ready = {"boot_time_ns": 1, "init_time_ns": 1, "ready_time_ns": 2, "agent_version": "0.7.11"}
        await ws.send_bytes(_frame(0, "core.ready", ready))
        commands: dict[int, Command] = {}
        try:
            async for number, kind, payload in _frames(ws):
                self._obey(machine, ws, commands, number, kind, payload)
        finally:
            # Whoever has started the commands is gone: nothing more comes, and they have to see to that themselves.
            for command in commands.values():
                command.feed(b"")
        return ws

    def _obey(
        self,
        machine: Machine,
        ws: web.WebSocketResponse,
        commands: dict[int, Command],
        number: int,
        kind: str,
        payload: dict[str, Any],
    ) -> None:
        if kind == "core.exec.request":
            self.commands.append([payload["cmd"], *payload["args"]])
            command = commands[number] = Command(machine, number, payload, ws, self.path)
            self._running.add(command.task)
            command.task.add_done_callback(self._running.discard)
        elif kind == "core.exec.stdin":
            commands[number].feed(payload["data"])
        elif kind == "core.exec.signal":
            commands[number].signal(payload["signal"])
        else:
            raise ValueError(f"this cloud does not know {kind}")


async def _frames(ws: web.WebSocketResponse) -> AsyncIterator[tuple[int, str, dict[str, Any]]]:
    data = b""
    async for message in ws:
        if message.type is not WSMsgType.BINARY:
            continue
        data += message.data
        while len(data) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
            if len(data) < end:
                break
            number, _ = _FRAME.unpack_from(data, _LENGTH.size)
            envelope = cbor2.loads(data[_LENGTH.size + _FRAME.size : end])
            data = data[end:]
            yield number, envelope["t"], cbor2.loads(envelope["p"])


def refusal(status: int, code: str, message: str) -> Answer:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)


def _missing() -> Answer:
    return refusal(404, "not_found", "there is no such sandbox")


@contextmanager
def cloud() -> Iterator[tuple[Cloud, str]]:
    """Run a cloud in a thread; what is still running in its machines is killed in the end."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fake-microsandbox", daemon=True)
    thread.start()

    async def start() -> tuple[Cloud, web.AppRunner]:
        one = Cloud()
        runner = web.AppRunner(one.application(), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return one, runner

    one, runner = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    try:
        host, port = runner.addresses[0][:2]
        yield one, f"http://{host}:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(one.aclose(), loop).result(30)
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class FakedMicrosandbox(MicrosandboxExecutor):
    """The executor with the real SDK, set to a cloud that is a fake.

    Three things are different there. Nobody asks whether this machine can run virtual ones, or where they are made; a
    cloud takes no vsock, so that the runner goes to the door by its path; and as nothing is shut in, the battery is not
    tried.
    """

    known_versions = frozenset({"fake"})

    @classmethod
    def probe(cls) -> Probe:
        return Probe(True, "fake")

    def _version(self) -> str:
        return "fake"

    def _machines(self) -> Sdk:
        return AnySdk()

    def _routes(self, doorway: Doorway) -> dict[str, int]:
        return {}

    def _door(self, doorway: Doorway) -> dict[str, object]:
        return {"door_path": str(doorway.path)}


class AnySdk(Sdk):
    """The SDK wherever it makes its machines."""

    def demand_local(self) -> None:
        pass
