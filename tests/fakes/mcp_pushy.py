"""A stdio MCP server of the handshake era that asks, tells and pushes as its tools say. Standard library only."""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

OPTIONS = argparse.ArgumentParser()
OPTIONS.add_argument("--log", type=Path, help="append every message that comes in to this file")
OPTIONS.add_argument("--bare", action="store_true", help="declare tools only")
OPTIONS.add_argument("--hang", default="", help="never answer this method")
OPTIONS.add_argument("--endless", default="", help="give this listing new pages for ever")
OPTIONS.add_argument("--circle", default="", help="give this listing the same cursor for ever")

_lock = threading.Lock()
_answers: dict[int, Any] = {}
_arrived = threading.Condition()
_cancelled: set[object] = set()
_numbers = itertools.count(1)
_subscribed: list[str] = []
_visits: list[str] = []


class Refused(Exception):
    """The request is wrong."""

    def __init__(self, message: str, code: int = -32601, data: Any = None) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, "data": data}


def send(message: dict[str, Any]) -> None:
    with _lock:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()


def ask(method: str, params: Any) -> Any:
    """Ask the client; return its result, or `{"error": …}`."""
    number = next(_numbers)
    send({"id": number, "method": method, "params": params})
    with _arrived:
        _arrived.wait_for(lambda: number in _answers)
        return _answers.pop(number)


def forever(method: str, params: Any) -> str:
    for count in range(1, 100_000):
        answer = ask(method, params)
        if "error" in answer:
            return f"{count - 1} answers, then {answer['error']['message']}"
    return "never refused"


FORM = {"type": "object", "properties": {"name": {"type": "string"}}}
QUESTION = {"message": "who?", "requestedSchema": FORM}
SAMPLE = {"messages": [{"role": "user", "content": {"type": "text", "text": "hi"}}], "maxTokens": 5}


def progress_tool(arguments: dict[str, Any]) -> str:
    for token in ("unknown", 4711, None, arguments["_token"]):
        send({"method": "notifications/progress", "params": {"progressToken": token, "progress": 1, "total": 2}})
    send({"method": "notifications/progress", "params": {"progressToken": arguments["_token"], "progress": 2}})
    return "done"


def flood(arguments: dict[str, Any]) -> str:
    for number in range(int(arguments["count"])):
        send({"method": "notifications/message", "params": {"level": "alert", "data": number, "logger": "l"}})
    return "flooded"


