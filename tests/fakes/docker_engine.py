"""A Docker engine's API on a Unix socket, as far as agentd uses it; its containers are real processes.

What it answers was taken from a real engine (20.10 and the API's reference). It can also misbehave: see `Faults`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socketserver
import tempfile
import threading
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from agentd.core.protocols import Executor
from agentd.executors.docker import DockerExecutor
from tests.fakes.docker_containers import PATH, Container

IMAGE = "python:3.12-slim"
SMALLEST_MEMORY = 6 << 20
_ROUTE = re.compile(r"(?:/v(?P<api>[0-9.]+))?(?P<path>/.*)")
_CONTAINER = re.compile(r"/containers/(?P<id>[^/]+)(?:/(?P<verb>\w+))?")


@dataclass
class Faults:
    """How the engine misbehaves; nothing of it by default."""

    api: str = "1.47"
    oldest_api: str = "1.24"
    refuse_create: tuple[int, str] | None = None
    refuse_start: tuple[int, str] | None = None
    create_waits: threading.Event | None = None
    start_waits: threading.Event | None = None
    busy_removals: int = 0
    nonsense: bool = False
    info: dict[str, Any] = field(default_factory=dict[str, Any])


class Refusal(Exception):
    """An answer with an error's status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class FakeEngine:
    """The engine: images by name, containers, and every request that came (`POST /containers/create`)."""

    def __init__(self, path: Path | None = None, faults: Faults | None = None) -> None:
        self._folder = None if path else tempfile.TemporaryDirectory(prefix="fake-docker-", ignore_cleanup_errors=True)
        self.path = path or Path(self._folder.name, "docker.sock") if self._folder else Path(str(path))
        self.faults = faults or Faults()
        self.images = {IMAGE: {"Id": "sha256:" + "5" * 64, "Config": {"Env": [f"PATH={PATH}", "IMAGE_SAYS=hello"]}}}
        self.containers: dict[str, Container] = {}
        self.created: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self.lock = threading.RLock()
        self._server = _Server(str(self.path), _Handler)
        self._server.engine = self
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="fake-docker", daemon=True).start()

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill all containers, and answer no more."""
        for waits in (self.faults.create_waits, self.faults.start_waits):
            if waits is not None:
                waits.set()
        self._server.shutdown()
        self._server.server_close()
        for container in list(self.containers.values()):
            container.kill()
        self.path.unlink(missing_ok=True)
        if self._folder is not None:
            self._folder.cleanup()

    def executor(self, workspace: Path, **options: Any) -> DockerExecutor:
        """Return an executor that uses this engine."""
        return DockerExecutor(workspace, base_url=self.url, **options)

    def find(self, key: str) -> Container:
        """Return a container by its id, the beginning of that, or its name."""
        for container in list(self.containers.values()):
            if container.name == key or container.id.startswith(key):
                return container
        raise Refusal(404, f"No such container: {key}")

    def version(self) -> dict[str, Any]:
        return {
            "ApiVersion": self.faults.api,
            "MinAPIVersion": self.faults.oldest_api,
            "Version": "27.5.1",
            "Os": "linux",
        }

    def info(self) -> dict[str, Any]:
        known = {
            "ServerVersion": "27.5.1",
            "OSType": "linux",
            "KernelVersion": os.uname().release,
            "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
            "MemoryLimit": True,
            "PidsLimit": True,
        }
        return known | self.faults.info

    def create(self, name: str, config: dict[str, Any]) -> dict[str, Any]:
        if self.faults.refuse_create:
            raise Refusal(*self.faults.refuse_create)
        image = next((one for known, one in self.images.items() if config["Image"] in (known, one["Id"])), None)
        if image is None:
            raise Refusal(404, f"No such image: {config['Image']}")
        self._check(config.get("HostConfig") or {})
        if self.faults.create_waits is not None:
            self.faults.create_waits.wait()
        with self.lock:
            if any(one.name == name for one in self.containers.values()):
                raise Refusal(409, f'Conflict. The container name "/{name}" is already in use by another container.')
            ident = secrets.token_hex(32)
            self.containers[ident] = Container(ident, name, config, image["Config"].get("Env") or [])
            self.created.append(config)
        return {"Id": ident, "Warnings": []}

    def _check(self, host: dict[str, Any]) -> None:
        targets: list[str] = []
        for mount in host.get("Mounts") or []:
            if mount["Type"] == "bind" and not os.path.exists(mount["Source"]):
                problem = f"bind source path does not exist: {mount['Source']}"
                raise Refusal(400, f'invalid mount config for type "bind": {problem}')
            targets.append(mount["Target"])
        targets += host.get("Tmpfs") or {}
        for target in targets:
            if target == "/" or targets.count(target) > 1:
                raise Refusal(400, f"Duplicate mount point: {target}")
        if 0 < (host.get("Memory") or 0) < SMALLEST_MEMORY:
            raise Refusal(400, "Minimum memory limit allowed is 6MB")

    def start(self, container: Container) -> None:
        if self.faults.start_waits is not None:
            self.faults.start_waits.wait()
        if self.faults.refuse_start:
            raise Refusal(*self.faults.refuse_start)
        gone = _Gone(self, container) if container.host.get("AutoRemove") else threading.Event()
        try:
            container.start(gone)
        except OSError as error:
            raise Refusal(500, f"failed to create task for container: {error}") from error

    def remove(self, container: Container, force: bool) -> None:
        if self.faults.busy_removals > 0:
            self.faults.busy_removals -= 1
            raise Refusal(409, f"removal of container {container.id} is already in progress")
        if container.state == "running" and not force:
            raise Refusal(409, f"You cannot remove a running container {container.id}. Stop the container before.")
        container.kill()
        self.containers.pop(container.id, None)

    def listed(self, filters: dict[str, Any], everything: bool) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for one in list(self.containers.values()):
            labels = one.config.get("Labels") or {}
            wanted: list[str] = filters.get("label") or []
            has = {*labels, *(f"{key}={value}" for key, value in labels.items())}
            if has.issuperset(wanted) and (everything or one.state == "running"):
                found.append({"Id": one.id, "Names": [f"/{one.name}"], "Labels": labels, "State": one.state})
        return found


class _Gone(threading.Event):
    """Takes the container off the list when it has ended."""

    def __init__(self, engine: FakeEngine, container: Container) -> None:
        super().__init__()
        self._engine = engine
        self._container = container

    def set(self) -> None:
        if not self._engine.faults.busy_removals:
            self._engine.containers.pop(self._container.id, None)
        super().set()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    engine: FakeEngine

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever hangs up in the middle is no concern of the engine's."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        pass

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        engine = self.server.engine
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        match = _ROUTE.fullmatch(unquote(parts.path))
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        assert match is not None
        engine.requests.append(f"{self.command} {match['path']}")
        if engine.faults.nonsense:
            self._reply(200, b"<html>welcome</html>")
            return
        try:
            self._check_version(match["api"])
            answer = self._route(match["path"], query, body)
        except Refusal as refusal:
            self._reply(refusal.status, json.dumps({"message": str(refusal)}).encode())
        else:
            if answer is not self:
                self._reply(200 if answer is not None else 204, b"" if answer is None else json.dumps(answer).encode())

    def _check_version(self, api: str | None) -> None:
        faults = self.server.engine.faults
        if api and _number(api) < _number(faults.oldest_api):
            oldest = f"Minimum supported API version is {faults.oldest_api}"
            raise Refusal(
                400, f"client version {api} is too old. {oldest}, please upgrade your client to a newer version"
            )
        if api and _number(api) > _number(faults.api):
            raise Refusal(400, f"client version {api} is too new. Maximum supported API version is {faults.api}")

    def _route(self, path: str, query: dict[str, str], body: dict[str, Any]) -> Any:
        engine = self.server.engine
        if path == "/version":
            return engine.version()
        if path == "/info":
            return engine.info()
        if path.startswith("/images/"):
            name = path.removeprefix("/images/").removesuffix("/json")
            if name not in engine.images:
                raise Refusal(404, f"No such image: {name}")
            return engine.images[name]
        if path == "/containers/json":
            return engine.listed(json.loads(query.get("filters", "{}")), query.get("all") in ("1", "True", "true"))
        if path == "/containers/create":
            return engine.create(query["name"], body)
        match = _CONTAINER.fullmatch(path)
        if match is None:
            raise Refusal(404, "page not found")
        return self._on_container(engine.find(match["id"]), match["verb"], query)

    def _on_container(self, container: Container, verb: str | None, query: dict[str, str]) -> Any:
        engine = self.server.engine
        if verb == "start":
            return engine.start(container)
        if verb == "attach":
            return self._attach(container)
        if verb == "kill":
            return container.kill()
        if verb == "wait":
            container.ended.wait()
            return {"StatusCode": container.exit_code}
        if self.command == "DELETE":
            return engine.remove(container, query.get("force") in ("1", "True", "true"))
        return {"Id": container.id, "Name": f"/{container.name}", "State": {"Status": container.state}}

    def _attach(self, container: Container) -> Self:
        kind = "application/vnd.docker.multiplexed-stream"
        head = f"HTTP/1.1 101 UPGRADED\r\nContent-Type: {kind}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.sendall(head.encode())
            container.attach(self.connection)
        return self

    def _reply(self, status: int, body: bytes) -> None:
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)


def _number(api: str) -> tuple[int, ...]:
    return tuple(int(part) for part in api.split("."))


@lru_cache(maxsize=1)
def shared() -> FakeEngine:
    """Return the one engine of this process, for tests that do not look at it. It ends with the process."""
    return FakeEngine()


def factory(tmp_path: Path, **options: Any) -> Executor:
    """Return a Docker executor on a workspace of its own, in containers of the shared engine."""
    return shared().executor(tmp_path / "workspace", **options)
