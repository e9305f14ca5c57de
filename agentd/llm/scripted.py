"""The scripted model: an API server on the loopback that says what a script tells it to, and says that it does.

It speaks the Responses and the Chat Completions dialects, streamed and not, to any client of the OpenAI API; it refuses
what the API would refuse. Every answer carries the header `x-agentd-scripted` and a model name that ends in `scripted`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

from agentd.core.ids import new_id
from agentd.llm import scripted_chat, scripted_input
from agentd.llm.scripted_chat import ChatAnswer
from agentd.llm.scripted_check import ApiError, check_headers, is_list, parse_body, tokens_in
from agentd.llm.scripted_feed import Feed, send_whole
from agentd.llm.scripted_http import Connection, CutOff, Disconnected, EventStream, Incoming, Listener, NotHttp, head
from agentd.llm.scripted_input import Memory
from agentd.llm.scripted_responses import ResponsesAnswer
from agentd.llm.scripted_script import (
    NoRuleMatches,
    Reply,
    Request,
    Rule,
    Script,
    Scripted,
    ScriptExhausted,
    ToolCall,
    Turn,
    plain,
    read_script,
)

__all__ = ["Reply", "Request", "Rule", "ScriptExhausted", "ScriptedModel", "ToolCall", "Turn", "read_script"]

log = logging.getLogger(__name__)
HEADER = "x-agentd-scripted"
_PATH = re.compile(
    r"(?:/openai)?(?:/v1)?(?:/deployments/(?P<deployment>[^/]+))?"
    r"/(?P<api>responses|chat/completions|embeddings|models)(?:/(?P<id>[^/]+))?"
)
_EMPTY = Reply()


@dataclass(frozen=True, slots=True)
class _Route:
    api: str
    id: str
    deployment: str


class ScriptedModel:
    """A running server, to be closed: `OpenAI(base_url=server.base_url, api_key="scripted")` talks to the script.

    `script` is a list of turns (text, `Reply`, or a function from `Request` to either), each of which answers one
    request; or a list of `Rule`s; or one turn for all requests. Requests that are refused use up no turn. `requests`
    holds every request that came, `connections` counts accepted connections, `disconnects` the answers that a client
    did not wait for, `errors` holds what the script's own functions raised.
    """

    def __init__(
        self,
        script: Scripted,
        *,
        repeat_last: bool = False,
        port: int = 0,
        record: bool = True,
        ids: Callable[[str], str] = new_id,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._script = Script(script, repeat_last)
        self._record = record
        self._ids = ids
        self._clock = clock
        self._memory = Memory()
        self._left = threading.Condition()
        self.requests: list[Request] = []
        self.errors: list[Exception] = []
        self.disconnects = 0
        self._listener = Listener(self._serve, port)
        self.url = f"http://127.0.0.1:{self._listener.port}"
        self.base_url = f"{self.url}/v1"

    @property
    def connections(self) -> int:
        return self._listener.accepted

    def wait_for_disconnects(self, count: int, timeout: float = 10.0) -> bool:
        """Wait until `count` answers were left early; `False` when that takes longer than `timeout` seconds."""
        with self._left:
            return self._left.wait_for(lambda: self.disconnects >= count, timeout)

    def close(self) -> None:
        """Close every connection and end every thread."""
        self._listener.close()

    def __enter__(self) -> ScriptedModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serve(self, connection: Connection) -> None:
        """Answer one client's requests, one after the other."""
        try:
            while (incoming := connection.receive()) is not None:
                self._answer(connection, incoming)
                if incoming.headers.get("connection", "").lower() == "close":
                    return
        except Disconnected:
            with self._left:
                self.disconnects += 1
                self._left.notify_all()
        except CutOff:
            pass
        except NotHttp as error:
            log.warning("%s", error)
            with contextlib.suppress(Disconnected):
                connection.send(head(400, {"Content-Length": "0", "Connection": "close", HEADER: "1"}))

    def _answer(self, connection: Connection, incoming: Incoming) -> None:
        route = _route(incoming.target)
        api = {"responses": "responses", "chat/completions": "chat"}.get(route.api, "") if route else ""
        request = Request(incoming.method, incoming.target, incoming.headers, incoming.body, api)
        if self._record:
            self.requests.append(request)
        try:
            if route is None:
                raise ApiError(f"Invalid URL ({request.method} {request.path})", status=404)
            check_headers(request.headers, bool(request.raw))
            if incoming.method == "POST" and api and not route.id:
                self._generate(connection, request, route)
            else:
                self._send(connection, 200, json.dumps(self._lookup(request, route)).encode())
        except ApiError as error:
            self._send(connection, error.status, error.body())
        except (ScriptExhausted, NoRuleMatches) as error:
            self._fail(connection, error, "script_exhausted")
        except (Disconnected, CutOff):
            raise
        except Exception as error:  # the script's own functions may raise anything: the client and the test see it
            log.exception("the script raised")
            self.errors.append(error)
            self._fail(connection, error, "script_error")

    def _generate(self, connection: Connection, request: Request, route: _Route) -> None:
        body = parse_body(request.raw)
        if request.api == "responses":
            tokens = scripted_input.check_request(body, self._memory)
        else:
            tokens = scripted_chat.check_request(body, route.deployment)
        reply = self._script.reply_to(request)
        failed_whole = reply.finish_reason == "failed" and request.api == "chat" and not body.get("stream")
        if reply.status >= 400 or failed_whole:
            self._refuse(connection, reply)
            return
        model = _scripted_name(route.deployment or body["model"])
        now = int(self._clock())
        kind = ResponsesAnswer if request.api == "responses" else ChatAnswer
        answer = kind(reply, body, model, tokens, now, self._ids)
        if body.get("stream") and reply.raw_body is None and reply.malformed != "html":
            self._stream(connection, reply, answer)
        else:
            for gate in reply.gates:
                connection.hold(gate)
            self._remember(answer)
            send_whole(connection, reply, answer.whole(), self._headers(reply), reply.status)

    def _stream(self, connection: Connection, reply: Reply, answer: ResponsesAnswer | ChatAnswer) -> None:
        kind = {"Content-Type": "text/event-stream; charset=utf-8", "Transfer-Encoding": "chunked"}
        stream = EventStream(connection, head(reply.status, kind | self._headers(reply)))
        feed = Feed(reply, stream)
        answer.stream(feed)
        if feed.end():
            self._remember(answer)
            answer.end(feed)
        stream.finish()

    def _remember(self, answer: ResponsesAnswer | ChatAnswer) -> None:
        """Store a response before the client can know that it is complete, and never one that was cut."""
        if isinstance(answer, ResponsesAnswer) and answer.response["store"]:
            self._memory.keep(answer.response)

    def _refuse(self, connection: Connection, reply: Reply) -> None:
        status = max(reply.status, 400) if reply.status != 200 else 500
        kinds = {401: "authentication_error", 429: "rate_limit_error"}
        kind = kinds.get(status, "invalid_request_error" if status < 500 else "server_error")
        code = "rate_limit_exceeded" if status == 429 else None
        error = ApiError(plain(reply.text) or f"The script says {status}.", code=code, status=status, kind=kind)
        send_whole(connection, reply, error.body(), self._headers(reply), status)

    def _fail(self, connection: Connection, error: Exception, code: str) -> None:
        told = ApiError(f"{type(error).__name__}: {error}", code=code, kind="server_error")
        self._send(connection, 500, told.body(), {"x-should-retry": "false"})

    def _send(self, connection: Connection, status: int, body: bytes, more: dict[str, str] | None = None) -> None:
        send_whole(connection, _EMPTY, body, self._headers(_EMPTY) | (more or {}), status)

    def _headers(self, reply: Reply) -> dict[str, str]:
        return {"Server": "agentd-scripted", HEADER: "1", "x-request-id": self._ids("req"), **reply.headers}

    def _lookup(self, request: Request, route: _Route) -> dict[str, Any]:
        """Answer what needs no script."""
        if route.api == "embeddings" and request.method == "POST":
            return _embeddings(parse_body(request.raw))
        if route.api == "models" and request.method == "GET":
            name = _scripted_name(route.id or "scripted")
            model = {"id": name, "object": "model", "created": 0, "owned_by": "agentd"}
            return model if route.id else {"object": "list", "data": [model]}
        if route.api == "responses" and route.id:
            found = self._memory.response(route.id)
            if found is None:
                raise ApiError(f"Response with id '{route.id}' not found.", status=404)
            if request.method == "DELETE":
                del self._memory.responses[route.id]
                return {"id": route.id, "object": "response.deleted", "deleted": True}
            if request.method == "GET":
                return found.response
        raise ApiError(f"Not allowed to {request.method} on {request.path}", status=405)


