"""The host's end of a block's tool calls, when the block reads what was not meant for it."""

from __future__ import annotations

import asyncio
import os
import threading

from agentd.executors.toolpipe import PipeEnds, ToolPipe


class _Door:
    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()

    def call(self, request: bytes) -> bytes:
        self.begun.set()
        self.go.wait(20)
        return b"{}"


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "agentd-tools"]


async def test_a_block_that_empties_its_own_pipe_keeps_no_thread_of_the_host() -> None:
    before = set(_threads())
    door, ends = _Door(), PipeEnds()
    request, answer = ends.theirs
    pipe = ToolPipe(asyncio.get_running_loop(), door, ends)
    os.write(request, b"{}\n")
    await asyncio.to_thread(door.begun.wait, 20)
    # Who opens the writing end of a pipe by /proc may read from it: here before the host does, and for good.
    thief = os.open(f"/proc/self/fd/{request}", os.O_RDONLY)
    stolen: list[bytes] = []
    reader = threading.Thread(target=lambda: stolen.append(os.read(thief, 1)), daemon=True)
    reader.start()
    await asyncio.sleep(0.2)
    door.go.set()
    assert await asyncio.to_thread(os.read, answer, 100) == b"{}\n"
    await asyncio.sleep(0.2)
    pipe.end()
    mine = set(_threads()) - before
    for thread in mine:
        await asyncio.to_thread(thread.join, 20)
    left = [thread for thread in mine if thread.is_alive()]
    os.write(request, b"x")  # for the thief, whatever else is so
    await asyncio.to_thread(reader.join, 20)
    for fd in (request, answer, thief):
        os.close(fd)
    assert left == []
    assert stolen == [b"x"]
