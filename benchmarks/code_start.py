"""From `run` called on a warm shell to the first line of the block's code, by the block's own clock.

python benchmarks/code_start.py [runs]
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time

from agentd.core.actions import Action, Bindings, Kind
from agentd.executors.local import LocalExecutor

TARGET = 5.0
# Bash has no monotonic clock of its own: its wall clock, in microseconds, is compared with ours.
CODES = {
    Kind.BASH: ("echo $EPOCHREALTIME", time.time),
    Kind.PYTHON: ("import time; print(time.clock_gettime(time.CLOCK_MONOTONIC))", time.monotonic),
}


class NoDoor:
    """Answers every call with an error; these blocks have no tools."""

    def call(self, request: bytes) -> bytes:
        return b'{"ok":false,"error":"no tools"}'


async def starts(kind: Kind, runs: int, workspace: str) -> tuple[list[float], float]:
    code, clock = CODES[kind]
    executor = LocalExecutor(workspace)
    shell = await executor.open("bench")
    found: list[float] = []
    cold = 0.0
    for at in range(runs):
        begun = clock()
        result = await shell.run(Action("b", kind, code), Bindings(), NoDoor(), lambda _: None)
        delay = (float(result.output) - begun) * 1e3
        if at:
            found.append(delay)
        else:
            cold = delay
        await asyncio.sleep(0.002)
    await executor.aclose()
    return sorted(found), cold


def main(runs: int) -> None:
    for name, cpus in (("all CPUs", os.sched_getaffinity(0)), ("one CPU", {min(os.sched_getaffinity(0))})):
        os.sched_setaffinity(0, cpus)
        for kind in CODES:
            with tempfile.TemporaryDirectory() as workspace:
                found, cold = asyncio.run(starts(kind, runs, workspace))
            median, tenth, last = found[len(found) // 2], found[len(found) // 10], found[-len(found) // 20]
            print(
                f"{name:8}  {kind:6}  {median:5.2f} ms (p10 {tenth:5.2f}, p95 {last:5.2f}), cold {cold:5.1f};"
                f"  target {TARGET}, ratio {median / TARGET:4.2f}"
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
