"""What a patched call returns: the SDK's own objects, made by the SDK's own code from the turn's one answer."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

from agentd.llm.openai import RAW_RESPONSE_HEADER
from agentd.loop.folding import CALL, CONTAINER
from agentd.loop.transcript import dumps
from agentd.loop.wire import Frame
from agentd.patch.turns import AsyncTurn, Run, SyncTurn, encode_frames

_NO_TIME = timedelta()
_OF_THE_BODY = ("content-length", "content-encoding", "transfer-encoding")


class Answer:
    """The call on the SDK that is being answered."""

    def __init__(self, client: Any, path: str, cast_to: Any, options: dict[str, Any], stream_cls: Any) -> None:
        self._client = client
        self._path = path
        self._cast_to = cast_to
        self._options = options
        self._stream_cls = stream_cls

    @property
    def _headers(self) -> dict[str, Any]:
        return self._options.get("headers") or {}

    def whole(self, frame: Frame, run: Run, http: Any) -> Any:
        """Answer a call that is not streamed, with a response object or, if asked for, a raw response.

        On an asynchronous client a raw response is a coroutine.
        """
        parser = self._options.get("post_parser")
        if any(name.lower().startswith("x-stainless-") for name in self._headers):
            options: dict[str, Any] = {**self._options, "post_parser": partial(self._finished, run=run, parser=parser)}
            return self._process(self._http(http, content=dumps(frame)), options, stream=False)
        from openai._models import add_request_id

        parsed = self._client._process_response_data(data=frame, cast_to=self._cast_to, response=http)
        add_request_id(parsed, http.headers.get("x-request-id"))
        return self._finished(parsed, run=run, parser=parser)

    def streamed(self, body: Any, http: Any) -> Any:
        """Answer a streamed call with a stream of the SDK over `body`; a coroutine on an asynchronous client."""
        return self._process(self._http(http, stream=body), self._options, stream=True)

    def event(self, frame: Frame, http: Any) -> Any:
        """Return a frame as the SDK's object for it."""
        from openai._streaming import extract_stream_chunk_type

        chunk = extract_stream_chunk_type(self._stream_cls)
        return self._client._process_response_data(data=frame, cast_to=chunk, response=http)

    def _finished(self, parsed: Any, *, run: Run, parser: Any) -> Any:
        if callable(parser):
            parsed = _parse_last_message(parsed, parser)
        object.__setattr__(parsed, "agentd", run)
        return parsed

    def _process(self, http: Any, options: dict[str, Any], stream: bool) -> Any:
        from openai._models import FinalRequestOptions

        final = FinalRequestOptions.construct(method="post", url=self._path, **options)
        return self._client._process_response(
            cast_to=self._cast_to, options=final, response=http, stream=stream, stream_cls=self._stream_cls
        )

    def _http(self, last: Any, **body: Any) -> Any:
        """Return an HTTP response like the last one of the turn, with the turn's answer as its body."""
        headers = [pair for pair in last.headers.multi_items() if pair[0].lower() not in _OF_THE_BODY]
        request = type(last.request)(last.request.method, last.request.url, headers=last.request.headers)
        raw = self._headers.get(RAW_RESPONSE_HEADER)
        if raw:
            request.headers[RAW_RESPONSE_HEADER] = raw
        http = type(last)(last.status_code, headers=headers, request=request, **body)
        # One that was never read from a network does not know.
        http.elapsed = getattr(last, "_elapsed", _NO_TIME)
        return http


def _parse_last_message(response: Any, parser: Callable[[Any], Any]) -> Any:
    """Parse a structured answer: in a turn with actions it is the last message, not what was said on the way."""
    output: list[Any] | None = getattr(response, "output", None)
    if output is None:
        return parser(response)
    ours = [index for index, item in enumerate(output) if _is_ours(item)]
    split = ours[-1] + 1 if ours else 0
    before = {index: item for index, item in enumerate(output[:split]) if item.type == "message"}
    response.output = [item for index, item in enumerate(output) if index not in before]
    parsed = parser(response)
    for index, item in before.items():
        for content in item.content:
            content.parsed = None
        parsed.output.insert(index, item)
    return parsed


def _is_ours(item: Any) -> bool:
    return getattr(item, "container_id", "") == CONTAINER or (item.type == "mcp_call" and item.id.startswith(CALL))


def stream_bodies(http: Any) -> tuple[Any, Any]:
    """Return the base classes for response bodies of the HTTP library that `http` belongs to."""
    library = sys.modules[type(http).__module__.split(".")[0]]
    return library.SyncByteStream, library.AsyncByteStream


def sync_body(turn: SyncTurn, run: Run, api: str, http: Any) -> Any:
    """Return a response body that drives the turn; `.turn` and `.run` lead back to it."""

    class TurnBody(stream_bodies(http)[0]):
        def __iter__(self) -> Iterator[bytes]:
            for item in turn:
                if isinstance(item, dict):
                    yield encode_frames(api, [item])
            yield b"data: [DONE]\n\n" if api == "chat" else b""

        def close(self) -> None:
            turn.close()

    body: Any = TurnBody()
    body.turn, body.run = turn, run
    return body


def async_body(turn: AsyncTurn, run: Run, api: str, http: Any) -> Any:
    """Return a response body that drives the turn; `.turn` and `.run` lead back to it."""

    class TurnBody(stream_bodies(http)[1]):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for item in turn:
                if isinstance(item, dict):
                    yield encode_frames(api, [item])
            yield b"data: [DONE]\n\n" if api == "chat" else b""

        async def aclose(self) -> None:
            await turn.aclose()

    body: Any = TurnBody()
    body.turn, body.run = turn, run
    return body
