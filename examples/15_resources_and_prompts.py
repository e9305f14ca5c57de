"""The rest of an MCP server, for your program: resources, prompts, completion. The model gets what you give it."""

from __future__ import annotations

import asyncio

from mcp import Client
from mcp.server.mcpserver import MCPServer
from mcp.types import Completion
from model import connection
from openai import AsyncOpenAI

from agentd import MCPClient, patch_openai_with_mcp
from agentd.mcp.contents import PromptRef, Text
from agentd.mcp.templates import expand

NOTES = {"monday": "Buy 3 drums.", "tuesday": "Sell 2 drums."}
desk = MCPServer("desk", log_level="WARNING")  # stands for any server; this one runs in our process


@desk.resource("note://{day}")
def note_of(day: str) -> str:
    """What was noted on a day."""
    return NOTES[day]


@desk.prompt()
def summary(day: str) -> str:
    """Ask for a summary of a day."""
    return f"Sum up {day} in one sentence."


@desk.completion()
async def days(ref: object, argument: object, context: object) -> Completion:
    return Completion(values=[day for day in NOTES if day.startswith(getattr(argument, "value", ""))])


async def main() -> None:
    async with MCPClient(Client(desk)) as server, AsyncOpenAI(**connection(SCRIPT)) as client:
        (day,) = (await server.complete(PromptRef("summary"), "day", "mo")).values
        (template,) = await server.list_resource_templates()
        (note,) = await server.read_resource(expand(template.uri_template, day=day))
        (message,) = (await server.get_prompt("summary", {"day": day})).messages
        assert isinstance(message.content, Text)
        print(note.uri, "says:", note.text)

        patch_openai_with_mcp(client, mcp_servers=[server], cwd="workspace")  # the same connection
        question = f"{message.content.text}\n\n{note.text}"
        print((await client.responses.create(model="gpt-5-mini", input=question)).output_text)


SCRIPT = [lambda request: f"You asked {request.last_text.splitlines()[0]!r}: three drums are to be bought."]

if __name__ == "__main__":
    asyncio.run(main())
