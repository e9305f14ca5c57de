"""The JSON object in the text that a model wrote as arguments."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import NoReturn, TypeVar, cast

from agentd.core.tools import JSON

_MAX_PYTHON = 50_000
_FENCE = re.compile(r"\s*(`{3,}|~{3,})[^\n`]*\n(.*)\n\s*\1\s*", re.DOTALL)
# A text without an end is taken to the end of all, else each quotation mark in it would be tried as a start.
_TRAILING = re.compile(r'"(?:[^"\\]|\\.)*\\?(?:"|\Z)|,(?=\s*[}\]])', re.DOTALL)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")

_Number = TypeVar("_Number", int, float)


class NotArguments(ValueError):
    """The text is no JSON object; the message tells the model what it is instead."""


class _Ambiguous(ValueError):
    """It is JSON by its form, but not by its meaning: no repair may be tried."""


def read_object(text: str) -> dict[str, JSON]:
    """Return the object that `text` is, or can only mean; raise `NotArguments` otherwise.

    No text and `null` are no arguments. The object may stand in a code fence or in a JSON text, have commas too many,
    line ends in its texts, or be written as a Python literal. What is cut off is never completed.
    """
    for _ in range(3):
        value = _read(text)
        if isinstance(value, dict):
            return value
        if value is None:
            return {}
        if not isinstance(value, str):
            raise NotArguments(f"a JSON object is expected, not {'an array' if isinstance(value, list) else 'a value'}")
        text = value
    raise NotArguments("a JSON object is expected, not a text")


def read_json(text: str) -> JSON:
    """Return the JSON value that `text` is; raise `ValueError` when it is none, or is not clear."""
    return _loads(text, True)


def is_number(text: str) -> bool:
    """Tell whether a text is a number as JSON writes it."""
    return len(text) < 400 and _NUMBER.fullmatch(text) is not None


def _read(text: str) -> JSON:
    text = text.strip().removeprefix("\ufeff")
    fence = _FENCE.fullmatch(text)
    if fence:
        text = fence[2].strip()
    if text in ("", "None", "undefined"):
        return None
    problem = ""
    for attempt in _ATTEMPTS:
        try:
            return attempt(text)
        except _Ambiguous as error:
            raise NotArguments(str(error)) from error
        except RecursionError as error:
            raise NotArguments("it is nested too deeply") from error
        except (ValueError, SyntaxError, MemoryError) as error:
            problem = problem or _told(error, text)
    raise NotArguments(problem)


def _strict(text: str) -> JSON:
    return _loads(text, True)


def _lenient(text: str) -> JSON:
    """Read JSON whose texts have line ends and tabs in them, or that has a comma before a closing bracket."""

    def without(match: re.Match[str]) -> str:
        if match[0] != ",":
            return match[0]
        return "," if _last_char(text, match.start()) in ("{", "[", ",", ":", "") else ""

    return _loads(_TRAILING.sub(without, text), False)


def _last_char(text: str, end: int) -> str:
    """Return the last character before `end` that is no space."""
    while end > 0 and text[end - 1].isspace():
        end -= 1
    return text[end - 1] if end else ""


def _python(text: str) -> JSON:
    if not text.startswith("{") or len(text) > _MAX_PYTHON:
        raise ValueError
    from agentd.tools.literals import read_literal  # only the few texts that are no JSON need it

    return read_literal(text, _object, _finite)


_ATTEMPTS: tuple[Callable[[str], JSON], ...] = (_strict, _lenient, _python)


def _loads(text: str, strict: bool) -> JSON:
    return cast(
        JSON,
        json.loads(text, strict=strict, parse_constant=_constant, parse_float=_float, object_pairs_hook=_object),
    )


def _constant(name: str) -> NoReturn:
    raise _Ambiguous(f"{name} is no JSON number")


def _float(text: str) -> float:
    return _finite(float(text))


def _finite(number: _Number) -> _Number:
    if isinstance(number, float) and not math.isfinite(number):
        raise _Ambiguous("a number is too large")
    return number


def _object(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    result = dict(pairs)
    if len(result) < len(pairs):
        for key, value in pairs:
            if result[key] is not value and result[key] != value:
                raise _Ambiguous(f"the key {json.dumps(key)} is given twice, with different values")
    return result


def _told(error: Exception, text: str) -> str:
    """Say what is wrong with `text`."""
    if not isinstance(error, json.JSONDecodeError):
        return "a number is too large" if isinstance(error, ValueError) else "it is not valid JSON"
    if text[0] not in '{["`' and not text[0].isdigit():
        return "a JSON object is expected, not a text in words"
    if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
        return f"the JSON ends in the middle: {error.msg} at character {error.pos}; write it whole"
    if error.msg == "Extra data":
        return f"something follows after the end of the JSON at character {error.pos}"
    return f"it is not valid JSON: {error.msg} at line {error.lineno} column {error.colno}"
