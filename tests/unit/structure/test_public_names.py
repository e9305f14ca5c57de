from __future__ import annotations

import json
import subprocess
import sys

from inline_snapshot import snapshot

import agentd

HEAVY = {
    "agents",
    "aiohttp",
    "asyncio",
    "click",
    "genai_prices",
    "httpx",
    "litellm",
    "mcp",
    "openai",
    "pydantic",
    "vcr",
}


def modules_after(statement: str) -> set[str]:
    program = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=50)
    return set(json.loads(run.stdout))


def test_importing_agentd_loads_nothing_heavy() -> None:
    assert modules_after("import agentd") & HEAVY == set()


def test_importing_a_heavy_library_would_be_seen() -> None:
    assert "asyncio" in modules_after("import asyncio")


def test_the_public_names() -> None:
    """A name that is missing here breaks somebody's code; a new one is a promise."""
    assert sorted(agentd.__all__) == snapshot(
        [
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
    )


def test_every_public_name_resolves_and_is_listed() -> None:
    assert len(set(agentd.__all__)) == len(agentd.__all__)
    assert [name for name in agentd.__all__ if not hasattr(agentd, name)] == []
    assert set(agentd.__all__) <= set(dir(agentd))
