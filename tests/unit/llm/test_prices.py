from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage as Priced
from genai_prices.data import providers
from genai_prices.types import ModelInfo, ModelPrice, TieredPrices

from agentd.core.events import Usage
from agentd.llm.prices import Prices

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MILLION = Usage(1_000_000, 1_000_000)


@pytest.fixture(scope="module")
def prices() -> Prices:
    return Prices(lambda: NOW)


def listed(provider: str, model: str) -> ModelInfo:
    """Read a model from the library's data file, past all that searches in it."""
    models = next(each.models for each in providers if each.id == provider)
    return next(each for each in models if each.id == model)


def by_hand(price: ModelPrice, usage: Usage) -> float:
    """Multiply the listed prices of a million tokens: cached tokens are part of the input."""

    def rate(key: str, otherwise: str) -> Decimal:
        value = price.__dict__.get(key, price.__dict__[otherwise])
        if isinstance(value, TieredPrices):
            passed = [tier.price for tier in value.tiers if usage.input_tokens > tier.start]
            value = passed[-1] if passed else value.base
        assert isinstance(value, Decimal)
        return value

    fresh = usage.input_tokens - usage.cached_tokens
    total = fresh * rate("input_mtok", "input_mtok") + usage.cached_tokens * rate("cache_read_mtok", "input_mtok")
    return float((total + usage.output_tokens * rate("output_mtok", "output_mtok")) / 1_000_000)


# What the list of each provider said, in dollars for a million tokens: input, cached input, output.
PUBLISHED = [
    ("gpt-4o", "openai", "gpt-4o", 2.50, 1.25, 10.00),
    ("gpt-4o-mini", "openai", "gpt-4o-mini", 0.15, 0.075, 0.60),
    ("gpt-4.1", "openai", "gpt-4.1", 2.00, 0.50, 8.00),
    ("gpt-5-mini-2025-08-07", "openai", "gpt-5-mini", 0.25, 0.025, 2.00),
    ("anthropic/claude-sonnet-4-5", "anthropic", "claude-sonnet-4-5", 3.00, 0.30, 15.00),
    ("anthropic/claude-haiku-4-5-20251001", "anthropic", "claude-haiku-4-5", 1.00, 0.10, 5.00),
    ("gemini/gemini-2.0-flash", "google", "gemini-2.0-flash", 0.10, 0.025, 0.40),
    ("groq/llama-3.3-70b-versatile", "groq", "llama-3.3-70b-versatile", 0.59, 0.59, 0.79),
]


@pytest.mark.parametrize(("name", "provider", "model", "read", "cached", "written"), PUBLISHED)
def test_published_prices(
    prices: Prices, name: str, provider: str, model: str, read: float, cached: float, written: float
) -> None:
    usage = Usage(120_000, 3_000, cached_tokens=50_000, reasoning_tokens=1_000)
    expected = (70_000 * read + 50_000 * cached + 3_000 * written) / 1_000_000
    assert prices.cost(name, usage) == pytest.approx(expected, rel=1e-12)
    assert by_hand(listed(provider, model).get_prices(NOW), usage) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "provider", "model"), [("gpt-5.4", "openai", "gpt-5.4"), ("gemini-2.5-pro", "google", "gemini-2.5-pro")]
)
def test_a_long_input_costs_its_tier_as_a_whole(prices: Prices, name: str, provider: str, model: str) -> None:
    price = listed(provider, model).get_prices(NOW)
    tiers = price.__dict__["input_mtok"]
    assert isinstance(tiers, TieredPrices)
    start = tiers.tiers[0].start
    short, long = Usage(start, 10, cached_tokens=7), Usage(start + 1, 10, cached_tokens=7)
    assert prices.cost(name, short) == pytest.approx(by_hand(price, short), rel=1e-12)
    assert prices.cost(name, long) == pytest.approx(by_hand(price, long), rel=1e-12)
    assert by_hand(price, long) > 1.2 * by_hand(price, short)


