"""MCP over HTTP, with the two things that the SDK's client leaves out: a size limit, and "it was never sent"."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast
from urllib.parse import urlsplit

import httpx2
from mcp.client._transport import TransportStreams
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import MCP_DEFAULT_SSE_READ_TIMEOUT, MCP_DEFAULT_TIMEOUT

from agentd.mcp.remote import HTTPServer
from agentd.mcp.stdio import NOT_SENT, TOO_LARGE


class _Client(httpx2.AsyncClient):
    """Answers a request that did not reach its server itself: one lost call does not tear down the connection."""

    limit = 0

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        try:
            response = await super().send(request, **options)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            refusal = _refusal(request, NOT_SENT, f"cannot connect: {error}")
            if refusal is None:
                raise
            return refusal
        if response.status_code == 404 and "mcp-session-id" in request.headers:
            refusal = _refusal(request, NOT_SENT, "the server does not know this session any more")
        elif int(response.headers.get("content-length") or 0) > self.limit:
            refusal = _refusal(request, TOO_LARGE, f"the answer is over the limit of {self.limit} bytes")
        else:
            return response
        if refusal is None:
            return response
        await response.aclose()
        return refusal


def _refusal(request: httpx2.Request, code: int, message: str) -> httpx2.Response | None:
    """Return a JSON-RPC error as the answer to `request`; `None` when it is no JSON-RPC request with an id."""
    try:
        call: object = json.loads(request.content)
    except (ValueError, httpx2.RequestNotRead):
        return None
    number = cast(dict[str, object], call).get("id") if isinstance(call, dict) else None
    if number is None or "method" not in cast(dict[str, object], call):
        return None
    error = {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message}}
    return httpx2.Response(200, json=error, request=request)


@asynccontextmanager
async def http_transport(server: HTTPServer, limit: int) -> AsyncGenerator[TransportStreams]:
    """Connect to a server: SSE when its path ends with `/sse`, else streamable HTTP."""
    url, headers, auth = server.url, dict(server.headers), cast(Any, server.auth)
    if urlsplit(url).path.rstrip("/").endswith("/sse"):
        async with sse_client(url, headers=headers, auth=auth) as streams:
            yield streams
        return
    timeout = httpx2.Timeout(MCP_DEFAULT_TIMEOUT, read=MCP_DEFAULT_SSE_READ_TIMEOUT)
    async with _Client(timeout=timeout, headers=headers, auth=auth) as client:
        client.limit = limit
        async with streamable_http_client(url, http_client=client, max_sse_event_size=limit) as streams:
            yield streams
