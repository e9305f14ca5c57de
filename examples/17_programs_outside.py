"""Your tools for any program: while the bridge is open, curl, Node and others call them over HTTP, with its token."""

from __future__ import annotations

import subprocess

from model import connection
from openai import OpenAI

from agentd import open_bridge, patch_openai_with_mcp
from agentd.core.events import Event, ToolStarted
from agentd.mcp import demo_server


def main() -> None:
    client = patch_openai_with_mcp(OpenAI(**connection([])), mcp_servers=[demo_server.parameters()], cwd="workspace")
    with open_bridge(client, on_event=watch) as bridge:
        # A program that you start finds the same in its environment with `env={**os.environ, **bridge.env}`.
        who = f"Authorization: Bearer {bridge.token}"
        what = '{"item": "drum"}'
        subprocess.run(["curl", "-sS", "-H", who, "--json", what, f"{bridge.url}/call/price_of"], check=True)


def watch(event: Event) -> None:
    if isinstance(event, ToolStarted):
        print(f"{event.tool}({event.arguments})", flush=True)


if __name__ == "__main__":
    main()
