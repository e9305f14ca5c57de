"""agentd gives any OpenAI client an agent that runs the model's code and calls its tools.

The names below are loaded at first use: importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentd.core.errors import AgentdError
    from agentd.executors import (
        BwrapExecutor,
        DockerExecutor,
        LocalExecutor,
        MicrosandboxCLIExecutor,
        MicrosandboxExecutor,
        Policy,
        SandboxRuntimeExecutor,
        SrtExecutor,
        SubprocessExecutor,
        create_microsandbox_cli_executor,
        create_sandbox_runtime_executor,
    )
    from agentd.llm.replay import replay
    from agentd.llm.scripted import ScriptedModel
    from agentd.mcp.client import MCPClient
    from agentd.mcp.contents import PromptRef, ResourceRef
    from agentd.mcp.handlers import (
        ElicitationRequest,
        LogMessage,
        MCPHandlers,
        SamplingAnswer,
        SamplingMessage,
        SamplingRequest,
    )
    from agentd.mcp.remote import HTTPServer
    from agentd.patch.display import (
        CodeExecution,
        CodeOutput,
        CodeStarted,
        ReasoningDelta,
        TextDelta,
        ToolCall,
        ToolProgress,
        TurnEnd,
        display_events,
        display_events_async,
    )
    from agentd.patch.outside import open_bridge
    from agentd.patch.ptc import patch_openai_with_mcp, patch_openai_with_ptc, unpatch_openai
    from agentd.patch.sampling import ClientSampling
    from agentd.patch.turns import Run
    from agentd.tools import tool

__version__ = "0.1.0"

__all__ = [
    "AgentdError",
    "BwrapExecutor",
    "ClientSampling",
    "CodeExecution",
    "CodeOutput",
    "CodeStarted",
    "DockerExecutor",
    "ElicitationRequest",
    "HTTPServer",
    "LocalExecutor",
    "LogMessage",
    "MCPClient",
    "MCPHandlers",
    "MicrosandboxCLIExecutor",
    "MicrosandboxExecutor",
    "Policy",
    "PromptRef",
    "ReasoningDelta",
    "ResourceRef",
    "Run",
    "SamplingAnswer",
    "SamplingMessage",
    "SamplingRequest",
    "SandboxRuntimeExecutor",
    "ScriptedModel",
    "SrtExecutor",
    "SubprocessExecutor",
    "TextDelta",
    "ToolCall",
    "ToolProgress",
    "TurnEnd",
    "create_microsandbox_cli_executor",
    "create_sandbox_runtime_executor",
    "display_events",
    "display_events_async",
    "open_bridge",
    "patch_openai_with_mcp",
    "patch_openai_with_ptc",
    "replay",
    "tool",
    "unpatch_openai",
]

_HOMES = {
    "agentd.core.errors": ("AgentdError",),
    "agentd.executors": (
        "BwrapExecutor",
        "DockerExecutor",
        "LocalExecutor",
        "MicrosandboxCLIExecutor",
        "MicrosandboxExecutor",
        "Policy",
        "SandboxRuntimeExecutor",
        "SrtExecutor",
        "SubprocessExecutor",
        "create_microsandbox_cli_executor",
        "create_sandbox_runtime_executor",
    ),
    "agentd.llm.scripted": ("ScriptedModel",),
    "agentd.llm.replay": ("replay",),
    "agentd.mcp.client": ("MCPClient",),
    "agentd.mcp.contents": ("PromptRef", "ResourceRef"),
    "agentd.mcp.handlers": (
        "ElicitationRequest",
        "LogMessage",
        "MCPHandlers",
        "SamplingAnswer",
        "SamplingMessage",
        "SamplingRequest",
    ),
    "agentd.mcp.remote": ("HTTPServer",),
    "agentd.patch.display": (
        "CodeExecution",
        "CodeOutput",
        "CodeStarted",
        "ReasoningDelta",
        "TextDelta",
        "ToolCall",
        "ToolProgress",
        "TurnEnd",
        "display_events",
        "display_events_async",
    ),
    "agentd.patch.outside": ("open_bridge",),
    "agentd.patch.ptc": ("patch_openai_with_mcp", "patch_openai_with_ptc", "unpatch_openai"),
    "agentd.patch.sampling": ("ClientSampling",),
    "agentd.patch.turns": ("Run",),
    "agentd.tools": ("tool",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'agentd' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
