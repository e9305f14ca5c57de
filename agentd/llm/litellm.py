"""Model calls through LiteLLM; its key for each provider comes from the environment, save OpenAI's: the client has it.

Frames are what OpenAI's APIs would send. A provider's own Responses API is used where there is one; elsewhere a
Responses call is made of a chat call, since LiteLLM's own bridge ends items out of order, so that a next request asks
for results before their calls, and loses what a provider must be given back of its reasoning.

Parameters that a provider does not take are refused by LiteLLM, except those in `_HINTS`, which change no answer.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Protocol

from agentd.core.errors import AgentdError, OptionError
from agentd.core.events import Usage
from agentd.core.protocols import ModelRequest, Reply
from agentd.llm import litellm_import
from agentd.llm.as_responses import ResponseWriter
from agentd.llm.litellm_account import account, account_headers
from agentd.llm.litellm_chat import ChatFrames, Thoughts
from agentd.llm.litellm_errors import as_sdk_error
from agentd.llm.litellm_http import Http
from agentd.llm.litellm_loop import Wait, blocking, suspending
from agentd.llm.litellm_responses import NativeFrames
from agentd.llm.litellm_stream import Frame, Source, StreamedReply, WholeReply
from agentd.llm.litellm_warnings import ignore_its_warnings
from agentd.llm.openai import SdkCall
from agentd.llm.routing import Route

_OURS_ONLY = ("x-stainless-", "idempotency-key")
_HINTS = (
    "metadata",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "user",
)
_DEFAULTS = {"n": 1, "parallel_tool_calls": True}


class _LiteLlm:
    """A model behind LiteLLM. `response` stands for the last HTTP response and has the provider's headers."""

    def __init__(self, call: SdkCall, route: Route, wait: Wait) -> None:
        self._talk = _Talk(call, route)
        self._prices = call.prices
        self._name = route.name
        self._wait = wait
        self.response: Any = None

    async def send(self, request: ModelRequest) -> Reply:
        opened, self.response = await self._wait(self._talk.open(request))
        return StreamedReply(opened, self._wait) if isinstance(opened, Source) else WholeReply(opened)

    def cost(self, usage: Usage, asked: str, answered: str, tier: str) -> float | None:
        return self._prices.cost(self._name, usage, "", answered, tier)


class SyncLiteLlm(_LiteLlm):
    """A model behind LiteLLM for blocking callers; its coroutines never suspend."""

    def __init__(self, call: SdkCall, route: Route) -> None:
        super().__init__(call, route, blocking)


class AsyncLiteLlm(_LiteLlm):
    """A model behind LiteLLM for callers on an event loop, which it never blocks."""

    def __init__(self, call: SdkCall, route: Route) -> None:
        super().__init__(call, route, suspending)


class Frames(Protocol):
    """What is asked of one of LiteLLM's functions, and its answer as frames; `read` closes the stream at its end."""

    function: str

    def request(self, body: Frame) -> Frame: ...

    def whole(self, answer: Any) -> Frame: ...

    def read(self, answer: Any) -> AsyncGenerator[Frame]: ...


