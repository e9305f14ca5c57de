"""Answers what a server asks, through the user's handlers."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import mcp_types as types
from mcp import MCPError
from mcp.client.session import ClientRequestContext

from agentd.core.tools import JSON, Schema
from agentd.mcp.forms import completed, misfit
from agentd.mcp.handlers import ElicitationRequest, LogMessage, MCPHandlers, SamplingAnswer, answer_of
from agentd.mcp.limits import Clock
from agentd.mcp.reading import sampled, sampling_of

MAX_QUESTIONS = 100
MAX_WAITING_LOGS = 1000

_REFUSED = -1
_LAST_WORDS_TIME = 0.2
_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "notice": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "alert": logging.CRITICAL,
    "emergency": logging.CRITICAL,
}
_log = logging.getLogger("agentd.mcp")
_server_log = logging.getLogger("agentd.mcp.server")


class Callbacks:
    """What the SDK's client is given to answer the server `server`.

    While a question is answered the limits of `clock` stand still. A server may ask `MAX_QUESTIONS` times without a new
    request from us, and no more.
    """

    def __init__(self, server: str, handlers: MCPHandlers, clock: Clock) -> None:
        self.server = server
        self.clock = clock
        self.roots = tuple(handlers.roots)
        self.level: types.LoggingLevel | None = "info" if handlers.on_log else None
        self._handlers = handlers
        self._questions = 0
        self._lines: deque[LogMessage] = deque(maxlen=MAX_WAITING_LOGS)
        self._telling: asyncio.Task[None] | None = None

    def options(self) -> dict[str, Any]:
        """Return options of `mcp.Client`; only what the user can answer is declared to the server."""
        options: dict[str, Any] = {"logging_callback": self._logged, "log_level": self.level}
        if self._handlers.on_elicitation is not None:
            options["elicitation_callback"] = self._elicit
        if self._handlers.on_sampling is not None:
            options["sampling_callback"] = self._sample
            options["sampling_capabilities"] = types.SamplingCapability(tools=types.SamplingToolsCapability())
        if self.roots:
            options["list_roots_callback"] = self._list_roots
        return options

    def new_request(self) -> None:
        """Allow the server its questions: a request of ours has begun."""
        self._questions = 0

    async def _list_roots(self, context: ClientRequestContext) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[_root(each) for each in self.roots])

    async def _elicit(
        self, context: ClientRequestContext | None, params: types.ElicitRequestParams
    ) -> types.ElicitResult | types.ErrorData:
        request = _elicitation(self.server, params)
        assert self._handlers.on_elicitation is not None
        if not self._may_ask():
            return _too_many()
        try:
            with self.clock.stopped():
                answer = await answer_of(self._handlers.on_elicitation, request)
            return self._judged(request, answer)
        except Exception:  # noqa: BLE001  the rim of a callback
            _log.exception(
                "on_elicitation failed for a question of %s, which is told that it was cancelled", self.server
            )
            return types.ElicitResult(action="cancel")
        except asyncio.CancelledError:
            if _is_ended():
                raise
            return types.ElicitResult(action="cancel")

    def _judged(self, request: ElicitationRequest, answer: object) -> types.ElicitResult:
        if answer is None:
            return types.ElicitResult(action="decline")
        if request.mode == "url":
            return types.ElicitResult(action="accept")
        schema = request.schema or {}
        if not isinstance(answer, Mapping):
            raise TypeError(f"on_elicitation returned {answer!r:.200}; it returns a dict or None")
        fields = completed(dict(cast(Mapping[str, JSON], answer)), schema)
        reason = misfit(fields, schema)
        if reason:
            _log.warning("an answer to %s is declined, since it does not fit the form: %s", self.server, reason)
            return types.ElicitResult(action="decline")
        return types.ElicitResult(action="accept", content=cast(Any, fields))

    async def visited(self, error: Exception) -> bool:
        """Tell whether the user has gone to all URLs that the server wants visited before it answers a request."""
        wanted = urls_wanted(error)
        if self._handlers.on_elicitation is None:
            return False
        for params in wanted:
            answer = await self._elicit(None, params)
            if not isinstance(answer, types.ElicitResult) or answer.action != "accept":
                return False
        return bool(wanted)

    async def _sample(
        self, context: ClientRequestContext, params: types.CreateMessageRequestParams
    ) -> types.CreateMessageResult | types.CreateMessageResultWithTools | types.ErrorData:
        assert self._handlers.on_sampling is not None
        if not self._may_ask():
            return _too_many()
        try:
            with self.clock.stopped():
                answer = await answer_of(self._handlers.on_sampling, sampling_of(self.server, params))
            if answer is None:
                return types.ErrorData(code=_REFUSED, message="the user does not want a model asked")
            if not isinstance(answer, SamplingAnswer):
                raise TypeError(f"on_sampling returned {answer!r:.200}; it returns a SamplingAnswer or None")
            return sampled(answer)
        except Exception:  # noqa: BLE001  the rim of a callback
            # The reason may hold what is none of the server's business; the log has it.
            _log.exception("on_sampling failed for a request of %s", self.server)
            return types.ErrorData(code=types.INTERNAL_ERROR, message="the model could not be asked")

    def _may_ask(self) -> bool:
        self._questions += 1
        if self._questions == MAX_QUESTIONS + 1:
            _log.warning("%s asks without end; from now on it is refused", self.server)
        return self._questions <= MAX_QUESTIONS

    async def _logged(self, params: types.LoggingMessageNotificationParams) -> None:
        line = LogMessage(self.server, params.level, cast(JSON, params.data), params.logger or "")
        who = f"{self.server}/{line.logger}" if line.logger else self.server
        _server_log.log(_LEVELS[line.level], "%s: %s", who, _brief(line.data), extra={"mcp_server": self.server})
        if self._handlers.on_log is None:
            return
        if not inspect.iscoroutinefunction(self._handlers.on_log):
            await self._tell(line)
            return
        # One task tells them in order; of a flood the oldest are lost and memory stays bounded.
        self._lines.append(line)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell_all(), name=f"log of {self.server}")

    async def _tell_all(self) -> None:
        while self._lines:
            await self._tell(self._lines.popleft())

    async def _tell(self, line: LogMessage) -> None:
        assert self._handlers.on_log is not None
        try:
            told = self._handlers.on_log(line)
            if isinstance(told, Awaitable):
                await cast(Awaitable[object], told)
        except Exception:  # noqa: BLE001  the rim of a callback
            _log.exception("on_log failed")

    async def close(self) -> None:
        """Tell what is left of the log, as far as that is quickly done."""
        if self._telling is None or self._telling.done():
            return
        await asyncio.wait((self._telling,), timeout=_LAST_WORDS_TIME)
        self._telling.cancel()
        await asyncio.gather(self._telling, return_exceptions=True)


def uri_of(root: str | Path) -> str:
    """Return the `file://` URI of a path; one that is a URI already stays as it is."""
    return root if isinstance(root, str) and root.startswith("file://") else Path(root).absolute().as_uri()


def client_info() -> types.Implementation:
    """Tell servers who asks."""
    try:
        return types.Implementation(name="agentd", version=version("agentd"))
    except PackageNotFoundError:
        return types.Implementation(name="agentd", version="0")


def urls_wanted(error: Exception) -> list[types.ElicitRequestURLParams]:
    """Return the URLs that must be visited before a request is answered: the error says so."""
    if not isinstance(error, MCPError) or error.code != types.URL_ELICITATION_REQUIRED:
        return []
    try:
        return types.ElicitationRequiredErrorData.model_validate(error.error.data).elicitations
    except ValueError:
        return []


def _root(root: str | Path) -> types.Root:
    name = Path(root).name if not str(root).startswith("file://") else None
    return types.Root(uri=cast(Any, uri_of(root)), name=name or None)


def _elicitation(server: str, params: types.ElicitRequestParams) -> ElicitationRequest:
    if isinstance(params, types.ElicitRequestURLParams):
        return ElicitationRequest(server, params.message, "url", url=params.url, id=params.elicitation_id or "")
    return ElicitationRequest(server, params.message, schema=cast(Schema, params.requested_schema))


def _too_many() -> types.ErrorData:
    return types.ErrorData(code=types.INVALID_REQUEST, message=f"more than {MAX_QUESTIONS} questions for one request")


def _is_ended() -> bool:
    """Tell a task that is being cancelled from a handler that raised `CancelledError` itself."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _brief(data: JSON) -> str:
    text = data if isinstance(data, str) else repr(data)
    return text if len(text) <= 2000 else text[:2000] + "…"
