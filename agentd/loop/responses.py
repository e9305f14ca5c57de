"""The Responses dialect over a whole turn. Source: OpenAI API reference, Responses and its streaming events."""

from __future__ import annotations

from collections.abc import Sequence

from agentd.core.errors import OptionError
from agentd.core.tools import JSON
from agentd.loop.definitions import relaxed, with_tools
from agentd.loop.folding import fold
from agentd.loop.history import History
from agentd.loop.media import response_message, response_output
from agentd.loop.memory import Memory
from agentd.loop.responses_output import ResponsesOutput
from agentd.loop.responses_round import ResponsesRound
from agentd.loop.results import feedback
from agentd.loop.transcript import Transcript
from agentd.loop.wire import Block, Frame, Toolkit


class Responses:
    """Keeps the transcript of a turn, and makes one response and one well-formed stream out of all its model calls."""

    api = "responses"

    def __init__(
        self, params: Frame, guidance: str, stream: bool, toolkit: Toolkit, memory: Memory, keeps: bool = True
    ) -> None:
        if params.get("background") and not stream:
            raise OptionError("background=True answers before there is code to run; stream it, or leave it out")
        body = with_tools(params, toolkit, "responses")
        self._history = History(body, memory, keeps)
        items = [*self._history.owed, *fold(_as_items(body.get("input")))]
        echo = self._history.echo
        if toolkit.definitions:
            echo |= {"tools": params.get("tools") or [], "tool_choice": params.get("tool_choice") or "auto"}
        if guidance and _put_guidance(body, guidance):
            echo["instructions"] = params.get("instructions")
        elif guidance:
            items.insert(0, {"role": "developer", "content": guidance})
        self.model = str(body.get("model") or "")
        self._toolkit = toolkit
        self._relaxed = relaxed(params.get("tool_choice"))
        self._transcript = Transcript("input", body, items)
        self._transcript.precede(self._history.stand_in)
        self._output = ResponsesOutput(stream, keeps and body.get("store") is not False, echo, toolkit.media_in_results)
        self._round: ResponsesRound | None = None
        self._owed: list[Frame] = []

    def body(self) -> bytes:
        body = self._transcript.body()
        self._output.sent = len(body)
        return body

    def begin(self) -> ResponsesRound:
        self._round = ResponsesRound(self._output, self._round is None, self._toolkit)
        return self._round

    def block_frames(self, block: Block) -> list[Frame]:
        return self._output.add_block(block)

    def record(self, blocks: Sequence[Block]) -> None:
        assert self._round is not None
        self._history.delivered()
        replay = list(self._round.replay())
        if self._round.in_conversation:
            # The API has added what was sent and said to the conversation; sent again, it would stand there twice.
            self._transcript.clear()
            replay = []
        calls = [block for block in blocks if block.called is not None]
        self._owed = results(calls, self._toolkit.media_in_results)
        if blocks and not calls:
            self._owed = [{"role": "user", "content": feedback(blocks)}]
        for item in (*replay, *self._owed):
            self._transcript.append(item)
        if calls and self._relaxed is not None:
            self._transcript.change("tool_choice", self._relaxed)
            self._relaxed = None

    def finish(self, status: str) -> list[Frame]:
        output = self._output
        if status == "max_turns":
            output.last = {**output.last, "status": "incomplete", "incomplete_details": {"reason": "max_turns"}}
        self._history.end(output, self._transcript, self._owed)
        if not output.stream:
            return []
        ending = str(output.last.get("status") or "completed")
        kind = ending if ending in ("failed", "incomplete") and status != "max_turns" else "completed"
        response = output.whole()
        # A stream keeps the id that it began with; the API goes on from the last call's.
        response["id"] = output.created.get("id", response["id"])
        return [output.numbered({"type": f"response.{kind}", "response": response})]

    def abandon(self, blocks: Sequence[Block]) -> None:
        """Remember what a conversation of the API's waits for: results that it has not been sent."""
        if self._round is not None and self._round.in_conversation:
            calls = [block for block in blocks if block.called is not None]
            self._history.owe(results(calls, self._toolkit.media_in_results))
        else:
            self._history.owe(self._owed)

    def whole(self) -> Frame:
        return self._output.whole()


def results(calls: Sequence[Block], inline: bool) -> list[Frame]:
    """Return the items that tell the results of JSON calls; images stand in them with `inline`, else after them."""
    items: list[Frame] = []
    for block in calls:
        assert block.called is not None
        output = response_output(block, inline)
        items.append({"type": "function_call_output", "call_id": block.called.id, "output": output})
    shown = None if inline else response_message(calls)
    return [*items, shown] if shown is not None else items


def _put_guidance(body: Frame, guidance: str) -> bool:
    """Append to the instructions, which are said anew at every call; a stored prompt brings its own."""
    given = body.get("instructions")
    if "prompt" in body or not isinstance(given, str | None):
        return False
    body["instructions"] = f"{given}\n\n{guidance}" if given else guidance
    return True


def _as_items(given: JSON) -> list[JSON]:
    if isinstance(given, list):
        return given
    return [] if given is None else [{"role": "user", "content": given}]
