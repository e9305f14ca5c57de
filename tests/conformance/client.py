"""The program that the conformance suite of MCP tests: agentd's own client, one scenario a run.

`client.py URL` does what the scenario in the environment variable `MCP_CONFORMANCE_SCENARIO` asks for, at the protocol
version in `MCP_CONFORMANCE_PROTOCOL_VERSION`, and exits with 0. What a scenario needs besides (the keys of an OAuth
client, the calls to be made) stands as JSON in `MCP_CONFORMANCE_CONTEXT`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# It runs as a script, in the folder of whoever started it.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


from agentd.core.errors import ServerFailed
from agentd.core.tools import JSON
from agentd.mcp.client import MCPClient
from agentd.mcp.handlers import ElicitationRequest
from agentd.mcp.remote import HTTPServer
from tests.conformance import oauth

TIMEOUT = 20.0
STABLE_REVISION, STATELESS = "2025-11-25", "2026-07-28"


@dataclass(frozen=True)
class Scenario:
    """What the suite tells: the scenario's name, where its server is, its revision, and what else it needs.

    Where the suite names a revision, the client has to find it out by itself, as it does for a user who asks for none;
    the stable edition names none, and is asked for the one that it has.
    """

    name: str
    url: str
    revision: str | None
    context: Mapping[str, Any]

    @classmethod
    def told(cls, url: str, environment: Mapping[str, str]) -> Scenario:
        context = json.loads(environment.get("MCP_CONFORMANCE_CONTEXT", "{}"))
        revision = environment.get("MCP_CONFORMANCE_PROTOCOL_VERSION")
        return cls(environment["MCP_CONFORMANCE_SCENARIO"], url, revision, context)

    def connect(self) -> AbstractAsyncContextManager[MCPClient]:
        return self._client(self.url)

    @asynccontextmanager
    async def log_in(self) -> AsyncGenerator[MCPClient]:
        auth = await oauth.provider_for(self.name, self.url, self.context)
        async with self._client(HTTPServer(self.url, auth=auth)) as client:
            yield client

    @asynccontextmanager
    async def _client(self, server: object) -> AsyncGenerator[MCPClient]:
        asked = None if self.revision else STABLE_REVISION
        async with MCPClient(server, on_elicitation=agree, protocol_version=asked) as client:
            is_stateless = client.protocol_version >= STATELESS
            assert is_stateless == ((self.revision or STABLE_REVISION) >= STATELESS), client.protocol_version
            yield client


def agree(request: ElicitationRequest) -> dict[str, JSON]:
    """Be a user who agrees and fills in nothing: the form's defaults are for the client to add."""
    return {}


async def call(client: MCPClient, tool: str, arguments: Mapping[str, JSON]) -> JSON:
    result = await client.call_tool(tool, arguments)
    assert result.ok, result.value
    return result.value


async def only_connect(scenario: Scenario) -> None:
    async with scenario.connect() as client:
        await client.list_tools()


async def add(scenario: Scenario) -> None:
    async with scenario.connect() as client:
        await client.list_tools()
        assert "8" in str(await call(client, "add_numbers", {"a": 5, "b": 3}))


async def call_all(scenario: Scenario) -> None:
    """Call every tool that is offered, one after the other, with what its schema requires."""
    async with scenario.connect() as client:
        for tool in await client.list_tools():
            required = tool.input_schema.get("required") or []
            assert isinstance(required, list)
            await call(client, tool.name, {str(name): "x" for name in required})


async def call_as_told(scenario: Scenario) -> None:
    async with scenario.connect() as client:
        await client.list_tools()
        for told in scenario.context["toolCalls"]:
            await call(client, told["name"], told["arguments"])


async def echo_schema(scenario: Scenario) -> None:
    async with scenario.connect() as client:
        schemas = {tool.name: tool.input_schema for tool in await client.list_tools()}
        await call(client, "json_schema_echo", {"schema": schemas["json_schema_2020_12_tool"]})


async def authorised(scenario: Scenario) -> None:
    """Log in as the server asks, then use its tools."""
    async with scenario.log_in() as client:
        for tool in await client.list_tools():
            await call(client, tool.name, {})


async def refused(scenario: Scenario) -> None:
    """Meet a server or a log-in that is not to be trusted, and go no further."""
    try:
        await authorised(scenario)
    except ServerFailed:
        return
    raise AssertionError("the client went on")


REFUSED = {
    "auth/iss-normalized",
    "auth/iss-supported-missing",
    "auth/iss-unexpected",
    "auth/iss-wrong-issuer",
    "auth/metadata-issuer-mismatch",
    "auth/resource-mismatch",
    "auth/scope-retry-limit",
}
HANDLERS: dict[str, Callable[[Scenario], Awaitable[None]]] = {
    "initialize": only_connect,
    "tools_call": add,
    "elicitation-sep1034-client-defaults": call_all,
    "sse-retry": call_all,
    "request-metadata": only_connect,
    "sep-2322-client-request-state": call_all,
    "http-standard-headers": call_all,
    "http-custom-headers": call_as_told,
    "http-invalid-tool-headers": call_all,
    "json-schema-ref-no-deref": only_connect,
    "json-schema-2020-12-preservation": echo_schema,
}


async def perform(scenario: Scenario) -> None:
    if scenario.name in REFUSED:
        await refused(scenario)
    elif scenario.name.startswith("auth/"):
        await authorised(scenario)
    else:
        await HANDLERS[scenario.name](scenario)


if __name__ == "__main__":
    asyncio.run(perform(Scenario.told(sys.argv[1], os.environ)))
