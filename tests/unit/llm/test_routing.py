"""Which names go where; the names that need LiteLLM itself are tested where it runs."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI

from agentd.llm.routing import Route, aroute, has_own_address, route

OWN = {
    "argument": lambda: OpenAI(api_key="k", base_url="https://models.example/v1"),
    "region": lambda: OpenAI(api_key="k", base_url="https://eu.api.openai.com/v1"),
    "azure": lambda: AzureOpenAI(api_key="k", azure_endpoint="https://x.openai.azure.com", api_version="v1"),
    "async azure": lambda: AsyncAzureOpenAI(api_key="k", azure_endpoint="https://x.openai.azure.com", api_version="v1"),
    "derived": lambda: AsyncOpenAI(api_key="k").with_options(base_url="http://127.0.0.1:1/v1"),
}


@pytest.mark.parametrize("name", ["claude-sonnet-4-5", "gemini-2.5-pro", "anthropic/claude", "gpt-5-mini", "no/such"])
@pytest.mark.parametrize("make", OWN.values(), ids=OWN)
def test_a_client_with_its_own_address_is_used_as_it_is(make: Any, name: str) -> None:
    client = make()
    assert has_own_address(client)
    assert route(client, name) is None


def test_an_address_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    assert route(OpenAI(api_key="k"), "claude-sonnet-4-5") is None


@pytest.mark.parametrize("name", ["gpt-5-mini", "ft:gpt-4o:org::id", "o3", "my-claude-1", "claude", "", None, 5])
async def test_plain_names_go_to_the_client_and_load_nothing(name: object) -> None:
    before = "litellm" in sys.modules
    assert route(OpenAI(api_key="k"), name) is None
    assert await aroute(AsyncOpenAI(api_key="k"), name) is None
    assert ("litellm" in sys.modules) is before


async def test_two_families_are_known_without_their_provider() -> None:
    client = AsyncOpenAI(api_key="k")
    assert await aroute(client, "claude-opus-4-1") == Route("anthropic", "claude-opus-4-1", "claude-opus-4-1")
    way = route(client, "gemini-2.5-pro")
    assert way == Route("gemini", "gemini-2.5-pro", "gemini-2.5-pro")
    assert way is not None
    assert way.name == "gemini/gemini-2.5-pro"


def test_who_keeps_responses() -> None:
    assert Route("openai", "gpt-5", "openai/gpt-5").keeps_responses
    assert not Route("anthropic", "claude", "claude").keeps_responses
