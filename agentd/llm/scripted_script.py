"""What a scripted model says, and to whom: requests, replies, and the order of the replies."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

from agentd.core.errors import AgentdError, OptionError

Malformed = Literal["json", "utf8", "array", "html", "end"]
Piece = str | threading.Event


class ScriptExhausted(AgentdError):
    """The script of the scripted model has no reply left."""


class NoRuleMatches(AgentdError):
    """No rule of the scripted model's script matches the request."""


@dataclass(frozen=True)
class Request:
    """A request as it came over the wire; header names are in lower case, `api` is `responses`, `chat` or ``""``."""

    method: str
    path: str
    headers: Mapping[str, str]
    raw: bytes
    api: str = ""

    @cached_property
    def body(self) -> dict[str, Any]:
        """The JSON object of the body; empty when there is none."""
        return json.loads(self.raw) if self.raw else {}

    @property
    def last_text(self) -> str:
        """The text of the last message or item of the input, whatever its form."""
        items: Any = self.body.get("messages" if self.api == "chat" else "input") or ""
        if isinstance(items, str):
            return items
        last: dict[str, Any] = items[-1]
        content: str | list[dict[str, Any]] = last.get("content") or last.get("output") or ""
        return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A JSON tool call; `arguments` may be text, so that it need not be valid JSON. An empty `id` is made up."""

    name: str
    arguments: str | Mapping[str, Any] = "{}"
    id: str = ""

    @property
    def arguments_text(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of the model, and how it travels.

    `text` is cut into deltas of `chunk` characters; a list is sent one delta an element, and an `Event` in it holds
    the answer back until it is set. `delay` is in seconds after each delta. `usage` overrides the computed figures
    (`input_tokens`, `output_tokens`, `cached_tokens`, `reasoning_tokens`). `items` are further output items, sent
    before the text in Responses only. `finish_reason` is Chat's word: `length` and `content_filter` make a Responses
    answer `incomplete`, `failed` an error within the answer.

    What goes wrong on purpose: a `status` from 400 on with the error's `text`; `raw_body` instead of any other body;
    `cut_after` that many deltas the connection is closed; `malformed` after the first delta sends broken JSON, invalid
    UTF-8 or a JSON array, `html` instead of the answer, or makes it `end` before it is complete.
    """

    text: str | Sequence[Piece] = ""
    tool_calls: Sequence[ToolCall] = ()
    reasoning: str | Sequence[Piece] = ""
    refusal: str = ""
    items: Sequence[Mapping[str, Any]] = ()
    finish_reason: str = ""
    usage: Mapping[str, int] = field(default_factory=dict[str, int])
    chunk: int = 8
    delay: float = 0.0
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    raw_body: str | bytes | None = None
    cut_after: int | None = None
    malformed: Malformed | None = None

    def pieces(self, text: str | Sequence[Piece]) -> Iterator[Piece]:
        """Cut text into what is sent at once."""
        if not isinstance(text, str):
            return iter(text)
        return (text[start : start + self.chunk] for start in range(0, len(text), self.chunk))

    @property
    def gates(self) -> list[threading.Event]:
        """The events that hold this answer back."""
        texts = [text for text in (self.reasoning, self.text) if not isinstance(text, str)]
        return [piece for text in texts for piece in text if isinstance(piece, threading.Event)]


def plain(text: str | Sequence[Piece]) -> str:
    """Return the whole of a text that may be given in pieces."""
    return text if isinstance(text, str) else "".join(piece for piece in text if isinstance(piece, str))


Answer = str | Reply
Turn = Answer | Callable[[Request], Answer]


@dataclass(frozen=True, slots=True)
class Rule:
    """Answers with `turn` whenever `when` holds: a text that the input's last message contains, or a predicate."""

    when: str | Callable[[Request], bool]
    turn: Turn

    def matches(self, request: Request) -> bool:
        if isinstance(self.when, str):
            return self.when in request.last_text
        return self.when(request)


Scripted = Turn | Sequence[Turn] | Sequence[Rule]


class Script:
    """Picks the reply to each request: turns in order, the first rule that matches, or one turn for all."""

    def __init__(self, script: Scripted, repeat_last: bool = False) -> None:
        one = isinstance(script, str | Reply) or callable(script)
        self._steps: list[Turn | Rule] = [script] if isinstance(script, str | Reply) or callable(script) else [*script]
        self._by_rule = any(isinstance(step, Rule) for step in self._steps)
        if self._by_rule and not all(isinstance(step, Rule) for step in self._steps):
            raise OptionError("a script holds either turns or rules, not both")
        self._repeat_last = repeat_last or one
        self._lock = threading.Lock()
        self._next = 0

    def reply_to(self, request: Request) -> Reply:
        """Return the next reply; raises `ScriptExhausted` or `NoRuleMatches`."""
        turn = self._rule_for(request) if self._by_rule else self._next_turn()
        answer = turn if isinstance(turn, str | Reply) else turn(request)
        return Reply(answer) if isinstance(answer, str) else answer

    def _rule_for(self, request: Request) -> Turn:
        for rule in self._steps:
            if isinstance(rule, Rule) and rule.matches(request):
                return rule.turn
        raise NoRuleMatches(f"its input ends with {request.last_text[-200:]!r}; add a Rule for it")

    def _next_turn(self) -> Turn:
        with self._lock:
            index = self._next
            self._next += 1
        if index >= len(self._steps):
            if not self._repeat_last or not self._steps:
                count = f"it has {len(self._steps)} and this is request {index + 1}"
                raise ScriptExhausted(f"{count}; add one or set repeat_last")
            index = len(self._steps) - 1
        step = self._steps[index]
        assert not isinstance(step, Rule)
        return step


def read_script(path: Path) -> list[Turn]:
    """Read a script from a JSON file: a list of texts, or of objects with the fields of `Reply`."""
    steps: Any = json.loads(path.read_text("utf-8"))
    if not isinstance(steps, list):
        raise OptionError(f"{path} must hold a JSON list of replies")
    return [_reply_from(step, f"{path}[{index}]") for index, step in enumerate(cast("list[Any]", steps))]


def _reply_from(step: Any, where: str) -> Turn:
    if isinstance(step, str):
        return step
    unknown = set(step) - {field.name for field in fields(Reply)}
    if unknown:
        raise OptionError(f"{where} has unknown keys: {', '.join(sorted(unknown))}")
    calls = [ToolCall(**call) for call in step.get("tool_calls", ())]
    values: dict[str, Any] = {**step, "tool_calls": calls}
    return Reply(**values)
