"""The tools of a turn in a request, beside the caller's own."""

from __future__ import annotations

from collections.abc import Mapping

from agentd.core.tools import JSON
from agentd.loop.wire import Definition, Frame, Toolkit


def with_tools(params: Mapping[str, JSON], toolkit: Toolkit, api: str) -> Frame:
    """Return a request's parameters with our tools after the caller's."""
    body = dict(params)
    if toolkit.definitions:
        given = body.get("tools")
        ours = [_tool(definition, api) for definition in toolkit.definitions]
        body["tools"] = [*(given if isinstance(given, list) else []), *ours]
    return body


def relaxed(choice: JSON) -> JSON:
    """Return what follows a `tool_choice` that makes the model call a tool, or it would for ever; `None` for others."""
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        inner = choice.get("allowed_tools")
        if isinstance(inner, dict):
            return {**choice, "allowed_tools": {**inner, "mode": "auto"}} if inner.get("mode") == "required" else None
        return {**choice, "mode": "auto"} if choice.get("mode") == "required" else None
    return "auto" if choice in ("required", "any") or isinstance(choice, dict) else None


def _tool(definition: Definition, api: str) -> Frame:
    function: Frame = {
        "name": definition.name,
        "description": definition.description,
        "parameters": definition.parameters,
    }
    if api == "responses":
        # Said always: the API takes a tool that does not say for a strict one.
        return {"type": "function", **function, "strict": definition.strict}
    return {"type": "function", "function": function | ({"strict": True} if definition.strict else {})}
