"""The bridge's routes and checks; the only module of the bridge that imports aiohttp."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, cast

from aiohttp import web

from agentd.bridge.gate import BlockDoor, UnknownTool
from agentd.core.tools import JSON

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_DOOR = web.RequestKey("door", BlockDoor)
_CLOSE_TIME = 0.2
_log = logging.getLogger("agentd.bridge")


class Doors(Protocol):
    """What the front needs of the server that it belongs to."""

    url: str
    body_limit: int
    patience: float

    def door_of(self, token: str) -> BlockDoor | None: ...


class Front:
    """The aiohttp side of the server."""

    def __init__(self, owner: Doors) -> None:
        self._owner = owner
        self._hosts: frozenset[str] = frozenset()
        app = web.Application(client_max_size=owner.body_limit, middlewares=[self._guard])
        app.add_routes([web.get("/health", _health), web.get("/tools", _tools), web.post("/call/{tool}", self._call)])
        # `keepalive_timeout` also limits how long a new connection may take for its first complete head.
        self._runner = web.AppRunner(
            app,
            access_log=None,
            # A client that has gone takes its call with it.
            handler_cancellation=True,
            keepalive_timeout=owner.patience,
            lingering_time=1.0,
            shutdown_timeout=_CLOSE_TIME,
            auto_decompress=False,
        )

    async def serve(self, listening: Sequence[socket.socket]) -> None:
        """Take over the bound sockets, with the connections that wait in them."""
        port = self._owner.url.rpartition(":")[2]
        self._hosts = frozenset(f"{host}:{port}" for host in ("localhost", "127.0.0.1", "[::1]"))
        await self._runner.setup()
        for each in listening:
            await web.SockSite(self._runner, each, backlog=512).start()

    async def close(self) -> None:
        """Cancel what runs and cut every connection."""
        server = self._runner.server
        transports = [each.transport for each in server.connections] if server is not None else []
        try:
            async with asyncio.timeout(2 * _CLOSE_TIME):
                await self._runner.cleanup()
        except TimeoutError:
            _log.warning("connections to the bridge were cut while a request ran")
        for transport in transports:
            if transport is not None:
                transport.abort()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check host, origin and token before anything else, on every path and method; hide what goes wrong inside."""
        try:
            self._check_source(request)
            request[_DOOR] = self._door(request)
            return await handler(request)
        except web.HTTPException as error:
            return _refusal(
                error.status, error.reason, {"Allow": error.headers["Allow"]} if error.status == 405 else {}
            )
        except Exception:  # noqa: BLE001  the rim of a request: no traceback leaves it
            _log.exception("a request to the bridge failed")
            return _refusal(500, "the bridge failed; its log says why")

    def _check_source(self, request: web.Request) -> None:
        """Keep web pages out: a page can reach the loopback, under a name of its own and with an origin."""
        if "Origin" in request.headers:
            raise web.HTTPForbidden(reason="requests from web pages are refused")
        transport = request.transport
        over_unix = transport is not None and transport.get_extra_info("socket").family == socket.AF_UNIX
        hosts = request.headers.getall("Host", [])
        if not over_unix and (len(hosts) != 1 or hosts[0].lower() not in self._hosts):
            raise web.HTTPMisdirectedRequest(reason="the Host header does not name this server")

    def _door(self, request: web.Request) -> BlockDoor:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        door = self._owner.door_of(token.strip()) if scheme.lower() == "bearer" else None
        if door is None:
            raise web.HTTPUnauthorized(reason="a valid bearer token is required")
        return door

    async def _call(self, request: web.Request) -> web.StreamResponse:
        if (
            request.content_type != "application/json"
            or request.headers.get("Content-Encoding", "identity") != "identity"
        ):
            raise web.HTTPUnsupportedMediaType(reason="the body must be application/json, not compressed")
        tool, arguments = request.match_info["tool"], await self._arguments(request)
        try:
            result = await request[_DOOR].acall(tool, arguments)
        except UnknownTool as error:
            return _refusal(404, str(error))
        return _answer({"ok": True, "value": result.value} if result.ok else {"ok": False, "error": result.value})

    async def _arguments(self, request: web.Request) -> dict[str, JSON]:
        try:
            async with asyncio.timeout(self._owner.patience):
                body = await request.read()
        except TimeoutError:
            raise web.HTTPRequestTimeout(reason="the body did not come in time") from None
        try:
            arguments: object = json.loads(body.decode(), parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            reason = "nested too deeply" if isinstance(error, RecursionError) else "not valid JSON in UTF-8"
            raise web.HTTPBadRequest(reason=f"the body is {reason}") from None
        if not isinstance(arguments, dict):
            raise web.HTTPBadRequest(reason="the body must be a JSON object: the arguments by name")
        return cast(dict[str, JSON], arguments)


async def _health(request: web.Request) -> web.StreamResponse:
    return _answer({"ok": True})


async def _tools(request: web.Request) -> web.StreamResponse:
    tools: list[JSON] = [
        {
            "name": key,
            "description": spec.description,
            "input_schema": spec.input_schema,
            "output_schema": spec.output_schema,
            "server": spec.server,
        }
        for key, spec in request[_DOOR].gate.specs().items()
    ]
    return _answer({"ok": True, "tools": tools})


def _refuse_constant(constant: str) -> JSON:
    raise ValueError(f"{constant} is not JSON")


def _refusal(status: int, error: str, headers: dict[str, str] | None = None) -> web.Response:
    return _answer({"ok": False, "error": error}, status, headers)


def _answer(value: JSON, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    try:
        # ASCII only: nothing that a tool can answer, such as half a surrogate pair, is then outside UTF-8.
        body = json.dumps(value, default=str, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        body = json.dumps({"ok": False, "error": f"the answer is not JSON: {error}"}).encode()
    fixed = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return web.Response(status=status, body=body, content_type="application/json", headers=fixed | (headers or {}))
