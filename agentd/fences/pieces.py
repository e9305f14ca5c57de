"""What a scanner gives out: a message's visible text and the actions in it, in order."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """Visible text. The markup of actions is never in it."""

    text: str


@dataclass(frozen=True, slots=True)
class Opened:
    """An action's opening is complete: `Code` pieces follow, then one `Block` or `Refused` with the same `start`.

    `kind` is `bash`, `python` or `create`, or `""` when it is already known that it will be refused.
    """

    kind: str
    path: str
    start: int


@dataclass(frozen=True, slots=True)
class Code:
    """A piece of the open action's body as it streams in: joined, they are the `body` of what closes it."""

    text: str


@dataclass(frozen=True, slots=True)
class Block:
    """A closed action that may run now.

    `body` is exact: every line keeps its end, the last one too. Where the opening line ends in CRLF, the message is
    taken to be written that way and each CRLF of the body becomes LF; else CRLF and lone CR stay as they came.
    `options` are the checked `key=value` words, `header` is `NAME:ACTION` as written. `start` and `end` are offsets of
    the whole markup in the message: from the start of its first line to after its last one's end.
    """

    kind: str
    path: str
    body: str
    options: dict[str, str]
    header: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Markup that is recognisably an action but will not run; `reason` is for the model."""

    header: str
    reason: str
    body: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Cut:
    """The model wrote on after a group of actions: all from `at` on, the end of the last one, is a guess."""

    at: int


Piece = Text | Opened | Code | Block | Refused | Cut
