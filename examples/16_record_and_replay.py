"""Model calls recorded once and played back from then on: offline, free, and the same every time."""

from __future__ import annotations

from model import connection
from openai import OpenAI

from agentd import patch_openai_with_mcp, replay
from agentd.llm import scripted


def dice(sides: int = 6) -> int:
    """Roll a die."""
    return 4  # what runs on your side runs again: what it gives must be the same, else the requests differ


def ask(client: OpenAI) -> None:
    patch_openai_with_mcp(client, tools=[dice], cwd="workspace")
    print(client.responses.create(model="gpt-5-mini", input="Roll a die for me.").output_text)


def main() -> None:
    with replay("workspace/dice.yaml", mode="record") as cassette:  # "once" records if there is no such file
        print("recording:", cassette.recording)
        ask(OpenAI(**connection(SCRIPT)))
    with replay("workspace/dice.yaml", mode="replay"), OpenAI(base_url=NOWHERE, api_key="none") as client:
        ask(client)


NOWHERE = "http://127.0.0.1:9/v1"  # requests match by path and body, not by address
SCRIPT = [
    scripted.Reply(tool_calls=[scripted.ToolCall("dice", {"sides": 6})]),
    lambda request: f"You rolled a {request.last_text}.",
]

if __name__ == "__main__":
    main()
