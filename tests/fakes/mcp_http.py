"""An MCP server of the SDK, over stdio or on a port of the loopback: `mcp_http.py [PORT [TRANSPORT]]`."""

from __future__ import annotations

import asyncio
import os
import sys

from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel

server = MCPServer("http", log_level="WARNING")


class Name(BaseModel):
    name: str


@server.tool()
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


@server.tool()
def words(text: str) -> list[str]:
    return text.split()


@server.tool()
def pid() -> int:
    return os.getpid()


@server.tool()
def header(name: str, ctx: Context) -> str:
    """Return a header of the request."""
    request = ctx.request_context.request
    return str(request.headers.get(name)) if request is not None else "no request"


@server.tool()
def big(size: int) -> str:
    return "x" * size


@server.tool()
async def slow(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "at last"


@server.tool()
def append(file: str, die: bool = False) -> str:
    with open(file, "a") as out:
        out.write("x\n")
    if die:
        os._exit(7)
    return "appended"


@server.tool()
async def grow(ctx: Context) -> str:
    """Add a tool and tell about it."""

    def grown() -> str:
        return "grown"

    server.add_tool(grown, name="grown")
    await ctx.notify_tools_changed()
    return "done"


@server.tool()
async def ask(ctx: Context) -> str:
    """Ask the client something, which ours does not answer."""
    return str(await ctx.elicit("your name?", Name))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        server.run()
    elif sys.argv[2:] == ["sse"]:
        server.run(transport="sse", port=int(sys.argv[1]))
    else:
        server.run(transport="streamable-http", port=int(sys.argv[1]), stateless_http=sys.argv[2:] == ["stateless"])
