"""Link reference definitions, read a line at a time: the one Markdown block that is known only after its end.

Follows the `reference` rule of markdown-it: it decides whether the lines after `[label]: …` are still in a paragraph.
"""

from __future__ import annotations

import re
from collections.abc import Generator

_LABEL = re.compile(r"[^\[\]\\\n]*+")
_BLANKS = re.compile(r"[ \t]*+")
_POINTED = re.compile(r"<((?:[^\n<>\\]|\\.)*+)>", re.DOTALL)
_BARE = re.compile(r"(?:(?:[^\x00-\x20\x7f()\\]|\\[^ ])++|([()]))", re.DOTALL)
_TITLES = {
    '"': re.compile(r'((?:[^"\\]|\\.)*+)("?)', re.DOTALL),
    "'": re.compile(r"((?:[^'\\]|\\.)*+)('?)", re.DOTALL),
    "(": re.compile(r"((?:[^()\\]|\\.)*+)(\)?)", re.DOTALL),
}
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_UNSAFE = re.compile(r"(?:vbscript|javascript|file|data):")
_SAFE = re.compile(r"data:image/(?:gif|png|jpeg|webp);")
_WHITE = "\t\n\v\f\r \xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))

Lines = Generator[None, "str | None", int]


class _Reader:
    """The lines so far: the last one, the place in it, and how many there were."""

    def __init__(self, line: str) -> None:
        self.text = line
        self.at = 0
        self.count = 1

    def next_line(self) -> Generator[None, str | None, bool]:
        line = yield
        if line is None:
            return False
        self.text, self.at = line, 0
        self.count += 1
        return True

    def skip_blanks(self) -> Generator[None, str | None, None]:
        """Go over spaces, tabs and one line end."""
        self.skip_spaces()
        if self.at_end() and (yield from self.next_line()):
            self.skip_spaces()

    def skip_spaces(self) -> None:
        match = _BLANKS.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def at_end(self) -> bool:
        return self.text[self.at : self.at + 1] in ("", "\n")


def definition(line: str) -> Lines:
    """Read a definition that starts with this line; return how many lines it has, 0 when it is none.

    Every line ends in a newline and has lost its indentation. Asks for more by `yield`, and is sent the next line, or
    `None` when the paragraph has no more.
    """
    reader = _Reader(line)
    labelled = yield from _label(reader)
    if not labelled:
        return 0
    yield from reader.skip_blanks()
    if not _destination(reader):
        return 0
    first = reader.count
    if reader.at >= len(reader.text):
        return first  # a backslash has taken the line end with it
    spaced = reader.text[reader.at : reader.at + 1] in (" ", "\t")
    reader.skip_spaces()
    if not reader.at_end():
        titled = spaced and (yield from _title(reader))
        return reader.count if titled else 0
    if not (yield from reader.next_line()):
        return first
    titled = yield from _title(reader)
    return reader.count if titled else (first if titled is not None else 0)


def _label(reader: _Reader) -> Generator[None, str | None, bool]:
    """Read `[label]:`; false when it is none or has only blanks."""
    labelled = False
    reader.at = 1
    while True:
        match = _LABEL.match(reader.text, reader.at)
        labelled = labelled or bool(match and match[0].strip(_WHITE))
        reader.at = match.end() if match else reader.at
        char = reader.text[reader.at : reader.at + 1]
        if char == "\\":
            labelled = True
            reader.at += 1
            char = "\n" if reader.text[reader.at : reader.at + 1] == "\n" else char
        if char == "\\":
            reader.at += 1
        elif char == "\n":
            if not (yield from reader.next_line()):
                return False
        else:
            break
    is_label = char == "]" and reader.text[reader.at + 1 : reader.at + 2] == ":"
    reader.at += 2
    return labelled and is_label


def _destination(reader: _Reader) -> bool:
    """Read a link destination that markdown-it would accept."""
    text, start = reader.text, reader.at
    if text[start : start + 1] == "<":
        match = _POINTED.match(text, start)
        if match is None:
            return False
        reader.at = match.end()
        return _is_allowed(match[1])
    depth = 0
    while match := _BARE.match(text, reader.at):
        if match[1] == "(":
            depth += 1
        elif match[1] == ")":
            depth -= 1
        if depth < 0 or depth > 32:
            break
        reader.at = match.end()
    if depth > 0 or reader.at == start:
        return False
    return _is_allowed(text[start : reader.at])


def _is_allowed(url: str) -> bool:
    address = _ESCAPED.sub(r"\1", url).strip().lower()
    return _UNSAFE.match(address) is None or _SAFE.match(address) is not None


def _title(reader: _Reader) -> Generator[None, str | None, bool | None]:
    """Read a title and the rest of its line: true if both are right, `None` for an empty title with more behind it."""
    pattern = _TITLES.get(reader.text[reader.at : reader.at + 1])
    if pattern is None:
        return False
    reader.at += 1
    empty = True
    while True:
        match = pattern.match(reader.text, reader.at)
        if match is None:
            return False
        empty = empty and not match[1]
        reader.at = match.end()
        if match[2]:
            break
        if reader.at < len(reader.text) or not (yield from reader.next_line()):
            return False
    reader.skip_spaces()
    if reader.at_end():
        return True
    return None if empty else False
