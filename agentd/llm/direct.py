"""Model calls sent straight through the client's own HTTP client.

What the SDK does to build a request anew costs more than to send it. From call to call only the body changes, so a
request that the SDK built serves as the mould for the next: same address, headers and time-outs, same HTTP client with
its proxies and hooks. An answer that is no success is handed to the SDK as if its own first attempt had got it, so
that its retries, its waiting and its errors are what they always are.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

IDEMPOTENCY = "idempotency-key"
_RETRY_COUNT = "x-stainless-retry-count"
_HOOKS = ("request", "post", "_send_request", "_prepare_options", "_prepare_request", "_build_request", "_custom_auth")
_PROVIDERS = ("_api_key_provider", "_workload_identity_auth", "_provider_runtime")
_outcome: ContextVar[Any] = ContextVar("agentd_outcome", default=None)


def is_plain(client: Any) -> bool:
    """Tell whether every request of a client is built alike: no hook is overridden, no key is fetched anew."""
    from openai import AsyncOpenAI, OpenAI

    if type(client) not in (OpenAI, AsyncOpenAI) or any(name in vars(client) for name in _HOOKS):
        return False
    return all(getattr(client, name, None) is None for name in _PROVIDERS)


class Mould:
    """What requests of one client have in common."""

    def __init__(self, first: Any) -> None:
        headers = first.headers.copy()
        del headers["content-length"]
        headers.pop(IDEMPOTENCY, None)  # every model call of a turn is another one
        if _RETRY_COUNT in headers:
            headers[_RETRY_COUNT] = "0"
        self._make: Any = first.__class__
        self._stream: Any = first.stream.__class__
        self._method, self._url, self._extensions, self._headers = first.method, first.url, first.extensions, headers

    def request(self, body: bytes) -> Any:
        """Return a request with this body."""
        # As `content`, the body would have all headers gone through four times for what they hold already.
        request = self._make(
            self._method, self._url, headers=self._headers, stream=self._stream(body), extensions=self._extensions
        )
        request.headers["Content-Length"] = str(len(body))
        request.read()
        return request


class Moulds:
    """The requests of one plain client that later ones are made like, as long as its settings are the same."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._settings: Any = None
        self._known: dict[tuple[str, bool], Mould] = {}

    def get(self, path: str, stream: bool, options: dict[str, Any]) -> Mould | None:
        """Return the mould of a request that asks for nothing of its own, `None` when the SDK must build it."""
        if options.keys() - {"security"}:
            return None
        settings = self._now()
        if settings != self._settings:
            self._settings = settings
            self._known.clear()
        return self._known.get((path, stream))

    def put(self, path: str, stream: bool, options: dict[str, Any], mould: Mould) -> None:
        """Remember what a request was like that the SDK built and that was answered."""
        if not options.keys() - {"security"} and self._settings == self._now():
            self._known[path, stream] = mould

    def _now(self) -> Any:
        client = self._client
        return (
            client.api_key,
            client.base_url,
            client.timeout,
            client.organization,
            client.project,
            client._client,
            client._client.headers.raw,
            dict(client._custom_headers),
            dict(client._custom_query),
        )


def receiving(send_request: Any, is_async: bool) -> Any:
    """Wrap a client's `_send_request`, so that its next attempt may be one that was made already."""

    def receive(request: Any, **how: Any) -> Any:
        outcome = _outcome.get()
        if outcome is None:
            return send_request(request, **how)
        _outcome.set(None)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def areceive(request: Any, **how: Any) -> Any:
        outcome = receive(request, **how)
        return await outcome if hasattr(outcome, "__await__") else outcome

    return areceive if is_async else receive


class Handed:
    """The outcome of an attempt, for the SDK's next one: within the context, it counts as the SDK's own."""

    def __init__(self, outcome: Any) -> None:
        self._outcome = outcome

    def __enter__(self) -> None:
        self._token = _outcome.set(self._outcome)

    def __exit__(self, *_: object) -> None:
        _outcome.reset(self._token)
