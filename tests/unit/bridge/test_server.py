from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agentd.bridge.gate import Gate
from agentd.bridge.server import BridgeServer
from agentd.core.errors import OptionError
from agentd.core.events import ToolFinished, ToolStarted
from tests.unit.bridge.driver import Bridge, Sleeper, read_response


@pytest.mark.parametrize("unix", [False, True])
async def test_a_call_over_either_socket(bridge: Bridge, unix: bool) -> None:
    assert (await bridge.ask(changes={"Host": "anything"}, unix=unix)).status == (200 if unix else 421)
    answer = await bridge.ask(unix=unix)
    assert (answer.status, answer.json) == (200, {"ok": True, "value": 3})
    assert answer.headers["content-type"].startswith("application/json")
    assert [type(event) for event in bridge.events][-2:] == [ToolStarted, ToolFinished]


async def test_tools_and_health(bridge: Bridge) -> None:
    assert (await bridge.ask("GET", "/health", b"")).json == {"ok": True}
    tools = (await bridge.ask("GET", "/tools", b"")).json["tools"]
    assert isinstance(tools, list)
    assert tools[0] == {
        "name": "add",
        "description": "Adds two numbers.",
        "input_schema": {"type": "object"},
        "output_schema": None,
        "server": "math",
    }


async def test_a_failed_tool_is_an_answer_and_no_refusal(bridge: Bridge) -> None:
    answer = await bridge.ask(body=b'{"a": "x"}')
    assert (answer.status, answer.json) == (200, {"ok": False, "error": "add(a: int, b: int)"})


async def test_odd_values(bridge: Bridge) -> None:
    assert (await bridge.ask(path="/call/broken", body=b"{}")).json == {"ok": True, "value": "\ud800 é"}
    answer = (await bridge.ask(path="/call/broken", body=b'{"nan": 1}')).json
    assert answer["ok"] is False and "JSON" in str(answer["error"])


REFUSED = {
    "no token": (401, {"Authorization": ""}),
    "wrong token": (401, {"Authorization": "Bearer " + "0" * 64}),
    "empty token": (401, {"Authorization": "Bearer "}),
    "not ASCII": (401, {"Authorization": "Bearer é"}),
    "another scheme": (401, {"Authorization": "Basic YTpi"}),
    "another host": (421, {"Host": "evil.example"}),
    "host of another port": (421, {"Host": "127.0.0.1:1"}),
    "host without port": (421, {"Host": "localhost"}),
    "a web page": (403, {"Origin": "http://127.0.0.1"}),
    "a file or a sandboxed page": (403, {"Origin": "null"}),
    "text": (415, {"Content-Type": "text/plain"}),
    "a form": (415, {"Content-Type": "application/x-www-form-urlencoded"}),
    "no type": (415, {"Content-Type": ""}),
    "compressed": (415, {"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize(("status", "changes"), REFUSED.values(), ids=REFUSED)
async def test_refused_by_its_head(bridge: Bridge, status: int, changes: dict[str, str]) -> None:
    answer = await bridge.ask(changes=changes)
    assert (answer.status, answer.json["ok"]) == (status, False)
    assert "access-control-allow-origin" not in answer.headers
    assert bridge.events == []


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"])
async def test_the_names_of_the_loopback_are_hosts(bridge: Bridge, name: str) -> None:
    assert (await bridge.ask(changes={"Host": f"{name}:{bridge.port}"})).status == 200


@pytest.mark.parametrize(
    ("version", "hosts", "statuses"),
    [("1.1", [], {400}), ("1.0", [], {421}), ("1.1", ["127.0.0.1:{port}", "evil.example"], {400, 421})],
)
async def test_no_host_and_two_hosts(bridge: Bridge, version: str, hosts: list[str], statuses: set[int]) -> None:
    lines = [f"Host: {host.format(port=bridge.port)}" for host in hosts] + [f"Authorization: Bearer {bridge.token}"]
    head = "\r\n".join([f"GET /health HTTP/{version}", *lines, "", ""])
    answer = await bridge.send(head.encode())
    assert answer.status in statuses and b"Traceback" not in answer.body


def left_behind(server: BridgeServer) -> list[Path]:
    path = Path(server.socket_path)
    return [each for each in (path, path.parent) if os.path.lexists(each)]


METHODS = ("GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", ["/health", "/tools", "/call/add", "/", "/nowhere"])
async def test_nothing_answers_without_a_token(bridge: Bridge, method: str, path: str) -> None:
    assert (await bridge.ask(method, path, b"", {"Authorization": ""})).status == 401
    assert bridge.events == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/call/add", 405),
        ("DELETE", "/call/add", 405),
        ("OPTIONS", "/call/add", 405),
        ("POST", "/tools", 405),
        ("POST", "/health", 405),
        ("GET", "/", 404),
        ("POST", "/call/", 404),
        ("POST", "/call/add/more", 404),
    ],
)
async def test_wrong_method_or_path(bridge: Bridge, method: str, path: str, status: int) -> None:
    answer = await bridge.ask(method, path)
    assert answer.status == status
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize("tool", ["ad", "..%2f..%2fetc%2fpasswd", "%00", "add%0a", "a" * 2000, "%e2%82%ac"])
async def test_an_unknown_tool(bridge: Bridge, tool: str) -> None:
    answer = await bridge.ask(path=f"/call/{tool}")
    assert answer.status == 404 and answer.json["ok"] is False
    assert bridge.events == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"null",
        b"[]",
        b'"add"',
        b"1",
        b"[" * 90_000,
        b'{"a":' * 18_000,
        b'{"a": NaN}',
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b'{"a": 1' + b"0" * 5000 + b"}",
        b'{"a": 1} {"b": 2}',
    ],
)
async def test_a_malformed_body(bridge: Bridge, body: bytes) -> None:
    answer = await bridge.ask(body=body)
    assert answer.status == 400 and b"Traceback" not in answer.body
    assert bridge.events == [] and (await bridge.ask()).status == 200


