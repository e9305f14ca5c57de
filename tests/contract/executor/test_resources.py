"""What code can use up: it harms its own block, and neither the next one nor the host."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import pytest

from agentd.core.protocols import Executor
from tests.contract.executor.harness import Session

HELD = """
import os, socket, sys
kept = []
try:
    while len(kept) < 100_000:
        kept.append({})
except OSError as error:
    print(type(error).__name__, error.errno)
"""
GREEDY = {
    "files": "open('/dev/null')",
    "pipes": "os.pipe()",
    "sockets": "socket.socket()",
    "pairs": "socket.socketpair()",
}

CROWD = """
import os, socket, urllib.parse
address = urllib.parse.urlsplit(os.environ["https_proxy"])
kept, refused = [], 0
for number in range(900):
    sock = socket.socket()
    sock.settimeout(2)
    try:
        sock.connect((address.hostname, address.port))
        kept.append(sock)
    except OSError:
        refused += 1
print(len(kept) + refused)
"""
MOST_AT_ONCE = 500


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("what", GREEDY)
async def test_descriptors_run_out_for_the_block_alone(make: Callable[..., Executor], what: str) -> None:
    executor = make(policy={"open_files": 256})
    session = Session(await executor.open("one"))
    before = descriptors()
    result = await session.python(HELD.format(GREEDY[what]))
    assert (result.exit_code, result.output) == (0, "OSError 24\n")
    result = await session.bash("i=0; while ((i++ < 300)) && exec {fd}</dev/null; do :; done 2>/dev/null; echo $i")
    assert 200 < int(result.output) < 300
    assert (await session.python("print(echo(value=1))")).output == "1\n"
    assert await session.out("echo next") == "next\n"
    assert descriptors() <= before + 2  # a spare sandbox may have been made meanwhile
    await executor.aclose()


async def test_descriptors_held_by_what_was_left_running_are_not_missed(make: Callable[..., Executor]) -> None:
    executor = make(policy={"open_files": 256})
    session = Session(await executor.open("one"))
    hold = "import time, os\nkept = []\ntry:\n    while True: kept.append(os.pipe())\nexcept OSError: time.sleep(60)"
    for _ in range(4):
        await session.bash(f"python3 -c '{hold}' >/dev/null 2>&1 & sleep 0.1")
    assert (await session.python("print(echo(value=2))")).output == "2\n"
    await executor.aclose()


async def test_connections_to_the_proxy_are_bounded_at_the_host(make: Callable[..., Executor]) -> None:
    executor = make(policy={"allowed_domains": ["allowed.example"]})
    session, other = Session(await executor.open("one")), Session(await executor.open("two"))
    await session.bash("true")
    before, most = descriptors(), 0
    block = asyncio.create_task(session.python(CROWD, timeout=40))
    while not block.done():
        most = max(most, descriptors())
        await asyncio.sleep(0.01)
    result = await block
    assert result.output == "900\n", result
    assert most - before < MOST_AT_ONCE
    assert (await other.python("print(echo(value=3))")).output == "3\n"
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 10
    while descriptors() > before + 2:
        assert loop.time() < deadline, f"{descriptors() - before} descriptors are left"
        await asyncio.sleep(0.05)
    await executor.aclose()


async def test_what_is_memory_of_the_machine_is_bounded(make: Callable[..., Executor]) -> None:
    executor = make()
    session = Session(await executor.open("one"))
    # Asked, not filled.
    for place in ("/tmp", "$HOME", "/dev/shm"):
        size = int(await session.out(f"df --output=size -B1 {place} | tail -n 1"))
        assert size <= 1 << 30, place
    await executor.aclose()


async def test_a_file_larger_than_allowed_in_any_place(make: Callable[..., Executor]) -> None:
    executor = make(policy={"file_size": 100_000})
    session = Session(await executor.open("one"))
    for place in (".", "${TMPDIR:-/tmp}"):
        path = f"{place}/agentd-large-$$"
        writing = f"{{ head -c 300000 /dev/zero > {path}; }} 2>/dev/null"
        output = await session.out(f"{writing}; stat -c %s {path}; rm {path}")
        assert output == "100000\n"
    assert (await session.python("open('large', 'wb').write(bytes(300_000))")).exit_code != 0
    await executor.aclose()


@pytest.mark.usefixtures("fenced")
async def test_memory_of_many_processes(make: Callable[..., Executor]) -> None:
    executor = make(policy={"memory": 300 << 20, "processes": 64})
    session = Session(await executor.open("one"))
    hog = (
        "x = bytearray(120 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\nimport time; time.sleep(1); print('got')"
    )
    result = await session.bash(f'for i in 1 2 3 4 5; do python3 -c "{hog}" 2>/dev/null & done; wait', timeout=30)
    kept: dict[str, str] = executor.enforcement  # pyright: ignore[reportAttributeAccessIssue]
    if kept["memory"] == "cgroup":
        assert result.output.splitlines().count("got") < 3
    assert await session.out("echo next") == "next\n"
    await executor.aclose()


async def test_a_flood_of_output_and_calls(make: Callable[..., Executor]) -> None:
    executor = make(policy={"processes": 64})
    session, other = Session(await executor.open("one")), Session(await executor.open("two"))
    flood = asyncio.create_task(session.bash("yes flood | head -c 200000000", timeout=30))
    calls = asyncio.create_task(session.python("for i in range(2000): echo(value=i)\nprint('called')", timeout=30))
    assert await other.out("echo heard") == "heard\n"
    result = await flood
    assert result.total_bytes == 200_000_000
    assert len(result.output) < 40_000
    assert (await calls).output == "called\n"
    await executor.aclose()