def test_nothing_is_counted_twice(prices: Prices) -> None:
    plain = prices.cost("gpt-5-mini", Usage(1000, 500))
    assert prices.cost("gpt-5-mini", Usage(1000, 500, reasoning_tokens=500)) == plain
    assert prices.cost("gpt-5-mini", Usage(1000, 500, estimated=True)) == plain
    assert prices.cost("gpt-5-mini", Usage(1000, 0, cached_tokens=1000)) == pytest.approx(1000 * 0.025 / 1e6)
    assert prices.cost("gpt-5-mini", Usage()) == 0.0


@pytest.mark.parametrize(
    "usage", [Usage(10, 0, cached_tokens=11), Usage(0, 10, reasoning_tokens=11), Usage(-1, 0), Usage(0, -5)]
)
def test_counts_that_contradict_each_other_have_no_price(prices: Prices, usage: Usage) -> None:
    assert prices.cost("gpt-4o", usage) is None


ROUTES = [
    ("openrouter/openai/gpt-4o", "openrouter", "openai/gpt-4o"),
    ("azure/gpt-4o", "openai", "gpt-4o"),
    ("azure_ai/gpt-4o", "openai", "gpt-4o"),
    ("openai/gpt-4o", "openai", "gpt-4o"),
    ("vertex_ai/claude-sonnet-4-5@20250929", "google", "claude-sonnet-4-5"),
    ("xai/grok-4.5", "x-ai", "grok-4.5"),
    ("mistral/mistral-large-latest", "mistral", "mistral-large"),
    (
        "bedrock/us-west-2/anthropic.claude-3-haiku-20240307-v1:0",
        "aws",
        "regional.anthropic.claude-3-haiku-20240307-v1:0",
    ),
    ("bedrock/converse/amazon.nova-pro-v1:0", "aws", "amazon.nova-pro-v1:0"),
    ("gpt-5-mini-20250807", "openai", "gpt-5-mini"),
    ("GPT-4o", "openai", "gpt-4o"),
    ("ft:gpt-4o-mini-2024-07-18:acme::abc123", "openai", "ft:gpt-4o-mini"),
]


@pytest.mark.parametrize(("name", "provider", "model"), ROUTES)
def test_names_as_clients_and_litellm_write_them(prices: Prices, name: str, provider: str, model: str) -> None:
    assert prices.cost(name, MILLION) == pytest.approx(by_hand(listed(provider, model).get_prices(NOW), MILLION))


def test_a_fine_tuned_model_has_a_price_of_its_own(prices: Prices) -> None:
    tuned = prices.cost("ft:gpt-4o-mini-2024-07-18:acme::abc123", MILLION)
    base = prices.cost("gpt-4o-mini-2024-07-18", MILLION)
    assert tuned is not None and base is not None and tuned > base


UNKNOWN = [
    "",
    "m",
    "gpt-4o-foo",
    "gpt-4o-scripted",
    "gpt-99",
    "ft:gpt-4o-mini:acme",
    "ft:gpt-4.1-mini-2025-04-14:acme",
    "claude-sonnet-4-5-mine",  # the library itself takes this for claude-sonnet-4-5
    "claude-sonnet-4-51",
    "not-claude-sonnet-4-5",
    "deepseek-r1:8b",
    "anthropic/claude-sonnet-9",
    "ollama/llama3",
    "ollama_chat/gpt-4o",
    "hosted_vllm/gpt-4o",
    "my-openai/gpt-4o",
    "acme/gpt-4o",
    "text-embedding-3-small",
    "cerebras/qwen-3-coder-480b",  # listed without a price
]


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_known_has_no_price(prices: Prices, name: str) -> None:
    assert prices.cost(name, MILLION) is None


@pytest.mark.parametrize("name", ["claude-sonnet-4-5-mine", "not-claude-3-haiku-20240307"])
def test_the_library_alone_would_guess(name: str) -> None:
    owner = next(each for each in providers if each.id == ("anthropic" if name.startswith("claude") else "aws"))
    assert owner.find_model(name, all_providers=providers) is not None


