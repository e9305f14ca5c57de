"""The CPU of a turn loop through a patched client, beside the raw client making the same model calls.

Claims: 10 turns at most 0.35 of the raw client's CPU, 100 turns at most 0.06, the cost of a turn flat within 50 % from
turn 10 to turn 500, and a call without any fence at most 1.05 of the raw client's.

Measured is the CPU of this process, all its threads (the scripted model runs in a process of its own); a turn runs one
`bash` block whose processes are not counted. The raw client sends the very same messages with `create`. Both have made
a call before.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openai import OpenAI

from agentd import patch_openai_with_ptc, unpatch_openai

BLOCK = "I will look.\n\n```bash:execute\n:\n```\n"


class Server:
    """A scripted model in its own process, that answers `turns` times with a block and then with an end."""

    def __init__(self, turns: int) -> None:
        self._folder = tempfile.TemporaryDirectory()
        script = Path(self._folder.name) / "script.json"
        script.write_text(json.dumps([BLOCK] * turns + ["Done."]))
        command = [sys.executable, "-m", "agentd.llm.scripted", str(script), "--repeat-last"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().split()[-1]

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._folder.cleanup()


def cpu_of(call: Callable[[], object]) -> tuple[float, float]:
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    return (time.process_time() - cpu) * 1000, (time.perf_counter() - wall) * 1000


def patched_turns(turns: int) -> tuple[float, float, list[dict[str, Any]], list[float]]:
    """Return CPU and wall in ms, the messages that the last call sent, and the CPU at the end of each turn."""
    marks: list[float] = []

    def mark(event: Any) -> None:
        if event.type == "usage":
            marks.append(time.process_time())

    with Server(turns + 2) as server, tempfile.TemporaryDirectory() as folder:
        client: Any = patch_openai_with_ptc(OpenAI(base_url=server.url, api_key="x"), cwd=folder, tools=[])
        made: list[Any] = []
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Warm up."}], max_turns=2)
        marks.clear()

        def call() -> None:
            messages: Any = [{"role": "user", "content": "Go."}]
            made.append(
                client.chat.completions.create(model="m", messages=messages, max_turns=turns + 1, on_event=mark)
            )

        cpu, wall = cpu_of(call)
        sent = [{"role": "user", "content": "Go."}]
        sent += [
            {"role": event.role, "content": event.text} for event in made[0].agentd.events if event.type == "message"
        ]
        assert made[0].agentd.model_calls == turns + 1
        unpatch_openai(client).close()
    return cpu, wall, sent, marks


def raw_turns(sent: list[dict[str, Any]], turns: int) -> tuple[float, float]:
    with Server(0) as server:
        client = OpenAI(base_url=server.url, api_key="x")
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Warm up."}])

        def call() -> None:
            for turn in range(turns + 1):
                messages: Any = sent[: 1 + 2 * turn]
                client.chat.completions.create(model="m", messages=messages)

        measured = cpu_of(call)
        client.close()
    return measured


def no_fence(stream: bool, rounds: int) -> list[tuple[float, float]]:
    """Return pairs of CPU in ms, patched and raw, for a call whose answer has no fence; interleaved."""
    pairs: list[tuple[float, float]] = []
    with Server(0) as server, tempfile.TemporaryDirectory() as folder:
        raw = OpenAI(base_url=server.url, api_key="x")
        patched = patch_openai_with_ptc(OpenAI(base_url=server.url, api_key="x"), cwd=folder, tools=[])
        messages: Any = [{"role": "user", "content": "Hi."}]

        def first(client: OpenAI) -> None:
            made: Any = client.chat.completions.create(model="m", messages=messages, stream=stream)
            if stream:
                for chunk in made:
                    if chunk.choices and chunk.choices[0].delta.content:
                        break
                for _ in made:
                    pass

        for _ in range(20):
            first(raw)
            first(patched)
        for _ in range(rounds):
            one, two = [], []
            for _ in range(20):
                two.append(cpu_of(lambda: first(raw))[0])
                one.append(cpu_of(lambda: first(patched))[0])
            pairs.append((statistics.median(one), statistics.median(two)))
        unpatch_openai(patched).close()
        raw.close()
    return pairs


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    rounds = arguments.parse_args().rounds
    patched_turns(3)
    for turns, limit in ((10, 0.35), (100, 0.06)):
        ratios, ours, theirs = [], [], []
        for _ in range(rounds if turns == 10 else max(2, rounds // 2)):
            cpu, _, sent, _ = patched_turns(turns)
            raw, _ = raw_turns(sent, turns)
            ratios.append(cpu / raw)
            ours.append(cpu)
            theirs.append(raw)
        print(
            f"{turns} turns, CPU: patched {min(ours):.1f} ms, raw {min(theirs):.1f} ms, ratio median "
            f"{statistics.median(ratios):.3f}, least {min(ratios):.3f} (limit {limit})"
        )
    _, _, _, marks = patched_turns(500)
    costs = [(later - earlier) * 1000 for earlier, later in itertools.pairwise(marks)]
    early, late = statistics.median(costs[5:35]), statistics.median(costs[-60:])
    print(
        f"CPU a turn: {early:.2f} ms about turn 20, {late:.2f} ms about turn 470, ratio {late / early:.2f} (limit 1.5)"
    )
    for stream in (False, True):
        pairs = no_fence(stream, rounds)
        ratio = statistics.median(one / two for one, two in pairs)
        print(f"no fence, stream={stream}: CPU ratio {ratio:.3f} (patched {pairs[0][0]:.2f} ms) (limit 1.05)")


if __name__ == "__main__":
    main()
