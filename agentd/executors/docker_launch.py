"""A runner in a container: the container's life, and the bytes between its standard streams and the host."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import cast

from agentd.core.errors import AgentdError, ExecutorUnavailable
from agentd.executors.docker_engine import Client, Engine, attach
from agentd.executors.doorway import Doorway
from agentd.executors.owner import is_orphan

OWNER = "agentd.owner"
PATIENCE = 5.0
_STDERR = 2
_HEADER = struct.Struct(">BxxxL")
_PIECE = 1 << 16
_WORDS = 4000
Configure = Callable[[], Mapping[str, object]]
_log = logging.getLogger("agentd.executors")


class Streams:
    """Takes the two outputs of a container apart: each piece has a header with its number and its length."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, piece: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the number of an output and what came from it, whole pieces and parts of them as they come."""
        self._data += piece
        while len(self._data) >= _HEADER.size:
            kind, size = cast("tuple[int, int]", _HEADER.unpack_from(self._data))
            end = _HEADER.size + size
            here = bytes(self._data[_HEADER.size : end])
            left = end - len(self._data)
            del self._data[:end]
            if left > 0:  # the rest of it is still to come: make it a piece of its own
                self._data += _HEADER.pack(kind, left)
            if here:
                yield kind, here
            if left > 0:
                return


class Container:
    """What the threads of a container share. None of them holds the host's end: when that is lost, they end."""

    def __init__(self, engine: Engine, name: str, configure: Configure, near: socket.socket) -> None:
        self.engine = engine
        self.name = name
        self.up: concurrent.futures.Future[None] = concurrent.futures.Future()
        self.doomed = threading.Event()
        self.words = bytearray()
        self._configure = configure
        self._near = near
        self.thread = threading.Thread(target=self._live, name="agentd-docker", daemon=True)

    def _live(self) -> None:
        """Start the container, carry its bytes until it ends or the host hangs up."""
        stream: socket.socket | None = None
        try:
            with self.engine.client("starting a container") as client:
                stream = self._start(client)
        except AgentdError as error:
            self.words += str(error).encode()
            self._remove_quietly()
            self.up.set_exception(error)
        except BaseException as error:
            self.up.set_exception(error)
            raise
        else:
            self.up.set_result(None)
            if stream is not None:
                self._carry(stream)
        finally:
            if stream is not None:
                stream.close()
            self._near.close()

    def _start(self, client: Client) -> socket.socket | None:
        sweep(client)
        container = str(client.create_container_from_config(self._configure(), self.name)["Id"])
        if self.doomed.is_set():
            remove(client, container)
            return None
        stream = attach(client, container)
        try:
            client.start(container)
        except BaseException:
            stream.close()
            raise
        return stream

    def _carry(self, stream: socket.socket) -> None:
        up = threading.Thread(target=_pour, args=(self._near, stream), name="agentd-docker-in", daemon=True)
        up.start()
        streams = Streams()
        with contextlib.suppress(OSError):
            while piece := stream.recv(_PIECE):
                for kind, data in streams.feed(piece):
                    if kind == _STDERR:
                        self.words = (self.words + data)[-_WORDS:]
                    else:
                        self._near.sendall(data)
        for sock in (self._near, stream):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        up.join()

    def _remove_quietly(self) -> None:
        with contextlib.suppress(ExecutorUnavailable), self.engine.client("removing a container") as client:
            remove(client, self.name)


class ContainerLaunch:
    """A runner in a container of its own, which is removed when it ends, and ends when nobody is attached any more."""

    passes_fds = False
    census = ""

    def __init__(self, engine: Engine, name: str, configure: Configure, doorway: Doorway) -> None:
        """Begin to start it in a thread, as `configure` says there."""
        self.doorway: Doorway | None = doorway
        self.sock, near = socket.socketpair()
        self._container = Container(engine, name, configure, near)
        self._container.thread.start()

    async def started(self) -> None:
        """Return when the container runs; raises `ExecutorUnavailable` with the engine's words when it does not."""
        up = asyncio.wrap_future(self._container.up)
        up.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody has to ask
        await asyncio.shield(up)

    def gone(self) -> bool:
        """Tell whether the container has ended."""
        return not self._container.thread.is_alive()

    def destroy(self) -> None:
        """Kill the container, and return when the engine has removed it."""
        self._container.doomed.set()
        self.sock.close()
        try:
            with self._container.engine.client("removing a container") as client:
                remove(client, self._container.name)
        except ExecutorUnavailable as error:
            _log.warning("the container %s may be left over: %s", self._container.name, error)
        self._container.thread.join(PATIENCE)

    def last_words(self) -> str:
        """Return what the container has complained of, or why it was not started."""
        return self._container.words.decode("utf-8", "replace").strip()


def _pour(source: socket.socket, target: socket.socket) -> None:
    """Copy until the source ends, and tell the target that it has."""
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def remove(client: Client, container: str) -> None:
    """Kill and remove a container, with its nameless volumes; return when it is gone, whoever has removed it."""
    from docker.errors import APIError, NotFound

    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            client.remove_container(container, v=True, force=True)
            return
        except NotFound:
            return
        except APIError as error:
            # 409: it is being removed at this moment, by itself as it has ended.
            if error.status_code != 409 or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def sweep(client: Client) -> None:
    """Remove the containers of processes that have died without doing so."""
    from docker.errors import APIError

    for one in client.containers(all=True, filters={"label": OWNER}):
        labels = cast("dict[str, str]", one.get("Labels") or {})
        if not is_orphan(labels.get(OWNER, ""), up=one.get("State") not in ("exited", "dead")):
            continue
        _log.info("removing the container %s: the process that made it is gone", one.get("Id"))
        try:
            remove(client, str(one["Id"]))
        except APIError as error:  # it keeps nobody from starting another
            _log.warning("a container of a process that is gone cannot be removed: %s", error)
