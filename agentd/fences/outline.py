"""The block structure of a message, a line at a time: which code fences open, and where.

CommonMark as markdown-it reads it, since that is what the tests hold it against. Inline markup does not matter here:
blocks take precedence. Only what decides about later fences is kept: the open quotes and list items, and the innermost
block.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

from agentd.fences.lines import Spot, inside_item, inside_quote, spot_of
from agentd.fences.references import Lines, definition
from agentd.fences.starts import Fence, Html, fence_at, html_at, is_heading, is_underline

# A level-0 paragraph line that starts with anything else can start or end nothing.
_MARKS = frozenset(" \t`~<>-+*_#=[0123456789\0")
# As in markdown-it: inside of so many quotes, lists and items nothing is told apart any more.
_MAX_LEVEL = 20
_CODE_INDENT = 4


class Leaf(Enum):
    """The innermost open block, where it is not a fence or HTML. `DEEP` is whatever stands too deep to be read."""

    NONE = auto()
    PARAGRAPH = auto()
    CODE = auto()
    DEEP = auto()


class Asking(Enum):
    """Who asks whether a line would end it. Only a paragraph withstands some list items."""

    PARAGRAPH = auto()
    OTHER = auto()


@dataclass(slots=True)
class Frame:
    """An open quote or list item. `indent` is the column of its content, `outer` that of the block around it.

    `hollow` while a quote's last line, or the only one of an item, had nothing in it.
    """

    quote: bool
    indent: int
    outer: int
    level: int
    hollow: bool = False


@dataclass(slots=True)
class _Reach:
    """How far a line goes into the open frames: `spot` is its place in them, `start` the one before the first that it
    is not plainly in. `ended` is the index of a quote that ends here, `lazy` of one that goes on only as long as a
    paragraph in it does.
    """

    spot: Spot
    start: Spot
    ended: int | None = None
    lazy: int | None = None


class Outline:
    """Follows the blocks of one message."""

    def __init__(self) -> None:
        self._frames: list[Frame] = []
        self._leaf: Leaf | Fence | Html = Leaf.NONE
        self._definition: Lines | None = None
        self._undecided: list[str] = []  # the lines of a possible definition, without the first

    @property
    def inert(self) -> bool:
        """True when no action can open on the next line, whatever it is: in a top-level fence or HTML block."""
        return not self._frames and isinstance(self._leaf, Fence | Html)

    def leave_fence(self, fence: Fence) -> None:
        """Close the open fence: for callers that have read its lines by themselves."""
        self._leaf = Leaf.DEEP if fence.deep else Leaf.NONE

    def try_fence(self, indent: str) -> Fence | None:
        """Open a fence behind `indent`, the start of a line, where one would be read as such; else change nothing."""
        line = indent + "```"
        pending, self._definition = self._definition, None
        if pending is not None:
            held = self._save()
            fence = self.line(line)
            self._restore(held)
            self._definition = pending
            if fence is None:
                return None
            self._decide(None)
        held = self._save()
        fence = self.line(line)
        if fence is None:
            self._restore(held)
        return fence

    def _save(self) -> tuple[list[Frame], Leaf | Fence | Html]:
        return [replace(frame) for frame in self._frames], self._leaf

    def _restore(self, held: tuple[list[Frame], Leaf | Fence | Html]) -> None:
        self._frames, self._leaf = held

    def line(self, text: str) -> Fence | None:
        """Take the next line, without its end; return the fence that it opens."""
        if not self._frames and text and self._definition is None:
            first = text[0]
            if self._leaf is Leaf.PARAGRAPH or self._leaf is Leaf.NONE:
                if first not in _MARKS:
                    self._leaf = Leaf.PARAGRAPH
                    return None
            elif isinstance(self._leaf, Fence) and first not in (" ", "\t", self._leaf.mark):
                return None
        return self._line(text.replace("\0", "\ufffd"))

    def _line(self, text: str) -> Fence | None:
        reach = self._reach(text)
        if self._definition is not None:
            if self._extends_definition(reach, text):
                return None
            return self._line(text)
        spot = reach.spot
        left = reach.ended
        if left is None and reach.lazy is not None:
            if self._leaf is Leaf.PARAGRAPH or self._leaf is Leaf.DEEP:
                return None
            left = reach.lazy
        if left is not None:
            del self._frames[left:]
            self._leaf = Leaf.NONE
            spot = reach.start
        else:
            self._mark_hollow(spot.blank)
        if spot.blank:
            self._blank(left is not None)
            return None
        if self._leaf is Leaf.DEEP:
            return self._start_deep(spot)
        if self._continues(spot):
            return None
        self._unwind(spot)
        return self._start(spot)

    # Frames

    @property
    def _indent(self) -> int:
        return self._frames[-1].indent if self._frames else 0

    def _reach(self, text: str) -> _Reach:
        """Go into the open quotes as far as the line does. Changes nothing."""
        start = spot = spot_of(text)
        lazy = None
        for index, frame in enumerate(self._frames):
            if not frame.quote:
                continue
            column = spot.column if lazy is None else -1
            if not spot.blank and spot.first == ">" and column >= frame.outer:
                start = spot = inside_quote(spot)
                continue
            ends = spot.blank or frame.hollow or self._ends(spot, column, index, Asking.OTHER)
            if ends:
                return _Reach(spot, start, ended=index if lazy is None else lazy)
            lazy = index if lazy is None else lazy
        return _Reach(spot, start, lazy=lazy)

    def _mark_hollow(self, blank: bool) -> None:
        last = None
        for frame in self._frames:
            if frame.quote:
                frame.hollow = False
                last = frame
            elif not blank:
                frame.hollow = False
        if last is not None:
            last.hollow = blank

    def _unwind(self, spot: Spot) -> None:
        """Leave the list items that the line is not indented enough for."""
        while self._frames and not self._frames[-1].quote and spot.column < self._frames[-1].indent:
            self._frames.pop()

    def _blank(self, left: bool) -> None:
        if self._leaf is Leaf.PARAGRAPH or (isinstance(self._leaf, Html) and self._leaf.end is None):
            self._leaf = Leaf.NONE
        if self._frames and not left and not self._frames[-1].quote and self._frames[-1].hollow:
            self._frames.pop()  # an item may start with one blank line, not with two

    # Lines in an open block

    def _continues(self, spot: Spot) -> bool:
        """Tell whether the line, which is not blank, belongs wholly to the innermost block. That may end with it."""
        leaf = self._leaf
        indent = spot.column - self._indent
        if leaf is Leaf.PARAGRAPH:
            return self._continues_paragraph(spot, indent)
        if leaf is Leaf.CODE and indent >= _CODE_INDENT:
            return True
        if isinstance(leaf, Fence):
            return self._continues_fence(leaf, spot)
        if isinstance(leaf, Leaf) or indent < 0:
            self._leaf = Leaf.NONE
            return False
        if leaf.end is not None and leaf.end.search(spot.text, spot.at):
            self._leaf = Leaf.NONE
        return True

    def _continues_fence(self, fence: Fence, spot: Spot) -> bool:
        indent = spot.column - fence.base
        if indent < 0:
            self._leaf = Leaf.NONE
            return False
        if indent < _CODE_INDENT and fence.closes(spot.text, spot.at):
            fence.closed = True
            self.leave_fence(fence)
        return True

    def _continues_paragraph(self, spot: Spot, indent: int) -> bool:
        if indent >= _CODE_INDENT:
            return True
        if indent >= 0 and is_underline(spot):
            self._leaf = Leaf.NONE
            return True
        if self._ends(spot, spot.column, len(self._frames), Asking.PARAGRAPH):
            self._leaf = Leaf.NONE
            return False
        return True

    def _ends(self, spot: Spot, column: int, depth: int, asking: Asking) -> bool:
        """Tell whether the line starts a block that ends the one inside of the first `depth` frames."""
        base = self._frames[depth - 1].indent if depth else 0
        if column - base >= _CODE_INDENT:
            return False
        match spot.first:
            case "`" | "~":
                return fence_at(spot, base) is not None
            case ">":
                return True
            case "#":
                return is_heading(spot)
            case "<":
                html = html_at(spot)
                return html is not None and html.interrupts
            case _:
                return spot.is_rule() or self._item_ends(spot, column, depth, asking)

    def _item_ends(self, spot: Spot, column: int, depth: int, asking: Asking) -> bool:
        marker = spot.marker()
        if marker is None:
            return False
        frame = self._frames[depth - 1] if depth else None
        if frame and not frame.quote and column < frame.indent and column - frame.outer >= _CODE_INDENT:
            return False
        if asking is Asking.PARAGRAPH and column >= (frame.indent if frame else 0):
            return not spot.is_blank_after(marker.end()) and int(marker[1] or 1) == 1
        return True

    # Lines that start a block

    def _start(self, spot: Spot) -> Fence | None:
        while True:
            if self._level() >= _MAX_LEVEL:
                self._leaf = Leaf.DEEP
                return None
            if spot.column - self._indent >= _CODE_INDENT:
                self._leaf = Leaf.CODE
                return None
            inner = self._enter(spot)
            if inner is None:
                return self._start_leaf(spot)
            if inner.blank:
                self._frames[-1].hollow = True
                self._leaf = Leaf.NONE
                return None
            spot = inner

    def _level(self) -> int:
        return self._frames[-1].level if self._frames else 0

    def _enter(self, spot: Spot) -> Spot | None:
        """Open the quote or the list item whose marker stands here; return what follows it."""
        if spot.first == ">":
            self._frames.append(Frame(True, 0, self._indent, self._level() + 1))
            return inside_quote(spot)
        marker = None if spot.is_rule() else spot.marker()
        if marker is None:
            return None
        inner, indent = inside_item(spot, marker)
        self._frames.append(Frame(False, indent, self._indent, self._level() + 2))
        return inner

    def _start_leaf(self, spot: Spot) -> Fence | None:
        fence = fence_at(spot, self._indent)
        if fence is not None:
            fence.place = self._place()
            self._leaf = fence
            return fence
        html = html_at(spot)
        self._leaf = Leaf.PARAGRAPH
        if html is not None:
            ended = html.end is not None and html.end.search(spot.text, spot.at)
            self._leaf = Leaf.NONE if ended else html
        elif spot.is_rule() or is_heading(spot):
            self._leaf = Leaf.NONE
        elif spot.first == "[":
            self._start_definition(spot.text[spot.at :] + "\n")
        return None

    def _start_deep(self, spot: Spot) -> Fence | None:
        """Find a fence among what is too deep in lists to be read: not to run it, but so that it can be refused."""
        fence = fence_at(spot, 0) if spot.column < _CODE_INDENT and self._place() == "list" else None
        if fence is not None:
            fence.place, fence.deep = "list", True
            self._leaf = fence
        return fence

    def _place(self) -> str:
        if any(frame.quote for frame in self._frames):
            return "quote"
        return "list" if self._frames else ""

    # Link reference definitions: while one may be open, its lines are kept, to be read again if it turns out otherwise

    def _start_definition(self, line: str) -> None:
        self._definition = definition(line)
        self._decide(None)

    def _extends_definition(self, reach: _Reach, text: str) -> bool:
        """Hand the line to the possible definition; false if the line cannot belong to it: then that is decided now."""
        spot = reach.spot
        outside = spot.blank or reach.ended is not None
        if outside or (reach.lazy is None and self._ends(spot, spot.column, len(self._frames), Asking.OTHER)):
            self._decide(None)
            return False
        self._undecided.append(text)
        self._decide(spot.text[spot.at :] + "\n")
        return True

    def _decide(self, line: str | None) -> None:
        """Send the next line to the definition, or that there is none; if that decides it, read the rest again."""
        if self._definition is None:
            return
        try:
            self._definition.send(line)
        except StopIteration as stop:
            self._settle(stop.value)

    def _settle(self, count: int) -> None:
        self._definition = None
        lines, self._undecided = self._undecided, []
        self._leaf = Leaf.NONE if count else Leaf.PARAGRAPH
        for text in lines[count - 1 :] if count else lines:
            self.line(text)
