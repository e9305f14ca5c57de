"""Tokens: read from a reply, summed over a turn, estimated where a call was cut."""

from __future__ import annotations

from agentd.core.events import Usage
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
