"""The one response that stands for all model calls of a turn, as it grows."""

from __future__ import annotations

from agentd.core.ids import new_id
from agentd.core.tools import JSON
from agentd.loop.folding import call_item, code_item
from agentd.loop.media import response_output
from agentd.loop.wire import Block, Frame

UNSTORED = "resp_agentd"


class ResponsesOutput:
    """The items, the usage and the state of a turn's response; frames are numbered in its stream.

    `echo` holds what the caller must see in place of what was sent. `created` is the response as it began, `last` as
    the last call left it. With `inline` the results of calls hold images.
    """

    def __init__(self, stream: bool, keeps_reasoning: bool, echo: Frame, inline: bool) -> None:
        self.stream = stream
        self._inline = inline
        self.keeps_reasoning = keeps_reasoning
        self.items: list[Frame] = []
        self.usage: dict[str, JSON] = {}
        self.sent = 0
        self.created: Frame = {}
        self.last: Frame = {}
        self._echo = echo
        self._sequence = -1

    def numbered(self, frame: Frame) -> Frame:
        """Give a frame its place in the caller's stream."""
        self._sequence += 1
        frame["sequence_number"] = self._sequence
        return frame

    def reserve(self) -> int:
        """Return the index of the next output item."""
        self.items.append({})
        return len(self.items) - 1

    def echoed(self, response: Frame) -> Frame:
        """Return a response object that shows the caller's own parameters."""
        return {**response, **self._echo}

    def add_block(self, block: Block) -> list[Frame]:
        """Add the item of a finished block or call; return the frames that tell of it."""
        item = code_item(block)
        if block.answer is not None:
            item = call_item(block, response_output(block, self._inline))
        index = self.reserve()
        self.items[index] = item
        if not self.stream:
            return []
        frames = self._code(index, item) if block.answer is None else self._call(index, item)
        return [self.numbered(frame) for frame in frames]

    def _call(self, index: int, item: Frame) -> list[Frame]:
        at: Frame = {"output_index": index, "item_id": item["id"]}
        arguments = item["arguments"]
        opening: Frame = {**item, "status": "in_progress", "output": None, "error": None}
        return [
            {"type": "response.output_item.added", "output_index": index, "item": opening},
            {"type": "response.mcp_call.in_progress", **at},
            {"type": "response.mcp_call_arguments.delta", **at, "delta": arguments},
            {"type": "response.mcp_call_arguments.done", **at, "arguments": arguments},
            {"type": f"response.mcp_call.{item['status']}", **at},
            {"type": "response.output_item.done", "output_index": index, "item": item},
        ]

    def _code(self, index: int, item: Frame) -> list[Frame]:
        at: Frame = {"output_index": index, "item_id": item["id"]}
        head = "response.code_interpreter_call"
        opening: Frame = {**item, "status": "in_progress", "outputs": None}
        return [
            {"type": "response.output_item.added", "output_index": index, "item": opening},
            {"type": f"{head}.in_progress", **at},
            {"type": f"{head}_code.delta", **at, "delta": item["code"]},
            {"type": f"{head}_code.done", **at, "code": item["code"]},
            {"type": f"{head}.interpreting", **at},
            {"type": f"{head}.completed", **at},
            {"type": "response.output_item.done", "output_index": index, "item": item},
        ]

    def whole(self) -> Frame:
        """Return the response."""
        response: Frame = {**self.created, **self.last}
        response["output"] = [item for item in self.items if item]
        response["usage"] = self.usage or None
        return self.echoed(response)

    def unstored(self) -> None:
        """The last call was cut: its id means nothing to the API."""
        self.last = {"id": new_id(UNSTORED), "status": "completed"}
