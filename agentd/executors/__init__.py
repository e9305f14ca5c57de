"""Where code runs: back ends by name, imported when they are asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentd.executors.limits import Limits
    from agentd.executors.local import LocalExecutor, SubprocessExecutor
    from agentd.executors.registry import EXECUTORS, backend, create, names, plugins

__all__ = ["EXECUTORS", "Limits", "LocalExecutor", "SubprocessExecutor", "backend", "create", "names", "plugins"]

_HOMES = {
    "EXECUTORS": "agentd.executors.registry",
    "Limits": "agentd.executors.limits",
    "LocalExecutor": "agentd.executors.local",
    "SubprocessExecutor": "agentd.executors.local",
    "backend": "agentd.executors.registry",
    "create": "agentd.executors.registry",
    "names": "agentd.executors.registry",
    "plugins": "agentd.executors.registry",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
