"""The tools of MCP servers as functions in the model's code: two servers in one block, without a model call between."""

from __future__ import annotations

import sys
from pathlib import Path

from mcp import StdioServerParameters
from model import connection, found
from openai import OpenAI

from agentd import TextDelta, ToolCall, display_events, patch_openai_with_ptc
from agentd.mcp import demo_server


def main() -> None:
    shop = demo_server.parameters()  # any stdio server; a URL or a server object of openai-agents would do as well
    clock = StdioServerParameters(
        command=str(Path(sys.executable).with_name("mcp-server-time")), args=["--local-timezone=UTC"]
    )
    client = patch_openai_with_ptc(OpenAI(**connection(SCRIPT)), cwd="workspace", mcp_servers=[shop, clock])
    question = "What is the dearest thing in the shop, and at what time in Tokyo do you say so?"
    for event in display_events(client.responses.create(model="gpt-5-mini", input=question, stream=True)):
        if isinstance(event, ToolCall):
            print(f"{event.tool}({event.arguments}) = {event.result[:60]}")
        elif isinstance(event, TextDelta):
            print(event.text, end="")


CODE = """
prices = {item: price_of(item=item) for item in list_items()}
dearest = max(prices, key=prices.get)
now = get_current_time(timezone="Asia/Tokyo")["datetime"]
print("answer", dearest, "for", prices[dearest], "euros, as of", now)
"""
SCRIPT = [
    f"```python:execute{CODE}```\n",
    lambda request: f"The {found('answer (.+)', request)}.\n",
]

if __name__ == "__main__":
    main()
