"""Model calls through the user's own OpenAI client: its authentication, retries, proxies, time-outs and errors.

The body is sent as bytes by the client's own `post`, so that the history is not walked again at every call; a client
whose `_build_request` is overridden gets the body as a mapping, as it would from the SDK's own `create`.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from agentd.core.events import Usage
from agentd.core.protocols import ModelRequest, Reply
from agentd.core.tools import JSON
from agentd.llm import direct
from agentd.llm.direct import IDEMPOTENCY
from agentd.llm.prices import Prices
from agentd.llm.routing import has_own_address
from agentd.llm.sse import SseParser, parse_object

RAW_RESPONSE_HEADER = "X-Stainless-Raw-Response"
_ONE_CALL_ONLY = ("post_parser", "extra_json", "synthesize_event_and_data")


@dataclass(frozen=True)
class SdkCall:
    """One call that the user made on a resource, as the SDK was about to send it."""

    client: Any
    post: Any
    path: str
    options: dict[str, Any]
    stream_cls: Any
    prices: Prices
    moulds: direct.Moulds | None = None

    @property
    def http(self) -> Any:
        """The client's own HTTP client."""
        return self.client._client

    def known(self, stream: bool) -> direct.Mould | None:
        """Return what the first request of the turn may be made like, `None` when the SDK must build it."""
        return self.moulds.get(self.path, stream, self.options) if self.moulds is not None else None

    def mould(self, response: Any, stream: bool) -> direct.Mould | None:
        """Return what later requests of the turn may be made like, `None` when the SDK must build each."""
        # A redirect is for the request that met it only.
        if self.moulds is None or response.history:
            return None
        mould = direct.Mould(response.request)
        self.moulds.put(self.path, stream, self.options, mould)
        return mould

    def cost(self, usage: Usage, asked: str, answered: str, tier: str) -> float | None:
        """Return the price of one call; who is paid is told by the address that was asked."""
        return self.prices.cost(asked, usage, self.provider, answered, tier)

    @cached_property
    def provider(self) -> str:
        """Who is paid, as the price list wants it told: the address that is asked, `""` for OpenAI's own."""
        return str(self.client.base_url) if has_own_address(self.client) else ""

    def arguments(self, request: ModelRequest) -> tuple[str, dict[str, Any]]:
        """Return the path and the keyword arguments of the client's `post` for one model call."""
        module = importlib.import_module("openai._base_client")
        http: Any = getattr(module, "httpx2", None) or getattr(module, "httpx", None)
        options = {name: value for name, value in self.options.items() if name not in _ONE_CALL_ONLY}
        headers = options.get("headers")
        if headers:
            hidden = {RAW_RESPONSE_HEADER.lower()} if request.first else {RAW_RESPONSE_HEADER.lower(), IDEMPOTENCY}
            options["headers"] = {name: value for name, value in headers.items() if name.lower() not in hidden}
        if not request.first:
            options.pop("idempotency_key", None)
        arguments: dict[str, Any] = {"options": options, "cast_to": http.Response, "stream": request.stream}
        if request.stream:
            arguments["stream_cls"] = self.stream_cls
        if not builds_from_bytes(self.client):
            return self.path, arguments | {"body": json.loads(request.body)}
        return self._path(request), arguments | {"content": request.body}

    def _path(self, request: ModelRequest) -> str:
        """Azure's client adds the deployment for a mapping only."""
        from openai.lib.azure import BaseAzureClient

        deployed = "/deployments" in str(self.client.base_url.path)
        if request.api != "chat" or deployed or not isinstance(self.client, BaseAzureClient):
            return self.path
        model = json.loads(request.body).get("model")
        return f"/deployments/{model}{self.path}" if model else self.path


def builds_from_bytes(client: Any) -> bool:
    """Tell whether the client's `_build_request` is the SDK's own, which takes a body of bytes."""
    if "_build_request" in vars(client):
        return False
    owner = next((cls for cls in type(client).__mro__ if "_build_request" in vars(cls)), None)
    return owner is not None and owner.__module__.split(".")[0] == "openai"


