"""What the start of a line may become: how little of it has to be held back before the rest can go through."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

# A line that starts with anything else opens no action.
SUSPECTS = frozenset(" \t-+*0123456789`~<")
# Blanks and list markers, then a fence, a tag, or the end of what is known of the line.
_START = re.compile(
    r"[ \t]*(?:(?:[-+*]|[0-9]{1,9}[.)])[ \t]+)*"
    r"(?:(?P<fence>```|~~~)|(?P<tag><)|(?P<more>(?:[-+*]|[0-9]{1,9}[.)]?|``?|~~?)?\Z))"
)
# No list goes so deep that a fence in it would be further right.
WIDEST = 256
_INVOKE = re.compile(r"<invoke(?=[\s>/])")
_WRAPPER = re.compile(r"<function_calls>\s{0,1024}+")
_END = "</function_calls>"


class Kind(Enum):
    """What stands at a place. `MORE`: that shows only with more text."""

    TEXT = auto()
    MORE = auto()
    FENCE = auto()
    INVOKE = auto()
    WRAPPED_INVOKE = auto()
    WRAPPER_END = auto()


@dataclass(frozen=True, slots=True)
class Look:
    """The kind of markup found; it begins at `start`, and is to be read on from `at`."""

    kind: Kind
    start: int = 0
    at: int = 0


_TEXT = Look(Kind.TEXT)
_MORE = Look(Kind.MORE)


def look_at_line(text: str, at: int) -> Look:
    """Look at the start of a line."""
    match = _START.match(text, at, at + WIDEST + 1)
    if match is None or match.end() - at > WIDEST:
        return _TEXT
    if match["more"] is not None:
        return _MORE
    if match["fence"]:
        return Look(Kind.FENCE, match.start("fence"), at)
    return look_at_tag(text, match.start("tag"))


def look_at_tag(text: str, at: int) -> Look:
    """Look at a `<`."""
    if _INVOKE.match(text, at):
        return Look(Kind.INVOKE, at, at)
    if text.startswith(_END, at):
        return Look(Kind.WRAPPER_END, at, at + len(_END))
    wrapper = _WRAPPER.match(text, at)
    inner = wrapper.end() if wrapper else at
    if wrapper and _INVOKE.match(text, inner):
        return Look(Kind.WRAPPED_INVOKE, at, inner)
    rest = text[inner : inner + len(_END)]
    if "<invoke".startswith(rest) or (not wrapper and ("<function_calls>".startswith(rest) or _END.startswith(rest))):
        return _MORE
    return _TEXT
