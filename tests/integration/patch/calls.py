"""What the tests of JSON tool calls share."""

from __future__ import annotations

from typing import Any

from agentd import patch_openai_with_mcp, patch_openai_with_ptc

MCP: dict[str, Any] = {"patch": patch_openai_with_mcp}
SHELL: dict[str, Any] = {"patch": patch_openai_with_ptc, "mode": "tool", "tools": []}
ASK_USER: dict[str, Any] = {
    "type": "object", "properties": {"question": {"type": "string"}}, "required": ["question"],
}  # fmt: skip


def add(a: int, b: int = 2) -> int:
    """Add two numbers."""
    return a + b


def fail() -> None:
    """Fail."""
    raise ValueError("no such thing")


def own_function(api: str, name: str = "ask_user") -> dict[str, Any]:
    """Return a function of the caller's own in the form of an API."""
    function = {"name": name, "description": "Ask.", "parameters": ASK_USER}
    return {"type": "function", **function} if api == "responses" else {"type": "function", "function": function}


def offered(request: Any) -> list[str]:
    return [tool.get("function", tool)["name"] for tool in request.body.get("tools") or []]


def outputs(request: Any) -> list[str]:
    """Return the results of calls in a request, in their order."""
    body = request.body
    if request.api == "responses":
        return [item["output"] for item in body["input"] if item.get("type") == "function_call_output"]
    return [message["content"] for message in body["messages"] if message["role"] == "tool"]


def calls_of(answer: Any) -> list[tuple[str, str]]:
    """Return the calls that the caller must answer."""
    if answer.response is None:
        return []
    if hasattr(answer.response, "output"):
        return [(item.call_id, item.name) for item in answer.response.output if item.type == "function_call"]
    return [(call.id, call.function.name) for call in answer.response.choices[0].message.tool_calls or []]
