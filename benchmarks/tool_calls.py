"""A tool call from a Python block: 1,000 in one block, JSON on both sides and `Door.call` included.

    python benchmarks/tool_calls.py [blocks]

The limit named beside it is a bare echo of the same bytes between two processes over two pipes.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time

from agentd.core.actions import Action, Bindings, Kind
from agentd.executors.local import LocalExecutor

CALLS = 1000
SOURCE = '''
def add(*, a: int, b: int) -> int:
    """Add two numbers."""
    return _call("add", {"a": a, "b": b})
'''
CODE = f"""
import time
begun = time.perf_counter()
cpu = time.process_time()
for i in range({CALLS}):
    add(a=i, b=1)
print((time.perf_counter() - begun) / {CALLS}, (time.process_time() - cpu) / {CALLS})
"""


class Adder:
    """Adds on the host."""

    def call(self, request: bytes) -> bytes:
        arguments = json.loads(request)["arguments"]
        return json.dumps({"ok": True, "value": arguments["a"] + arguments["b"]}).encode()


def echo() -> float:
    """Return the seconds of one round trip over two pipes."""
    request, to_child = os.pipe()
    from_child, answer = os.pipe()
    line = b'{"tool":"add","arguments":{"a":1,"b":1}}\n'
    pid = os.fork()
    if pid == 0:
        os.close(to_child)
        while data := os.read(request, 65536):
            os.write(answer, data)
        os._exit(0)
    begun = time.perf_counter()
    for _ in range(CALLS):
        os.write(to_child, line)
        os.read(from_child, 65536)
    spent = (time.perf_counter() - begun) / CALLS
    os.close(to_child)
    os.waitpid(pid, 0)
    for fd in (request, from_child, answer):
        os.close(fd)
    return spent


async def calls(blocks: int, workspace: str) -> list[tuple[float, float]]:
    executor = LocalExecutor(workspace)
    shell = await executor.open("bench")
    found: list[tuple[float, float]] = []
    for _ in range(blocks):
        result = await shell.run(Action("b", Kind.PYTHON, CODE), Bindings(SOURCE, "v1"), Adder(), lambda _: None)
        wall, cpu = result.output.split()
        found.append((float(wall) * 1e6, float(cpu) * 1e6))
    await executor.aclose()
    return found


def main(blocks: int) -> None:
    for name, cpus, target in (
        ("all CPUs", os.sched_getaffinity(0), 60),
        ("one CPU", {min(os.sched_getaffinity(0))}, 20),
    ):
        os.sched_setaffinity(0, cpus)
        begun = time.process_time()
        bare = sorted(echo() * 1e6 for _ in range(blocks))
        with tempfile.TemporaryDirectory() as workspace:
            begun = time.process_time()
            found = asyncio.run(calls(blocks, workspace))
            host = (time.process_time() - begun) / blocks / CALLS * 1e6
        walls = sorted(wall for wall, _ in found)
        cpu = sorted(cpu for _, cpu in found)[blocks // 2]
        median, tenth, limit = walls[blocks // 2], walls[blocks // 10], bare[blocks // 2]
        print(
            f"{name:8}  {median:5.1f} us a call (p10 {tenth:5.1f}), CPU in block {cpu:4.1f}, on host {host:4.1f};"
            f"  bare echo {limit:5.1f} (p10 {bare[blocks // 10]:5.1f}), ratio {median / limit:4.2f};  target {target}"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
