"""Ordinary JSON tool calls: the model calls your functions and an MCP server's tools, several at once; no code runs."""

from __future__ import annotations

import json
from typing import Any

from model import connection
from openai import OpenAI

from agentd import TextDelta, ToolCall, TurnEnd, display_events, patch_openai_with_mcp
from agentd.llm import scripted
from agentd.mcp import demo_server


def with_tax(net: float, percent: float = 19) -> float:
    """Add value added tax to a net amount in euros."""
    return round(net * (1 + percent / 100), 2)


def main() -> None:
    client = patch_openai_with_mcp(OpenAI(**connection(SCRIPT)), tools=[with_tax], cwd="workspace")
    ours: dict[str, Any] = {"mcp_servers": [demo_server.parameters()]}  # here, or when you patch
    question = "What do an anvil and a drum cost together, tax included?"
    stream = client.responses.create(model="gpt-5-mini", input=question, stream=True, **ours)
    for event in display_events(stream):
        if isinstance(event, ToolCall):
            print(f"{event.tool}({event.arguments}) = {event.result}")
        elif isinstance(event, TextDelta):
            print(event.text, end="")
        elif isinstance(event, TurnEnd):
            price = "unknown" if event.cost_usd is None else f"{event.cost_usd:.5f} dollars"
            print(f"\n[{event.status}, {event.input_tokens + event.output_tokens} tokens, price {price}]")


def sum_up(request: scripted.Request) -> scripted.Reply:
    prices = [json.loads(item["output"]) for item in request.body["input"] if "output" in item]
    return scripted.Reply(tool_calls=[scripted.ToolCall("with_tax", {"net": sum(prices)})])


SCRIPT = [
    scripted.Reply(
        "I'll ask for both.\n",
        tool_calls=[scripted.ToolCall("price_of", {"item": item}) for item in ("anvil", "drum")],
    ),
    sum_up,
    lambda request: f"Together they cost {request.last_text} euros.",
]

if __name__ == "__main__":
    main()
