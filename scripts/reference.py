"""Writes docs/reference.md from the docstrings of the public names: `.venv/bin/python scripts/reference.py`."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

import click

import agentd
from agentd.cli import doctor
from agentd.core import errors, events
from agentd.executors import Limits, launch, registry
from agentd.executors.host import RunnerExecutor
from agentd.executors.plain import PlainCalls
from agentd.llm import scripted
from agentd.mcp import contents, templates
from agentd.patch.options import CallOptions

PAGE = Path(__file__).parents[1] / "docs" / "reference.md"
GROUPS = {
    "Patching": ("patch_openai_with_ptc", "patch_openai_with_mcp", "unpatch_openai", "Run"),
    "What is shown of a stream": (
        *("display_events", "display_events_async", "TextDelta", "CodeExecution", "TurnEnd"),
        *("CodeStarted", "CodeOutput", "ToolCall", "ToolProgress", "ReasoningDelta"),
    ),
    "Tools": ("tool", "open_bridge"),
    "MCP servers": (
        *("HTTPServer", "MCPHandlers", "ClientSampling", "ElicitationRequest"),
        *(
            "SamplingRequest",
            "SamplingMessage",
            "SamplingAnswer",
            "LogMessage",
            "MCPClient",
            "PromptRef",
            "ResourceRef",
        ),
    ),
    "Where code runs": (
        *("Policy", "LocalExecutor", "BwrapExecutor", "SrtExecutor", "DockerExecutor", "MicrosandboxExecutor"),
        *("create_sandbox_runtime_executor", "create_microsandbox_cli_executor"),
        *("SandboxRuntimeExecutor", "MicrosandboxCLIExecutor", "SubprocessExecutor"),
    ),
    "Models for tests": ("ScriptedModel", "replay"),
    "Errors": ("AgentdError",),
}
FINDING = ("create", "backend", "names", "plugins")
INTERNAL = {
    *("warm", "forget", "mcp_source", "asked", "look", "guard", "environment", "seconds", "ticket"),
    *("command", "ports", "limits", "timeout", "open"),
}
HEAD = """# Reference

Made from the docstrings by `scripts/reference.py`; change those.

What a call takes beyond the SDK's own arguments is under [options of a call](#options-of-a-call).
"""


def main() -> None:
    PAGE.write_text(reference(), "utf-8")


def reference() -> str:
    """Return the page."""
    parts = [HEAD]
    for title, names in GROUPS.items():
        parts.append(f"## {title}\n")
        parts += [entry(name, getattr(agentd, name)) for name in names]
    parts.append(f"## Options of a call\n\n{text(CallOptions)}\n")
    parts.append(f"## `agentd.mcp.contents`\n\n{text(contents)}\n\n{table(values(contents))}")
    parts.append(f"## `agentd.mcp.templates`\n\n{listing(templates, ('expand', 'variables'))}")
    parts.append(f"## Plain calls of an executor\n\n{text(PlainCalls)}\n\n{methods(PlainCalls, RunnerExecutor)}")
    parts.append(f"## `agentd.executors.registry`\n\n{text(registry)}\n\n{listing(registry, FINDING)}")
    parts.append(f"## `agentd.executors.launch`\n\n{listing(launch, ('Probe', 'Launch', 'ProcessLaunch'))}")
    parts.append(f"## `agentd doctor`\n\n{helped(doctor.command)}")
    parts.append(f"## `agentd.executors.Limits`\n\n{code(f'Limits{signature(Limits)}')}\n{text(Limits)}\n")
    parts.append(f"## `agentd.llm.scripted`\n\n{listing(scripted, ('Reply', 'Rule', 'Request', 'ToolCall'))}")
    parts.append(f"## `agentd.core.errors`\n\n{table(family())}")
    parts.append(f"## `agentd.core.events`\n\n{text(events)}\n\n{table(list(events.EVENT_TYPES.values()))}")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).rstrip() + "\n"


def entry(name: str, thing: object) -> str:
    """Return what there is to know of one public name."""
    lines = [f"### `{name}`\n", code(f"{name}{signature(thing)}"), text(thing)]
    if isinstance(thing, type) and not dataclasses.is_dataclass(thing):
        lines += [f"- {member}" for member in members(thing)]
    return "\n".join(lines) + "\n"


def members(cls: type) -> list[str]:
    """Return the public methods and properties that the class itself defines."""
    found: list[str] = []
    for name, member in vars(cls).items():
        if name.startswith("_") or name in INTERNAL or not (inspect.isfunction(member) or isinstance(member, property)):
            continue
        shown = name if isinstance(member, property) else f"{name}{signature(member)}"
        said = text(member).replace("\n", "\n  ").replace("\n  \n", "\n\n")
        found.append(f"`{shown}`" + (f": {said}" if said else ""))
    return found


def methods(*classes: type) -> str:
    """Return the members of some classes that have a docstring there."""
    return "".join(f"- {member}\n" for cls in classes for member in members(cls) if not member.endswith("`"))


def helped(command: click.Command) -> str:
    """Return what `--help` shows."""
    with click.Context(command, info_name=f"agentd {command.name}", terminal_width=100) as context:
        return code(command.get_help(context))


def listing(module: object, names: tuple[str, ...]) -> str:
    return "\n".join(
        f"{code(f'{name}{signature(getattr(module, name))}')}\n{text(getattr(module, name))}\n" for name in names
    )


def values(module: object) -> list[type]:
    return [thing for thing in vars(module).values() if isinstance(thing, type) and dataclasses.is_dataclass(thing)]


def family() -> list[type]:
    return [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, Exception)]


def table(classes: list[type]) -> str:
    rows = ["| | |", "|---|---|"]
    for cls in classes:
        kind = getattr(cls, "type", "")
        fields = ", ".join(field.name for field in dataclasses.fields(cls)) if dataclasses.is_dataclass(cls) else ""
        name = f"`{kind}` `{cls.__name__}({fields})`" if kind else f"`{cls.__name__}`"
        rows.append(f"| {name} | {' '.join(text(cls).split())} |")
    return "\n".join(rows) + "\n"


def code(line: str) -> str:
    return f"```text\n{line}\n```\n"


class Bare(str):
    """An annotation that is shown as it stands in the source."""

    __slots__ = ()
    __repr__ = str.__str__


def signature(thing: object) -> str:
    """Return the parameters, and what a function returns."""
    if not callable(thing) or getattr(thing, "_is_protocol", False):
        return ""
    found = inspect.signature(thing)
    # The types of a pydantic model's fields are told by the names that they have in its source.
    told: dict[str, object] = inspect.get_annotations(thing) if hasattr(thing, "model_fields") else {}
    shown = [
        each.replace(annotation=Bare(told.get(each.name, each.annotation)))
        for each in found.parameters.values()
        if each.name != "self"
    ]
    returns = inspect.Signature.empty if isinstance(thing, type) else Bare(found.return_annotation)
    whole = str(found.replace(parameters=shown, return_annotation=returns))
    return re.sub(r"<(?:function|built-in function) (\w+)(?: at 0x[0-9a-f]+)?>", r"\1", whole).replace(
        "<factory>", "{}"
    )


def text(thing: object) -> str:
    """Return the docstring, `""` for what has none of its own."""
    said = inspect.getdoc(thing) or ""
    return "" if said.startswith(f"{getattr(thing, '__name__', '')}(") else said


if __name__ == "__main__":
    main()
