"""A toolkit with the tools that a test names."""

from __future__ import annotations

import json
from collections.abc import Sequence

from agentd.core.actions import Action, Call
from agentd.loop.wire import Definition


class NamedTools:
    """Owns the given names, and reads arguments as plain JSON."""

    media_in_results = True

    def __init__(self, *names: str) -> None:
        self.names = names
        self.definitions: Sequence[Definition] = [Definition(name, "", {"type": "object"}) for name in names]

    def owns(self, name: str) -> bool:
        return name in self.names

    def server(self, name: str) -> str:
        return ""

    def action(self, block: str, name: str, arguments: str) -> Action | Call:
        try:
            return Call(block, name, json.loads(arguments))
        except ValueError as error:
            return Call(block, name, {}, str(error))
