"""Runs the whole battery in one back end, in a process of its own, and prints what it has found as JSON.

`python driver.py <back end> <folder> <other user's files as JSON>`; the folder is new, `HOME` is inside of it, and
`AGENTD_BATTERY_SECRET` stands in the environment.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from agentd.core.protocols import Executor
from agentd.executors.battery.canaries import HIDDEN, Canaries, Ground
from agentd.executors.battery.run import run_battery
from agentd.executors.policy import TRAPS, Policy
from tests.contract.executor.backends import make

# One of each clause, to hear who keeps it.
CLAUSES: dict[str, object] = {
    "readable": (),
    "writable": (),
    "hidden": (HIDDEN,),
    "protected": (".env",),
    "allowed_domains": ("allowed.example",),
    "denied_domains": ("denied.example",),
    "private_networks": ("10.0.0.0/8",),
    "local_binding": False,
    "cpu": 60,
    "memory": 4 << 30,
    "processes": 64,
    "file_size": 1 << 30,
    "open_files": 256,
    "wall_time": 60,
}


def policy(ground: Ground) -> Policy:
    """Return the policy that all back ends which keep one are judged by."""
    return Policy(
        readable=(str(ground.readable),),
        hidden=(*Policy().hidden, HIDDEN),
        protected=(*TRAPS, ".env"),
        allowed_domains=("allowed.example",),
    )


def made(name: str, ground: Ground) -> Executor:
    """Return the executor under test; what keeps no policy is asked for none."""
    if name == "local":
        return make(name, ground.workspace)
    return make(name, ground.workspace, policy=policy(ground))


async def kept(name: str, ground: Ground) -> dict[str, str]:
    """Return who keeps which clause."""
    paths = {"readable": (str(ground.readable),), "writable": (str(ground.readable),)}
    executor = make(name, ground.workspace, policy={**CLAUSES, **paths, "best_effort": True})
    await executor.aclose()
    return getattr(executor, "enforcement")  # noqa: B009  # not in the protocol


async def main() -> None:
    name, folder, others = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    ground = Ground(
        workspace=folder / "workspace",
        home=Path(os.environ["HOME"]),
        readable=folder / "readable",
        env_secret=os.environ["AGENTD_BATTERY_SECRET"],
        others=others,
    )
    for place in (ground.workspace, ground.home, ground.readable):
        place.mkdir()
    with Canaries(ground.workspace, ground) as canaries:
        executor = made(name, ground)
        try:
            report = await run_battery(executor, canaries)
        finally:
            await executor.aclose()
    findings = {case: [finding.outcome, finding.detail] for case, finding in report.findings.items()}
    sys.stdout.write(json.dumps({"findings": findings, "enforcement": await kept(name, ground)}))


if __name__ == "__main__":
    asyncio.run(main())
