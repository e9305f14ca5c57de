"""Keeps secrets out of recordings: what is stored of headers and addresses, and what is hidden within bodies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from agentd.core.tools import JSON

HIDDEN = "REDACTED"
# Only these headers are stored: what is not known to be harmless stays out.
KEPT_OF_REQUESTS = ("content-type", "accept", "anthropic-beta", "anthropic-version", "openai-beta")
KEPT_OF_RESPONSES = (
    "content-type",
    "openai-version",
    "request-id",
    "retry-after",
    "retry-after-ms",
    "x-agentd-scripted",
    "x-request-id",
    "x-should-retry",
)
_TELLING = re.compile(r"auth|key|token|secret|cookie|password|session|organi[sz]ation|project", re.IGNORECASE)
_QUERY = re.compile(r"^(?:api[-_]?)?key$|token|secret|^sig$|signature|credential|password", re.IGNORECASE)
_FIELD = re.compile(
    r"^(?:proxy-)?authorization$|^(?:set-)?cookie$|api[-_]?key$|^(?:access|refresh|auth|id)[-_]token$|secret$|password$",
    re.IGNORECASE,
)
_ANYWHERE, _WHOLE = 12, 8  # shorter than that, a word that happens to be a key in a test would garble the text

Leaf = tuple[dict[str, JSON] | list[JSON], str | int, str]


class Secrets:
    """The secret values of one request. From 12 characters on they are hidden anywhere, from 8 on as whole texts."""

    def __init__(self, values: Iterable[str]) -> None:
        found = {form for value in values for form in (value, unquote(value)) if len(form) >= _WHOLE}
        long = sorted((value for value in found if len(value) >= _ANYWHERE), key=len, reverse=True)
        self._long = re.compile("|".join(map(re.escape, long))) if long else None
        self._whole = found

    @classmethod
    def of(cls, headers: Mapping[str, str], url: str, body: JSON, more: Sequence[str] = ()) -> Secrets:
        """Collect what a request proves its right with, and what it hands on to others in its body."""
        parts = urlsplit(url)
        values = [*more, *(unquote(text) for text in (parts.username, parts.password) if text)]
        values += [value for name, value in parse_qsl(parts.query) if _QUERY.search(name)]
        for name, value in headers.items():
            if _TELLING.search(name):
                values += [value, *re.split(r"[\s,;=]+", value)]
        values += [part for value in _fields(body) for part in (value, *value.split())]
        return cls(values)

    def text(self, text: str) -> str:
        """Hide the secrets in a text."""
        if text in self._whole:
            return HIDDEN
        return self._long.sub(HIDDEN, text) if self._long else text

    def clean(self, events: Sequence[JSON]) -> None:
        """Hide the secrets in JSON values, in place; in the events of a stream also those cut into several deltas."""
        places: dict[tuple[str | int, ...], list[Leaf]] = {}
        for event in events:
            for path, leaf in _leaves(event, ()):
                places.setdefault(path, []).append(leaf)
        for leaves in places.values():
            for (holder, key, text), cleaned in zip(leaves, self._pieces([leaf[2] for leaf in leaves]), strict=True):
                if cleaned != text:
                    cast("dict[str | int, JSON]", holder)[key] = cleaned

    def _pieces(self, pieces: list[str]) -> list[str]:
        spans = [match.span() for match in self._long.finditer("".join(pieces))] if self._long else []
        cleaned: list[str] = []
        start = 0
        for piece in pieces:
            end = start + len(piece)
            out, at = "", start
            for first, last in spans:
                if last <= start or first >= end:
                    continue
                out += piece[at - start : max(first, at) - start] + (HIDDEN if first >= start else "")
                at = min(last, end)
            cleaned.append(HIDDEN if piece in self._whole else out + piece[at - start :])
            start = end
        return cleaned


def clean_fields(value: JSON) -> None:
    """Hide, in place, the values of fields that are named like secrets: tools on other servers carry such."""
    if isinstance(value, list):
        for each in value:
            clean_fields(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if isinstance(each, str) and _FIELD.search(key):
                value[key] = HIDDEN
            else:
                clean_fields(each)


def clean_url(url: str) -> str:
    """Return an address without its user and its secret parameters."""
    parts = urlsplit(url)
    query = urlencode([(name, value) for name, value in parse_qsl(parts.query, True) if not _QUERY.search(name)])
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, ""))


def _fields(value: JSON) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _fields(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if isinstance(each, str) and _FIELD.search(key):
                yield each
            yield from _fields(each)


def _leaves(value: JSON, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Leaf]]:
    if not isinstance(value, dict | list):
        return
    for key, each in list(value.items() if isinstance(value, dict) else enumerate(value)):
        if isinstance(each, str):
            yield (*path, key), (value, key, each)
        else:
            yield from _leaves(each, (*path, key))
