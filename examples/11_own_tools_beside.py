"""A function of yours that only you can answer: its call comes back to you, whatever agentd has called before."""

from __future__ import annotations

import json
from typing import Any

from model import connection
from openai import OpenAI
from openai.types.chat import ChatCompletionFunctionToolParam

from agentd import patch_openai_with_mcp, tool
from agentd.llm import scripted


@tool
def stock(item: str) -> int:
    """Return how many pieces of an item there are."""
    return {"drum": 2}.get(item, 0)


APPROVE: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {
        "name": "approve",
        "parameters": {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]},
    },
}


def main() -> None:
    client = patch_openai_with_mcp(OpenAI(**connection(SCRIPT)), cwd="workspace")
    messages: list[Any] = [{"role": "user", "content": "Sell all drums, if the boss agrees."}]
    while True:
        completion = client.chat.completions.create(model="gpt-5-mini", messages=messages, tools=[APPROVE])
        message = completion.choices[0].message
        messages.append(message)  # the calls of `stock` are not in it; agentd puts them back when you go on
        if not message.tool_calls:
            break
        for call in message.tool_calls:
            assert call.type == "function"
            print(f"{call.function.name}: {json.loads(call.function.arguments)['what']}")
            messages.append({"role": "tool", "tool_call_id": call.id, "content": "yes"})
    print(message.content)


def results(request: scripted.Request) -> list[str]:
    return [message["content"] for message in request.body["messages"] if message["role"] == "tool"]


SCRIPT = [
    scripted.Reply(tool_calls=[scripted.ToolCall("stock", {"item": "drum"})]),
    lambda request: scripted.Reply(
        tool_calls=[scripted.ToolCall("approve", {"what": f"sell {request.last_text} drums"})]
    ),
    lambda request: f"The boss said {request.last_text}: {results(request)[0]} drums are sold.",
]

if __name__ == "__main__":
    main()
