"""The time to connect eight MCP servers at once, beside the slowest of them alone.

Claim: at most 1.2 of the slowest. The servers take from 0.3 to 1.0 seconds to start, and wait while they do: servers
that compute at their start share the processors of the machine, whoever starts them. The time is that of a fresh pool
until all tools are listed; both kinds of round alternate, and the SDK has been imported.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time

from mcp import StdioServerParameters

from agentd.mcp.pool import ServerPool
from benchmarks.mcp_calls import SERVER

DELAYS = tuple(number / 10 for number in range(3, 11))


def server(delay: float) -> StdioServerParameters:
    return StdioServerParameters(
        command=sys.executable, args=["-S", "-c", f"import time\ntime.sleep({delay})\n{SERVER}"]
    )


async def connected(delays: tuple[float, ...]) -> float:
    """Return the seconds until all tools are there."""
    pool = ServerPool()
    started = time.perf_counter()
    tools = await pool.connect([server(delay) for delay in delays])
    took = time.perf_counter() - started
    assert len(tools) == len(delays)
    await pool.close()
    return took


async def compare(rounds: int) -> dict[str, float]:
    await connected((0.0,))
    alone: list[float] = []
    together: list[float] = []
    for _ in range(rounds):
        alone.append(await connected(DELAYS[-1:]))
        together.append(await connected(DELAYS))
    one, all_of_them = statistics.median(alone), statistics.median(together)
    return {"slowest_alone_s": one, "eight_s": all_of_them, "ratio": all_of_them / one}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = asyncio.run(compare(options.rounds))
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    print(
        f"the slowest alone {figures['slowest_alone_s']:.2f} s, eight at once {figures['eight_s']:.2f} s, "
        f"ratio {figures['ratio']:.2f}"
    )


if __name__ == "__main__":
    main()
