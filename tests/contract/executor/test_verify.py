"""The short battery, before a sandbox is trusted: it names the holes, and leaves nothing behind."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from agentd.core.protocols import Executor
from agentd.executors.battery.canaries import Canaries
from agentd.executors.battery.report import Outcome
from agentd.executors.battery.run import ALL, SHORT, run_battery, verify
from tests.contract.executor.harness import Session, running


def planted(canaries: Canaries) -> list[str]:
    """Return what there is on the host of what was told to the probes."""
    paths = [Path(value) for value in canaries.told.values() if isinstance(value, str) and value.startswith("/")]
    return [
        str(path) for path in paths if path.name.startswith("agentd-battery") or "agentd-battery" in str(path.parent)
    ]


async def test_a_sandbox_passes_and_local_does_not(make: Callable[..., Executor]) -> None:
    executor = make()
    (executor.workspace_dir / "mine").write_text("mine")
    report = await verify(executor)
    assert set(report.findings) == set(SHORT)
    if executor.name == "local":
        holes = {hole.case for hole in report.holes}
        assert {"read-outside", "write-outside", "net-loopback", "process-see", "process-signal"} <= holes
        assert "change a file beside the workspace: allowed" in str(report)
    else:
        assert report.holes == [], str(report)
        assert "refused" in str(report)
    left = set(os.listdir(executor.workspace_dir)) - {".agentd", "skills"}
    assert left == {"mine"}
    await executor.aclose()


async def test_nothing_that_was_planted_is_left(make: Callable[..., Executor]) -> None:
    executor = make()
    with Canaries(executor.workspace_dir) as canaries:
        mark = str(canaries.told["victim-mark"])
        assert len(running(mark)) == 2
        there = planted(canaries)
        assert any(map(os.path.exists, there))
        report = await run_battery(executor, canaries, ["process-signal", "write-tmp"])
    assert set(report.findings) == {"process-signal", "write-tmp"}
    assert list(filter(os.path.exists, there)) == []
    assert running(mark) == []
    await executor.aclose()


async def test_what_succeeds_inside_only_is_refused_and_what_the_host_sees_is_allowed(
    make: Callable[..., Executor],
) -> None:
    executor = make()
    session = Session(await executor.open("one"))
    with Canaries(executor.workspace_dir) as canaries:
        assert canaries.evidence("write-outside") is False
        assert canaries.evidence("net-loopback") is False
        assert canaries.evidence("process-signal") is False
        assert canaries.evidence("kernel-mount") is None
        Path(str(canaries.told["target:write-outside"])).write_text("changed")
        # Refused inside or not: the file has changed.
        report = await run_battery(executor, canaries, ["write-outside"])
        assert report.findings["write-outside"].outcome is Outcome.ALLOWED
    assert await session.out("echo next") == "next\n"
    await executor.aclose()


async def test_a_battery_that_cannot_run_is_no_pass(make: Callable[..., Executor]) -> None:
    executor = make(policy={"wall_time": 0.02})
    report = await verify(executor)
    assert len(report.holes) == len(SHORT)
    assert {hole.outcome for hole in report.holes} == {Outcome.ERROR}
    await executor.aclose()


def test_the_short_list_is_part_of_the_whole() -> None:
    assert set(SHORT) <= set(ALL)
    assert len(SHORT) == len(set(SHORT))
