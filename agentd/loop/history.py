"""Where a Responses call goes on from: the API's own memory, or ours where the API has none."""

from __future__ import annotations

from agentd.core.errors import OptionError
from agentd.core.tools import JSON
from agentd.loop.memory import Memory, StandIn
from agentd.loop.responses_output import UNSTORED, ResponsesOutput
from agentd.loop.transcript import Transcript
from agentd.loop.wire import Frame


class History:
    """Reads `previous_response_id` and `conversation` of a request, and remembers what a later one will need.

    What the API keeps is left to it. With `keeps=False` it keeps nothing; else an answer tells whether it does
    (`store`, and the conversation that it names). Where it does not, the whole transcript of the call stands in:
    `stand_in` goes before the input. `owed` are results that the API still waits for, `echo` what the caller's response
    has to say.
    """

    def __init__(self, body: Frame, memory: Memory, keeps: bool) -> None:
        self._memory = memory
        self._keeps = keeps
        self._conversation = _name(body.get("conversation"))
        self._base = ""
        self.stand_in = b""
        self.owed: list[Frame] = []
        self.echo: Frame = {}
        previous = body.get("previous_response_id")
        if isinstance(previous, str):
            self._go_on(body, previous)
        if self._conversation:
            self._join(body, self._conversation)
        if not keeps:
            body.pop("store", None)

    def delivered(self) -> None:
        """The API has answered: what was owed to the conversation has arrived."""
        if self._conversation:
            self._memory.paid(self._conversation)

    def owe(self, results: list[Frame]) -> None:
        """Remember results that the API's conversation waits for, when a turn is broken off."""
        if self._conversation and self._keeps and results:
            self._memory.owe(self._conversation, results)

    def end(self, output: ResponsesOutput, transcript: Transcript, owed: list[Frame]) -> None:
        """Remember a turn that has ended; `owed` are results of our calls that the API has not been sent."""
        last = output.whole()
        given = str(last.get("id") or "")
        first = str(output.created.get("id") or given)
        kept = self._keeps and last.get("store") is True and not given.startswith(UNSTORED)
        stand_in = StandIn(self._base, transcript.items())
        if self._conversation and not (self._keeps and last.get("conversation")):
            self._memory.keep(self._conversation, stand_in)
        elif owed:
            self.owe(owed)
        for name in {given, first}:
            if not kept:
                self._memory.keep(name, stand_in)
            elif owed:
                self._memory.owe(name, owed)
        if kept:
            self._memory.end(first, given)

    def _go_on(self, body: Frame, previous: str) -> None:
        known = self._memory.transcript(previous)
        if known is not None:
            self.echo["previous_response_id"] = body.pop("previous_response_id")
            self.stand_in, self._base = known.items, known.previous
            if known.previous:
                body["previous_response_id"] = known.previous
        elif not self._keeps:
            raise OptionError(
                f"previous_response_id={previous!r} is not known: this provider keeps no responses, and none of that "
                "id has been made by this client since it was patched"
            )
        else:
            body["previous_response_id"] = self._base = self._memory.last(previous)
            self.owed = self._memory.owed(previous)

    def _join(self, body: Frame, conversation: str) -> None:
        known = self._memory.transcript(conversation)
        if known is not None or not self._keeps:
            self.stand_in = known.items if known is not None else b""
            del body["conversation"]
            self.echo["conversation"] = {"id": conversation}
        else:
            self.owed = self._memory.owed(conversation)


def _name(conversation: JSON) -> str:
    given = conversation.get("id") if isinstance(conversation, dict) else conversation
    return given if isinstance(given, str) else ""