class _Talk:
    """The model calls of one turn. Lives on LiteLLM's loop."""

    def __init__(self, call: SdkCall, route: Route) -> None:
        self._client = call.client
        self._path = call.path
        self._options = call.options
        self._route = route
        self._http = Http(route.provider, call.path)
        self._thoughts = Thoughts()

    async def open(self, request: ModelRequest) -> tuple[Source | Frame, Any]:
        """Send a request, again where the client would, and return its answer or the stream of it that has begun."""
        ignore_its_warnings()
        litellm = litellm_import.loaded() or await asyncio.to_thread(litellm_import.load, self._route.asked)
        allowed = self._max_retries()
        for attempt in range(allowed + 1):
            paying = await account(self._client, self._route.provider)
            try:
                return await self._attempt(litellm, request, paying)
            except AgentdError:
                raise
            except Exception as error:
                told = as_sdk_error(error, self._route, self._client, self._http)
                delay = self._delay(told, allowed, allowed - attempt)
                if delay is None:
                    raise told from error
            await asyncio.sleep(delay)
        raise AssertionError("the last attempt either returns or raises")

    async def _attempt(self, litellm: Any, request: ModelRequest, paying: dict[str, str]) -> tuple[Source | Frame, Any]:
        body: Frame = json.loads(request.body)
        frames = self._frames(request, body)
        asked = frames.request(body)
        if frames.function == "acompletion":
            if request.stream:
                asked["stream_options"] = {"include_usage": True}
            self._drop_hints(litellm, asked)
        elif request.stream:
            self._let_it_stream(litellm)
        how = {"model": self._route.name, "stream": request.stream, **self._how(), **paying}
        started = time.monotonic()
        answer = await getattr(litellm, frames.function)(**{**asked, **how})
        if not request.stream:
            return frames.whole(answer), self._response(answer, started)
        read = frames.read(answer)
        try:
            first = await anext(read)  # some providers are asked no sooner
        except StopAsyncIteration:
            return Source(_joined([], read, self._told)), self._response(answer, started)
        return Source(_joined([first], read, self._told)), self._response(answer, started)

    def _frames(self, request: ModelRequest, body: Frame) -> Frames:
        if request.api == "responses" and self._route.keeps_responses:
            return NativeFrames()
        chat = ChatFrames(self._thoughts, self._route.provider)
        return ResponseWriter(chat, body) if request.api == "responses" else chat

    def _told(self, error: Exception) -> Exception:
        return error if isinstance(error, AgentdError) else as_sdk_error(error, self._route, self._client, self._http)

    def _drop_hints(self, litellm: Any, asked: Frame) -> None:
        known: list[str] = litellm.get_supported_openai_params(self._route.model, self._route.provider) or []
        for name in _HINTS:
            if name not in known:
                asked.pop(name, None)
        for name, default in _DEFAULTS.items():
            if name not in known and asked.get(name) == default:
                del asked[name]

    def _let_it_stream(self, litellm: Any) -> None:
        """Tell LiteLLM that a model it has never heard of streams: else it waits for the whole and cuts that up."""
        if self._route.model not in litellm.model_cost and self._route.name not in litellm.model_cost:
            known = {"litellm_provider": self._route.provider, "mode": "responses", "supports_native_streaming": True}
            litellm.register_model({self._route.name: known})

    def _how(self) -> dict[str, Any]:
        """Return how to ask: the client's time-out and the call's own headers, but no retries of LiteLLM's."""
        options = self._options
        if options.get("params"):
            raise OptionError(f"extra_query means nothing to {self._route.provider}, which is asked through LiteLLM")
        how: dict[str, Any] = {"max_retries": 0, "timeout": self._timeout()}
        own: dict[str, Any] = options.get("headers") or {}
        given = account_headers(self._client, self._route.provider) | own
        headers = {
            name: value
            for name, value in given.items()
            if isinstance(value, str) and not name.lower().startswith(_OURS_ONLY)
        }
        return how | ({"extra_headers": headers} if headers else {})

    def _timeout(self) -> Any:
        given = self._options.get("timeout", self._client.timeout)
        if given is None or isinstance(given, int | float):
            return given
        if not hasattr(given, "read"):  # the SDK's "not given"
            given = self._client.timeout
        if not hasattr(given, "read"):
            return given
        httpx: Any = importlib.import_module("httpx")  # LiteLLM's library, which need not be the SDK's
        return httpx.Timeout(connect=given.connect, read=given.read, write=given.write, pool=given.pool)

    def _max_retries(self) -> int:
        given = self._options.get("max_retries")
        return given if isinstance(given, int) else self._client.max_retries

    def _delay(self, error: Exception, allowed: int, left: int) -> float | None:
        """Return how long to wait before the next attempt, as the SDK would, or `None` for there being none."""
        import openai
        from openai._models import FinalRequestOptions

        response: Any = None
        if isinstance(error, openai.APIStatusError):
            response = error.response
            if not self._client._should_retry(response):
                return None
        elif not isinstance(error, openai.APIConnectionError):
            return None
        if left <= 0:
            return None
        options = FinalRequestOptions.construct(method="post", url=self._path, max_retries=allowed)
        return self._client._calculate_retry_timeout(left, options, response.headers if response is not None else None)

    def _response(self, answer: Any, started: float) -> Any:
        hidden: Any = getattr(answer, "_hidden_params", None) or {}
        headers: Any = hidden.get("additional_headers") or hidden.get("headers") or {}
        return self._http.response(200, headers, seconds=time.monotonic() - started)


async def _joined(first: list[Frame], rest: AsyncGenerator[Frame], told: Any) -> AsyncGenerator[Frame]:
    """Give the frames that were read already and the rest; an error among them becomes the SDK's own."""
    async with aclosing(rest):
        try:
            for frame in first:
                yield frame
            async for frame in rest:
                yield frame
        except Exception as error:
            raised = told(error)
            if raised is error:
                raise
            raise raised from error
