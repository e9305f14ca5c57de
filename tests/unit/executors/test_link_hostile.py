"""A runner that code has taken over: the host ends it, keeps no more than it may, and follows no path of its."""

from __future__ import annotations

import asyncio
import socket

import pytest

from agentd.core.errors import ExecutorUnavailable
from agentd.executors import link
from agentd.executors.doorway import Doorway
from agentd.executors.link import MOST_SHOWN, Link, Outcome
from agentd.executors.runner.wire import LENGTHS, pack

MOST_OUTPUT = 1 << 16
STATE: list[tuple[str, str, dict[str, str]]] = []


class _Taken:
    """A runner's socket, held by the test."""

    passes_fds = True
    doorway: Doorway | None = None
    census = ""

    def __init__(self) -> None:
        self.sock, self.theirs = socket.socketpair()
        self.theirs.setblocking(False)

    async def started(self) -> None: ...

    def gone(self) -> bool:
        return True

    def destroy(self) -> None:
        self.theirs.close()

    def last_words(self) -> str:
        return ""

    async def send(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_sendall(self.theirs, data)
        except OSError:
            return  # it was hung up on


async def _answered(data: bytes, live: list[str] | None = None) -> tuple[Outcome, str]:
    """Run a block on a runner that sends this; return how it ended, and why the runner was given up."""
    launch = _Taken()
    one = Link(launch, {}, lambda *state: STATE.append(state), most_output=MOST_OUTPUT)
    await launch.send(pack({"op": "ready"}))
    await one.start()
    pending = one.run("s", {}, b"", None, (), (live if live is not None else []).append)
    await launch.send(data)
    try:
        return await asyncio.wait_for(pending.future, 20), one.lost
    finally:
        await one.aclose()


def _done(**fields: object) -> bytes:
    return pack({"op": "done", "id": 1, "code": 0, "why": "", "total": 0, "spill": "", **fields}, b"said")


async def test_an_end_that_can_be_is_believed() -> None:
    outcome, lost = await _answered(_done(code=3, spill=".agentd/output/block-1.txt", total=9))
    assert (outcome.exit_code, outcome.output, outcome.spill, lost) == (3, "said", ".agentd/output/block-1.txt", "")


@pytest.mark.parametrize(
    "data",
    [
        _done(spill="/etc/shadow"),
        _done(spill=".agentd/output/../../../etc/shadow"),
        _done(spill="\ud800"),
        _done(code=10**300),
        _done(code=-1),
        _done(code=True),
        _done(total=-1),
        _done(total=1 << 70),
        _done(why="refused"),
        _done(why="x" * 100_000),
        LENGTHS.pack(200_000, 0) + b"[" * 200_000,
        LENGTHS.pack(60, 100 << 20),
    ],
    ids=(
        "spill",
        "spill-up",
        "spill-surrogate",
        "code-huge",
        "code-negative",
        "code-flag",
        "total-negative",
        "total-huge",
        "why",
        "why-long",
        "nested",
        "long",
    ),
)
async def test_what_no_runner_says_ends_it(data: bytes) -> None:
    outcome, lost = await _answered(data)
    assert outcome.reason == "lost"
    assert lost.startswith("it sent what makes no sense")


async def test_what_is_shown_has_an_end() -> None:
    live: list[str] = []
    piece = pack({"op": "out", "id": 1}, b"x" * (1 << 20))
    outcome, lost = await _answered(piece * 16 + _done(), live)
    assert sum(map(len, live)) <= MOST_SHOWN
    assert (outcome.output, lost) == ("said", "")


async def test_one_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "READY_WITHIN", 0.05)
    launch = _Taken()
    one = Link(launch, {}, lambda *_: None)
    with pytest.raises(ExecutorUnavailable, match="did not answer within"):
        await asyncio.wait_for(one.start(), 20)
    await one.aclose()


async def test_a_long_complaint_is_cut() -> None:
    launch = _Taken()
    one = Link(launch, {}, lambda *_: None)
    await launch.send(pack({"op": "ready", "troubles": ["y" * 1_000_000]}))
    with pytest.raises(ExecutorUnavailable) as caught:
        await asyncio.wait_for(one.start(), 20)
    assert len(str(caught.value)) < 3000
    await one.aclose()
