"""An MCP server that asks back: its user, by a form, and the model of the client that calls it, within a limit."""

from __future__ import annotations

from typing import Annotated, Any

from mcp import Client
from mcp.server.mcpserver import Elicit, MCPServer, Resolve, Sample
from mcp.types import CreateMessageResult, CreateMessageResultWithTools, SamplingMessage, TextContent
from model import connection
from openai import OpenAI
from pydantic import BaseModel

from agentd import ClientSampling, ElicitationRequest, MCPHandlers, patch_openai_with_mcp
from agentd.llm import scripted

shop = MCPServer("shop", log_level="WARNING")  # stands for any server; this one runs in our process


class Card(BaseModel):
    name: str
    engraving: bool = False


async def whose() -> Elicit[Card]:
    return Elicit("Whose name shall be on it?", Card)


async def motto(card: Annotated[Card, Resolve(whose)]) -> Sample:
    return Sample([SamplingMessage(role="user", content=TextContent(text=f"A motto for {card.name}?"))], max_tokens=30)


@shop.tool()
def order_cup(
    card: Annotated[Card, Resolve(whose)],
    said: Annotated[CreateMessageResult | CreateMessageResultWithTools, Resolve(motto)],
) -> str:
    """Order a cup; the shop asks what it has to know."""
    return f"a cup for {card.name}: {said.model_dump()['content']['text']}"


def answer(request: ElicitationRequest) -> dict[str, Any] | None:
    print(f"{request.server} asks: {request.message}")  # ask the user here; None declines
    return {"name": "Ada"}


def main() -> None:
    handlers = MCPHandlers(on_elicitation=answer, on_sampling=ClientSampling("gpt-5-nano", max_calls=3))
    client = patch_openai_with_mcp(OpenAI(**connection(SCRIPT)), mcp_servers=[Client(shop)], handlers=handlers)
    print(client.responses.create(model="gpt-5-mini", input="Order a cup.").output_text)


SCRIPT = [
    scripted.Reply(tool_calls=[scripted.ToolCall("order_cup")]),
    "Count me in.",  # what the server hears of the model
    lambda request: f"I have ordered {request.last_text}",
]

if __name__ == "__main__":
    main()
