"""How a client is patched: each resource keeps its methods, and only where it sends its request the turn loop stands.

`create`, `.parse`, `.stream` and the raw forms of a resource all end in its `_post`. The SDK has checked and encoded
the caller's arguments by then, so a tracing wrapper or a subclass around `create` goes on working: it sees one call.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from agentd.core.tools import JSON
from agentd.llm.capabilities import flavour, takes
from agentd.llm.direct import Moulds, is_plain, receiving
from agentd.llm.litellm import AsyncLiteLlm, SyncLiteLlm
from agentd.llm.openai import AsyncModel, SdkCall, SyncModel
from agentd.llm.routing import Route, aroute, route
from agentd.loop.chat import Chat
from agentd.loop.responses import Responses
from agentd.patch.answers import Answer, async_body, sync_body
from agentd.patch.options import CallOptions, carry, deliver
from agentd.patch.runtime import Prepared, Runtime
from agentd.patch.turns import AsyncTurn, SyncTurn

_METHODS = ("create", "parse", "stream")
_RAW = ("with_raw_response", "with_streaming_response")
MARK = "_agentd_patch"
_MISSING = object()


@dataclass(frozen=True)
class Asked:
    """A request as the SDK was about to send it, with our options taken out."""

    path: str
    cast_to: Any
    body: dict[str, JSON]
    options: dict[str, Any]
    call: CallOptions
    stream: bool
    stream_cls: Any


def attributes(thing: Any) -> dict[str, Any]:
    """Return the attributes that an instance has of its own."""
    return thing.__dict__


class Patch:
    """The changes to one client instance; `undo` takes them all back."""

    def __init__(self, client: Any, runtime: Runtime) -> None:
        self.runtime = runtime
        self._client = client
        self._changed: list[tuple[Any, str, Any]] = []
        is_async = inspect.iscoroutinefunction(client.__class__.post)
        moulds = Moulds(client) if is_plain(client) else None
        if moulds is not None:
            self._set(client, "_send_request", receiving(client._send_request, is_async))
        for resource, path in self._resources():
            post: Any = resource._post
            intercept = _async_post if is_async else _sync_post
            self._set(resource, "_post", intercept(client, runtime, path, post, moulds))
            for name in _METHODS:
                if hasattr(resource, name):
                    self._set(resource, name, _carrying(getattr(resource, name)))
        self._derive("copy")
        self._derive("with_options")
        self._forget_raw()

    def undo(self) -> None:
        """Restore the client as it was."""
        for owner, name, before in reversed(self._changed):
            if before is _MISSING:
                attributes(owner).pop(name, None)
            else:
                attributes(owner)[name] = before
        self._changed.clear()
        self._forget_raw()
        attributes(self._client).pop(MARK, None)

    def _resources(self) -> list[tuple[Any, str]]:
        client = self._client
        found: list[tuple[Any, str]] = [
            (client.responses, "/responses"),
            (client.chat.completions, "/chat/completions"),
        ]
        beta: Any = getattr(client, "beta", None)
        if hasattr(beta, "responses"):
            found.append((beta.responses, "/responses"))
        if hasattr(beta, "chat"):
            found.append((beta.chat.completions, "/chat/completions"))
        return found

    def _set(self, owner: Any, name: str, value: Any) -> None:
        self._changed.append((owner, name, attributes(owner).get(name, _MISSING)))
        setattr(owner, name, value)

    def _derive(self, name: str) -> None:
        original, runtime = getattr(self._client, name), self.runtime

        def derived(*args: Any, **kwargs: Any) -> Any:
            client = original(*args, **kwargs)
            apply(client, runtime)
            return client

        self._set(self._client, name, derived)

    def _forget_raw(self) -> None:
        owners = [self._client, self._client.chat, *(resource for resource, _ in self._resources())]
        for owner in owners:
            for name in _RAW:
                attributes(owner).pop(name, None)


def apply(client: Any, runtime: Runtime) -> None:
    """Patch a client instance, which then shares the runtime until it is unpatched or collected."""
    patch = Patch(client, runtime)
    setattr(client, MARK, patch)
    runtime.hold(client)


def _carrying(method: Any) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **carry(kwargs))

    return functools.update_wrapper(call, method)


def _asked(path: str, arguments: dict[str, Any]) -> Asked:
    from openai._utils._json import openapi_dumps

    call, options = deliver(arguments.get("options") or {})
    body: dict[str, Any] = {**arguments["body"], **(options.get("extra_json") or {})}
    plain: dict[str, JSON] = json.loads(openapi_dumps(body))
    return Asked(
        path,
        arguments["cast_to"],
        plain,
        {name: value for name, value in options.items() if name != "extra_json"},
        call,
        bool(arguments.get("stream")),
        arguments.get("stream_cls"),
    )


def _is_ours(asked_path: str, path: str, arguments: dict[str, Any]) -> bool:
    return asked_path == path and isinstance(arguments.get("body"), dict)


def _for_model(prepared: Prepared, asked: Asked, client: Any, way: Route | None) -> Prepared:
    model = str(asked.body.get("model") or "")
    return prepared.for_model(asked.body, flavour(way, client, model), functools.partial(takes, model))


def _dialect(asked: Asked, prepared: Prepared, way: Route | None) -> Chat | Responses:
    memory, toolkit = prepared.runtime.memory, prepared.toolkit
    if asked.path == "/responses":
        keeps = way is None or way.keeps_responses
        return Responses(asked.body, prepared.guidance, asked.stream, toolkit, memory, keeps)
    return Chat(asked.body, prepared.guidance, asked.stream, toolkit, memory, asks_usage=prepared.asks_usage)


def _sync_post(client: Any, runtime: Runtime, path: str, post: Any, moulds: Moulds | None) -> Callable[..., Any]:
    def send(asked_path: str, **arguments: Any) -> Any:
        if not _is_ours(asked_path, path, arguments):
            return post(asked_path, **arguments)
        asked = _asked(path, arguments)
        way = route(client, asked.body.get("model"))
        prepared = _for_model(runtime.prepare_blocking(asked.call), asked, client, way)
        call = SdkCall(client, post, path, asked.options, asked.stream_cls, runtime.prices, moulds)
        runtime.prices.expect(call.provider)
        model = SyncModel(call) if way is None else SyncLiteLlm(call, way)
        dialect = _dialect(asked, prepared, way)
        engine, run = prepared.engine(dialect, model, asked.stream, None)
        turn = SyncTurn(engine, prepared.calling)
        answer = Answer(client, path, asked.cast_to, asked.options, asked.stream_cls)
        turn.open()
        http = model.response
        if not asked.stream:
            for _ in turn:
                pass
            return answer.whole(dialect.whole(), run, model.response)
        stream = answer.streamed(sync_body(turn, run, dialect.api, http), http)
        if hasattr(stream, "_iterator"):
            stream._iterator = _objects(turn, answer, http)
            stream.agentd = run
        return stream

    return send


def _async_post(client: Any, runtime: Runtime, path: str, post: Any, moulds: Moulds | None) -> Callable[..., Any]:
    async def send(asked_path: str, **arguments: Any) -> Any:
        if not _is_ours(asked_path, path, arguments):
            return await post(asked_path, **arguments)
        asked = _asked(path, arguments)
        way = await aroute(client, asked.body.get("model"))
        prepared = _for_model(await runtime.prepare(asked.call), asked, client, way)
        call = SdkCall(client, post, path, asked.options, asked.stream_cls, runtime.prices, moulds)
        runtime.prices.expect(call.provider)
        model = AsyncModel(call) if way is None else AsyncLiteLlm(call, way)
        dialect = _dialect(asked, prepared, way)
        engine, run = prepared.engine(dialect, model, asked.stream, runtime.caller_loop())
        turn = AsyncTurn(engine, prepared.calling)
        answer = Answer(client, path, asked.cast_to, asked.options, asked.stream_cls)
        await turn.open()
        http = model.response
        if not asked.stream:
            async for _ in turn:
                pass
            whole = answer.whole(dialect.whole(), run, model.response)
            return await whole if inspect.isawaitable(whole) else whole
        stream = await answer.streamed(async_body(turn, run, dialect.api, http), http)
        if hasattr(stream, "_iterator"):
            stream._iterator = _async_objects(turn, answer, http)
            stream.agentd = run
        return stream

    return send


def _objects(turn: SyncTurn, answer: Answer, http: Any) -> Iterator[Any]:
    for item in turn:
        if isinstance(item, dict):
            yield answer.event(item, http)


async def _async_objects(turn: AsyncTurn, answer: Answer, http: Any) -> AsyncIterator[Any]:
    async for item in turn:
        if isinstance(item, dict):
            yield answer.event(item, http)
