"""What a sandbox costs: blocks, start, tool calls and memory, each beside the same without one.

    python benchmarks/sandboxes.py [runs] [back end …]

A warm block against `subprocess.run` of the same; the start of a sandbox up to being ready, and up to its first block's
end; one of 1,000 tool calls in a block against the same in `local`; memory (PSS) of a hundred sandboxes alive at once,
each with a block behind it, once without and once with the one that it keeps in reserve.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from agentd.core.actions import Action, Bindings, Kind
from agentd.core.protocols import Shell
from agentd.executors import host, registry
from agentd.executors.host import RunnerExecutor
from benchmarks.tool_calls import CODE, SOURCE, Adder

ALIVE = 100
NONE = Bindings()
PLAIN = {
    Kind.BASH: ("true", ["bash", "--norc", "--noprofile", "-c", "true"]),
    Kind.PYTHON: ("pass", [sys.executable, "-c", "pass"]),
}


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    begun = time.perf_counter()
    await work()
    return (time.perf_counter() - begun) * 1e3


def made(name: str, workspace: str) -> RunnerExecutor:
    executor = registry.create(name, workspace)
    assert isinstance(executor, RunnerExecutor)
    return executor


def row(what: str, ours: list[float], base: list[float], target: str) -> None:
    one, other = statistics.median(ours), statistics.median(base)
    ratio = statistics.median(a / b for a, b in zip(ours, base, strict=True))
    print(f"  {what:18} {one:7.2f} ms   beside {other:7.2f} ms   ratio {ratio:5.2f}   target {target}")


async def run(shell: Shell, kind: Kind, code: str) -> None:
    result = await shell.run(Action("bench", kind, code), NONE, Adder(), lambda _: None)
    assert result.exit_code == 0, result


async def warm(shell: Shell, workspace: str, runs: int) -> None:
    for kind, (code, argv) in PLAIN.items():
        ours: list[float] = []
        base: list[float] = []

        async def bare(argv: list[str] = argv) -> object:
            return subprocess.run(argv, cwd=workspace, stdin=subprocess.DEVNULL, capture_output=True, check=True)

        for _ in range(runs):
            ours.append(await timed(lambda kind=kind, code=code: run(shell, kind, code)))
            base.append(await timed(bare))
            await asyncio.sleep(0.002)
        row(f"{kind.value} -c {code}", ours[5:], base[5:], "1.2")


async def calls(shell: Shell, local: Shell) -> None:
    async def one(where: Shell) -> float:
        result = await where.run(Action("b", Kind.PYTHON, CODE), Bindings(SOURCE, "v1"), Adder(), lambda _: None)
        return float(result.output.split()[0]) * 1e6

    pairs = [(await one(shell), await one(local)) for _ in range(12)][2:]
    ratio = statistics.median(ours / base for ours, base in pairs)
    ours, base = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"  {'tool call':18} {ours:7.1f} µs   beside {base:7.1f} µs   ratio {ratio:5.2f}   target 1.3")


async def cold(name: str, workspace: str, runs: int) -> None:
    ready: list[float] = []
    first: list[float] = []
    for _ in range(runs):
        begun = time.perf_counter()
        executor = made(name, workspace)
        shell = await executor.open("cold")
        ready.append((time.perf_counter() - begun) * 1e3)
        await run(shell, Kind.BASH, "true")
        first.append((time.perf_counter() - begun) * 1e3)
        await executor.aclose()
    for what, times, target in (("ready", ready, "40 ms"), ("first block done", first, "-")):
        least = sorted(times)[len(times) // 10]
        print(f"  cold, {what:17} {statistics.median(times):6.1f} ms (p10 {least:.1f})   target {target}")


def pss(root: int) -> float:
    """Return the proportional memory of a process and all below it, in MB."""
    total, queue = 0, [root]
    while queue:
        pid = queue.pop()
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            queue += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        except OSError:
            continue
        total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total / 1024


async def memory(name: str, folder: str, spare: bool) -> None:
    executors = [made(name, f"{folder}/{number}") for number in range(ALIVE)]
    after, host.SPARE_AFTER = host.SPARE_AFTER, 0.2 if spare else 1e6
    try:
        for executor in executors:
            await run(await executor.open("alive"), Kind.BASH, "true")
        await asyncio.sleep(6.0)
        links = [link for executor in executors for link in (executor._link, executor._spare) if link]
        assert len(links) == ALIVE * (1 + spare)
        total = sum(pss(link._launch.pid) for link in links)  # pyright: ignore[reportAttributeAccessIssue]
    finally:
        host.SPARE_AFTER = after
        await asyncio.gather(*(executor.aclose() for executor in executors))
    print(f"  memory, {ALIVE} alive{' with reserve' if spare else '':13} {total / ALIVE:6.1f} MB each   target 20 MB")


async def main(runs: int, names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as workspace:
        local = made("local", workspace)
        for name in names:
            executor = made(name, f"{workspace}/{name}")
            print(f"{name}:")
            shell = await executor.open("warm")
            await warm(shell, workspace, runs)
            await calls(shell, await local.open("beside"))
            await executor.aclose()
            if name != "srt":
                await cold(name, f"{workspace}/{name}", max(10, runs // 5))
            else:
                await cold(name, f"{workspace}/{name}", 3)
            if name == "bwrap":
                await memory(name, workspace, spare=False)
                await memory(name, workspace, spare=True)
        await local.aclose()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100, sys.argv[2:] or ["local", "bwrap"]))
