"""The way into HTTP clients: while a recording is active, every `httpx` and `httpx2` client asks it about a request.

The hook stands where a client picks the transport for an address. So it covers transports of any kind, clients made
before and after, blocking and not, in any thread; authentication, redirects and events of the client stay real.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import cache, wraps
from typing import Any, Protocol, cast

from agentd.core.tools import JSON
from agentd.llm.cassette import ReplayUnavailable

_LIBRARIES = ("httpx", "httpx2")
_PICK = "_transport_for_url"
_SDK = re.compile(r"OpenAI|Anthropic")
_PATHS = re.compile(
    r"/(?:responses|chat/completions|completions|embeddings|v\d\w*/messages|api/(?:chat|generate|embed))$"
    r"|:(?:stream)?generateContent$|/model/[^/]+/(?:converse|converse-stream|invoke|invoke-with-response-stream)$",
    re.IGNORECASE,
)
_MARKS = {"model", "messages", "contents", "input", "prompt"}


@dataclass(frozen=True, slots=True)
class Played:
    """An answer to be played back; `ended` is the error that cut its stream, `""` when it was complete."""

    status: int
    phrase: str
    headers: list[tuple[str, str]]
    chunks: list[bytes]
    ended: str = ""


class Slot:
    """The place of an answer that is being recorded; `ended` is `None` until its stream has been read to its end."""

    def __init__(self) -> None:
        self.status = 0
        self.phrase = ""
        self.headers: list[tuple[str, str]] = []
        self.body = bytearray()
        self.ended: str | None = None


class Tape(Protocol):
    """What an active recording does with one request: it plays the answer, or gives the place to record it in."""

    def ask(self, method: str, url: str, headers: dict[str, str], body: bytes) -> Played | Slot: ...


def is_model_call(method: str, path: str, headers: Any, read: Callable[[], bytes]) -> bool:
    """Tell whether a request goes to a model: any of an OpenAI or Anthropic SDK, or a POST that looks like it.

    The path alone does not tell: MCP servers and other services have `/messages` and `/responses` too.
    """
    if "x-stainless-lang" in headers and _SDK.search(headers.get("user-agent", "")):
        return True
    if method != "POST" or not _PATHS.search(path):
        return False
    try:
        body: JSON = json.loads(read())
    except ValueError:
        return False
    return isinstance(body, dict) and not _MARKS.isdisjoint(body) and "jsonrpc" not in body


class Hook:
    """Stands in the clients' classes as long as anyone needs it."""

    def __init__(self, tape: Callable[[], Tape | None]) -> None:
        self._tape = tape
        self._lock = threading.Lock()
        self._users = 0
        self._undo: list[tuple[Any, Any, Any]] = []

    def acquire(self) -> None:
        with self._lock:
            if not self._users:
                self._install()
            self._users += 1

    def release(self) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                self._remove()

    def _install(self) -> None:
        try:
            for name in _LIBRARIES:
                if importlib.util.find_spec(name) is not None:
                    library: Any = importlib.import_module(name)
                    self._stand_in(library, library.Client, _Blocking)
                    self._stand_in(library, library.AsyncClient, _Async)
        except BaseException:
            self._remove()
            raise

    def _stand_in(self, library: Any, owner: Any, proxy: Any) -> None:
        theirs = _own_pick(owner)
        if theirs is None:
            raise ReplayUnavailable(f"{library.__name__} {library.__version__} has no {owner.__name__}.{_PICK}")

        @wraps(theirs)
        def pick(client: Any, url: Any) -> Any:
            transport = theirs(client, url)
            tape = self._tape()
            # A hook of an earlier recording may still stand below.
            return transport if tape is None or isinstance(transport, _Proxy) else proxy(transport, tape, library)

        setattr(owner, _PICK, pick)
        self._undo.append((owner, pick, theirs))

    def _remove(self) -> None:
        for owner, ours, theirs in self._undo:
            # Where another tool has hooked in on top, ours stays: without a recording it does nothing.
            if _own_pick(owner) is ours:
                setattr(owner, _PICK, theirs)
        self._undo.clear()


def _own_pick(owner: Any) -> Any:
    return owner.__dict__.get(_PICK)


