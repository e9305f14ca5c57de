"""A server of the SDK that offers everything, over stdio or on a port of the loopback: `mcp_modern.py [PORT]`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from mcp.server.mcpserver import Context, Elicit, ListRoots, MCPServer, Resolve, Sample
from mcp_types import (
    Completion,
    CreateMessageResult,
    CreateMessageResultWithTools,
    ListRootsResult,
    SamplingMessage,
    TextContent,
)
from pydantic import BaseModel

server = MCPServer("modern", instructions="Be modern.", log_level="WARNING")
NOTES = {"one": "first"}


class Person(BaseModel):
    name: str
    age: int = 7


async def who() -> Elicit[Person]:
    return Elicit("who are you?", Person)


async def thought() -> Sample:
    question = SamplingMessage(role="user", content=TextContent(text="what do you think?"))
    return Sample([question], max_tokens=9, system_prompt="Be brief.")


async def places() -> ListRoots:
    return ListRoots()


@server.tool()
def ask(person: Annotated[Person, Resolve(who)]) -> str:
    return f"{person.name} is {person.age}"


@server.tool()
def think(answer: Annotated[CreateMessageResult | CreateMessageResultWithTools, Resolve(thought)]) -> str:
    return f"{answer.model}: {answer.model_dump()['content']['text']}"


@server.tool()
def where(found: Annotated[ListRootsResult, Resolve(places)]) -> list[str]:
    return [str(root.uri) for root in found.roots]


@server.tool()
async def steps(ctx: Context) -> str:
    for number in (1, 2, 3):
        await ctx.report_progress(number, 3, f"step {number}")
    return "done"


@server.tool()
async def write(name: str, text: str, ctx: Context) -> str:
    NOTES[name] = text
    await ctx.notify_resource_updated(f"note://{name}")
    return "written"


@server.tool()
async def grow(ctx: Context) -> str:
    await ctx.notify_prompts_changed()
    return "grown"


@server.tool()
def pid() -> int:
    return os.getpid()


@server.resource("note://{name}")
def note(name: str) -> str:
    return NOTES[name]


@server.resource("note://one", mime_type="text/plain")
def first() -> str:
    return NOTES["one"]


@server.prompt()
def greet(who: str) -> str:
    return f"Greet {who}."


@server.completion()
async def complete(ref: object, argument: object, context: object) -> Completion:
    return Completion(values=["Ada", "Alan"], total=2, has_more=False)


def main() -> None:
    if len(sys.argv) < 2:
        server.run()
    else:
        server.run(transport="streamable-http", port=int(sys.argv[1]))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main()
