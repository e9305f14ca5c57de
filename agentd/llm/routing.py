"""Which models of a call go to which provider: through the user's own client, or through LiteLLM."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from agentd.llm import litellm_import

OPENAI_HOST = "api.openai.com"
# Plain names of two families; a Gemini of Vertex AI is `vertex_ai/gemini-…`.
_FAMILIES = {"claude-": "anthropic", "gemini-": "gemini"}
# Where the Responses API is the provider's own, so that it keeps responses; elsewhere ours is made of chat.
_KEEPING = ("openai", "azure", "litellm_proxy")


@dataclass(frozen=True, slots=True)
class Route:
    """The way to a model through LiteLLM: `provider` is its word, `model` the provider's, `asked` the user's."""

    provider: str
    model: str
    asked: str

    @property
    def name(self) -> str:
        """The model's name as LiteLLM wants it."""
        return f"{self.provider}/{self.model}"

    @property
    def keeps_responses(self) -> bool:
        """Tell whether `previous_response_id` and `conversation` mean something there."""
        return self.provider in _KEEPING


def route(client: Any, model: object) -> Route | None:
    """Return the way to a model through LiteLLM, `None` when the client itself is asked.

    A client with an address of its own is always used as it is. Else `claude-*`, `gemini-*` and the names that begin
    with a provider of LiteLLM's go through it. A name with a slash imports LiteLLM, which takes seconds, to know its
    providers; raises `ProviderUnavailable` when it is not installed.
    """
    if not isinstance(model, str) or has_own_address(client):
        return None
    if "/" not in model:
        provider = next((provider for head, provider in _FAMILIES.items() if model.startswith(head)), "")
        return Route(provider, model, model) if provider else None
    provider, _, rest = model.partition("/")
    if not rest or provider not in _providers(litellm_import.load(model)):
        return None
    return Route(provider, rest, model)


async def aroute(client: Any, model: object) -> Route | None:
    """Do as `route`, with an import in a thread, so that the event loop goes on."""
    if isinstance(model, str) and "/" in model and not has_own_address(client) and litellm_import.loaded() is None:
        return await asyncio.to_thread(route, client, model)
    return route(client, model)


def has_own_address(client: Any) -> bool:
    """Tell whether a client talks to anything but OpenAI's public API."""
    return client.base_url.host != OPENAI_HOST


def _providers(litellm: Any) -> set[str]:
    known = [*litellm.provider_list, *getattr(litellm, "_custom_providers", ())]
    return {str(getattr(provider, "value", provider)) for provider in known}
