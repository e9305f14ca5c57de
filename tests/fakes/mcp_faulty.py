"""A stdio MCP server that misbehaves as its arguments and tools say. Plain JSON lines, standard library only."""

from __future__ import annotations

import argparse
import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

PIXEL = b"\x89PNG\r\n\x1a\n-a-pixel-"
OPTIONS = argparse.ArgumentParser()
OPTIONS.add_argument("--hang-at-start", action="store_true")
OPTIONS.add_argument("--exit-at-start", type=int)
OPTIONS.add_argument("--slow-start", type=float, default=0)
OPTIONS.add_argument("--garbage", type=int, default=0)
OPTIONS.add_argument("--endless-garbage", action="store_true")
OPTIONS.add_argument("--stubborn", action="store_true")
OPTIONS.add_argument("--deaf-to-unknown", action="store_true")
OPTIONS.add_argument("--pages", type=int, default=1)
OPTIONS.add_argument("--endless-pages", action="store_true")
OPTIONS.add_argument("--bad-tools", action="store_true")
OPTIONS.add_argument("--hostile", action="store_true")
OPTIONS.add_argument("--log", type=Path)
OPTIONS.add_argument("--once", type=Path, help="exit at start when this file exists, else make it")

_lock = threading.Lock()
_extra: list[str] = []


def say(line: str) -> None:
    with _lock:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def send(message: dict[str, object]) -> None:
    say(json.dumps({"jsonrpc": "2.0", **message}))


def text(value: str) -> dict[str, object]:
    return {"content": [{"type": "text", "text": value}]}


def binary(kind: str, mime_type: str, data: bytes = PIXEL) -> dict[str, object]:
    return {"type": kind, "mimeType": mime_type, "data": base64.b64encode(data).decode()}


def die(_: dict[str, object]) -> dict[str, object]:
    os._exit(7)


def append(arguments: dict[str, object]) -> dict[str, object]:
    with Path(str(arguments["file"])).open("a") as file:
        file.write("x\n")
    if arguments.get("die"):
        os._exit(7)
    return text("appended")


def slow(arguments: dict[str, object]) -> dict[str, object]:
    time.sleep(float(str(arguments["seconds"])))
    return text("at last")


def spawn(_: dict[str, object]) -> dict[str, object]:
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    children = [subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)]
    return text(json.dumps([child.pid for child in children]))


def noise(_: dict[str, object]) -> dict[str, object]:
    for line in ("hello", "{not json", '{"jsonrpc": "1.0"}', "[" * 5000, "\x00\xff"):
        say(line)
    return text("quiet again")


def change(_: dict[str, object]) -> dict[str, object]:
    _extra.append(f"extra_{len(_extra)}")
    send({"method": "notifications/tools/list_changed"})
    return text("changed")


def mixed(_: dict[str, object]) -> dict[str, object]:
    resource = {"uri": "mem://a", "mimeType": "text/plain", "text": "inside"}
    blob = {"uri": "mem://b", "mimeType": "application/zip", "blob": base64.b64encode(b"PK").decode()}
    return {
        "content": [
            {"type": "text", "text": "look:"},
            binary("image", "image/png"),
            binary("audio", "audio/wav", b"RIFF"),
            {"type": "resource", "resource": resource},
            {"type": "resource", "resource": blob},
            {"type": "resource_link", "uri": "mem://c", "name": "c"},
        ]
    }


