"""Tokens that 64 tools cost in the prompt: 189 as names and 461 with the signatures of short servers are the claim.

    python benchmarks/catalogue_tokens.py [encoding-folder]

The tools are what `tools/list` of six real servers answered (data/tools64.json): server-github 0.6.2, server-filesystem
0.2.0, server-memory 0.6.3, mcp-server-git and mcp-server-time 2026.10.19, mcp-server-fetch 2026.10.24.

Counted exactly with `tiktoken` in o200k_base. Its table is fetched by tiktoken itself, or read from `encoding-folder`
(else `TIKTOKEN_CACHE_DIR`) where there is no network: the `litellm` wheel has it in
`litellm/litellm_core_utils/tokenizers`.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from agentd.core.tools import ToolSpec
from agentd.skills import Catalogue, generate, guidance, install
from agentd.skills.prompt import names, servers, signatures

DATA = Path(__file__).parent / "data" / "tools64.json"
LIMITS = {"names": 200, "short signatures": 800}


def counter() -> Callable[[str], int]:
    """Return a function that counts the tokens of a text."""
    if len(sys.argv) > 1:
        os.environ["TIKTOKEN_CACHE_DIR"] = sys.argv[1]
    try:
        tiktoken = importlib.import_module("tiktoken")
    except ImportError:
        sys.exit("this needs tiktoken, which is not a dependency: pip install tiktoken")
    encoding = tiktoken.get_encoding("o200k_base")
    return lambda text: len(encoding.encode(text, disallowed_special=()))


def recorded() -> list[ToolSpec]:
    """Return the recorded tools."""
    return [
        ToolSpec(
            tool["name"], tool.get("description", ""), tool["inputSchema"], tool.get("outputSchema"), server["server"]
        )
        for server in json.loads(DATA.read_text(encoding="utf-8"))
        for tool in server["tools"]
    ]


def median_ms(action: Callable[[], object], runs: int = 21) -> float:
    """Return the median CPU time of an action."""
    times: list[float] = []
    for _ in range(runs):
        begun = time.process_time()
        action()
        times.append(time.process_time() - begun)
    return sorted(times)[runs // 2] * 1e3


def main() -> int:
    count, specs = counter(), recorded()
    catalogue = Catalogue.of(specs)
    groups = catalogue.by_skill()
    print(f"{'server':<12}{'tools':>6}{'names':>8}{'signatures':>12}")
    for skill, entries in groups.items():
        print(f"{skill:<12}{len(entries):>6}{count(names(skill, entries)):>8}{count(signatures(skill, entries)):>12}")
    figures = {
        "names": count("\n".join(names(*group) for group in groups.items())),
        "short signatures": count("\n".join(servers(catalogue))),
        "all signatures": count("\n".join(signatures(*group) for group in groups.items())),
        "whole guidance": count(guidance(catalogue)),
        "raw JSON": count(json.dumps([[s.name, s.description, s.input_schema] for s in specs], separators=(",", ":"))),
    }
    for name, tokens in figures.items():
        print(f"{name:<18}{tokens:>8}" + (f"   limit {LIMITS[name]}" if name in LIMITS else ""))
    with TemporaryDirectory() as folder:
        print(f"{'generate':<18}{median_ms(lambda: generate.__wrapped__(catalogue)):>8.2f} ms")
        install(catalogue, Path(folder))
        print(f"{'install again':<18}{median_ms(lambda: install(catalogue, Path(folder))):>8.2f} ms   limit 1.00")
    return int(any(figures[name] > limit for name, limit in LIMITS.items()))


if __name__ == "__main__":
    sys.exit(main())