@lru_cache(maxsize=256)
def _route(target: str) -> _Route | None:
    path, _, query = target.partition("?")
    match = _PATH.fullmatch(path)
    if match is None or (match["deployment"] and "api-version=" not in query):
        return None
    return _Route(match["api"], match["id"] or "", match["deployment"] or "")


def _scripted_name(model: str) -> str:
    return model if model.endswith("scripted") else f"{model}-scripted"


def _embeddings(body: dict[str, Any]) -> dict[str, Any]:
    """Return one vector of the length's digits a text: real in form only."""
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not is_list(texts) or not isinstance(body.get("model"), str):
        raise ApiError("'model' and 'input' are needed.", "input", "missing_required_parameter")
    vectors = [[float(digit) for digit in f"{len(text):08d}"[-8:]] for text in texts]
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    tokens = tokens_in(sum(len(text) for text in texts))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": _scripted_name(body["model"]), "usage": usage}


def main() -> None:
    """Serve a JSON script until interrupted; the first line of output is the base URL."""
    parser = argparse.ArgumentParser(prog="python -m agentd.llm.scripted", description=main.__doc__)
    parser.add_argument("script", type=Path, help="a JSON list of texts or of objects with the fields of Reply")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--repeat-last", action="store_true", help="answer with the last turn when the script ends")
    options = parser.parse_args()
    script = read_script(options.script)
    with ScriptedModel(script, repeat_last=options.repeat_last, port=options.port, record=False) as server:
        sys.stdout.write(f"{server.base_url}\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
