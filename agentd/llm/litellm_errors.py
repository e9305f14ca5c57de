"""Errors that LiteLLM raises, as the OpenAI SDK's own: class, status, body and headers are the provider's."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from agentd.core.tools import JSON
from agentd.llm.litellm_http import Http
from agentd.llm.routing import Route

_SECRET_NAME = re.compile(r"(^|_)(KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS)($|_)", re.IGNORECASE)
_SHORTEST_SECRET = 8
_MASK = "[secret]"
_PREFIX = re.compile(r"^(litellm\.)?\w+(Error|Exception|Timeout): |^\w+Exception( - |: )")
_FROM = 500


def as_sdk_error(error: Exception, route: Route, client: Any, http: Http) -> Exception:
    """Return what the SDK would have raised, had it met this error itself. No secret is in it or in its cause."""
    import openai

    original = getattr(error, "original_exception", None)
    if isinstance(original, Exception):
        error = original
    scrub(error, client)
    status: int | None = getattr(error, "status_code", None)
    headers = _headers(error)
    body = _body(error)
    where = f"{route.provider} ({route.model})"
    told = f"{where}: {_message(error, body)}"
    if isinstance(error, openai.APITimeoutError):
        timeout = openai.APITimeoutError(request=http.request())
        timeout.message = told
        timeout.args = (told,)
        return timeout
    if not isinstance(error, openai.OpenAIError):
        return openai.APIError(f"{where}: LiteLLM failed: {error!r}", http.request(), body=None)
    if status is None or (status >= _FROM and not headers):
        # It makes up a status for what never had one: a connection that was refused or lost.
        return openai.APIConnectionError(message=told, request=http.request())
    content = json.dumps({"error": body}).encode()
    return client._make_status_error(told, body={"error": body}, response=http.response(status, headers, content))


def scrub(error: BaseException, client: Any) -> None:
    """Take every secret of the environment and the client's key out of an error and of what it came from."""
    secrets = sorted(_secrets(client), key=len, reverse=True)
    for part in _chain(error):
        part.args = tuple(_without(secrets, value) for value in part.args)
        for name in ("message", "body"):
            if name in getattr(part, "__dict__", {}):
                part.__dict__[name] = _without(secrets, part.__dict__[name])


def _secrets(client: Any) -> Iterator[str]:
    own = getattr(client, "api_key", None)
    for name, value in [("KEY", own if isinstance(own, str) else ""), *os.environ.items()]:
        if len(value) >= _SHORTEST_SECRET and _SECRET_NAME.search(name):
            yield value


def _without(secrets: list[str], value: Any) -> Any:
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, _MASK)
    elif isinstance(value, bytes):
        value = _without(secrets, value.decode(errors="replace"))
    elif isinstance(value, dict):
        value = {name: _without(secrets, inner) for name, inner in value.items()}  # pyright: ignore[reportUnknownVariableType]
    return value  # pyright: ignore[reportUnknownVariableType]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        part = waiting.pop()
        if part is not None and id(part) not in seen:
            seen.add(id(part))
            yield part
            waiting += [part.__cause__, part.__context__]


def _headers(error: Any) -> dict[str, str]:
    """Return the provider's headers; a response that LiteLLM made up has none."""
    response: Any = getattr(error, "response", None)
    found: Any = getattr(error, "litellm_response_headers", None) or getattr(response, "headers", None)
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, Mapping) else {}  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def _body(error: Any) -> JSON:
    """Return the error object that the provider sent: LiteLLM quotes it in its message."""
    given: Any = getattr(error, "body", None)
    if isinstance(given, dict) and given:
        return _error_in(given)  # pyright: ignore[reportUnknownArgumentType]
    text = str(error)
    start = text.find("{")
    if start >= 0:
        try:
            found, _ = json.JSONDecoder(strict=False).raw_decode(text, start)
        except ValueError:
            found = None
        if isinstance(found, dict) and found:
            return _error_in(found)  # pyright: ignore[reportUnknownArgumentType]
    return {"message": _plain(text), "type": None, "param": getattr(error, "param", None), "code": None}


def _error_in(body: dict[str, JSON]) -> JSON:
    inner = body.get("error")
    return inner if isinstance(inner, dict | str) and inner else body


def _message(error: Exception, body: JSON) -> str:
    if isinstance(body, str):
        return body
    told = body.get("message") if isinstance(body, dict) else None
    return told if isinstance(told, str) and told else _plain(str(error))


def _plain(text: str) -> str:
    """Take off the names that LiteLLM puts before a message, as many as there are."""
    while match := _PREFIX.match(text):
        text = text[match.end() :]
    return text.removesuffix(". Handle with `litellm.InternalServerError`.").strip()
