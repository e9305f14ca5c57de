"""The Responses dialect over a whole turn. Source: OpenAI API reference, Responses and its streaming events."""

from __future__ import annotations

from collections.abc import Sequence

from agentd.core.errors import OptionError
from agentd.core.tools import JSON
from agentd.loop.folding import fold
from agentd.loop.responses_output import UNSTORED, ResponsesOutput
from agentd.loop.responses_round import ResponsesRound
from agentd.loop.transcript import Transcript
from agentd.loop.wire import Block, Frame

MAX_IDS = 10_000


class ResponseIds:
    """Which stored response a streamed turn ended with, by the id that its stream began with; the latest 10,000."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def note(self, first: str, last: str) -> None:
        """Remember where a turn ended."""
        if first != last and not last.startswith(UNSTORED):
            self._last[first] = last
            if len(self._last) > MAX_IDS:
                del self._last[next(iter(self._last))]

    def resolve(self, body: Frame) -> None:
        """Let a request go on from the end of the turn that it names."""
        given = body.get("previous_response_id")
        if isinstance(given, str) and given in self._last:
            body["previous_response_id"] = self._last[given]


class Responses:
    """Keeps the transcript of a turn, and makes one response and one well-formed stream out of all its model calls."""

    api = "responses"

    def __init__(self, params: Frame, guidance: str, stream: bool, ids: ResponseIds) -> None:
        if params.get("background") and not stream:
            raise OptionError("background=True answers before there is code to run; stream it, or leave it out")
        body = dict(params)
        ids.resolve(body)
        items = fold(_as_items(body.get("input")))
        echo: Frame = {}
        if guidance and _put_guidance(body, guidance):
            echo["instructions"] = params.get("instructions")
        elif guidance:
            items.insert(0, {"role": "developer", "content": guidance})
        self.model = str(body.get("model") or "")
        self._ids = ids
        self._conversation = body.get("conversation") is not None
        self._transcript = Transcript("input", body, items)
        self._output = ResponsesOutput(stream, body.get("store") is not False, echo)
        self._round: ResponsesRound | None = None

    def body(self) -> bytes:
        body = self._transcript.body()
        self._output.sent = len(body)
        return body

    def begin(self) -> ResponsesRound:
        self._round = ResponsesRound(self._output, self._round is None)
        return self._round

    def code_frames(self, block: Block) -> list[Frame]:
        return self._output.add_code(block)

    def record(self, blocks: Sequence[Block], feedback: str) -> None:
        replay = list(self._round.replay()) if self._round is not None else []
        if self._conversation and self._round is not None and self._round.complete:
            # The API has added what was sent and said to the conversation; sent again, it would stand there twice.
            self._transcript.clear()
            replay = []
        for item in replay:
            self._transcript.append(item)
        if feedback:
            self._transcript.append({"role": "user", "content": feedback})

    def finish(self, status: str) -> list[Frame]:
        output = self._output
        if status == "max_turns":
            output.last = {**output.last, "status": "incomplete", "incomplete_details": {"reason": "max_turns"}}
        if not output.stream:
            return []
        ending = str(output.last.get("status") or "completed")
        kind = ending if ending in ("failed", "incomplete") and status != "max_turns" else "completed"
        response = output.whole()
        if "id" in output.created:
            # A stream keeps the id that it began with; the API goes on from the last call's.
            self._ids.note(str(output.created["id"]), str(response["id"]))
            response["id"] = output.created["id"]
        return [output.numbered({"type": f"response.{kind}", "response": response})]

    def whole(self) -> Frame:
        return self._output.whole()


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
