"""The tool calls of one streamed message, told apart: not every provider numbers them."""

from __future__ import annotations

import json

from agentd.core.ids import new_id
from agentd.core.tools import JSON

Frame = dict[str, JSON]


class CallNumbers:
    """Gives each call an index of its own, in the order in which they begin, and its id once, in its first delta.

    Some providers number all calls 0, and Ollama gives a call without arguments no id either.
    """

    def __init__(self) -> None:
        self._at: dict[int, int] = {}
        self._arguments: list[str] = []
        self.ids: list[str] = []

    def delta(self, given: Frame, position: int) -> Frame:
        """Return a delta under the index of its call; `position` is its place among those that came with it."""
        number = given.get("index")
        index = number if isinstance(number, int) else position
        at = self._at.get(index)
        if at is None or self._is_another(at, given):
            at = self._at[index] = len(self.ids)
            self.ids.append(str(given.get("id") or new_id("call")))
            self._arguments.append("")
            delta: Frame = {"type": "function", **given, "id": self.ids[at], "index": at}
        else:
            # The SDK adds up the strings of deltas.
            delta = {**{name: given[name] for name in given if name not in ("id", "type")}, "index": at}
        self._arguments[at] += _text(given, "arguments")
        return delta

    def _is_another(self, at: int, given: Frame) -> bool:
        """Tell whether a delta begins a call; some providers repeat the name, or make up an id for each delta."""
        if not _text(given, "name"):
            return False
        if given.get("id"):
            return given["id"] != self.ids[at]
        return bool(_text(given, "arguments")) and _is_whole(self._arguments[at])


def _text(call: Frame, field: str) -> str:
    function = call.get("function")
    value = function.get(field) if isinstance(function, dict) else None
    return value if isinstance(value, str) else ""


def _is_whole(arguments: str) -> bool:
    try:
        return isinstance(json.loads(arguments), dict)
    except ValueError:
        return False
