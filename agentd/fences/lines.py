"""One line of Markdown, read from the left: columns, tabs, and the markers of quotes and list items."""

from __future__ import annotations

import re
from dataclasses import dataclass

LINE_END = re.compile(r"\r\n?|\n")
_LIST_MARKER = re.compile(r"(?:[-+*]|([0-9]{1,9})[.)])(?=[ \t]|\Z)")
_RULE = re.compile(r"([*_-])[ \t]*+(?:\1[ \t]*+){2,}+\Z")


@dataclass(slots=True)
class Spot:
    """The unread rest of a line, `text[at:]`, which starts with no blank.

    `column` is its column within the innermost quote, `tab_base` what that quote's own markers add for tab stops.
    """

    text: str
    at: int
    column: int
    tab_base: int

    @property
    def blank(self) -> bool:
        return self.at >= len(self.text)

    @property
    def first(self) -> str:
        """The first character of the rest, `""` when there is none."""
        return self.text[self.at : self.at + 1]

    def skip(self, extra: int = 0) -> None:
        """Go to the next character that is no space or tab."""
        text, at, column = self.text, self.at, self.column
        while at < len(text) and (char := text[at]) in " \t":
            column += 1 if char == " " else 4 - (column + self.tab_base + extra) % 4
            at += 1
        self.at, self.column = at, column

    def marker(self) -> re.Match[str] | None:
        """A list item's marker here: its group 1 is the number, if it has one."""
        return _LIST_MARKER.match(self.text, self.at)

    def is_rule(self) -> bool:
        """Tell whether the rest is a thematic break."""
        return _RULE.match(self.text, self.at) is not None

    def is_blank_after(self, at: int) -> bool:
        return not self.text[at:].strip(" \t")


def spot_of(text: str) -> Spot:
    """Return the first character of the line that is no space or tab."""
    spot = Spot(text, 0, 0, 0)
    if text[:1] in (" ", "\t"):
        spot.skip()
    return spot


def inside_quote(spot: Spot) -> Spot:
    """Return what follows the `>` at the spot and one blank; columns start anew after them."""
    inner = Spot(spot.text, spot.at + 1, spot.column + 1, spot.tab_base)
    base = inner.column
    tab = 0
    after = inner.first
    if after == " " or (after == "\t" and (spot.tab_base + inner.column) % 4 == 3):
        inner.at += 1
        inner.column += 1
        base += 1
    elif after == "\t":
        tab = 1
    inner.skip(tab)
    inner.column -= base
    inner.tab_base = spot.column + 1 + (after in (" ", "\t"))
    return inner


def inside_item(spot: Spot, marker: re.Match[str]) -> tuple[Spot, int]:
    """Return what follows a list marker, and the column at which the item's content starts."""
    start = spot.column + marker.end() - spot.at
    inner = Spot(spot.text, marker.end(), start, spot.tab_base)
    inner.skip()
    width = 1 if inner.blank or inner.column - start > 4 else inner.column - start
    return inner, start + width


def dedent(line: str, columns: int) -> str:
    """Remove up to so many columns of blanks; what is left of a split tab becomes spaces."""
    column = at = 0
    while column < columns and line[at : at + 1] in (" ", "\t"):
        column += 1 if line[at] == " " else 4 - column % 4
        at += 1
    return " " * (column - columns) + line[at:]