CALLS: dict[str, Callable[[dict[str, object]], dict[str, object]]] = {
    "echo": lambda arguments: text(str(arguments.get("text", ""))),
    "arguments": lambda arguments: text(json.dumps(arguments)),
    "lines": lambda _: {"content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
    "structured": lambda _: {**text("ignored"), "structuredContent": {"a": 1}},
    "wrapped": lambda _: {**text("3"), "structuredContent": {"result": 3}},
    "mismatch": lambda _: {**text("x"), "structuredContent": {"result": "not a number"}},
    "nothing": lambda _: {"content": []},
    "image": lambda _: {"content": [binary("image", "image/png")]},
    "shot": lambda _: {"content": [binary("image", "image/png")], "structuredContent": {"width": 1}},
    "broken_image": lambda _: {"content": [{"type": "image", "mimeType": "image/png", "data": "%%%"}]},
    "mixed": mixed,
    "fail": lambda _: {**text("no such thing"), "isError": True},
    "many": lambda _: {"content": [{"type": "text", "text": "x"}] * 10_000},
    "big": lambda arguments: text("x" * int(str(arguments["size"]))),
    "pid": lambda _: text(str(os.getpid())),
    "secret": lambda _: text(json.dumps(dict(os.environ))),
    "malformed": lambda _: {"content": "not a list"},
    "die": die,
    "append": append,
    "slow": slow,
    "spawn": spawn,
    "noise": noise,
    "change": change,
}
WRAPPER = {"type": "object", "properties": {"result": {"type": "integer"}}, "required": ["result"], "title": "xOutput"}
HOSTILE = ["import os", "class", "a/b", "naïve", "x" * 200, "'); DROP--", "../../etc/passwd", "  ", "echo"]
BAD = [
    {"name": "no_schema"},
    {"name": "wrong_type", "inputSchema": {"type": "string"}},
    {"name": "wrong_required", "inputSchema": {"type": "object", "required": "all"}},
    {"name": "wrong_output", "inputSchema": {"type": "object"}, "outputSchema": {"type": "string"}},
    {"name": 42, "inputSchema": {"type": "object"}},
    {"inputSchema": {"type": "object"}},
    "not even an object",
]


def tools(options: argparse.Namespace) -> list[object]:
    names = [*CALLS, *_extra, *(HOSTILE if options.hostile else [])]
    listed: list[object] = list(BAD) if options.bad_tools else []
    for name in names:
        tool: dict[str, object] = {"name": name, "description": f"It does {name}.", "inputSchema": {"type": "object"}}
        if name in ("wrapped", "mismatch"):
            tool["outputSchema"] = WRAPPER
        listed.append(tool)
    return listed


def listing(options: argparse.Namespace, cursor: str | None) -> dict[str, object]:
    everything = tools(options)
    page = int(cursor or 0)
    if options.endless_pages:
        return {"tools": everything[page : page + 1], "nextCursor": "1"}
    size = -(-len(everything) // options.pages)
    part = everything[page * size : (page + 1) * size]
    more: dict[str, object] = {"nextCursor": str(page + 1)} if page + 1 < options.pages else {}
    return {"tools": part, **more}


def answer(options: argparse.Namespace, message: dict[str, object]) -> None:
    method, number = message.get("method"), message.get("id")
    parameters = message.get("params")
    assert isinstance(parameters, dict | None)
    parameters = parameters or {}
    if method == "initialize":
        version = parameters["protocolVersion"]
        server = {"name": "faulty", "version": "1"}
        capabilities = {"tools": {"listChanged": True}}
        send({"id": number, "result": {"protocolVersion": version, "capabilities": capabilities, "serverInfo": server}})
    elif method == "tools/list":
        send({"id": number, "result": listing(options, parameters.get("cursor"))})
    elif method == "tools/call":
        call = CALLS.get(parameters["name"], CALLS["echo"])
        try:
            send({"id": number, "result": call(parameters.get("arguments") or {})})
        except (KeyError, ValueError, OSError) as error:
            send({"id": number, "error": {"code": -32603, "message": f"{error}"}})
    elif number is not None and not options.deaf_to_unknown:
        send({"id": number, "error": {"code": -32601, "message": f"unknown method {method}"}})


def start(options: argparse.Namespace) -> None:
    sys.stderr.write("faulty is starting\n")
    sys.stderr.flush()
    if options.once is not None:
        if options.once.exists():
            sys.exit("this server starts only once")
        options.once.touch()
    if options.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if options.exit_at_start is not None:
        sys.exit(options.exit_at_start)
    for number in range(options.garbage):
        say(f"garbage {number}")
    while options.endless_garbage:
        say("garbage " * 1000)
    if options.hang_at_start:
        time.sleep(600)
    time.sleep(options.slow_start)


def main() -> None:
    options = OPTIONS.parse_args()
    start(options)
    for line in sys.stdin:
        if options.log:
            with options.log.open("a") as file:
                file.write(line)
        message = json.loads(line)
        threading.Thread(target=answer, args=(options, message), daemon=True).start()
    if options.stubborn:
        time.sleep(600)


if __name__ == "__main__":
    main()