def detach(_: dict[str, Any]) -> str:
    """Start a process in a session of its own, whose parent ends at once; return its id."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(writing, str(os.getpid()).encode())
            for number in (0, 1, 2, reading, writing):
                os.close(number)
            time.sleep(600)
        os._exit(0)
    pid = os.read(reading, 20).decode()
    os.wait()
    return pid


def notify(arguments: dict[str, Any]) -> str:
    send({"method": arguments["method"], "params": arguments.get("params", {})})
    return "told"


def wait(arguments: dict[str, Any]) -> str:
    with _arrived:
        _arrived.wait_for(lambda: arguments["_id"] in _cancelled)
    return "cancelled"


def locked(arguments: dict[str, Any]) -> str:
    """Want a URL visited before the second call."""
    if len(_visits) < int(arguments["visits"]):
        _visits.append("visit")
        url = {"mode": "url", "message": "log in", "url": "https://x.test/in", "elicitationId": "e1"}
        raise Refused("log in first", -32042, {"elicitations": [url]})
    return "open"


TOOLS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "echo": lambda arguments: arguments.get("text", ""),
    "ask": lambda arguments: json.dumps(ask(arguments["method"], arguments.get("params", {}))),
    "elicit_forever": lambda _: forever("elicitation/create", QUESTION),
    "sample_forever": lambda _: forever("sampling/createMessage", SAMPLE),
    "progress": progress_tool,
    "locked": locked,
    "flood": flood,
    "notify": notify,
    "wait": wait,
    "detach": detach,
    "die": lambda _: os._exit(7),
    "pid": lambda _: str(os.getpid()),
    "subscribed": lambda _: json.dumps(_subscribed),
}
LISTS: dict[str, tuple[str, list[Any]]] = {
    "tools/list": ("tools", [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]),
    "resources/list": ("resources", [{"uri": "mem://a", "name": "a", "mimeType": "text/plain", "size": 5}]),
    "resources/templates/list": ("resourceTemplates", [{"uriTemplate": "mem://{id}", "name": "any"}]),
    "prompts/list": ("prompts", [{"name": "greet", "arguments": [{"name": "who", "required": True}]}]),
}
CONTENTS: dict[str, Any] = {
    "mem://a": {"mimeType": "text/plain", "text": "hello"},
    "mem://b": {"mimeType": "application/zip", "blob": base64.b64encode(b"PK\x00").decode()},
    "mem://broken": {"blob": "%%%"},
}


def listing(options: argparse.Namespace, method: str, cursor: str | None) -> Any:
    key, items = LISTS[method]
    more = {}
    if method == options.endless:
        more = {"nextCursor": str(int(cursor or 0) + 1)}
    elif method == options.circle:
        more = {"nextCursor": "again"}
    return {key: items, **more}


def prompt(params: Any) -> Any:
    who = params.get("arguments", {}).get("who", "?")
    link = {"type": "resource_link", "uri": "mem://a", "name": "a"}
    inside = {"type": "resource", "resource": {"uri": "mem://a", "text": "hello"}}
    image = {"type": "image", "mimeType": "image/png", "data": "AAAA"}
    contents = [{"type": "text", "text": f"Greet {who}."}, link, inside, image]
    return {"description": "A greeting.", "messages": [{"role": "user", "content": each} for each in contents]}


def read(params: Any) -> Any:
    if params["uri"] not in CONTENTS:
        raise Refused("there is no such resource")
    return {"contents": [{"uri": params["uri"], **CONTENTS[params["uri"]]}]}


def subscribe(params: Any) -> Any:
    _subscribed.append(params["uri"])
    return {}


def unsubscribe(params: Any) -> Any:
    _subscribed.remove(params["uri"])
    return {}


def complete(params: Any) -> Any:
    known = params.get("context", {}).get("arguments", {})
    values = [params["argument"]["value"] + "da", params["ref"].get("name") or params["ref"]["uri"], *known.values()]
    return {"completion": {"values": values, "total": 7, "hasMore": True}}


METHODS: dict[str, Callable[[Any], Any]] = {
    "resources/read": read,
    "resources/subscribe": subscribe,
    "resources/unsubscribe": unsubscribe,
    "prompts/get": prompt,
    "completion/complete": complete,
    "logging/setLevel": lambda _: {},
    "ping": lambda _: {},
}


def initialized(options: argparse.Namespace, params: Any) -> Any:
    changing = {"listChanged": True}
    full = {
        "tools": changing,
        "resources": {"subscribe": True, **changing},
        "prompts": changing,
        "logging": {},
        "completions": {},
    }
    return {
        "protocolVersion": params["protocolVersion"],
        "capabilities": {"tools": {}} if options.bare else full,
        "serverInfo": {"name": "pushy", "version": "3", "title": "Pushy"},
        "instructions": "Push.",
    }


def result(options: argparse.Namespace, message: dict[str, Any]) -> Any:
    method, params = message["method"], message.get("params", {})
    if method == options.hang:
        time.sleep(600)
    if method == "initialize":
        return initialized(options, params)
    if method in LISTS:
        return listing(options, method, params.get("cursor"))
    if method == "tools/call":
        if params["name"] not in TOOLS:
            raise Refused(f"there is no tool {params['name']}")
        token = params.get("_meta", {}).get("progressToken")
        arguments = {**params.get("arguments", {}), "_token": token, "_id": message["id"]}
        return {"content": [{"type": "text", "text": TOOLS[params["name"]](arguments)}]}
    if method in METHODS:
        return METHODS[method](params)
    raise Refused(f"Method not found: {method}")


def answer(options: argparse.Namespace, message: dict[str, Any]) -> None:
    try:
        found = result(options, message)
    except Refused as error:
        send({"id": message["id"], "error": error.error})
        return
    if message["id"] not in _cancelled:
        send({"id": message["id"], "result": found})


def take(options: argparse.Namespace, message: dict[str, Any]) -> None:
    if "method" in message and "id" in message:
        threading.Thread(target=answer, args=(options, message), daemon=True).start()
        return
    with _arrived:
        if message.get("method") == "notifications/cancelled":
            _cancelled.add(message["params"]["requestId"])
        elif "id" in message:
            _answers[message["id"]] = message.get("result") or {"error": message["error"]}
        _arrived.notify_all()


def main() -> None:
    options = OPTIONS.parse_args()
    for line in sys.stdin:
        if options.log:
            with options.log.open("a") as file:
                file.write(line)
        take(options, json.loads(line))


if __name__ == "__main__":
    main()
