"""What LiteLLM would get wrong in a chat request, put so that the provider is asked for what was meant."""

from __future__ import annotations

import json

from agentd.core.errors import OptionError
from agentd.core.tools import JSON

Frame = dict[str, JSON]
_OLLAMA = ("ollama", "ollama_chat")
_GEMINI = ("gemini", "vertex_ai", "vertex_ai_beta")


def adapted(request: Frame, provider: str) -> Frame:
    """Return the request for LiteLLM; raises `OptionError` for what it would leave out without a word."""
    messages = [_without_empty_text(message) for message in _list(request.get("messages"))]
    request = {**request, "messages": _apart(messages) if provider in _GEMINI else messages}
    return _without_choice(request, provider) if provider in _OLLAMA else request


def _without_empty_text(message: JSON) -> JSON:
    """For Anthropic, empty text beside calls would be filled with text of LiteLLM's own."""
    if isinstance(message, dict) and message.get("tool_calls") and message.get("content") == "":
        return {**message, "content": None}
    return message


def _without_choice(request: Frame, provider: str) -> Frame:
    """Ollama has no `tool_choice`: a model that has no tools calls none, but none can be made to call one."""
    choice = request.pop("tool_choice", None)
    if choice == "none":
        del request["tools"]
    elif choice not in (None, "auto"):
        raise OptionError(f"tool_choice={choice!r} cannot be used: {provider} has nothing like it")
    return request


def _apart(messages: list[JSON]) -> list[JSON]:
    """Put equal calls of one message into messages of their own, each with its result: LiteLLM keeps one of them."""
    placed: list[JSON] = []
    at = 0
    while at < len(messages):
        message, start = messages[at], at + 1
        rounds = _rounds(message)
        at = start
        if not isinstance(message, dict) or len(rounds) < 2:
            placed.append(message)
            continue
        while at < len(messages) and _field(messages[at], "role") == "tool":
            at += 1
        results = messages[start:at]
        for number, calls in enumerate(rounds):
            ids = [call.get("id") for call in calls]
            said: Frame = message if number == 0 else {"role": "assistant", "content": None}
            placed.append({**said, "tool_calls": [*calls]})
            placed += [result for result in results if _field(result, "tool_call_id") in ids]
            results = [result for result in results if _field(result, "tool_call_id") not in ids]
        placed += results
    return placed


def _rounds(message: JSON) -> list[list[Frame]]:
    """Return the calls of a message in as few groups as have no two equal ones in them."""
    rounds: list[list[Frame]] = []
    seen: dict[str, int] = {}
    calls = _list(message.get("tool_calls")) if isinstance(message, dict) else []
    for call in (call for call in calls if isinstance(call, dict)):
        same = json.dumps(call.get("function"), sort_keys=True)
        number = seen[same] = seen.get(same, -1) + 1
        rounds += [[]] if number == len(rounds) else []
        rounds[number].append(call)
    return rounds


def _list(given: JSON) -> list[JSON]:
    return given if isinstance(given, list) else []


def _field(message: JSON, name: str) -> JSON:
    return message.get(name) if isinstance(message, dict) else None
