"""A warm block against the least that it could cost: `subprocess.run` of the script, a bare fork of the same worker.

    python benchmarks/blocks.py [runs]

Wall time and the CPU time of all processes involved, median and fastest tenth, first on all CPUs and then on one.
"""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from agentd.core.actions import Action, Bindings, Kind
from agentd.executors.local import LocalExecutor

BARE_FORK = """
import sys, time
runs = int(sys.argv[2])
sys.path.insert(0, sys.argv[1])
from agentd.executors.runner import serve, python  # what the runner has loaded
python.prepare()
import os
times = []
for _ in range(runs):
    begun = time.perf_counter()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(write, 1)
            exec(compile("print('hi')", "<block>", "exec"), {})
            sys.stdout.flush()
        finally:
            os._exit(0)
    os.close(write)
    while os.read(read, 65536):
        pass
    os.close(read)
    os.waitpid(pid, 0)
    times.append(time.perf_counter() - begun)
    time.sleep(0.002)
os.write(2, (" ".join(map(repr, times))).encode())
"""


class NoDoor:
    """Answers every call with an error; these blocks have no tools."""

    def call(self, request: bytes) -> bytes:
        return b'{"ok":false,"error":"no tools"}'


async def timed(run: Callable[[], Awaitable[object]], times: list[float]) -> None:
    begun = time.perf_counter()
    await run()
    times.append(time.perf_counter() - begun)
    await asyncio.sleep(0.002)


def cpu() -> float:
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total += usage.ru_utime + usage.ru_stime
    return total


def figures(times: list[float]) -> tuple[float, float]:
    ordered = sorted(times)
    return ordered[len(ordered) // 2] * 1e3, ordered[len(ordered) // 10] * 1e3


def show(name: str, ours: list[float], limit: list[float], target: float) -> None:
    (median, tenth), (base, base_tenth) = figures(ours), figures(limit)
    print(
        f"  {name:8} {median:6.2f} ms (p10 {tenth:5.2f})   limit {base:6.2f} ms (p10 {base_tenth:5.2f})"
        f"   ratio {median / base:4.2f} (p10 {tenth / base_tenth:4.2f})   target {target}"
    )


async def bash_blocks(runs: int, workspace: str) -> tuple[list[float], list[float]]:
    executor = LocalExecutor(workspace)
    shell = await executor.open("bench")
    script = "x=1; for i in 1 2 3; do x=$((x + i)); done; echo $x"
    action = Action("bench", Kind.BASH, script)
    argv = ["bash", "--norc", "--noprofile", "-c", script]
    # The same environment and the same directory, so that nothing but the way there differs.
    env = dict(executor.env)
    ours: list[float] = []
    limit: list[float] = []

    async def bare() -> object:
        return subprocess.run(argv, cwd=workspace, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=True)

    for _ in range(runs):
        await timed(lambda: shell.run(action, Bindings(), NoDoor(), lambda _: None), ours)
        await timed(bare, limit)
    await executor.aclose()
    return ours[5:], limit[5:]


async def python_blocks(runs: int, workspace: str) -> tuple[list[float], list[float]]:
    executor = LocalExecutor(workspace)
    shell = await executor.open("bench")
    action = Action("bench", Kind.PYTHON, "print('hi')")
    ours: list[float] = []
    for _ in range(runs):
        await timed(lambda: shell.run(action, Bindings(), NoDoor(), lambda _: None), ours)
    await executor.aclose()
    root = str(Path(__file__).parent.parent)
    bare = subprocess.run(
        [sys.executable, "-I", "-S", "-c", BARE_FORK, root, str(runs)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=True,
        text=True,
    )
    return ours[5:], [float(word) for word in bare.stderr.split()][5:]


def main(runs: int) -> None:
    for name, cpus in (("all CPUs", os.sched_getaffinity(0)), ("one CPU", {min(os.sched_getaffinity(0))})):
        os.sched_setaffinity(0, cpus)
        print(f"{name}:")
        with tempfile.TemporaryDirectory() as workspace:
            begun = cpu()
            show("bash", *asyncio.run(bash_blocks(runs, workspace)), target=1.2)
            middle = cpu()
            show("python", *asyncio.run(python_blocks(runs, workspace)), target=1.5)
            print(f"  CPU: bash rows {middle - begun:.2f} s, python rows {cpu() - middle:.2f} s for 2 x {runs} runs")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
