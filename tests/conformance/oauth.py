"""A person at a browser who agrees to everything, and the ways to log in that the scenarios ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp.client.auth.extensions.identity_assertion import IdentityAssertionOAuthProvider
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

REDIRECT = AnyUrl("http://localhost:3000/callback")
# What the suite expects of a client that has a page of metadata instead of being registered.
METADATA_PAGE = "https://conformance-test.local/client-metadata.json"


class Storage:
    """Keeps tokens and registration for the time of the process."""

    def __init__(self, client: OAuthClientInformationFull | None = None) -> None:
        self._tokens: OAuthToken | None = None
        self._client = client

    async def get_tokens(self) -> OAuthToken | None:
        return self._tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self._tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self._client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self._client = client_info


class Browser:
    """Opens the page to which the client sends its user, agrees, and returns with the code."""

    def __init__(self) -> None:
        self._answer: dict[str, list[str]] = {}

    async def open(self, url: str) -> None:
        async with httpx2.AsyncClient() as client:
            response = await client.get(url, follow_redirects=False)
        self._answer = parse_qs(urlsplit(response.headers["location"]).query)

    async def code(self) -> AuthorizationCodeResult:
        def first(name: str) -> str | None:
            return self._answer.get(name, [None])[0]

        return AuthorizationCodeResult(code=first("code") or "", state=first("state"), iss=first("iss"))


async def provider_for(scenario: str, url: str, context: Mapping[str, Any]) -> httpx2.Auth:
    """Return the way to log in that the scenario is about."""
    if scenario.startswith("auth/client-credentials"):
        return await _by_credentials(url, context)
    if "idp_id_token" in context:
        return await _by_employer(url, context)
    return _by_code(url, context)


def _by_code(url: str, context: Mapping[str, Any]) -> httpx2.Auth:
    known = None
    if "client_id" in context:
        known = OAuthClientInformationFull(
            client_id=context["client_id"],
            client_secret=context.get("client_secret"),
            redirect_uris=[REDIRECT],
            token_endpoint_auth_method="client_secret_basic" if "client_secret" in context else "none",
        )
    metadata = OAuthClientMetadata(
        client_name="agentd",
        redirect_uris=[REDIRECT],
        grant_types=["authorization_code", "refresh_token"],
        response_types=["code"],
    )
    browser = Browser()
    return OAuthClientProvider(url, metadata, Storage(known), browser.open, browser.code, METADATA_PAGE)


async def _by_credentials(url: str, context: Mapping[str, Any]) -> httpx2.Auth:
    issuer, client_id = await _issuer(url), context["client_id"]
    if "private_key_pem" not in context:
        return ClientCredentialsOAuthProvider(url, Storage(), client_id, context["client_secret"], issuer=issuer)
    signing = SignedJWTParameters(
        issuer=client_id,
        subject=client_id,
        signing_algorithm=context["signing_algorithm"],
        signing_key=context["private_key_pem"],
    )
    return PrivateKeyJWTOAuthProvider(url, Storage(), client_id, signing.create_assertion_provider(), issuer=issuer)


async def _by_employer(url: str, context: Mapping[str, Any]) -> httpx2.Auth:
    """Log in with what the employer's own identity provider says of the user (SEP-990)."""

    async def assertion(audience: str, resource: str) -> str:
        exchange = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "requested_token_type": "urn:ietf:params:oauth:token-type:id-jag",
            "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
            "subject_token": context["idp_id_token"],
            "client_id": context["idp_client_id"],
            "audience": audience,
            "resource": resource,
        }
        async with httpx2.AsyncClient() as client:
            answer = await client.post(context["idp_token_endpoint"], data=exchange)
        return answer.raise_for_status().json()["access_token"]

    return IdentityAssertionOAuthProvider(
        url,
        Storage(),
        context["client_id"],
        context["client_secret"],
        await _issuer(url),
        assertion,
        token_endpoint_auth_method="client_secret_basic",
    )


async def _issuer(url: str) -> str:
    """Return the authorization server of an MCP server, which who has credentials for it knows."""
    parts = urlsplit(url)
    async with httpx2.AsyncClient() as client:
        page = await client.get(f"{parts.scheme}://{parts.netloc}/.well-known/oauth-protected-resource{parts.path}")
    return page.raise_for_status().json()["authorization_servers"][0]
