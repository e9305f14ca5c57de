"""Where code runs: back ends by name, imported when they are asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentd.executors.bwrap import BwrapExecutor
    from agentd.executors.docker import DockerExecutor
    from agentd.executors.launch import Probe
    from agentd.executors.limits import Limits
    from agentd.executors.local import LocalExecutor, SubprocessExecutor
    from agentd.executors.microsandbox import MicrosandboxExecutor
    from agentd.executors.named import (
        MicrosandboxCLIExecutor,
        SandboxRuntimeExecutor,
        create_microsandbox_cli_executor,
        create_sandbox_runtime_executor,
    )
    from agentd.executors.policy import Policy
    from agentd.executors.registry import EXECUTORS, backend, create, names, plugins
    from agentd.executors.srt import SrtExecutor

__all__ = [
    "EXECUTORS",
    "BwrapExecutor",
    "DockerExecutor",
    "Limits",
    "LocalExecutor",
    "MicrosandboxCLIExecutor",
    "MicrosandboxExecutor",
    "Policy",
    "Probe",
    "SandboxRuntimeExecutor",
    "SrtExecutor",
    "SubprocessExecutor",
    "backend",
    "create",
    "create_microsandbox_cli_executor",
    "create_sandbox_runtime_executor",
    "names",
    "plugins",
]

_HOMES = {
    "EXECUTORS": "agentd.executors.registry",
    "BwrapExecutor": "agentd.executors.bwrap",
    "DockerExecutor": "agentd.executors.docker",
    "Limits": "agentd.executors.limits",
    "LocalExecutor": "agentd.executors.local",
    "MicrosandboxCLIExecutor": "agentd.executors.named",
    "MicrosandboxExecutor": "agentd.executors.microsandbox",
    "Policy": "agentd.executors.policy",
    "Probe": "agentd.executors.launch",
    "SandboxRuntimeExecutor": "agentd.executors.named",
    "SrtExecutor": "agentd.executors.srt",
    "SubprocessExecutor": "agentd.executors.local",
    "backend": "agentd.executors.registry",
    "create": "agentd.executors.registry",
    "create_microsandbox_cli_executor": "agentd.executors.named",
    "create_sandbox_runtime_executor": "agentd.executors.named",
    "names": "agentd.executors.registry",
    "plugins": "agentd.executors.registry",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
