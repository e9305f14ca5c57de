"""What a model takes beside text, and which kind of JSON Schema its provider accepts."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from agentd.llm.routing import Route, has_own_address

_FILE = "model_prices_and_context_window_backup.json"
_FLAGS = {"image": "supports_vision", "audio": "supports_audio_input"}
# OpenAI's own families, where LiteLLM and its list are not installed: what a name begins with, and must not hold.
_FAMILIES = {
    "image": ("gpt-4o", "gpt-4.1", "gpt-4.5", "gpt-4-turbo", "gpt-5", "o1", "o3", "o4-mini", "chatgpt-4o"),
    "audio": ("gpt-4o-audio", "gpt-4o-mini-audio", "gpt-audio", "gpt-realtime"),
}
_BUT = {"image": re.compile(r"audio|realtime|tts|transcribe|o1-mini|o1-preview|o3-mini"), "audio": re.compile(r"tts")}
_DATE = re.compile(r"-\d{4}-\d{2}-\d{2}$|-\d{8}$")
_FLAVOURS = {
    "openai": "openai",
    "azure": "openai",
    "anthropic": "anthropic",
    "gemini": "gemini",
    "vertex_ai": "gemini",
    "ollama": "ollama",
    "ollama_chat": "ollama",
}


def takes(model: str, kind: str) -> bool:
    """Tell whether a model takes images (`image`) or sounds (`audio`) as input; unknown names take neither."""
    if kind not in _FLAGS:
        return False
    listed = _listed()
    if listed is None:
        plain = next(iter(reversed([*_names(model)])))
        return plain.startswith(_FAMILIES[kind]) and not _BUT[kind].search(plain)
    known, able = listed
    found = next((name for name in _names(model) if name in known), None)
    return found in able[kind]


def flavour(route: Route | None, client: Any, model: str) -> str:
    """Return which schemas a call's tools must have: `openai`, `openai-compatible`, `anthropic`, `gemini`, `ollama`."""
    if route is not None:
        if route.provider == "vertex_ai" and route.model.startswith("claude"):
            return "anthropic"
        return _FLAVOURS.get(route.provider, "openai-compatible")
    from openai.lib.azure import BaseAzureClient

    own = has_own_address(client) and not isinstance(client, BaseAzureClient)
    return "openai-compatible" if own else "openai"


def _names(model: str) -> Iterator[str]:
    """Give the names under which a model may be listed: with ever less of its provider, then without its date."""
    parts = model.split("/")
    names = ["/".join(parts[start:]) for start in range(len(parts))]
    if names[-1].startswith("ft:"):
        names += [":".join(names[-1].split(":")[:2]), names[-1].split(":")[1]]
    yield from names
    yield _DATE.sub("", names[-1])


@cache
def _listed() -> tuple[frozenset[str], dict[str, frozenset[str]]] | None:
    """Return all names of LiteLLM's own list, and those that take each kind; LiteLLM itself is not imported."""
    spec = importlib.util.find_spec("litellm")
    if spec is None or not spec.submodule_search_locations:
        return None
    file = Path(next(iter(spec.submodule_search_locations))) / _FILE
    if not file.is_file():
        return None
    entries: dict[str, dict[str, Any]] = json.loads(file.read_text("utf-8"))
    able = {
        kind: frozenset(name for name, entry in entries.items() if entry.get(flag) is True)
        for kind, flag in _FLAGS.items()
    }
    return frozenset(entries), able
