"""Record the model traffic of a piece of code once, and play it back offline from then on.

    with agentd.replay("cassette.yaml"):
        client.responses.create(model="gpt-5-mini", input="Hello")

Recorded is what OpenAI and Anthropic SDKs send, and every other POST that is a call of a model, through any `httpx` or
`httpx2` client in any thread. All else, such as MCP over HTTP, passes through untouched, recording or not.
"""

from __future__ import annotations

import codecs
import functools
import inspect
import json
import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

from agentd.core.errors import AgentdError, OptionError
from agentd.core.tools import JSON
from agentd.llm import cassette, redact
from agentd.llm.cassette import CassetteError, ReplayUnavailable, as_json
from agentd.llm.matching import Asked, Masks, difference
from agentd.llm.replay_http import Hook, Played, Slot
from agentd.llm.sse_text import Block, join, split

__all__ = ["CassetteError", "NotOnCassette", "Replay", "ReplayUnavailable", "replay"]

log = logging.getLogger(__name__)
Mode = Literal["once", "record", "replay"]
F = TypeVar("F", bound=Callable[..., Any])
_MODES = ("once", "record", "replay")
_CUT = "ReadError: the recording stops here: whoever recorded it read no further"
_LAST = re.compile(
    r'"type":\s*"(?:response\.(?:completed|failed|incomplete)|message_stop)"|^data: ?\[DONE\]', re.MULTILINE
)


class NotOnCassette(AgentdError):
    """A request is not on the cassette."""


def replay(
    path: str | Path,
    *,
    mode: Mode = "once",
    ignore: Sequence[str | re.Pattern[str]] = (),
    secrets: Sequence[str] = (),
) -> Replay:
    """Return a context, for `with` and `async with`, and a decorator of functions, sync and async.

    `mode="once"` records when the file does not exist and plays it back when it does; `"record"` records anew;
    `"replay"` only plays back. Playing back never uses the network: a request that is not on the cassette is answered
    with an error that the client does not retry, and the block ends with `NotOnCassette`, which says what differs.

    Requests match by method, path and JSON body; equal ones get their answers in the order of the recording. Ids made
    here, durations, moments in time and random parts of temporary paths do not count; `ignore` adds regular
    expressions. A recording is written when the block ends without an error, else nothing is. Credentials are left
    out of it, and their values and those of `secrets` hidden in its bodies.
    """
    if mode not in _MODES:
        raise OptionError(f"mode is one of {', '.join(_MODES)}, not {mode!r}")
    return Replay(Path(path), mode, Masks(ignore), tuple(secrets))


class Replay:
    """A cassette and how it is used. Each `with`, and each call of a decorated function, starts it from the beginning.

    `recording` tells within the block whether the network is used.
    """

    def __init__(self, path: Path, mode: Mode, masks: Masks, secrets: tuple[str, ...]) -> None:
        self.path = path
        self.mode: Mode = mode
        self._masks = masks
        self._secrets = secrets
        self._session: _Session | None = None

    @property
    def recording(self) -> bool:
        return self._session is not None and self._session.recording

    def __enter__(self) -> Replay:
        if self._session is not None:
            raise OptionError(f"{self.path} is open already; nest another agentd.replay(...)")
        self._session = _Session(self.path, self.mode, self._masks, self._secrets)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session, self._session = self._session, None
        assert session is not None
        session.close(error)

    async def __aenter__(self) -> Replay:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: F) -> F:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function) or inspect.isclass(function):
            raise OptionError(f"{function!r} is no plain function: use agentd.replay in a with statement")

        def fresh() -> Replay:
            return Replay(self.path, self.mode, self._masks, self._secrets)

        async def arun(*args: Any, **kwargs: Any) -> Any:
            async with fresh():
                return await function(*args, **kwargs)

        def run(*args: Any, **kwargs: Any) -> Any:
            with fresh():
                return function(*args, **kwargs)

        wrapped: Any = functools.wraps(function)(arun if inspect.iscoroutinefunction(function) else run)
        return wrapped


