"""What a block may use, and who sees to it."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from dataclasses import dataclass, fields

from agentd.core.errors import ExecutorUnavailable, OptionError
from agentd.executors import cgroups

_RLIMITS = {"memory": "RLIMIT_AS", "file_size": "RLIMIT_FSIZE", "open_files": "RLIMIT_NOFILE"}


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that code may use; `None` is no limit.

    `processes` (threads count) and `memory` (bytes) hold for all blocks of an executor together where a control group
    can be made. Elsewhere processes are counted ten times a second, and memory is address space, for each process.
    `file_size` (bytes), `open_files` and `cpu` (seconds) hold for each process.
    """

    processes: int | None = 512
    memory: int | None = None
    file_size: int | None = None
    open_files: int | None = None
    cpu: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value: object = getattr(self, field.name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise OptionError(f"limits.{field.name} must be a positive whole number, not {value!r}")


@dataclass(frozen=True, slots=True)
class Enforcement:
    """How limits are kept here: `report` says it by name, the rest is what to set up."""

    report: dict[str, str]
    group: dict[str, int]
    rlimits: dict[str, int]
    cpu: int


def enforce(limits: Limits) -> Enforcement:
    """Choose who keeps each limit on this machine; raises `ExecutorUnavailable` for one that cannot be kept here."""
    controllers = cgroups.CONTROLLERS.items()
    whole = {name: "cgroup" for name, one in controllers if getattr(limits, name) and cgroups.available(one)}
    found = divide(limits, whole)
    for name, rlimit in _RLIMITS.items():
        if rlimit in found.rlimits:
            _check_hard(name, rlimit, found.rlimits[rlimit])
    if limits.cpu is not None:
        _check_hard("cpu", "RLIMIT_CPU", limits.cpu)
    return found


def divide(limits: Limits, whole: Mapping[str, str]) -> Enforcement:
    """Choose who keeps each limit: `whole` says who does for all processes together, a runner does the others."""
    report = dict(whole)
    group = {name: value for name in whole if (value := getattr(limits, name)) is not None}
    rlimits = {"RLIMIT_CORE": 0}
    for name, rlimit in _RLIMITS.items():
        value: int | None = getattr(limits, name)
        if value is not None and name not in whole:
            rlimits[rlimit] = value
            report[name] = "rlimit"
    if limits.processes is not None and "processes" not in whole:
        report["processes"] = "watched"
    if limits.cpu is not None:
        report["cpu"] = "rlimit"
    return Enforcement(report, group, rlimits, limits.cpu or 0)


def _check_hard(name: str, rlimit: str, value: int) -> None:
    hard = resource.getrlimit(getattr(resource, rlimit))[1]
    if hard != resource.RLIM_INFINITY and value > hard:
        raise ExecutorUnavailable(
            f"limits.{name}={value} cannot be granted: the hard limit ({rlimit}) of this process is {hard}"
        )