async def test_a_body_over_the_limit(bridge: Bridge) -> None:
    assert (await bridge.ask(body=b'{"a": "' + b"x" * 200_000 + b'"}')).status == 413
    head = f"POST /call/add HTTP/1.1\r\nHost: localhost:{bridge.port}\r\nAuthorization: Bearer {bridge.token}\r\n"
    chunks = b"4e20\r\n" + b" " * 20_000 + b"\r\n"
    rest = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert (await bridge.send(f"{head}{rest}".encode() + chunks * 10)).status == 413
    assert bridge.events == []


@pytest.mark.parametrize(
    "raw", [b"\x16\x03\x01\x02\x00\x01\x00", b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nA: " + b"x" * 90_000]
)
async def test_what_is_not_http_is_refused_or_dropped(bridge: Bridge, raw: bytes) -> None:
    reader, writer = await bridge.open()
    writer.write(raw)
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    assert answer == b"" or b" 400 " in answer.split(b"\r\n")[0]
    assert b"Traceback" not in answer and (await bridge.ask()).status == 200


async def test_silent_and_slow_connections_are_ended(bridge: Bridge) -> None:
    assert (await bridge.ask()).status == 200
    readers = [await bridge.open() for _ in range(30)]
    begun = f"POST /call/add HTTP/1.1\r\nHost: localhost:{bridge.port}\r\nAuthorization: Bearer {bridge.token}\r\n"
    body_missing = f"{begun}Content-Type: application/json\r\nContent-Length: 10\r\n\r\n{{".encode()
    for number, (_, writer) in enumerate(readers):
        writer.write((b"", begun.encode(), body_missing)[number % 3])
    assert (await bridge.ask()).status == 200
    async with asyncio.timeout(20):
        rests = [await reader.read() for reader, _ in readers]
    assert {rest.split(b"\r\n")[0] for rest in rests} == {b"", b"HTTP/1.1 408 the body did not come in time"} or {
        rest[:12] for rest in rests
    } == {b"", b"HTTP/1.1 408"}
    for _, writer in readers:
        writer.close()


async def test_a_hundred_at_once_and_a_slow_one_blocks_no_fast_one(bridge: Bridge) -> None:
    slow = [asyncio.create_task(bridge.ask(path="/call/sleep", body=b"{}")) for _ in range(20)]
    while bridge.sleeper.running < 20:  # noqa: ASYNC110  the tool has no event to wait for
        await asyncio.sleep(0.01)
    bodies = [json.dumps({"a": number, "b": 1}).encode() for number in range(100)]
    answers = await asyncio.gather(*(bridge.ask(body=body, unix=bool(len(body) % 2)) for body in bodies))
    assert [answer.json["value"] for answer in answers] == list(range(1, 101))
    assert not any(task.done() for task in slow)
    bridge.door.close()
    assert {(await task).json["ok"] for task in slow} == {False}


async def test_one_connection_serves_many_requests(bridge: Bridge) -> None:
    reader, writer = await bridge.open()
    body = b'{"a": 1, "b": 2}'
    head = f"POST /call/add HTTP/1.1\r\nHost: localhost:{bridge.port}\r\nAuthorization: Bearer {bridge.token}\r\n"
    whole = f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    for _ in range(3):
        writer.write(whole)
        assert (await read_response(reader)).json == {"ok": True, "value": 3}
    writer.close()


async def test_tokens_are_of_one_door_and_can_be_revoked(bridge: Bridge) -> None:
    gate = Gate(asyncio.get_running_loop())
    other = bridge.server.grant(gate.door("other", bridge.events.append))
    assert (await bridge.ask(changes={"Authorization": f"Bearer {other}"})).status == 404
    bridge.server.revoke(other)
    assert (await bridge.ask(changes={"Authorization": f"Bearer {other}"})).status == 401
    bridge.door.close()
    closed = await bridge.ask()
    assert closed.status == 200 and closed.json["ok"] is False and "ended" in str(closed.json["error"])


def test_the_sockets_are_private(bridge: Bridge) -> None:
    path = Path(bridge.server.socket_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert bridge.server.url.startswith("http://127.0.0.1:")
    with socket.socket(socket.AF_INET6) as probe, pytest.raises(OSError):
        probe.connect(("::1", bridge.port))


async def test_the_first_connections_of_all_are_served(bridge: Bridge) -> None:
    answers = await asyncio.gather(*(bridge.ask(unix=bool(number % 2)) for number in range(60)))
    assert {answer.status for answer in answers} == {200}


def test_starting_imports_no_aiohttp() -> None:
    script = (
        "import asyncio, sys\n"
        "from agentd.bridge.server import BridgeServer\n"
        "async def main():\n"
        "    server = BridgeServer(); await server.start(); await asyncio.sleep(0.05); await server.close()\n"
        "asyncio.run(main()); print('aiohttp' in sys.modules)\n"
    )
    where = os.fspath(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={"PYTHONPATH": where},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("False", "")


async def test_closing_does_not_wait_for_anybody() -> None:
    server = BridgeServer()
    await server.start()
    gate, sleeper = Gate(asyncio.get_running_loop()), Sleeper()
    gate.update({"sleep": sleeper})
    bridge = Bridge(server, gate, door := gate.door("b", lambda _: None), server.grant(door), sleeper)
    idle = [await bridge.open() for _ in range(5)]
    pending = asyncio.create_task(bridge.ask(path="/call/sleep", body=b"{}"))
    while not sleeper.running:  # noqa: ASYNC110  the tool has no event to wait for
        await asyncio.sleep(0.01)
    started = time.monotonic()
    await server.close()
    assert time.monotonic() - started < 5
    assert left_behind(server) == []
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await pending
    with pytest.raises(ConnectionError):
        await bridge.open()
    door.close()
    for _, writer in idle:
        writer.close()


async def test_closing_before_anybody_came() -> None:
    server = BridgeServer()
    await server.start()
    await server.close()
    await server.close()
    assert left_behind(server) == []


async def test_a_directory_whose_name_is_too_long(tmp_path: Path) -> None:
    server = BridgeServer(directory=tmp_path / ("x" * 120))
    with pytest.raises(OptionError, match="too long"):
        await server.start()
    await server.close()