class _Proxy:
    """Stands for the transport of one request."""

    def __init__(self, real: Any, tape: Tape, library: Any) -> None:
        self._real = real
        self._tape = tape
        self._library = library

    def _ask(self, request: Any, body: bytes) -> Played | Slot:
        headers = {str(name).lower(): str(value) for name, value in request.headers.items()}
        answer = self._tape.ask(request.method, str(request.url), headers, body)
        if isinstance(answer, Slot):
            request.headers["accept-encoding"] = "identity"  # what is recorded can be read
        return answer

    def _play(self, played: Played, streams: tuple[Any, Any]) -> Any:
        stream = streams[0](played.chunks, played.ended, self._library)
        phrase = {"reason_phrase": played.phrase.encode("ascii", "replace")}
        return self._library.Response(played.status, headers=played.headers, stream=stream, extensions=phrase)

    def _record(self, response: Any, slot: Slot, streams: tuple[Any, Any]) -> Any:
        slot.status, slot.phrase = response.status_code, response.reason_phrase
        slot.headers = [(name.lower(), value) for name, value in response.headers.multi_items()]
        response.stream = streams[1](response.stream, slot)
        return response


class _Blocking(_Proxy):
    def handle_request(self, request: Any) -> Any:
        if not is_model_call(request.method, request.url.path, request.headers, request.read):
            return self._real.handle_request(request)
        streams = _blocking_streams(self._library)
        answer = self._ask(request, request.read())
        if isinstance(answer, Played):
            return self._play(answer, streams)
        return self._record(self._real.handle_request(request), answer, streams)


class _Async(_Proxy):
    async def handle_async_request(self, request: Any) -> Any:
        # The bodies of model calls are bytes; one that is made while it is sent is no model call, or an SDK's upload.
        loaded = hasattr(request, "_content")
        if not is_model_call(
            request.method, request.url.path, request.headers, lambda: request.content if loaded else b""
        ):
            return await self._real.handle_async_request(request)
        streams = _async_streams(self._library)
        answer = self._ask(request, await request.aread())
        if isinstance(answer, Played):
            return self._play(answer, streams)
        return self._record(await self._real.handle_async_request(request), answer, streams)


def _failure(library: Any, ended: str) -> Exception | None:
    """Return the error that a recorded stream ended with."""
    name, _, message = ended.partition(": ")
    cls = getattr(library, name, None)
    known = isinstance(cls, type) and issubclass(cls, library.TransportError)
    return cast("Any", cls if known else library.ReadError)(message or ended) if ended else None


class _PlayedChunks:
    def __init__(self, chunks: list[bytes], ended: str, library: Any) -> None:
        self._chunks = chunks
        self._error = _failure(library, ended)

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks
        if self._error is not None:
            raise self._error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        import anyio.lowlevel

        for chunk in self._chunks:
            await anyio.lowlevel.checkpoint()  # as over a network, others get their turn
            yield chunk
        if self._error is not None:
            raise self._error


class _Tee:
    """Hands on what comes, and keeps it."""

    def __init__(self, stream: Any, slot: Slot) -> None:
        self._stream = stream
        self._slot = slot

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._stream:
                self._slot.body += chunk
                yield chunk
        except Exception as error:
            self._slot.ended = f"{type(error).__name__}: {error}"
            raise
        self._slot.ended = ""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                self._slot.body += chunk
                yield chunk
        except Exception as error:
            self._slot.ended = f"{type(error).__name__}: {error}"
            raise
        self._slot.ended = ""

    def close(self) -> None:
        self._stream.close()

    async def aclose(self) -> None:
        await self._stream.aclose()


@cache
def _blocking_streams(library: Any) -> tuple[Any, Any]:
    return _of((_PlayedChunks, _Tee), library.SyncByteStream)


@cache
def _async_streams(library: Any) -> tuple[Any, Any]:
    return _of((_PlayedChunks, _Tee), library.AsyncByteStream)


def _of(classes: tuple[Any, Any], base: Any) -> tuple[Any, Any]:
    """Make classes that a library knows as its own streams."""
    played, tee = (type(f"{cls.__name__}Of{base.__name__}", (cls, base), {}) for cls in classes)
    return played, tee
