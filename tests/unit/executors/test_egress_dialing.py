"""Where a name leads is looked up once and checked; the connection goes there and nowhere else."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading

import pytest

from agentd.executors.egress import dialing
from agentd.executors.egress.dialing import LOOKUPS_AT_ONCE, Lookups
from agentd.executors.egress.names import Rules
from agentd.executors.egress.proxy import Egress
from tests.unit.executors.egress_rig import PAGE, gate, page


def _get(port: int, name: str = "ok.test") -> bytes:
    return f"GET http://{name}:{port}/ HTTP/1.1\r\nHost: {name}\r\n\r\n".encode()


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1", "0.0.0.0", "10.0.0.1", "64:ff9b::7f00:1", "fe80::1%lo"],
)
async def test_a_name_that_leads_inside_is_refused(address: str) -> None:
    async with gate(networks=[], answers={"ok.test": [[address]]}) as proxy, page() as there:
        answer = await proxy.ask(_get(there.port))
        assert answer.startswith(f"HTTP/1.1 403 ok.test leads to {address}, which is ".encode()) or "::" in address
        assert answer.startswith(b"HTTP/1.1 403 ok.test leads to ")
        assert proxy.refused[0][:2] == ("ok.test", there.port)
        assert there.seen == []


async def test_a_second_look_does_not_change_where_it_goes() -> None:
    answers = {"ok.test": [["127.0.0.1"], ["127.0.0.99"]]}
    async with gate(networks=["127.0.0.1/32"], answers=answers) as proxy, page() as there:
        assert await proxy.ask(_get(there.port)) == PAGE
        assert proxy.names.asked == ["ok.test"]
        assert (await proxy.ask(_get(there.port))).startswith(b"HTTP/1.1 403 ok.test leads to 127.0.0.99")
        assert proxy.names.asked == ["ok.test"] * 2
        assert len(there.seen) == 1


async def test_rebinding_is_of_no_use(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    async def connect(address: object, port: int) -> socket.socket:
        tried.append(str(address))
        raise ConnectionRefusedError

    monkeypatch.setattr(dialing, "_connect", connect)  # the test reaches no outside host
    answers = {"ok.test": [["8.8.8.8"], ["127.0.0.1"]]}
    async with gate(networks=[], answers=answers) as proxy:
        assert (await proxy.ask(_get(80))).startswith(b"HTTP/1.1 502 ")
        assert tried == ["8.8.8.8"] and proxy.names.asked == ["ok.test"]
        assert (await proxy.ask(_get(80))).startswith(b"HTTP/1.1 403 ")
        assert tried == ["8.8.8.8"]


async def test_of_several_addresses_only_the_good_ones_are_tried() -> None:
    answers = {"ok.test": [["10.0.0.1", "::1", "127.0.0.9", "127.0.0.1"]]}
    async with gate(networks=["127.0.0.1/32"], answers=answers) as proxy, page() as there:
        assert await proxy.ask(_get(there.port)) == PAGE


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    answers = {"ok.test": [["127.0.0.9", "127.0.0.1"]]}
    async with gate(answers=answers) as proxy, page() as there:
        assert await proxy.ask(_get(there.port)) == PAGE


async def test_the_machines_own_addresses_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.executors.egress.addresses.is_own", lambda address: str(address) == "8.8.4.4")
    async with gate(networks=[], answers={"ok.test": [["8.8.4.4"]]}) as proxy:
        assert b"403 ok.test leads to 8.8.4.4, which is this machine's own" in await proxy.ask(_get(80))


async def test_what_cannot_be_reached_is_told_and_is_no_refusal() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with gate(answers={"none.test": [[]]}, allowed=["*"]) as proxy:
        answer = await proxy.ask(_get(port))
        assert answer.startswith(b"HTTP/1.1 502 ") and b"ok.test:%d could not be reached" % port in answer
        answer = await proxy.ask(_get(port, "none.test"))
        assert answer.startswith(b"HTTP/1.1 502 ") and b"none.test has no address" in answer
        assert proxy.refused == []


async def test_a_name_that_is_slow_to_look_up_is_given_up() -> None:
    async def never(_name: str, _port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    async with gate(connect_timeout=0.05) as proxy:
        proxy.egress._dialer._resolve = never
        answer = await proxy.ask(_get(80))
        assert answer.startswith(b"HTTP/1.1 504 ") and b"could not be reached in time" in answer


async def test_an_address_that_does_not_answer_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        kept = [socket.socket() for _ in range(4)]
        for one in kept:  # the queue is full: further connections are neither taken nor refused
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        async with gate(connect_timeout=0.2) as proxy:
            answer = await proxy.ask(_get(port))
            assert answer.startswith(b"HTTP/1.1 504 ")
        for one in kept:
            one.close()


async def test_the_system_looks_names_up_for_us() -> None:
    egress = Egress(Rules(["localhost", "nobody.invalid"]))
    async with gate() as proxy, page() as there:
        proxy.egress._rules, proxy.egress._dialer._resolve = egress._rules, egress._dialer._resolve
        assert await proxy.ask(_get(there.port, "localhost")) == PAGE
        answer = await proxy.ask(_get(there.port, "nobody.invalid"))
        assert answer.startswith(b"HTTP/1.1 502 ") and b"nobody.invalid could not be looked up" in answer
    await egress.aclose()


STUCK = """
import asyncio, socket, sys, time
from agentd.executors.egress import dialing

asked = []

def never(*words, **named):
    asked.append(words)
    time.sleep(100)

async def main():
    socket.getaddrinfo = never
    look_up = dialing.Lookups()
    tasks = [asyncio.create_task(look_up("ok.test", 1)) for _ in range(dialing.LOOKUPS_AT_ONCE + 2)]
    while len(asked) < dialing.LOOKUPS_AT_ONCE:
        await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    print(len(asked))  # and no more at once, however many give up

asyncio.run(main())
"""


def test_a_resolver_that_never_answers_keeps_no_program_from_ending() -> None:
    done = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "8\n", "")


async def test_lookups_go_on_after_those_that_nobody_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 1))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: go_on.wait(20) and answer)
    look_up = Lookups()
    slow = [asyncio.create_task(look_up("slow.test", 1)) for _ in range(LOOKUPS_AT_ONCE)]
    await asyncio.sleep(0)
    for task in slow:
        task.cancel()
    waiting = asyncio.create_task(look_up("ok.test", 1))
    assert not (await asyncio.wait([waiting], timeout=0.05))[0]
    go_on.set()
    assert await asyncio.wait_for(waiting, 20) == ["192.0.2.1"]


async def test_localhost_needs_its_network() -> None:
    async with gate(allowed=["*"], networks=[]) as proxy, page() as there:
        answer = await proxy.ask(_get(there.port, "localhost"))
        assert answer.startswith(b"HTTP/1.1 403 localhost leads to 127.0.0.1, which is not public")
        assert there.seen == []
