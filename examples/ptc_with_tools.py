"""Programmatic tool calling with functions of your own: `tools=[…]` offers them to one client only."""

from __future__ import annotations

import math

from model import connection, found
from openai import OpenAI

from agentd import CodeExecution, TextDelta, display_events, patch_openai_with_ptc


def square_root(number: float) -> float:
    """Return the square root of a number.

    Args:
        number: not negative
    """
    return math.sqrt(number)


def main() -> None:
    client = patch_openai_with_ptc(OpenAI(**connection(SCRIPT)), cwd="workspace", tools=[square_root])
    stream = client.responses.create(
        model="gpt-5-mini", input="List files, then calculate sqrt(144), sqrt(2) and sqrt(-1)", stream=True
    )
    for event in display_events(stream):
        if isinstance(event, TextDelta):
            print(event.text, end="", flush=True)
        elif isinstance(event, CodeExecution):
            print(f"\n$ {event.code}\n{event.output}")


CODE = """
for number in (144, 2, -1):
    try:
        print(number, square_root(number))
    except ToolError as error:
        print(number, error)
"""
SCRIPT = [
    f"Files first, then the roots.\n\n```bash:execute\nls -d skills/*\n```\n\n```python:execute{CODE}```\n",
    lambda request: f"The root of 144 is {found(r'144 (.+)', request)}; -1 has none among the real numbers.\n",
]

if __name__ == "__main__":
    main()
