"""How the blocks of Markdown start and end, each told from one line."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agentd.fences.lines import Spot

_FENCE = re.compile(r"(?:(`{3,}+)([^`]*+)|(~{3,}+)(.*+))\Z", re.DOTALL)
_HEADING = re.compile(r"#{1,6}+(?:[ \t]|\Z)")
_UNDERLINE = re.compile(r"(?:-++|=++)[ \t]*+\Z")


@dataclass(slots=True)
class Fence:
    """An open code fence. `place` is `""` at the top level, else `list` or `quote`, whatever it stands in.

    `column` is the fence's own, `base` that of the block around it. `closed` when its closing line has come: without
    that it can also end together with the block around it. `deep` if it stands too deep for that block to be told.
    """

    mark: str
    size: int
    info: str
    column: int
    base: int
    place: str = ""
    closed: bool = False
    deep: bool = False

    def closes(self, text: str, at: int) -> bool:
        """Tell whether `text[at:]` closes the fence. Its indentation is the caller's concern."""
        if text[at : at + 1] != self.mark:
            return False
        rest = text[at:].lstrip(self.mark)
        return len(text) - at - len(rest) >= self.size and not rest.strip(" \t")


def fence_at(spot: Spot, base: int) -> Fence | None:
    """Return the fence that the line opens here."""
    match = _FENCE.match(spot.text, spot.at)
    if match is None:
        return None
    run = match[1] or match[3]
    return Fence(run[0], len(run), match[2] if match[1] else match[4], spot.column, base)


@dataclass(frozen=True, slots=True)
class Html:
    """An HTML block: lasts to the line that `end` is found in, or to a blank line."""

    end: re.Pattern[str] | None
    interrupts: bool = True


_NAMES = (
    "address article aside base basefont blockquote body caption center col colgroup dd details dialog dir div dl dt "
    "fieldset figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6 head header hr html iframe legend li link "
    "main menu menuitem nav noframes ol optgroup option p param search section summary table tbody td tfoot th thead "
    "title tr track ul"
)
_VALUE = r"""(?:[^"'=<>`\x00-\x20]++|'[^']*+'|"[^"]*+")"""
_ATTRIBUTE = rf"(?:\s++[a-zA-Z_:][a-zA-Z0-9:._-]*+(?:\s*+=\s*+{_VALUE})?+)"
_TAG = rf"(?:<[A-Za-z][A-Za-z0-9-]*+{_ATTRIBUTE}*+\s*+/?>|</[A-Za-z][A-Za-z0-9-]*+\s*+>)\s*+\Z"
_HTML = (
    (
        re.compile(r"<(?a:script|pre|style|textarea)(?=\s|>|\Z)", re.IGNORECASE),
        Html(re.compile(r"</(?a:script|pre|style|textarea)>", re.IGNORECASE)),
    ),
    (re.compile(r"<!--"), Html(re.compile(r"-->"))),
    (re.compile(r"<\?"), Html(re.compile(r"\?>"))),
    (re.compile(r"<![A-Za-z]"), Html(re.compile(r">"))),
    (re.compile(r"<!\[CDATA\["), Html(re.compile(r"\]\]>"))),
    (re.compile(rf"</?(?a:{'|'.join(_NAMES.split())})(?=\s|/?>|\Z)", re.IGNORECASE), Html(None)),
    (re.compile(_TAG), Html(None, interrupts=False)),
)


def html_at(spot: Spot) -> Html | None:
    """Return the HTML block that the line starts here, by CommonMark's seven conditions in their order."""
    if spot.first != "<":
        return None
    return next((html for start, html in _HTML if start.match(spot.text, spot.at)), None)


def is_heading(spot: Spot) -> bool:
    """Tell whether the rest of the line is an ATX heading."""
    return _HEADING.match(spot.text, spot.at) is not None


def is_underline(spot: Spot) -> bool:
    """Tell whether the rest of the line would make the paragraph above it a heading."""
    return _UNDERLINE.match(spot.text, spot.at) is not None
