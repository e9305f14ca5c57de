"""Where code runs: back ends by name, imported when they are asked for."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from agentd.core.errors import ExecutorUnavailable

if TYPE_CHECKING:
    from agentd.core.protocols import Executor

EXECUTORS = {"local": "agentd.executors.local.LocalExecutor"}


def create(name: str, workspace_dir: str | Path, **options: object) -> Executor:
    """Return the executor `name` on a workspace; raises `ExecutorUnavailable` when there is none of that name."""
    path = EXECUTORS.get(name)
    if path is None:
        raise ExecutorUnavailable(f"there is no executor {name!r}; known: {', '.join(sorted(EXECUTORS))}")
    module, _, attribute = path.rpartition(".")
    return getattr(importlib.import_module(module), attribute)(workspace_dir, **options)
