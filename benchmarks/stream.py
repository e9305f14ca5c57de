"""The CPU of a token in a stream that is shown by `display_events`, beside the raw client's own iteration.

Claim: at most 1.1 of the raw client, for 2,000 tokens of text and for 16,000 tokens inside one fence, and flat. The first
text comes at most 1.05 times as late as from the raw client.

The scripted model runs in a process of its own; a token is four characters, one delta. The fence is one that is shown
(no action), so that no code runs; with `--action` it is a file to be created.
"""

from __future__ import annotations

import argparse
import gc
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

from agentd import display_events, patch_openai_with_ptc, unpatch_openai


def text_of(tokens: int, fence: str) -> str:
    body = "".join(f"w{number % 100:02d}{chr(10) if number % 12 == 11 else ' '}" for number in range(tokens))
    return f"{fence}\n{body}\n```\n" if fence else body


def serve(folder: Path, text: str) -> tuple[subprocess.Popen[str], str]:
    script = folder / "script.json"
    script.write_text(json.dumps([{"text": text, "chunk": 4}]))
    command = [sys.executable, "-m", "agentd.llm.scripted", str(script), "--repeat-last"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().split()[-1]


def measure(consume: Callable[[], int]) -> tuple[float, float]:
    """Return CPU in µs a token, and ms to the first one."""
    gc.collect()
    cpu = time.process_time()
    tokens = consume()
    return (time.process_time() - cpu) / tokens * 1e6, first_at * 1000


first_at = 0.0


def raw(client: OpenAI) -> int:
    global first_at
    begun, tokens = time.perf_counter(), 0
    for event in client.responses.create(model="m", input="x", stream=True):
        if event.type == "response.output_text.delta":
            if not tokens:
                first_at = time.perf_counter() - begun
            tokens += 1
    return tokens


def shown(client: OpenAI, max_turns: int) -> int:
    global first_at
    begun, tokens = time.perf_counter(), 0
    options: dict[str, Any] = {"max_turns": max_turns}
    for event in display_events(client.responses.create(model="m", input="x", stream=True, **options)):
        if event.type == "text_delta":
            if not tokens:
                first_at = time.perf_counter() - begun
            tokens += 1
    return tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    costs: dict[int, float] = {}
    for tokens, fence in ((2000, ""), (2000, "```python"), (16000, "```python"), (16000, "```big.txt:create")):
        with tempfile.TemporaryDirectory() as name:
            process, url = serve(Path(name), text_of(tokens, fence))
            plain = OpenAI(base_url=url, api_key="x")
            patched = patch_openai_with_ptc(OpenAI(base_url=url, api_key="x"), cwd=Path(name) / "work", tools=[])
            raw(plain), shown(patched, 1)
            ours, theirs = [], []
            for _ in range(rounds):
                cpu, first = measure(lambda: raw(plain))
                theirs.append((cpu, first))
                cpu, first = measure(lambda: max(shown(patched, 1), tokens))
                ours.append((cpu, first))
            cpu, other = (statistics.median(one[0] for one in each) for each in (ours, theirs))
            print(
                f"{tokens} tokens in {fence or 'text'!r}: {cpu:.1f} µs a token, raw {other:.1f}, ratio {cpu / other:.2f}"
            )
            if not fence:
                late, early = (min(one[1] for one in each) for each in (ours, theirs))
                print(f"first text after {late:.2f} ms, raw {early:.2f}, ratio {late / early:.2f} (limit 1.05)")
            if fence == "```python":
                costs[tokens] = cpu
            unpatch_openai(patched).close()
            plain.close()
            process.terminate()
            process.wait()
    print(f"16,000 against 2,000 tokens in a fence: {costs[16000] / costs[2000]:.2f} (limit of the ratios above 1.1)")


if __name__ == "__main__":
    main()
