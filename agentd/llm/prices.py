"""What a model call costs in US dollars, by the price list that `genai-prices` ships; nothing is fetched.

A wrong price is worse than none: a name counts only when the list names that very model, dated or not.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agentd.core.events import Usage

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, ModelPrice, Provider

# What LiteLLM writes before a name, where it is not the price list's own name of the provider.
_ALIASES = {
    "azure_ai": "azure",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "cohere_chat": "cohere",
    "fireworks_ai": "fireworks",
    "gemini": "google",
    "github_copilot": "github-copilot",
    "moonshot": "moonshotai",
    "together_ai": "together",
    "vertex_ai": "google",
    "vertex_ai_beta": "google",
    "voyage": "voyageai",
    "xai": "x-ai",
}
# `bedrock/converse/…`, `bedrock/us-west-2/…`: how and where a model is called, not which.
_ROUTE = re.compile(r"^(?:converse|converse_like|invoke|[a-z]{2}(?:-[a-z]+)+-\d)/")
_VERSION = re.compile(
    r"(?:[-@.:_]?(?:20\d\d-\d\d-\d\d|\d\d-20\d\d|\d\d-\d\d|\d{2,8}|latest|preview|exp|v\d+(?::\d+)?|:\d))*"
)
# What may stand before a name that the list knows by a part of it: a region and a maker on Bedrock, Google's folder.
_LEAD = re.compile(r"(?:(?:global|us|eu|apac|au|ca|in|jp|us-gov)\.)?(?:[a-z0-9]+\.)?|(?:publishers/[a-z]+/)?models/")
_TUNED = re.compile(r"[-\d]*(?::.*)?")
_COMPACT_DATE = re.compile(r"-(20\d\d)(\d\d)(\d\d)$")
_USUAL_TIERS = ("", "auto", "default", "standard", "standard_only")
_MILLION = 1_000_000
_KEPT = 1000
_PROBES = ((1000, 100, 300, 90), (10, 0, 0, 0), (10, 10, 0, 0), (0, 0, 10, 0), (0, 0, 10, 10), (5_000_000, 100, 70, 60))


@dataclass(frozen=True, slots=True)
class _Rate:
    """Dollars a million tokens: `base`, or the last of `tiers` that the whole input is larger than."""

    base: float
    tiers: tuple[tuple[int, float], ...] = ()

    def at(self, input_tokens: int) -> float:
        rate = self.base
        for start, price in self.tiers:
            if input_tokens > start:
                rate = price
        return rate


@dataclass(frozen=True, slots=True)
class _Rates:
    """The rates of one model; all of a kind of token that has no rate of its own is in the kind it belongs to."""

    input: _Rate
    cached: _Rate
    output: _Rate
    reasoning: _Rate

    def cost(self, input_tokens: int, cached: int, output: int, reasoning: int) -> float:
        fresh, visible = input_tokens - cached, output - reasoning
        read = fresh * self.input.at(input_tokens) + cached * self.cached.at(input_tokens)
        written = visible * self.output.at(input_tokens) + reasoning * self.reasoning.at(input_tokens)
        return (read + written) / _MILLION


def is_loopback(provider: str) -> bool:
    """Tell whether a provider is an address of this machine, which has no prices: the list need not be loaded."""
    return urlsplit(provider).hostname in ("127.0.0.1", "localhost", "::1") if "://" in provider else False


class Prices:
    """Tells prices; may be used from several threads. `clock` gives the time that prices are asked for."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._models: dict[tuple[str, str, str], tuple[ModelInfo, ...]] = {}
        self._loading = False
        self._rates: dict[tuple[int, str], tuple[ModelPrice, _Rates | None]] = {}

    def preload(self) -> threading.Thread:
        """Load the price list in a thread of its own, so that the first price need not wait 0.2 s for it."""
        self._loading = True
        thread = threading.Thread(target=_price_list, name="agentd-prices", daemon=True)
        thread.start()
        return thread

    def expect(self, provider: str) -> None:
        """A call to this provider is on its way: load the list meanwhile, if its price will be asked for."""
        if not self._loading and not is_loopback(provider):
            self.preload()

    def cost(
        self, model: str, usage: Usage, provider: str = "", response_model: str = "", service_tier: str = ""
    ) -> float | None:
        """Return the price of one call in US dollars, `None` when it is not known for certain.

        `model` is the name that was asked for; the `provider/model` names of LiteLLM say who is paid. `provider` is
        for other names: its name, or the base URL that the call went to. Left out, it is the model's own maker; a URL
        that the list does not know has no prices, whatever it calls its models. `response_model` is what the answer
        calls the model: it decides, unless it only dates the name that was asked for. Cached tokens are part of the
        input and reasoning tokens of the output; tokens written to a cache count as plain input.
        """
        if is_loopback(provider):
            return None
        counts = (usage.input_tokens, usage.cached_tokens, usage.output_tokens, usage.reasoning_tokens)
        if min(counts) < 0 or usage.cached_tokens > usage.input_tokens or usage.reasoning_tokens > usage.output_tokens:
            return None
        key = (model, provider, response_model)
        found = self._models.get(key)
        if found is None:
            if len(self._models) >= _KEPT:  # the names in answers are the servers' to choose
                self._models.clear()
            found = self._models[key] = _find(_price_list(), model, provider, response_model)
        return self._price(found[0], counts, service_tier.lower()) if found else None

    def _price(self, model: ModelInfo, counts: tuple[int, int, int, int], tier: str) -> float | None:
        now = self._clock()
        context = None if tier in _USUAL_TIERS else {"service_tier": tier}
        if context and not any(variant.when == context for variant in model.price_variants or ()):
            return None
        prices = model.get_prices(now)
        # The price itself is kept beside its rates, so that its id stays its own.
        held = self._rates.get((id(prices), tier))
        if held is None:
            exact = model.get_prices(now, context) if context else prices
            held = self._rates[id(prices), tier] = (prices, _rates(exact))
        if held[1] is not None:
            return held[1].cost(*counts)
        exact = model.get_prices(now, context)
        return _by_library(exact, counts) if _rate(exact, "input_mtok") and _rate(exact, "output_mtok") else None


