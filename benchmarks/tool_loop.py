"""The CPU of ten rounds of JSON tool calls through a patched client, beside a hand-written loop and other agents.

Claim: at most 0.35 of what the loop costs that one writes by hand around the raw client. `openai-agents` and
`pydantic-ai` run the same script in the same process, in turn with the others.

    python benchmarks/tool_loop.py [--rounds N]

Each makes eleven model calls with a growing history and calls one function in between. Measured is the CPU of this
process, all its threads; the scripted model runs in a process of its own. All have run before. Blocking callers call
an ordinary function, asynchronous ones a coroutine function; the peers' blocking calls drive an asynchronous client.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI, OpenAI

from agentd import patch_openai_with_mcp, unpatch_openai

TURNS = 10
LIMIT = 0.35
WARM = 3
PROMPT = "Add them up, please."
MODEL = "gpt-5-mini"
END = "Done."
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
    "additionalProperties": False,
}
ABOUT: dict[str, Any] = {"name": "add", "description": "Add two numbers.", "parameters": SCHEMA, "strict": True}
Play = Callable[[], str]


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def aadd(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


aadd.__name__ = "add"


@contextmanager
def serving(plays: int) -> Iterator[str]:
    """Serve a scripted model for so many plays in its own process; give its URL."""
    calls = [{"tool_calls": [{"name": "add", "arguments": {"a": turn, "b": 1}}]} for turn in range(TURNS)]
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.json"
        script.write_text(json.dumps([*calls, END] * plays))
        command = [sys.executable, "-m", "agentd.llm.scripted", str(script)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()
            process.wait()


def raw_chat(client: OpenAI) -> str:
    messages: list[Any] = [{"role": "user", "content": PROMPT}]
    tools: Any = [{"type": "function", "function": ABOUT}]
    while True:
        made = client.chat.completions.create(model=MODEL, messages=messages, tools=tools)
        message: Any = made.choices[0].message
        messages.append(message)
        if not message.tool_calls:
            return message.content
        for call in message.tool_calls:
            value = add(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": json.dumps(value)})


def raw_responses(client: OpenAI) -> str:
    items: list[Any] = [{"role": "user", "content": PROMPT}]
    tools: Any = [{"type": "function", **ABOUT}]
    while True:
        made = client.responses.create(model=MODEL, input=items, tools=tools)
        items += made.output
        calls: list[Any] = [item for item in made.output if item.type == "function_call"]
        if not calls:
            return made.output_text
        for call in calls:
            value = add(**json.loads(call.arguments))
            items.append({"type": "function_call_output", "call_id": call.call_id, "output": json.dumps(value)})


async def araw_chat(client: AsyncOpenAI) -> str:
    messages: list[Any] = [{"role": "user", "content": PROMPT}]
    tools: Any = [{"type": "function", "function": ABOUT}]
    while True:
        made = await client.chat.completions.create(model=MODEL, messages=messages, tools=tools)
        message: Any = made.choices[0].message
        messages.append(message)
        if not message.tool_calls:
            return message.content
        for call in message.tool_calls:
            value = await aadd(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": json.dumps(value)})


async def araw_responses(client: AsyncOpenAI) -> str:
    items: list[Any] = [{"role": "user", "content": PROMPT}]
    tools: Any = [{"type": "function", **ABOUT}]
    while True:
        made = await client.responses.create(model=MODEL, input=items, tools=tools)
        items += made.output
        calls: list[Any] = [item for item in made.output if item.type == "function_call"]
        if not calls:
            return made.output_text
        for call in calls:
            value = await aadd(**json.loads(call.arguments))
            items.append({"type": "function_call_output", "call_id": call.call_id, "output": json.dumps(value)})


def patched_chat(client: OpenAI) -> str:
    made = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": PROMPT}])
    return str(made.choices[0].message.content)


def patched_responses(client: OpenAI) -> str:
    return client.responses.create(model=MODEL, input=PROMPT).output_text


async def apatched_chat(client: AsyncOpenAI) -> str:
    made = await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": PROMPT}])
    return str(made.choices[0].message.content)


async def apatched_responses(client: AsyncOpenAI) -> str:
    return (await client.responses.create(model=MODEL, input=PROMPT)).output_text


def of_openai_agents(api: str, url: str, is_async: bool, loop: asyncio.Runner) -> Play:
    from agents import (
        Agent,
        OpenAIChatCompletionsModel,
        OpenAIResponsesModel,
        Runner,
        function_tool,
        set_tracing_disabled,
    )

    set_tracing_disabled(True)
    kind = OpenAIResponsesModel if api == "responses" else OpenAIChatCompletionsModel
    model = kind(MODEL, openai_client=AsyncOpenAI(base_url=url, api_key="x"))
    agent = Agent(name="adder", model=model, tools=[function_tool(aadd if is_async else add, name_override="add")])
    if is_async:
        return lambda: loop.run(Runner.run(agent, PROMPT, max_turns=TURNS + 1)).final_output
    return lambda: Runner.run_sync(agent, PROMPT, max_turns=TURNS + 1).final_output


def of_pydantic_ai(api: str, url: str, is_async: bool, loop: asyncio.Runner) -> Play:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    kind = OpenAIResponsesModel if api == "responses" else OpenAIChatModel
    model = kind(MODEL, provider=OpenAIProvider(openai_client=AsyncOpenAI(base_url=url, api_key="x")))
    agent = Agent(model, tools=[aadd if is_async else add])
    if is_async:
        return lambda: loop.run(agent.run(PROMPT)).output
    return lambda: agent.run_sync(PROMPT).output


def blocking(api: str, url: str) -> tuple[dict[str, Play], Callable[[], object]]:
    raw = OpenAI(base_url=url, api_key="x")
    patched = patch_openai_with_mcp(OpenAI(base_url=url, api_key="x"), tools=[add])
    by_hand, by_patch = (raw_chat, patched_chat) if api == "chat" else (raw_responses, patched_responses)
    return {"raw": lambda: by_hand(raw), "agentd": lambda: by_patch(patched)}, lambda: unpatch_openai(patched)


def asynchronous(api: str, url: str, loop: asyncio.Runner) -> tuple[dict[str, Play], Callable[[], object]]:
    raw = AsyncOpenAI(base_url=url, api_key="x")
    patched = patch_openai_with_mcp(AsyncOpenAI(base_url=url, api_key="x"), tools=[aadd])
    by_hand, by_patch = (araw_chat, apatched_chat) if api == "chat" else (araw_responses, apatched_responses)
    plays: dict[str, Play] = {"raw": lambda: loop.run(by_hand(raw)), "agentd": lambda: loop.run(by_patch(patched))}
    return plays, lambda: unpatch_openai(patched)


def cpu_of(play: Play) -> float:
    """Return the CPU of one play in ms."""
    gc.collect()
    begun = time.process_time()
    end = play()
    spent = (time.process_time() - begun) * 1000
    assert end == END, end
    return spent


def compare(api: str, is_async: bool, rounds: int, peers: bool) -> None:
    with asyncio.Runner() as loop, serving(4 * (rounds + WARM)) as url:
        plays, close = asynchronous(api, url, loop) if is_async else blocking(api, url)
        if peers:
            plays["openai-agents"] = of_openai_agents(api, url, is_async, loop)
            plays["pydantic-ai"] = of_pydantic_ai(api, url, is_async, loop)
        spent: dict[str, list[float]] = {name: [] for name in plays}
        for number in range(rounds + WARM):
            for name, play in plays.items():
                cpu = cpu_of(play)
                if number >= WARM:
                    spent[name].append(cpu)
        close()
    raw = spent["raw"]
    print(f"{api}, {'asynchronous' if is_async else 'blocking'}, {TURNS} rounds, {rounds} times")
    for name, cpus in spent.items():
        ratio = statistics.median(one / two for one, two in zip(cpus, raw, strict=True))
        limit = f" (limit {LIMIT})" if name == "agentd" else ""
        print(
            f"  {name:14} CPU least {min(cpus):6.1f} ms, median {statistics.median(cpus):6.1f} ms; "
            f"÷ raw: median {ratio:.3f}, least ÷ least {min(cpus) / min(raw):.3f}{limit}"
        )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=30)
    options.add_argument("--no-peers", action="store_true", help="only the patched client and the raw one")
    options.add_argument("--api", choices=("chat", "responses"), help="only this API")
    options.add_argument("--sync", action="store_true", help="only blocking callers")
    chosen = options.parse_args()
    for is_async in (False,) if chosen.sync else (False, True):
        for api in (chosen.api,) if chosen.api else ("chat", "responses"):
            compare(api, is_async, chosen.rounds, not chosen.no_peers)


if __name__ == "__main__":
    main()