class SyncModel:
    """A model behind a blocking client; its coroutines never suspend. `response` is the last HTTP response."""

    def __init__(self, call: SdkCall) -> None:
        self._call = call
        self._mould: direct.Mould | None = None
        self.response: Any = None

    async def send(self, request: ModelRequest) -> Reply:
        self._mould = self._mould or self._call.known(request.stream)
        if self._mould is None:
            self.response = self._post(request)
            self._mould = self._call.mould(self.response, request.stream)
        else:
            self.response = self._direct(request, self._mould)
        return SyncStreamReply(self.response) if request.stream else WholeReply(self.response)

    def cost(self, usage: Usage, asked: str, answered: str, tier: str) -> float | None:
        return self._call.cost(usage, asked, answered, tier)

    def _post(self, request: ModelRequest) -> Any:
        path, arguments = self._call.arguments(request)
        return self._call.post(path, **arguments)

    def _direct(self, request: ModelRequest, mould: direct.Mould) -> Any:
        try:
            outcome = self._call.http.send(mould.request(request.body), stream=request.stream)
        except Exception as error:  # noqa: BLE001 - the SDK tries again, or raises its own error
            outcome = error
        if getattr(outcome, "is_success", False):
            return outcome
        with direct.Handed(outcome):
            return self._post(request)


class AsyncModel:
    """A model behind an asynchronous client. `response` is the last HTTP response."""

    def __init__(self, call: SdkCall) -> None:
        self._call = call
        self._mould: direct.Mould | None = None
        self.response: Any = None

    async def send(self, request: ModelRequest) -> Reply:
        self._mould = self._mould or self._call.known(request.stream)
        if self._mould is None:
            self.response = await self._post(request)
            self._mould = self._call.mould(self.response, request.stream)
        else:
            self.response = await self._direct(request, self._mould)
        return AsyncStreamReply(self.response) if request.stream else WholeReply(self.response)

    def cost(self, usage: Usage, asked: str, answered: str, tier: str) -> float | None:
        return self._call.cost(usage, asked, answered, tier)

    async def _post(self, request: ModelRequest) -> Any:
        path, arguments = self._call.arguments(request)
        return await self._call.post(path, **arguments)

    async def _direct(self, request: ModelRequest, mould: direct.Mould) -> Any:
        try:
            outcome = await self._call.http.send(mould.request(request.body), stream=request.stream)
        except Exception as error:  # noqa: BLE001 - the SDK tries again, or raises its own error
            outcome = error
        if getattr(outcome, "is_success", False):
            return outcome
        with direct.Handed(outcome):
            return await self._post(request)


class WholeReply:
    """A response that came in one piece."""

    def __init__(self, response: Any) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[dict[str, JSON]]:
        yield parse_object(self._response.content)

    async def aclose(self) -> None:
        """Nothing is open."""


class SyncStreamReply:
    """The events of a stream that is read by blocking."""

    def __init__(self, response: Any) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[dict[str, JSON]]:
        parser = SseParser()
        try:
            for chunk in self._response.iter_bytes():
                for event in parser.feed(chunk):
                    yield checked(event, self._response)
        except Exception as error:
            told = connection_error(error, self._response)
            if told is error:
                raise
            raise told from error
        for event in parser.close():
            yield checked(event, self._response)

    async def aclose(self) -> None:
        self._response.close()


class AsyncStreamReply:
    """The events of a stream that is read on an event loop."""

    def __init__(self, response: Any) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[dict[str, JSON]]:
        parser = SseParser()
        try:
            async for chunk in self._response.aiter_bytes():
                for event in parser.feed(chunk):
                    yield checked(event, self._response)
        except Exception as error:
            told = connection_error(error, self._response)
            if told is error:
                raise
            raise told from error
        for event in parser.close():
            yield checked(event, self._response)

    async def aclose(self) -> None:
        await self._response.aclose()


def checked(event: dict[str, JSON], response: Any) -> dict[str, JSON]:
    """Raise the error that a stream carries, as the SDK does; return any other event."""
    error = event.get("error")
    if error and event.get("type") in (None, "error"):
        from openai import APIError

        message = error.get("message") if isinstance(error, dict) else None
        raise APIError(str(message or "An error occurred during streaming"), request=response.request, body=error)
    return event


def connection_error(error: Exception, response: Any) -> Exception:
    """Return a network error as the SDK's own; any other error unchanged."""
    if type(error).__module__.split(".")[0] not in ("httpx", "httpx2", "httpcore", "httpcore2"):
        return error
    from openai import APIConnectionError, APITimeoutError

    if "Timeout" in type(error).__name__:
        return APITimeoutError(request=response.request)
    return APIConnectionError(message=f"Connection error in the model's stream: {error}", request=response.request)
