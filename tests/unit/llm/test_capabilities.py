from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import AzureOpenAI, OpenAI

from agentd.llm import capabilities
from agentd.llm.capabilities import flavour, takes
from agentd.llm.routing import Route

SEES = [
    "gpt-5-mini",
    "gpt-4o",
    "gpt-4o-2024-08-06",
    "ft:gpt-4o-2024-08-06:org::id",
    "o3",
    "gpt-4.1-nano",
    "gpt-4-turbo",
]
BLIND = ["gpt-3.5-turbo", "o3-mini", "gpt-4", "gpt-audio", "no-such-model", "", "foo/no-such-model"]


@pytest.fixture
def without_litellm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Look for packages where there are none."""
    capabilities._listed.cache_clear()
    monkeypatch.setattr("sys.path", [str(Path(__file__).parents[3])])
    monkeypatch.setattr("sys.path_importer_cache", {})
    monkeypatch.delitem(__import__("sys").modules, "litellm", raising=False)
    assert capabilities._listed() is None
    yield
    capabilities._listed.cache_clear()


@pytest.mark.parametrize("name", [*SEES, "claude-sonnet-4-5", "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash"])
def test_models_that_see(name: str) -> None:
    assert takes(name, "image")


@pytest.mark.parametrize("name", BLIND)
def test_models_that_do_not(name: str) -> None:
    assert not takes(name, "image")


def test_models_that_hear() -> None:
    assert takes("gpt-audio", "audio")
    assert takes("gemini/gemini-2.5-flash", "audio")
    assert not takes("gpt-5-mini", "audio")
    assert not takes("gpt-audio", "smell")


@pytest.mark.parametrize("name", [*SEES, "openai/gpt-5-mini"])
@pytest.mark.usefixtures("without_litellm")
def test_models_that_see_without_the_list(name: str) -> None:
    assert takes(name, "image")


@pytest.mark.parametrize("name", [*BLIND, "gpt-4o-audio-preview", "gpt-4o-mini-tts", "claude-sonnet-4-5"])
@pytest.mark.usefixtures("without_litellm")
def test_models_that_do_not_without_the_list(name: str) -> None:
    assert not takes(name, "image")


@pytest.mark.usefixtures("without_litellm")
def test_models_that_hear_without_the_list() -> None:
    assert takes("gpt-4o-audio-preview", "audio")
    assert not takes("gpt-5-mini", "audio")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("openai/gpt-5", "openai"),
        ("azure/gpt-5", "openai"),
        ("anthropic/claude", "anthropic"),
        ("gemini/gemini-2.5-pro", "gemini"),
        ("vertex_ai/gemini-2.5-pro", "gemini"),
        ("vertex_ai/claude-sonnet-4", "anthropic"),
        ("ollama/llama3", "ollama"),
        ("ollama_chat/llama3", "ollama"),
        ("groq/llama3", "openai-compatible"),
    ],
)
def test_flavours_of_routes(name: str, expected: str) -> None:
    provider, _, model = name.partition("/")
    assert flavour(Route(provider, model, name), OpenAI(api_key="k"), name) == expected


def test_flavours_of_clients() -> None:
    azure = AzureOpenAI(api_key="k", azure_endpoint="https://x.openai.azure.com", api_version="v1")
    assert flavour(None, OpenAI(api_key="k"), "gpt-5") == "openai"
    assert flavour(None, azure, "gpt-5") == "openai"
    assert flavour(None, OpenAI(api_key="k", base_url="http://127.0.0.1:1/v1"), "gpt-5") == "openai-compatible"
