"""Where code runs: back ends by name, imported when they are asked for."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from agentd.core.errors import ExecutorUnavailable

if TYPE_CHECKING:
    from agentd.core.protocols import Executor
    from agentd.executors.limits import Limits
    from agentd.executors.local import LocalExecutor, SubprocessExecutor

__all__ = ["EXECUTORS", "Limits", "LocalExecutor", "SubprocessExecutor", "create"]

EXECUTORS = {"local": "agentd.executors.local.LocalExecutor"}
_HOMES = {
    "Limits": "agentd.executors.limits",
    "LocalExecutor": "agentd.executors.local",
    "SubprocessExecutor": "agentd.executors.local",
}


def create(name: str, workspace_dir: str | Path, **options: object) -> Executor:
    """Return the executor `name` on a workspace; raises `ExecutorUnavailable` when there is none of that name."""
    path = EXECUTORS.get(name)
    if path is None:
        raise ExecutorUnavailable(f"there is no executor {name!r}; known: {', '.join(sorted(EXECUTORS))}")
    module, _, attribute = path.rpartition(".")
    return getattr(importlib.import_module(module), attribute)(workspace_dir, **options)


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
