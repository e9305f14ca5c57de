"""The CPU of a token in a stream shown by `display_events`, beside the raw client's own iteration.

Claim: at most 1.1 of the raw client, for 2,000 tokens of text and for 16,000 inside one fence, and flat; the first text
comes at most 1.05 times as late as from the raw client.

The scripted model runs in a process of its own; a token is four characters, one delta. One fence is shown as text, the
other is a file to be created, whose action ends the call.
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
from collections.abc import Callable, Iterator
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


def deltas_raw(client: OpenAI) -> Iterator[str]:
    for event in client.responses.create(model="m", input="x", stream=True):
        if event.type == "response.output_text.delta":
            yield event.delta


def deltas_shown(client: OpenAI) -> Iterator[str]:
    options: dict[str, Any] = {"max_turns": 1}
    for event in display_events(client.responses.create(model="m", input="x", stream=True, **options)):
        if event.type == "text_delta":
            yield event.text


def measure(deltas: Callable[[OpenAI], Iterator[str]], client: OpenAI, tokens: int) -> tuple[float, float]:
    """Return CPU in µs a token that the model sent, and ms to the first text."""
    gc.collect()
    cpu, begun, first = time.process_time(), time.perf_counter(), 0.0
    for _ in deltas(client):
        first = first or time.perf_counter() - begun
    return (time.process_time() - cpu) / tokens * 1e6, first * 1000


def compare(tokens: int, fence: str, rounds: int) -> float:
    """Print the figures of one case; return our µs a token."""
    with tempfile.TemporaryDirectory() as name:
        process, url = serve(Path(name), text_of(tokens, fence))
        plain = OpenAI(base_url=url, api_key="x")
        patched = patch_openai_with_ptc(OpenAI(base_url=url, api_key="x"), cwd=Path(name) / "work", tools=[])
        ours, theirs = [], []
        for number in range(rounds + 1):
            one = measure(deltas_raw, plain, tokens), measure(deltas_shown, patched, tokens)
            if number:
                theirs.append(one[0])
                ours.append(one[1])
        unpatch_openai(patched).close()
        plain.close()
        process.terminate()
        process.wait()
    cpu, other = (statistics.median(one[0] for one in each) for each in (ours, theirs))
    shown = fence or "text"
    print(f"{tokens} tokens in {shown}: {cpu:.1f} µs a token, raw {other:.1f}, ratio {cpu / other:.2f} (limit 1.1)")
    if not fence:
        late, early = (min(one[1] for one in each) for each in (ours, theirs))
        print(f"first text after {late:.2f} ms, raw {early:.2f}, ratio {late / early:.2f} (limit 1.05)")
    return cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    compare(2000, "", rounds)
    short, long = (compare(tokens, "```python", rounds) for tokens in (2000, 16000))
    compare(16000, "```big.txt:create", rounds)
    print(f"16,000 against 2,000 tokens in a fence: {long / short:.2f}")


if __name__ == "__main__":
    main()
