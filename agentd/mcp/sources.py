"""What users may pass as an MCP server, and how each is connected."""

from __future__ import annotations

import dataclasses
import inspect
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

from mcp import Client, StdioServerParameters
from mcp.server import MCPServer, Server

from agentd.core.errors import OptionError, ServerFailed
from agentd.mcp.borrowed import ClientPeer, ObjectPeer, Peer
from agentd.mcp.callbacks import Callbacks
from agentd.mcp.connection import Connection
from agentd.mcp.handlers import MCPHandlers
from agentd.mcp.limits import Clock
from agentd.mcp.links import ClientLink, Link, Wiring, new_client
from agentd.mcp.listing import MendedTransport
from agentd.mcp.names import name_of_command, name_of_url
from agentd.mcp.objects import ObjectLink, ServerObject, takes_callbacks
from agentd.mcp.remote import HTTPServer
from agentd.mcp.stdio import StdioTransport
from agentd.mcp.streamable import http_transport

ACCEPTED = (
    "an openai-agents server object (MCPServerStdio, MCPServerSse, MCPServerStreamableHttp, or any object with async "
    "connect, list_tools, call_tool and cleanup), mcp.StdioServerParameters, an http(s) URL, an agentd.HTTPServer, an "
    "mcp.Client, or an agentd.MCPClient"
)


@dataclass(frozen=True, slots=True)
class Source:
    """One server as passed: equal keys mean the same connection.

    `peer` is set when the server is connected already, `shareable` when it is one object that other clients may get
    too; `origin` keeps the passed object, and so the key's id, alive. `takes_callbacks` says whether our handlers can
    be given to it; `terms` are its own, before which the pool's do not count.
    """

    key: object
    name: str
    description: str
    open_link: Callable[[Wiring], Link]
    origin: object
    peer: Peer | None = None
    shareable: bool = False
    takes_callbacks: bool = True
    terms: Terms | None = None


@dataclass(frozen=True)
class Terms:
    """How a server is to be treated: seconds for its start and for a call, bytes of a result, and who answers it."""

    start_timeout: float
    call_timeout: float
    max_result: int
    handlers: MCPHandlers
    version: str | None = None


@runtime_checkable
class Described(Protocol):
    """Something that tells itself what server it stands for: an `MCPClient`."""

    def mcp_source(self) -> Source: ...


def recognise(server: object) -> Source:
    """Tell what `server` is; `OptionError` names what is accepted."""
    if isinstance(server, str) and server.startswith(_SCHEMES):
        return _from_url(HTTPServer(server))
    if isinstance(server, HTTPServer):
        return _from_url(server)
    if isinstance(server, StdioServerParameters):
        return _from_parameters(server)
    if isinstance(server, Client):
        return _from_client(server)
    if isinstance(server, Described):
        return server.mcp_source()
    if all(inspect.iscoroutinefunction(getattr(server, verb, None)) for verb in _VERBS):
        return _from_object(cast(ServerObject, server))
    raise OptionError(f"mcp_servers has {server!r:.200}; it takes {ACCEPTED}")


def connection_of(source: Source, name: str, terms: Terms) -> Connection:
    """Return a connection to the server, on the running loop; it connects when it is first used."""
    return Connection(
        source.description,
        source.open_link,
        Callbacks(name, terms.handlers, Clock()),
        limit=terms.max_result,
        start_timeout=terms.start_timeout,
        call_timeout=terms.call_timeout,
        version=terms.version,
    )


_SCHEMES = ("http://", "https://")
_VERBS = ("connect", "list_tools", "call_tool", "cleanup")


def _from_url(server: HTTPServer) -> Source:
    url = server.url
    if not url.startswith(_SCHEMES):
        raise OptionError(f"an HTTPServer has the URL {url!r:.200}; it begins with http:// or https://")

    def link(wiring: Wiring) -> Link:
        transport = MendedTransport(http_transport(server, wiring.limit))
        return ClientLink(new_client(transport, wiring), None, wiring)

    key = ("url", url, tuple(sorted(server.headers.items())), id(server.auth))
    return Source(key, name_of_url(url), _without_secrets(url), link, server)


def _from_parameters(parameters: StdioServerParameters) -> Source:
    name, description = _of_command(parameters)
    return Source(_key_of(parameters), name, description, _stdio_link(None, parameters), parameters)


def _stdio_link(client: Client | None, parameters: StdioServerParameters) -> Callable[[Wiring], Link]:
    def link(wiring: Wiring) -> Link:
        stdio = StdioTransport(parameters, wiring.limit)
        transport = MendedTransport(stdio)
        whole = new_client(transport, wiring) if client is None else dataclasses.replace(client, server=transport)
        return ClientLink(whole, stdio, wiring)

    return link


def _from_client(client: Client) -> Source:
    server = client.server
    name, description = "mcp-client", "an mcp.Client"
    link: Callable[[Wiring], Link] = lambda wiring: ClientLink(client, None, wiring)  # noqa: E731  the common case
    if isinstance(server, StdioServerParameters):
        name, description = _of_command(server)
        link = _stdio_link(client, server)
    elif isinstance(server, str):
        name, description = name_of_url(server), _without_secrets(server)
    elif isinstance(server, Server | MCPServer):
        name = description = server.name
    else:
        link = _only_once(link)
    peer = ClientPeer(client) if _entered(client) else None
    return Source(("object", id(client)), name, description, link, client, peer, True, takes_callbacks=peer is None)


def _only_once(open_link: Callable[[Wiring], Link]) -> Callable[[Wiring], Link]:
    used = False

    def link(wiring: Wiring) -> Link:
        nonlocal used
        if used:
            raise ServerFailed("an mcp.Client that was made of a transport object can be connected once; it has ended")
        used = True
        return open_link(wiring)

    return link


def _entered(client: Client) -> bool:
    try:
        return bool(client.session)
    except RuntimeError:
        return False


def _from_object(server: ServerObject) -> Source:
    name, description = _of_object(server)
    peer = ObjectPeer(server) if getattr(server, "session", None) is not None else None
    carries = peer is None and takes_callbacks(server)

    def link(wiring: Wiring) -> Link:
        return ObjectLink(server, wiring)

    return Source(("object", id(server)), name, description, link, server, peer, True, takes_callbacks=carries)


def _of_object(server: ServerObject) -> tuple[str, str]:
    """Name it as its user did; the library's own names, such as `stdio: npx`, tell less than what they were made of."""
    name = str(getattr(server, "name", "") or type(server).__name__)
    parameters: Any = getattr(server, "params", None)
    if isinstance(parameters, StdioServerParameters):
        own, description = _of_command(parameters)
        return (own if name == f"stdio: {parameters.command}" else name), description
    url = cast(dict[str, object], parameters).get("url") if isinstance(parameters, dict) else None
    if isinstance(url, str):
        given = name not in (f"sse: {url}", f"streamable_http: {url}")
        return (name if given else name_of_url(url)), _without_secrets(url)
    return name, f"a {type(server).__name__}"


def _of_command(parameters: StdioServerParameters) -> tuple[str, str]:
    return name_of_command(parameters.command, parameters.args), shlex.join((parameters.command, *parameters.args))


def _key_of(parameters: StdioServerParameters) -> object:
    environment = tuple(sorted(parameters.env.items())) if parameters.env is not None else None
    place = None if parameters.cwd is None else str(parameters.cwd)
    return ("stdio", parameters.command, tuple(parameters.args), environment, place)


def _without_secrets(url: str) -> str:
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("?")[0].partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"
