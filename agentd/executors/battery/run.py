"""Running the battery in an executor: all of it for the conformance suite, a few probes before a sandbox is trusted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from agentd.core.actions import Action, ActionResult, Bindings, Kind
from agentd.core.ids import new_id
from agentd.core.protocols import Executor, Shell
from agentd.executors.battery.canaries import Canaries
from agentd.executors.battery.inside import (
    controls,
    kernel,
    network,
    processes,
    protected,
    reading,
    syscalls,
    writing,
)
from agentd.executors.battery.inside.harness import PROBES
from agentd.executors.battery.inside.harness import __name__ as harness
from agentd.executors.battery.report import Finding, Outcome, Report

# In the order in which they are to be run inside.
_MODULES = (syscalls, controls, reading, writing, network, processes, kernel, protected)
ALL = tuple(PROBES)
SHORT = (
    *("works-workspace", "works-programs", "works-python"),
    *("read-outside", "read-secrets", "read-shadow", "read-proc-root", "read-handle"),
    *("write-outside", "write-symlink", "write-tmp", "write-core-pattern"),
    *("net-loopback", "net-address", "net-udp", "net-abstract", "net-unix", "net-raw"),
    *("process-see", "process-signal", "process-trace"),
    *("kernel-unshare-user", "kernel-clone3", "kernel-mount", "kernel-bpf", "kernel-io-uring", "kernel-new-rights"),
)
# These undermine what others are to find, so they come later, in a block of their own.
_LAST = ("protect-state", "protect-state-hook")
_SECONDS = 120.0

_PROGRAM = """\
import sys, types
for name, text in {sources!r}:
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(text, name, "exec"), module.__dict__)
sys.modules[{harness!r}].main({told!r}, {cases!r})
"""


class _NoTools:
    """The door of blocks that have no tools."""

    def call(self, request: bytes) -> bytes:
        return b'{"ok":false,"error":"there are no tools"}'


async def run_battery(executor: Executor, canaries: Canaries, cases: Sequence[str] = ALL) -> Report:
    """Try each case in a session of its own, and say what the sandbox let through.

    What the probes report is only half of it: where the host can see whether something happened, that counts.
    """
    shell = await executor.open(new_id("battery"))
    try:
        first = [case for case in cases if case not in _LAST]
        told = await _probe(shell, canaries, first)
        told |= await _host_part(shell, canaries, [case for case in cases if case in _LAST])
        return Report({case: _finding(case, told[case], canaries.evidence(case)) for case in cases})
    finally:
        await shell.close()


async def verify(executor: Executor) -> Report:
    """Try the short list, which does nothing to the workspace but make a file there and remove it."""
    with Canaries(executor.workspace_dir) as canaries:
        return await run_battery(executor, canaries, SHORT)


def program(told: dict[str, object], cases: Iterable[str]) -> str:
    """Return the block of Python that runs these cases."""
    names = [harness, *(module.__name__ for module in _MODULES)]
    here = Path(__file__).with_name("inside")
    sources = [(name, (here / f"{name.rpartition('.')[2]}.py").read_text("utf-8")) for name in names]
    return _PROGRAM.format(sources=sources, harness=harness, told=told, cases=list(cases))


Told = dict[str, tuple[str, str]]


async def _probe(shell: Shell, canaries: Canaries, cases: Sequence[str]) -> Told:
    result = await _run(shell, Kind.PYTHON, program(canaries.told, cases))
    _, _, rest = result.output.partition(str(canaries.told["mark"]))
    try:
        heard: dict[str, list[str]] = json.loads(rest.partition("\n")[0])
    except ValueError:
        trouble = f"the battery itself failed ({result.reason or result.exit_code}): {result.output[-300:]}"
        return dict.fromkeys(cases, ("error", trouble))
    return {case: (outcome, detail) for case, (outcome, detail) in heard.items()}


async def _host_part(shell: Shell, canaries: Canaries, last: Sequence[str]) -> Told:
    """Do what only the host can: create files where links were planted, and let what was left running have its turn."""
    if not last:
        return {}
    await _run(shell, Kind.CREATE, "changed\n", "battery-planted/file")
    await _run(shell, Kind.CREATE, "changed\n", "battery-planted-file")
    canaries.touch_late()
    await _run(shell, Kind.BASH, "sleep 0.3")
    told = await _probe(shell, canaries, last)
    await _run(shell, Kind.BASH, "true")
    return told


async def _run(shell: Shell, kind: Kind, code: str, path: str = "") -> ActionResult:
    action = Action("agentd-battery", kind, code, path=path, timeout=_SECONDS)
    return await shell.run(action, Bindings(), _NoTools(), lambda _: None)


def _finding(case: str, told: tuple[str, str], seen: bool | None) -> Finding:
    outcome, detail = Outcome(told[0]), told[1]
    if seen is None or (outcome in (Outcome.ABSENT, Outcome.ERROR) and not seen):
        return Finding(case, outcome, detail)
    if seen:
        return Finding(case, Outcome.ALLOWED, detail)
    return Finding(case, Outcome.REFUSED, f"only in its own view: {detail}" if outcome is Outcome.ALLOWED else detail)
