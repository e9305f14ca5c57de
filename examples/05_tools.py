"""Functions of your program, called from the model's code: typed, documented, and run in this process."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from model import connection, found
from openai import OpenAI

from agentd import TextDelta, ToolCall, display_events, patch_openai_with_ptc, tool

PRICES = {"single": 80, "double": 120}


@dataclass
class Booking:
    guest: str
    nights: int
    room: Literal["single", "double"] = "single"


@tool
def total(bookings: list[Booking], discount: float = 0.0) -> float:
    """Return what some bookings cost in euros; a discount of 0.1 is ten per cent."""
    return round(sum(each.nights * PRICES[each.room] for each in bookings) * (1 - discount), 2)


@tool
async def is_free(room: str, day: str) -> bool:
    """Tell whether a room is free on a day, given as 2026-12-31."""
    date.fromisoformat(day)  # what a tool raises is a ToolError in the model's code
    return room != "single"


def main() -> None:
    client = patch_openai_with_ptc(OpenAI(**connection(SCRIPT)), cwd="workspace")  # has all that is decorated
    stream = client.responses.create(model="gpt-5-mini", input="Three nights for Ann, 10 % off, please.", stream=True)
    for event in display_events(stream):
        if isinstance(event, ToolCall):
            print(f"{event.tool}({event.arguments}) = {event.result}")
        elif isinstance(event, TextDelta):
            print(event.text, end="")


CODE = """
try:
    is_free("single", "31.12.")
except ToolError:
    room = next(room for room in ("single", "double") if is_free(room, "2026-12-31"))
print("total", total([{"guest": "Ann", "nights": 3, "room": room}], discount=0.1))
"""
SCRIPT = [
    f"```python:execute{CODE}```\n",
    lambda request: f"A double room, for {found(r'total (.+)', request)} euros.\n",
]

if __name__ == "__main__":
    main()
