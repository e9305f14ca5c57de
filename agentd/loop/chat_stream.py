"""The one completion, or the one stream of chunks, that stands for all model calls of a turn, as it grows."""

from __future__ import annotations

from agentd.core.ids import new_id
from agentd.core.tools import JSON
from agentd.loop.wire import Frame


class ChatStream:
    """The head and the usage of a turn's chunks; `last` is the last whole completion, `sent` the size of a request."""

    def __init__(self, streamed: bool) -> None:
        self.streamed = streamed
        self.usage: dict[str, JSON] = {}
        self.sent = 0
        self.last: Frame = {}
        self.finish_reason: JSON = "stop"
        self._head: Frame = {}
        self._role_shown = False

    def open(self, chunk: Frame) -> None:
        """Take the head of the turn's first chunk, which all chunks of the caller carry.

        Azure sends one before that, of what its filters found in the prompt, with neither choices nor an id.
        """
        if not self._head and (chunk.get("choices") or chunk.get("id")):
            self._head = {name: value for name, value in chunk.items() if name not in ("choices", "usage")}
            self._head.setdefault("id", new_id("chatcmpl"))

    def chunk(self, choices: list[JSON], **more: JSON) -> Frame:
        """Return a chunk of the caller's stream."""
        return {**self._head, "choices": choices, **more}

    def delta(self, delta: Frame, finish_reason: JSON = None, logprobs: JSON = None) -> Frame:
        """Return a chunk with one choice; the role is said once."""
        if not self._role_shown:
            self._role_shown = True
            delta = {"role": "assistant", **delta}
        return self.chunk([{"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": logprobs}])
