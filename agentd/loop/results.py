"""What the model is told about its blocks and calls."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agentd.core.actions import ActionResult
from agentd.core.events import Message
from agentd.loop.wire import Block

_TICKS = re.compile(r"`+")


def fence_for(text: str) -> str:
    """Return a run of backticks that `text` cannot close."""
    longest = max((len(run) for run in _TICKS.findall(text)), default=0)
    return "`" * max(3, longest + 1)


def outcome(result: ActionResult) -> str:
    """Say in a few words how a block ended."""
    if result.reason == "refused":
        return "did not run"
    took = f"{result.duration:.2f} s"
    if result.reason:
        return f"{result.reason} after {took}, exit code {result.exit_code}"
    return f"exit code {result.exit_code}, {took}"


def feedback(blocks: Sequence[Block]) -> str:
    """Return the message that carries the results of all blocks of one message, in their order."""
    return "\n\n".join(_one(block, index + 1, len(blocks)) for index, block in enumerate(blocks))


def told(block: Block) -> str:
    """Return the result of a JSON call as text; the protocol delimits it."""
    if block.answer is not None:
        return block.answer.text
    result = block.result or ActionResult(1, "it never ran", 0.0, "refused")
    return f"{outcome(result)}\n{result.output}" if result.output else outcome(result)


def messages(blocks: Sequence[Block]) -> list[Message]:
    """Return the messages that tell the results of one message's actions: one a JSON call, one for all fences."""
    if not blocks:
        return []
    if all(block.called is None for block in blocks):
        return [Message("user", feedback(blocks))]
    return [Message("tool", told(block)) for block in blocks]


def _one(block: Block, number: int, count: int) -> str:
    result = block.result or ActionResult(1, "it never ran", 0.0, "refused")
    fence = fence_for(result.output)
    place = f"{number} of {count}" if count > 1 else "1"
    body = result.output if result.output.endswith("\n") or not result.output else result.output + "\n"
    return f"Result {place} ({block.header}): {outcome(result)}\n{fence}\n{body}{fence}"
