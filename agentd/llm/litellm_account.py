"""Whose account pays: for OpenAI's own models the one that the user gave us, for all others the environment's."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from agentd.core.errors import OptionError

PROVIDER = "openai"
_HEADERS = {"OpenAI-Organization": "organization", "OpenAI-Project": "project"}
_KEYLESS = ("_workload_identity_auth", "_provider_runtime")


async def account(client: Any, provider: str) -> dict[str, str]:
    """Return the client's key when its account is with this provider, fetched anew where it has a function for that."""
    if provider != PROVIDER:
        return {}
    if any(getattr(client, name, None) is not None for name in _KEYLESS):
        raise OptionError("this client has no key that LiteLLM could use; leave `openai/` out of the model's name")
    key: Any = client.api_key
    if getattr(client, "_api_key_provider", None) is not None:
        key = await asyncio.to_thread(client._refresh_api_key)
        key = await key if inspect.isawaitable(key) else key
    return {"api_key": key} if isinstance(key, str) and key else {}


def account_headers(client: Any, provider: str) -> dict[str, str]:
    """Return what says for which of the account's organisations and projects the key is used."""
    values = {name: getattr(client, field, None) for name, field in _HEADERS.items()} if provider == PROVIDER else {}
    return {name: value for name, value in values.items() if isinstance(value, str) and value}