def test_a_base_url_says_who_is_paid(prices: Prices) -> None:
    known = prices.cost("gpt-4o", MILLION)
    assert known is not None
    assert prices.cost("gpt-4o", MILLION, "https://api.openai.com/v1/") == known
    assert prices.cost("gpt-4o", MILLION, "https://acme.openai.azure.com/openai/") == known
    assert prices.cost("openai/gpt-4o", MILLION, "https://openrouter.ai/api/v1") == known
    for foreign in ("http://127.0.0.1:8000/v1", "https://api.openai.com.example/v1", "https://llm.acme.example/openai"):
        assert prices.cost("gpt-4o", MILLION, foreign) is None
        assert prices.cost("openai/gpt-4o", MILLION, foreign) is None
    assert prices.cost("gpt-4o", MILLION, "ollama") is None


def test_the_answer_says_which_model_it_was(prices: Prices) -> None:
    mini, whole = prices.cost("gpt-4o-mini", MILLION), prices.cost("gpt-4o", MILLION)
    assert mini != whole
    assert prices.cost("azure/prod", MILLION, response_model="gpt-4o-mini-2024-07-18") == mini
    assert prices.cost("gpt-4o", MILLION, response_model="gpt-4o-2024-05-13") == pytest.approx(20.0)  # dearer than now
    assert prices.cost("gpt-4o-mini", MILLION, response_model="gpt-4o-mini-2031-01-01") == mini  # newer than the list
    assert prices.cost("gpt-4o", MILLION, response_model="gpt-4o-scripted") is None
    assert prices.cost("gemini/gemini-2.0-flash", MILLION, response_model="gemini-2.0-flash") == pytest.approx(0.5)


def test_service_tiers(prices: Prices) -> None:
    usual = prices.cost("gpt-5-mini", MILLION)
    assert prices.cost("gpt-5-mini", MILLION, service_tier="default") == usual
    priority = prices.cost("gpt-5-mini", MILLION, service_tier="priority")
    variants = listed("openai", "gpt-5-mini").get_prices(NOW, {"service_tier": "priority"})
    assert priority == pytest.approx(by_hand(variants, MILLION))
    assert priority != usual
    assert prices.cost("gpt-4o", MILLION, service_tier="flex") is None  # not offered for it


def test_a_price_that_changes_with_the_date() -> None:
    model = listed("openai", "gpt-5.6-sol")
    assert isinstance(model.prices, list)
    for when in (datetime(2020, 1, 1, tzinfo=UTC), NOW, datetime(2040, 1, 1, tzinfo=UTC)):
        assert Prices(lambda when=when: when).cost("gpt-5.6-sol", MILLION) == pytest.approx(
            by_hand(model.get_prices(when), MILLION)
        )


def test_every_model_of_the_list_costs_what_the_library_says(prices: Prices) -> None:
    """The fast way, taken for nearly all of them, agrees with the library wherever a name is understood."""
    counts = ((900, 300, 70, 20), (450_000, 1_000, 8_000, 0))
    seen = 0
    for provider in providers:
        for model in provider.models:
            if model.id.startswith(f"{provider.id}/"):
                continue  # means the model behind the slash
            price = model.get_prices(NOW)
            for read, cached, written, thought in counts:
                ours = prices.cost(model.id, Usage(read, written, cached, thought), provider.id)
                if ours is None or provider.find_model(model.id) is not model:
                    continue
                usage = Priced(
                    input_tokens=read, cache_read_tokens=cached, output_tokens=written, output_reasoning_tokens=thought
                )
                assert ours == pytest.approx(float(price.calc_price(usage)["total_price"]), rel=1e-9), model.id
                seen += 1
    assert seen > 2000


def test_the_library_is_loaded_when_asked_for_and_starts_nothing() -> None:
    code = (
        "import sys, threading\n"
        "from agentd.llm.prices import Prices\n"
        "from agentd.core.events import Usage\n"
        "assert 'genai_prices' not in sys.modules\n"
        "prices = Prices()\n"
        "loader = prices.preload()\n"
        "assert loader.daemon\n"
        "loader.join()\n"
        "assert 'genai_prices' in sys.modules\n"
        "assert prices.cost('gpt-4o', Usage(10, 10))\n"
        "assert threading.enumerate() == [threading.main_thread()]\n"
    )
    deny = "import socket\ndef refuse(*_): raise AssertionError('network')\nsocket.socket.connect = refuse\n"
    subprocess.run([sys.executable, "-c", deny + code], check=True, timeout=50)
