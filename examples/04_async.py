"""An asynchronous client: calls at the same time, each in a session of its own, while your event loop goes on."""

from __future__ import annotations

import asyncio
from typing import Any

from model import connection
from openai import AsyncOpenAI

from agentd import CodeExecution, display_events_async, patch_openai_with_ptc
from agentd.llm.scripted import Request


async def main() -> None:
    async with AsyncOpenAI(**connection([say] * 8)) as client:
        patch_openai_with_ptc(client, cwd="workspace")

        async def ask(city: str) -> str:
            ours: dict[str, Any] = {"session": city}  # the SDK's types do not know our options
            question = f"Make a folder for {city}, go there, and tell me where you are."
            response = await client.responses.create(model="gpt-5-mini", input=question, **ours)
            return response.output_text.splitlines()[-1]

        for answer in await asyncio.gather(ask("Rome"), ask("Oslo"), ask("Lima")):
            print(answer)

        there: dict[str, Any] = {"session": "Rome"}
        stream = await client.responses.create(model="gpt-5-mini", input="Where are you?", stream=True, **there)
        async for event in display_events_async(stream):
            if isinstance(event, CodeExecution):
                print(f"$ {event.code}\n{event.output}", end="")


def say(request: Request) -> str:
    """Answer by what was asked: the conversations come in any order."""
    words = request.last_text.split()
    if words[0] == "Make":
        city = words[4].strip(",")
        return f"```bash:execute\nmkdir -p {city}; cd {city}; basename $PWD\n```\n"
    if words[0] == "Where":
        return "```bash:execute\nbasename $PWD\n```\n"
    return f"I am in {words[-2]}."


if __name__ == "__main__":
    asyncio.run(main())