def _price_list() -> DataSnapshot:
    from genai_prices.data_snapshot import get_snapshot

    return get_snapshot()


def _by_library(prices: ModelPrice, counts: tuple[int, int, int, int]) -> float | None:
    from genai_prices import Usage as Priced

    names = ("input_tokens", "cache_read_tokens", "output_tokens", "output_reasoning_tokens")
    try:
        return float(prices.calc_price(Priced(**dict(zip(names, counts, strict=True))))["total_price"])
    except ValueError:  # the model is priced by something that we do not count
        return None


def _rates(prices: ModelPrice) -> _Rates | None:
    """Return what the library would multiply with, which takes it 0.1 ms; `None` when there is more to a price."""
    read, written = _rate(prices, "input_mtok"), _rate(prices, "output_mtok")
    if read is None or written is None:
        return None
    cached, reasoning = _rate(prices, "cache_read_mtok"), _rate(prices, "output_reasoning_mtok")
    rates = _Rates(read, cached or read, written, reasoning or written)
    for counts in _PROBES:
        expected = _by_library(prices, counts)
        if expected is None or abs(rates.cost(*counts) - expected) > 1e-9 * max(1.0, expected):
            return None
    return rates


def _rate(prices: ModelPrice, key: str) -> _Rate | None:
    from genai_prices.types import TieredPrices

    price = getattr(prices, key, None)
    if isinstance(price, TieredPrices):
        return _Rate(float(price.base), tuple((tier.start, float(tier.price)) for tier in price.tiers))
    return None if price is None else _Rate(float(price))


def _find(known: DataSnapshot, model: str, provider: str, response_model: str) -> tuple[ModelInfo, ...]:
    """Return the model that is meant, alone, or nothing."""
    payee, asked = _payee(known, model.lower(), provider)
    if payee is None:
        return ()
    said = _bare(known, response_model.lower(), payee)
    dated = said.startswith(asked) and _VERSION.fullmatch(said[len(asked) :]) is not None
    for name in (said, asked) if dated or not said else (said,):
        found = payee.find_model(name, all_providers=known.providers) if name else None
        if found is not None and (_names(found.match, name) or _names(found.match, _dashed(name))):
            return (found,)
    return ()


def _payee(known: DataSnapshot, model: str, provider: str) -> tuple[Provider | None, str]:
    """Return who is paid for a model, and what they call it."""
    if provider:
        payee = _at(known, provider) if "://" in provider else _called(known, provider.lower())
        return payee, _bare(known, model, payee) if payee else model
    if model.startswith("ft:"):
        return _called(known, "openai"), model
    if "/" not in model:
        makers = (each for each in known.providers if each.model_match is not None and each.model_match.is_match(model))
        return next(makers, None), model
    payee = _called(known, model.partition("/")[0])
    return payee, _bare(known, model, payee) if payee else model


def _called(known: DataSnapshot, name: str) -> Provider | None:
    name = _ALIASES.get(name, name)
    return next((each for each in known.providers if each.id == name), None)


def _at(known: DataSnapshot, url: str) -> Provider | None:
    for each in known.providers:
        match = re.match(each.api_pattern, url)
        # Most patterns stop at the end of the host's name, and `api.openai.com.example` is another host.
        if match is not None and (match[0].endswith("/") or url[match.end() : match.end() + 1] in ("", "/", ":")):
            return each
    return None


def _bare(known: DataSnapshot, model: str, payee: Provider) -> str:
    """Return a name without the provider that stands before it."""
    prefix, slash, rest = model.partition("/")
    if slash and _called(known, prefix) is payee:
        model = rest
    return _ROUTE.sub("", _ROUTE.sub("", model)) if payee.id == "aws" else model


def _dashed(name: str) -> str:
    return _COMPACT_DATE.sub(r"-\1-\2-\3", name)


def _names(clause: object, name: str) -> bool:
    """Tell whether a clause of the list means this name, and not only a name like it."""
    from genai_prices import types

    match clause:
        case types.ClauseOr(or_=parts):
            return any(_names(part, name) for part in parts)
        case types.ClauseAnd(and_=parts):
            return all(_names(part, name) for part in parts)
        case types.ClauseStartsWith(starts_with=text):
            return _is_dated(text.lower(), name)
        case types.ClauseContains(contains=text):
            lead, found, rest = name.partition(text.lower())
            return _LEAD.fullmatch(lead) is not None and _is_dated(text.lower(), found + rest)
        case types.ClauseEndsWith(ends_with=text):
            return name.endswith(text.lower()) and _LEAD.fullmatch(name.removesuffix(text.lower())) is not None
        case types.ClauseEquals() | types.ClauseRegex():
            return clause.is_match(name)
        case _:
            return False


def _is_dated(text: str, name: str) -> bool:
    """Tell whether a name is `text` and a version; behind the base of a fine-tuned model stands its owner's name."""
    if not name.startswith(text):
        return False
    rest = name[len(text) :]
    if text.endswith(".ft-"):
        return True
    return (_TUNED if text.startswith("ft:") else _VERSION).fullmatch(rest) is not None
