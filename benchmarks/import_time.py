"""The CPU of `import agentd` over a bare Python, and of the import with the patch function, over `import openai`.

Claim: at most 40 ms over bare Python.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

CASES = {
    "bare": "pass",
    "import agentd": "import agentd",
    "import openai": "import openai",
    "import openai, agentd.patch_openai_with_ptc": "import openai, agentd; agentd.patch_openai_with_ptc",
}


def cpu_of(code: str) -> float:
    before = os.times()
    subprocess.run([sys.executable, "-c", code], check=True)
    after = os.times()
    return (after.children_user + after.children_system - before.children_user - before.children_system) * 1000


def main() -> None:
    costs: dict[str, list[float]] = {name: [] for name in CASES}
    for number in range(11):
        for name, code in CASES.items():
            cost = cpu_of(code)
            if number:
                costs[name].append(cost)
    bare = statistics.median(costs["bare"])
    for name, each in costs.items():
        print(f"{name}: {statistics.median(each):.0f} ms, {statistics.median(each) - bare:.0f} over bare (limit 40)")


if __name__ == "__main__":
    main()
