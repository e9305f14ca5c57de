"""Tokens: read from a reply, summed over a turn, estimated where a call was cut."""

from __future__ import annotations

from dataclasses import replace

from agentd.core.events import Status, TurnEnded, Usage
from agentd.core.tools import JSON

Raw = dict[str, JSON]
CHARACTERS_A_TOKEN = 4


def add(total: Raw, more: Raw) -> Raw:
    """Return the sum of two usage objects of one API, key by key, also of the nested details."""
    summed = dict(total)
    for key, value in more.items():
        held = summed.get(key)
        if isinstance(value, dict):
            summed[key] = add(held if isinstance(held, dict) else {}, value)
        elif isinstance(value, bool) or not isinstance(value, int | float):
            summed[key] = value if held is None else held
        else:
            summed[key] = value + held if isinstance(held, int | float) else value
    return summed


class Sum:
    """What the model calls of a turn have used so far; with a call of unknown price, the price is unknown."""

    def __init__(self) -> None:
        self._total = Usage(cost_usd=0.0)
        self._calls = 0

    def add(self, usage: Usage) -> None:
        """Count the usage of one more call."""
        total = self._total
        known = total.cost_usd is not None and usage.cost_usd is not None
        self._calls += 1
        self._total = Usage(
            total.input_tokens + usage.input_tokens,
            total.output_tokens + usage.output_tokens,
            total.cached_tokens + usage.cached_tokens,
            total.reasoning_tokens + usage.reasoning_tokens,
            total.estimated or usage.estimated,
            (total.cost_usd or 0.0) + (usage.cost_usd or 0.0) if known else None,
        )

    @property
    def total(self) -> Usage:
        """Return the sum; the price of no call at all is unknown, too."""
        return self._total if self._calls else replace(self._total, cost_usd=None)

    def ended(self, status: Status, stop_reason: str) -> TurnEnded:
        """Return the event that ends the turn."""
        total = self.total
        return TurnEnded(
            status,
            stop_reason,
            total.input_tokens,
            total.output_tokens,
            total.cached_tokens,
            total.reasoning_tokens,
            total.cost_usd,
        )


def _count(raw: Raw, *path: str) -> int:
    value: JSON = raw
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return int(value) if isinstance(value, int | float) else 0


def read(raw: Raw) -> Usage:
    """Return the figures of a usage object of either API."""
    prompt = "input" if "input_tokens" in raw else "prompt"
    output = "output" if "output_tokens" in raw else "completion"
    return Usage(
        _count(raw, f"{prompt}_tokens"),
        _count(raw, f"{output}_tokens"),
        _count(raw, f"{prompt}_tokens_details", "cached_tokens"),
        _count(raw, f"{output}_tokens_details", "reasoning_tokens"),
        raw.get("estimated") is True,
    )


def estimate(api: str, sent: int, said: int) -> Raw:
    """Return a usage object for a call whose own figures never came, from `sent` bytes and `said` characters."""
    prompt, output = ("input", "output") if api == "responses" else ("prompt", "completion")
    there, back = sent // CHARACTERS_A_TOKEN, -(-said // CHARACTERS_A_TOKEN)
    counts: Raw = {f"{prompt}_tokens": there, f"{output}_tokens": back, "total_tokens": there + back}
    details: Raw = {
        f"{prompt}_tokens_details": {"cached_tokens": 0},
        f"{output}_tokens_details": {"reasoning_tokens": 0},
    }
    return counts | details | {"estimated": True}
