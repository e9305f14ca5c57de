"""The calling convention of JSON tool calls: what the assistant says is text, what it calls is done."""

from __future__ import annotations

from collections.abc import Callable

from agentd.core.actions import Action, Call
from agentd.loop.wire import Block, Called, Outcome, Toolkit


class CallingMessage:
    """Reads one message of the assistant: all text is visible, and each call of a tool of ours is an action.

    At most `max_blocks` calls of a message are done. Nothing is ever cut: a message with calls ends by itself.
    """

    kept: str | None = None

    def __init__(self, toolkit: Toolkit, new_id: Callable[[], str], max_blocks: int) -> None:
        self._toolkit = toolkit
        self._new_id = new_id
        self._max_blocks = max_blocks
        self._said: list[str] = []
        self.blocks: list[Block] = []

    def feed(self, text: str) -> list[Outcome]:
        """Read the next piece of the message's text."""
        self._said.append(text)
        return [text]

    def end_part(self) -> list[Outcome]:
        """Nothing of a text is held back."""
        return []

    def call(self, called: Called) -> list[Outcome]:
        """Read a complete call."""
        action = self._action(called)
        if isinstance(action, Action):
            block = Block(action.id, f"{action.kind.value}:execute", action.code, "", called=called)
        else:
            server = self._toolkit.server(called.name)
            block = Block(action.id, called.name, called.arguments, "", called=called, server=server)
        self.blocks.append(block)
        return [action]

    def text(self) -> str:
        """Return all text that has been read."""
        return "".join(self._said)

    def settle(self) -> list[Block]:
        """The message has ended: return its calls."""
        return self.blocks

    def _action(self, called: Called) -> Action | Call:
        block = self._new_id()
        if called.cut:
            return Call(
                block, called.name, {}, "the message was broken off, so the call may be incomplete: it was not made"
            )
        if len(self.blocks) >= self._max_blocks:
            problem = f"at most {self._max_blocks} calls are made in one message; make the rest in your next one"
            return Call(block, called.name, {}, problem)
        return self._toolkit.action(block, called.name, called.arguments)