class _Session:
    """One use of a cassette: the tape of the requests that are made while it is active."""

    def __init__(self, path: Path, mode: Mode, masks: Masks, secrets: tuple[str, ...]) -> None:
        self._path = path
        self._masks = masks
        self._more = secrets
        self._lock = threading.Lock()
        self._slots: list[tuple[Any, redact.Secrets, Slot]] = []
        self._missing: list[str] = []
        self.recording = mode == "record" or (mode == "once" and not path.exists())
        if self.recording:
            cassette.check_writable(path)
        elif not path.exists():
            raise CassetteError(f"{path} does not exist; record it with mode='once'")
        self._context: AbstractContextManager[Any] = cassette.opened(path, self._matches, self.recording)
        self._cassette = self._context.__enter__()
        _HOOK.acquire()
        _active.append(self)
        self._token = _here.set(self)

    def close(self, error: BaseException | None) -> None:
        """Stop; keep the recording if there was no error; tell of requests that were not on the cassette."""
        _active.remove(self)
        try:
            _here.reset(self._token)
        except ValueError:  # left in another context than entered: a fixture, say
            log.debug("%s is closed in another context", self._path)
        _HOOK.release()
        if error is None:
            self._append()
        self._context.__exit__(type(error) if error else None, error, None)
        if self._missing and (error is None or isinstance(error, Exception)):
            more = f" (and {len(self._missing) - 1} more)" if len(self._missing) > 1 else ""
            raise NotOnCassette(f"{self._missing[0]}{more}") from error

    def ask(self, method: str, url: str, headers: dict[str, str], body: bytes) -> Played | Slot:
        """Play the recorded answer, or give the place for a new one. May be called in any thread."""
        request, secrets = self._request(method, url, headers, body)
        with self._lock:
            if self.recording:
                slot = Slot()
                self._slots.append((request, secrets, slot))
                return slot
            if self._cassette.can_play_response_for(request):
                return _played(self._cassette.play_response(request))
            recorded = [self._asked(each) for each in self._cassette.requests]
            missing = f"{method} {request.path} in {self._path}: {difference(self._asked(request), recorded)}"
            self._missing.append(missing)
        log.warning("not on the cassette: %s", missing)
        return _refusal(missing)

    def _request(self, method: str, url: str, headers: dict[str, str], body: bytes) -> tuple[Any, redact.Secrets]:
        """Return the request as it may be stored."""
        text = _text(body)
        value = as_json(text) if isinstance(text, str) else None
        secrets = redact.Secrets.of(headers, url, value, self._more)
        if value is not None:
            whole: list[JSON] = [value]
            redact.clean_fields(value)
            secrets.clean(whole)
            body = json.dumps(value, ensure_ascii=False).encode()
        else:
            body = secrets.text(text).encode() if isinstance(text, str) else body
        kept = {name: headers[name] for name in redact.KEPT_OF_REQUESTS if name in headers}
        return cassette.vcr_part("request").Request(method, secrets.text(redact.clean_url(url)), body, kept), secrets

    def _asked(self, request: Any) -> Asked:
        """Return what is compared of a request; it is worked out once."""
        known: Asked | None = getattr(request, "agentd_asked", None)
        if known is None:
            body = request.body or b""
            known = request.agentd_asked = self._masks.asked(request.method, request.uri, body)
        return known

    def _matches(self, now: Any, recorded: Any) -> bool:
        return self._asked(now).matches(self._asked(recorded))

    def _append(self) -> None:
        with self._lock:
            for request, secrets, slot in self._slots:
                if slot.status:
                    self._cassette.append(request, _stored(slot, secrets))
                else:
                    log.info("a request without an answer is not recorded: %s", request)


