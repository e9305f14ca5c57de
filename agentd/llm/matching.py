"""Is this the request that was recorded? What differs from run to run by itself does not count.

Masked are ids made here, durations, moments in time and the random parts of temporary paths; all else is compared.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from urllib.parse import urlsplit

from agentd.core.tools import JSON

_MASKS = (
    (r"\b[a-z]{2,12}_[0-9a-f]{24}\b", "<id>"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<uuid>"),
    (r"\b\d+\.\d\d s\b", "<duration>"),
    (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?", "<time>"),
    # What tempfile and pytest put below the folder for temporary files.
    (r"<tmp>/([\w.-]*?)[a-z0-9_]{8}(?![\w.-])", r"<tmp>/\1<random>"),
    (r"<tmp>/pytest-of-[^/\s]+/pytest-\d+(?:/popen-gw\d+)?", "<tmp>/<pytest>"),
)
_TEMPORARY = (r"/private/var/folders/[^/\s]+/[^/\s]+/T", r"/var/folders/[^/\s]+/[^/\s]+/T", r"/private/tmp", r"/tmp")
_BOUNDARY = re.compile(rb"boundary=\"?([^\";,\s]+)")
_SHOWN = 60


class _Absent:
    """Stands for what one of two requests lacks."""


_ABSENT = _Absent()
_Value = JSON | _Absent


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it is compared: `body` is the masked JSON, or text where it is not JSON."""

    method: str
    path: str
    body: JSON
    canonical: str

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    def matches(self, other: Asked) -> bool:
        return self.name == other.name and self.canonical == other.canonical


class Masks:
    """Hides what may differ: the built-in patterns and the caller's own."""

    def __init__(self, ignore: Sequence[str | re.Pattern[str]] = ()) -> None:
        here = os.path.realpath(tempfile.gettempdir())
        roots = "|".join([re.escape(tempfile.gettempdir()), re.escape(here), *_TEMPORARY])
        own = ((re.compile(pattern), "<ignored>") for pattern in ignore)
        built_in = ((re.compile(pattern), mask) for pattern, mask in _MASKS)
        self._masks = [*own, (re.compile(rf"(?<![\w.-])(?:{roots})(?=/|\b)"), "<tmp>"), *built_in]

    def asked(self, method: str, url: str, body: bytes) -> Asked:
        """Return a request in the form that is compared."""
        parts = urlsplit(url)
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        masked = self._mask(_parsed(body))
        return Asked(method, self.text(path), masked, json.dumps(masked, sort_keys=True))

    def text(self, text: str) -> str:
        for pattern, mask in self._masks:
            text = pattern.sub(mask, text)
        return text

    def _mask(self, value: JSON) -> JSON:
        match value:
            case str():
                return self.text(value)
            case list():
                return [self._mask(each) for each in value]
            case dict():
                return {key: self._mask(each) for key, each in value.items()}
            case _:
                return value


def _parsed(body: bytes) -> JSON:
    try:
        return json.loads(body) if body else None
    except ValueError:
        boundary = _BOUNDARY.search(body) or re.match(rb"--(\S+)\r\n", body)
        return (body.replace(boundary[1], b"boundary") if boundary else body).decode("utf-8", "backslashreplace")


def difference(now: Asked, recorded: Sequence[Asked]) -> str:
    """Say where a request first differs from the nearest of the recorded ones."""
    if not recorded:
        return "nothing is recorded"
    nearest = min(recorded, key=lambda each: _distance(now, each))
    number = recorded.index(nearest) + 1
    if nearest.matches(now):
        count = sum(each.matches(now) for each in recorded)
        return f"all {count} recorded answers to it have been played; the last is request {number}"
    if nearest.name != now.name:
        return f"the nearest is request {number}: recorded {nearest.name}"
    where, old, new = next(_differences(nearest.body, now.body, ""))
    return f"the nearest is request {number}; the first difference is at {where or 'the body'}: {_both(old, new)}"


def _distance(now: Asked, recorded: Asked) -> tuple[bool, int]:
    return recorded.name != now.name, sum(1 for _ in _differences(recorded.body, now.body, ""))


def _differences(old: _Value, new: _Value, where: str) -> Iterator[tuple[str, _Value, _Value]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            place = f"{where}.{key}" if where else key
            yield from _differences(old.get(key, _ABSENT), new.get(key, _ABSENT), place)
    elif isinstance(old, list) and isinstance(new, list):
        for index, (before, after) in enumerate(zip_longest(old, new, fillvalue=_ABSENT)):
            yield from _differences(before, after, f"{where}[{index}]")
    elif type(old) is not type(new) or old != new:
        yield where, old, new


def _both(old: _Value, new: _Value) -> str:
    start = 0
    if isinstance(old, str) and isinstance(new, str):
        apart = (at for at, (before, after) in enumerate(zip(old, new, strict=False)) if before != after)
        start = max(0, next(apart, min(len(old), len(new))) - _SHOWN // 3)
    return f"recorded {_short(old, start)}, now {_short(new, start)}"


def _short(value: _Value, start: int = 0) -> str:
    if isinstance(value, _Absent):
        return "nothing"
    if not isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    piece = value[start : start + _SHOWN]
    return ("…" if start else "") + repr(piece) + ("…" if start + _SHOWN < len(value) else "")
