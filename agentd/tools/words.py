"""What a schema says in words: descriptions that can be sent to any API."""

from __future__ import annotations

import json
import unicodedata

from agentd.core.tools import JSON, Schema

MAX_DESCRIPTION = 2_000
_ROOM = 3_000
_JOINERS = "\u200c\u200d"
_HIDDEN = ("Cc", "Cf", "Co", "Cn", "Cs")


def cleaned(text: JSON, limit: int = MAX_DESCRIPTION) -> str:
    """Return `text` without control, invisible and lone surrogate characters, cut to `limit` characters."""
    if not isinstance(text, str):
        return ""
    text = text[: limit * 2 + 100].strip()
    if not (text.isascii() and text.isprintable()):
        text = "".join(char for char in text.replace("\r\n", "\n") if _shown(char)).strip()
    return text if len(text) <= limit else text[: max(limit - 1, 0)].rstrip() + "…"


def brief(value: JSON, limit: int = 120) -> str:
    """Return a value as short JSON text."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
    except (RecursionError, ValueError):
        return "…"
    return cleaned(text, limit)


def length(value: JSON) -> int:
    """Return how many characters a value has as JSON text, very many for one that cannot be written."""
    try:
        return len(json.dumps(value, ensure_ascii=False))
    except (RecursionError, ValueError):
        return 10**9


def sendable(value: JSON) -> bool:
    """Tell whether a value can be written as JSON in UTF-8: no NaN, no lone surrogate."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (RecursionError, ValueError):
        return False
    return True


def note(schema: Schema, text: str) -> None:
    """Add a few words to the description of `schema`."""
    said = schema.get("description")
    if not isinstance(said, str) or not said:
        schema["description"] = text
    elif text not in said and len(said) < _ROOM:
        schema["description"] = f"{said} ({text})"


def _shown(char: str) -> bool:
    return char in "\n\t" or char in _JOINERS or unicodedata.category(char) not in _HIDDEN