def _text(body: bytes) -> str | bytes:
    """Return a body as text, where it is; a character that was cut at its end is left out."""
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(body)
    except UnicodeDecodeError:
        return body


def _stored(slot: Slot, secrets: redact.Secrets) -> dict[str, Any]:
    """Return an answer in vcrpy's form, without secrets."""
    headers: dict[str, list[str]] = {}
    for name, value in slot.headers:
        if name in (*redact.KEPT_OF_RESPONSES, "content-encoding"):
            headers.setdefault(name, []).append(secrets.text(value))
    response: dict[str, Any] = {
        "status": {"code": slot.status, "message": slot.phrase},
        "headers": headers,
        "body": {"string": bytes(slot.body)},
    }
    response = cassette.vcr_part("filters").decode_response(response)
    response["headers"].pop("content-length", None)
    text = _text(response["body"]["string"])
    if isinstance(text, str):
        is_stream = "text/event-stream" in "".join(headers.get("content-type", ()))
        response["body"]["string"] = _clean(text, is_stream, secrets).encode()
        if slot.ended is None and is_stream and not _LAST.search(text):
            response["ended"] = _CUT
    if slot.ended:
        response["ended"] = secrets.text(slot.ended)
    return response


def _clean(text: str, is_stream: bool, secrets: redact.Secrets) -> str:
    if not is_stream:
        value = as_json(text)
        if value is None:
            return secrets.text(text)
        return _rewritten([value], secrets)[0]
    blocks = list(split(text))
    values = [as_json(block.data) if block.raw is None else None for block in blocks]
    cleaned = iter(_rewritten([value for value in values if value is not None], secrets))
    new = [
        _hidden(block, secrets) if value is None else Block(block.event, next(cleaned))
        for block, value in zip(blocks, values, strict=True)
    ]
    return join(new)


def _hidden(block: Block, secrets: redact.Secrets) -> Block:
    raw = None if block.raw is None else secrets.text(block.raw)
    return Block(block.event, secrets.text(block.data), raw)


def _rewritten(values: Sequence[JSON], secrets: redact.Secrets) -> list[str]:
    for value in values:
        redact.clean_fields(value)
    secrets.clean(values)
    return [json.dumps(value, ensure_ascii=False, separators=(",", ":")) for value in values]


def _played(response: Mapping[str, Any]) -> Played:
    headers = [(name, value) for name, values in response["headers"].items() for value in values]
    body: bytes = response["body"]["string"] or b""
    if any(name == "retry-after" for name, _ in headers):
        # The SDKs try again as they did when it was recorded, without the waiting.
        headers = [*((name, value) for name, value in headers if name != "retry-after-ms"), ("retry-after-ms", "1")]
    status = response["status"]
    is_stream = any(name == "content-type" and "text/event-stream" in value for name, value in headers)
    chunks = [part + b"\n\n" for part in body.split(b"\n\n")] if is_stream else [body]
    if is_stream:
        chunks[-1] = chunks[-1].removesuffix(b"\n\n")
    ended = str(response.get("ended") or "")
    return Played(
        int(status["code"]), str(status.get("message") or ""), headers, [part for part in chunks if part], ended
    )


def _refusal(message: str) -> Played:
    """Return an answer that every SDK raises at once, with what is wrong."""
    error = {"type": "not_on_cassette", "code": "not_on_cassette", "param": None}
    body = json.dumps({"error": {"message": f"A request is not on the cassette: {message}", **error}}).encode()
    headers = [("content-type", "application/json"), ("x-should-retry", "false")]
    return Played(400, "Bad Request", headers, [body])


_active: list[_Session] = []
_here: ContextVar[_Session | None] = ContextVar("agentd_replay", default=None)


def _tape() -> _Session | None:
    """Return the recording that the current code was started in, else the one that was entered last."""
    session = _here.get()
    if session in _active:
        return session
    return _active[-1] if _active else None


_HOOK = Hook(_tape)
