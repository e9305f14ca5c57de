"""An MCP server over HTTP that wants more than its URL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class HTTPServer:
    """A server at `url`: `headers` go with every request to it, and `auth` signs them.

    `auth` is an `httpx2.Auth`, such as the `OAuthClientProvider` of the MCP SDK. Redirects to another host are not
    followed, so that neither gets there. Neither is shown in the `repr`.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    auth: object = field(default=None, repr=False)
