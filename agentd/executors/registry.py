"""Back ends by name: those of this package, and those that other distributions bring.

A distribution brings one by an entry point of the group `agentd.executors`:

    [project.entry-points."agentd.executors"]
    firecracker = "my_package.firecracker:FirecrackerExecutor"

What the name stands for is a class, or anything else with these:

* `name`: the same name.
* `probe()`, without an instance: an `agentd.executors.launch.Probe`, which says whether the back end can run here and,
  when it cannot, why not and what would help. It does not raise.
* called with a workspace's folder and options by keyword, it returns an `agentd.core.protocols.Executor`, or raises
  `ExecutorUnavailable` with the reason and the remedy. `policy` and `timeout` are options that every back end knows.

Who has a place in which a process can be started need not write an executor: `agentd.executors.host.RunnerExecutor`
lacks nothing but that place, and `agentd.executors.sandboxed.SandboxedExecutor` is one whose place is shut in, with the
way out by name, the tools' bridge and the battery besides. A class made of one of them has

* `_launch()`: starts the runner without waiting, and returns an `agentd.executors.launch.Launch`. Its `sock` is the
  host's end of a stream to the runner, which was started as `python3 -I <the folder launch.RUNNER> -` and speaks on its
  standard input and output. Where descriptors cannot travel along that, `doorway` is a
  `agentd.executors.doorway.Doorway`, whose socket can be connected to from inside.
* `_keep()`: who keeps each clause of the policy, by `agentd.executors.policy.settle`, which refuses the others.
* `_settings(launch)`: what the runner is told besides: `door_path` or `door_port` and `net_key` of a doorway, `walls`.

`agentd.executors.docker` is made in that way, and comes in by this door.

A name of this package cannot be taken by others, and one that two distributions bring is nobody's.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from agentd.core.errors import ExecutorUnavailable

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from agentd.core.protocols import Executor
    from agentd.executors.launch import Probe

GROUP = "agentd.executors"
EXECUTORS = {
    "local": "agentd.executors.local:LocalExecutor",
    "bwrap": "agentd.executors.bwrap:BwrapExecutor",
    "srt": "agentd.executors.srt:SrtExecutor",
    "microsandbox": "agentd.executors.microsandbox:MicrosandboxExecutor",
}
_log = logging.getLogger("agentd.executors")


class Backend(Protocol):
    """What makes executors of one kind."""

    name: str

    def __call__(self, workspace_dir: str | Path, **options: object) -> Executor: ...

    def probe(self) -> Probe: ...


@dataclass(frozen=True, slots=True)
class Plugin:
    """A back end that a distribution brings; `problem` says why it cannot be used, as far as that is known unloaded."""

    name: str
    distribution: str
    target: EntryPoint
    problem: str = ""

    def load(self) -> Backend:
        """Import the back end; raises `ExecutorUnavailable`, which names the distribution, when it cannot be used."""
        if self.problem:
            raise ExecutorUnavailable(self.problem)
        who = f"the executor {self.name!r} of {self.distribution} ({self.target.value})"
        try:
            found: object = self.target.load()
            lacking = [need for need, there in _needs(found).items() if not there]
        except (Exception, SystemExit) as error:  # a rim: the code of strangers
            raise ExecutorUnavailable(
                f"{who} cannot be loaded: {type(error).__name__}: {error}. Repair or uninstall {self.distribution}"
            ) from error
        if lacking:
            raise ExecutorUnavailable(f"{who} is not a back end: {', '.join(lacking)}")
        return cast("Backend", found)


def create(name: str, workspace_dir: str | Path, **options: object) -> Executor:
    """Return the executor `name` on a workspace; raises `ExecutorUnavailable` when there is none of that name here."""
    return backend(name)(workspace_dir, **options)


def backend(name: str) -> Backend:
    """Return what makes executors of that name; raises `ExecutorUnavailable` when it is unknown or cannot be loaded."""
    path = EXECUTORS.get(name)
    if path is not None:
        module, _, attribute = path.partition(":")
        return cast("Backend", getattr(importlib.import_module(module), attribute))
    brought = plugins()
    plugin = brought.get(name)
    if plugin is None:
        raise ExecutorUnavailable(_unknown(name, brought.values()))
    return plugin.load()


def names() -> list[str]:
    """Return the names of all back ends, this package's first. Imports none of them."""
    return [*EXECUTORS, *sorted(set(plugins()) - set(EXECUTORS))]


def plugins() -> dict[str, Plugin]:
    """Return what other distributions bring, by name; also what cannot be used, with its `problem`. Imports nothing."""
    found: dict[str, list[Plugin]] = {}
    for distribution, target in _entries():
        found.setdefault(target.name, []).append(Plugin(target.name, distribution, target))
    return {name: _judge(several) for name, several in sorted(found.items())}


def _entries() -> Iterator[tuple[str, EntryPoint]]:
    from importlib.metadata import distributions  # 20 ms, which the built-in names need not pay

    seen: set[str] = set()
    for one in distributions():
        # What is malformed may belong to any package here: it must not take the others with it.
        try:
            name, targets = one.name, one.entry_points.select(group=GROUP)
        except Exception as error:  # noqa: BLE001  # a rim: the files of strangers
            _log.debug("an installed distribution cannot be read: %s: %s", type(error).__name__, error)
            continue
        # The first on the path is the one that is imported.
        if targets and name not in seen:
            seen.add(name)
            yield from ((f"{name} {one.version}", target) for target in targets)


def _judge(several: list[Plugin]) -> Plugin:
    first = several[0]
    who = " and ".join(sorted(one.distribution for one in several))
    if first.name in EXECUTORS:
        problem = f"{first.name!r} is an executor of agentd, which {who} cannot replace: uninstall it"
    elif len(several) > 1:
        problem = f"{first.name!r} is brought by {who}: uninstall all but one"
    else:
        return first
    return Plugin(first.name, who, first.target, problem)


def _needs(found: object) -> Mapping[str, bool]:
    probe = inspect.getattr_static(found, "probe", None)
    bound = not inspect.isclass(found) or isinstance(probe, (classmethod, staticmethod))
    return {
        "it cannot be called": callable(found),
        "it has no `name`": isinstance(getattr(found, "name", None), str),
        "it has no `probe` that works without an instance": probe is not None and bound,
    }


def _unknown(name: str, brought: Iterable[Plugin]) -> str:
    known = [*EXECUTORS, *sorted(one.name for one in brought if one.name not in EXECUTORS)]
    near = difflib.get_close_matches(name, known, 1, 0.5)
    return (
        f"there is no executor {name!r}"
        + (f", did you mean {near[0]!r}?" if near else ".")
        + f" Known: {', '.join(known)}; others come with packages that bring them (entry points `{GROUP}`)"
    )
