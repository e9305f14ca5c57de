"""A small MCP server for the demo, a shop with five things in it: `python -m agentd.mcp.demo_server` serves stdio."""

from __future__ import annotations

import sys
from pathlib import Path

from mcp import StdioServerParameters
from mcp.server.mcpserver import MCPServer

PRICES = {"anvil": 120.0, "balloon": 2.5, "candle": 4.75, "drum": 89.9, "easel": 45.0}


def parameters() -> StdioServerParameters:
    """Return how to start this server with this Python, wherever the package lies."""
    root = Path(__file__).resolve().parents[2]
    return StdioServerParameters(command=sys.executable, args=["-m", "agentd.mcp.demo_server"], cwd=root)


def list_items() -> list[str]:
    """List the names of all items of the shop."""
    return sorted(PRICES)


def price_of(item: str) -> float:
    """Return the net price of one item in euros."""
    return PRICES[item]


def shop() -> MCPServer:
    """Return the server."""
    server = MCPServer("shop")
    server.add_tool(list_items)
    server.add_tool(price_of)
    return server


if __name__ == "__main__":
    shop().run("stdio")
