"""Programmatic tool calling with an MCP server, here an object of openai-agents; agentd connects and closes it."""

from __future__ import annotations

from agents.mcp import MCPServerStdio
from model import connection, found
from openai import OpenAI

from agentd import CodeExecution, TextDelta, display_events, patch_openai_with_ptc
from agentd.mcp import demo_server


def main() -> None:
    how = demo_server.parameters()  # a shop; take any command here: {"command": "npx", "args": ["-y", "…"]}
    shop = MCPServerStdio(
        name="shop", params={"command": how.command, "args": how.args, "cwd": how.cwd or "."}, cache_tools_list=True
    )
    client = patch_openai_with_ptc(OpenAI(**connection(SCRIPT)), cwd="workspace", mcp_servers=[shop])
    for question in ("What do you sell?", "What does all of it cost?"):
        stream = client.responses.create(model="gpt-5-mini", input=question, stream=True)
        for event in display_events(stream):
            if isinstance(event, TextDelta):
                print(event.text, end="", flush=True)
            elif isinstance(event, CodeExecution):
                print(f"\n$ {event.code}\n{event.output}")


SUM = """
items = list_items()
print(len(items), "items for", sum(price_of(item=item) for item in items))
"""
SCRIPT = [
    '```python:execute\nprint("we sell", *list_items())\n```\n',
    lambda request: f"There is: {found(r'we sell (.+)', request)}.\n",
    f"```python:execute{SUM}```\n",
    lambda request: f"{found(r'items for (.+)', request)} euros.\n",
]

if __name__ == "__main__":
    main()
