"""The incremental scanner of a message: text goes through at once, an action comes out as soon as it is closed."""

from __future__ import annotations

import re
from collections.abc import Callable

from agentd.fences.headers import MOST_WORDS, Header, read_info
from agentd.fences.invoke import WAIT, Invoke
from agentd.fences.lines import LINE_END, dedent, spot_of
from agentd.fences.openings import SUSPECTS, WIDEST, Kind, look_at_line, look_at_tag
from agentd.fences.outline import Outline
from agentd.fences.output import Output
from agentd.fences.pieces import Block, Code, Opened, Piece, Refused
from agentd.fences.starts import Fence

_IN_LIST = "is inside a list item, where nothing runs: start it at the beginning of a line, outside of the list"
_INDENT = re.compile(r"[ \t]*")
# Without these a chunk can end neither a line nor a parameter.
_NEEDS_A_LOOK = re.compile(r"[\r\n<&\]]").search
_FIRST_CHECK = 32


class Scanner:
    """Finds the actions in one assistant message that arrives in chunks.

    An action is a fence at the top level of the message whose info string starts with `NAME:ACTION`, or an `<invoke>`
    in the place of one. What `feed` and `close` give is the same whatever the chunks, but for where adjacent `Text` or
    `Code` pieces are split. Each action is one `Opened`, any `Code`, then one `Block` or `Refused`. Actions with only
    blank space between them are a group, and that space is dropped; other text after a group is a guess at results: it
    gives `Cut`, and nothing after it. An action in a list item or left open is refused; one in a quote, in another
    fence or in HTML is text.

    Work and memory are linear in the text. Never raises.
    """

    def __init__(self) -> None:
        self._out = Output()
        self._closed = False
        self._outline = Outline()
        self._mode: Callable[[str, int], int] = self._text
        self._end: Callable[[], None] = self._end_text
        # What has been read, and what of it could not be told yet
        self._read = 0
        self._carry = ""
        self._base = 0  # the offset in the message of the text at hand
        self._has_cr = False
        # The current line: where it began, and its parts
        self._line_at = 0
        self._line: list[str] = []
        self._held = 0
        self._check_at = _FIRST_CHECK
        # The open action
        self._header = Header("")
        self._fence = Fence("`", 3, "", 0, 0)
        self._invoke = Invoke()
        self._wrapped = False
        self._announced = False
        self._start = 0
        self._crlf = False
        self._body: list[str] = []
        self._in_code_line = False
        self._tape: list[str] | None = None  # where the rest of the line is kept, if it goes straight through

    def feed(self, chunk: str) -> list[Piece]:
        """Take the next characters of the message."""
        tape = self._tape
        if tape is not None and chunk and not _NEEDS_A_LOOK(chunk):
            tape.append(chunk)
            self._read += len(chunk)
            return [self._out.kind(chunk)]
        if self._over or not chunk:
            return []
        text = self._carry + chunk
        base = self._read - len(self._carry)
        self._read += len(chunk)
        held = "\r" if text.endswith("\r") else ""  # a line end, or half of one
        self._consume(text[:-1] if held else text, base)
        self._carry += held
        self._choose_tape()
        return self._out.take()

    def close(self) -> list[Piece]:
        """The message is complete."""
        if self._over:
            return []
        self._consume(self._carry, self._read - len(self._carry))
        if not self._over:
            self._end()
        self._closed = True
        self._tape = None
        return self._out.take()

    @property
    def _over(self) -> bool:
        return self._closed or self._out.cut

    def _consume(self, text: str, base: int) -> None:
        self._base = base
        self._carry = ""
        self._has_cr = "\r" in text
        at = 0
        while at < len(text) and not self._over:
            after = self._mode(text, at)
            if after == WAIT:
                self._carry = text[at:]
                return
            at = after

    # What streams

    def _add_code(self, text: str) -> None:
        self._out.code(text)
        self._body.append(text)

    def _choose_tape(self) -> None:
        """Decide whether the rest of the line can go through without a look."""
        self._tape = None
        if self._carry or self._over:
            return
        in_value = self._mode == self._read_invoke and self._invoke.streams and self._out.kind is Code
        if self._in_code_line or in_value:
            self._tape = self._body
        elif self._line and self._mode == self._text and not self._out.in_group:
            self._tape = self._line

    # Ordinary text

    def _switch(self, mode: Callable[[str, int], int], end: Callable[[], None]) -> None:
        self._mode, self._end = mode, end

    def _to_text(self) -> None:
        self._switch(self._text, self._end_text)

    def _line_end(self, text: str, at: int) -> tuple[int, int]:
        """Return where the line ends and where the next one starts; the text's end, twice, if it has no end yet."""
        if self._has_cr:
            match = LINE_END.search(text, at)
            return match.span() if match else (len(text), len(text))
        end = text.find("\n", at)
        return (end, end + 1) if end >= 0 else (len(text), len(text))

    def _text(self, text: str, at: int) -> int:
        if not self._line:
            self._line_at = self._base + at
            if text[at] in SUSPECTS and not self._outline.inert:
                step = self._suspect(text, at)
                if step is not None:
                    return step
        end, after = self._line_end(text, at)
        self._line.append(text[at:end])
        if after > end:
            self._outline.line(self._take_line())
        self._out.show(text[at:after])
        return after

    def _end_text(self) -> None:
        self._out.show(self._carry)

    def _take_line(self) -> str:
        line = "".join(self._line)
        self._line.clear()
        return line

    def _suspect(self, text: str, at: int) -> int | None:
        """Look for an action at the start of a line; `None` if there is none."""
        look = look_at_line(text, at)
        match look.kind:
            case Kind.MORE:
                return WAIT
            case Kind.FENCE:
                self._held, self._check_at = 0, _FIRST_CHECK
                self._switch(self._opening, self._end_opening)
                return at
            case Kind.INVOKE | Kind.WRAPPED_INVOKE:
                fence = self._outline.try_fence(text[at : look.start])
                if fence is None:
                    return None
                self._fence = fence
                self._wrapped = self._wrapped or look.kind is Kind.WRAPPED_INVOKE
                return self._open_invoke(self._line_at, look.at)
            case Kind.WRAPPER_END if self._wrapped and not text[at : look.start].strip():
                return self._end_wrapper(look.at)
            case _:
                return None

    # The opening line of a fence: held back until it is complete or plainly opens no action

    def _opening(self, text: str, at: int) -> int:
        end, after = self._line_end(text, at)
        self._line.append(text[at:end])
        self._held += end - at
        if after > end:
            self._open_fence(text[end:after])
        elif self._cannot_open():
            self._to_text()
            self._out.show(self._line[0])
        return after

    def _end_opening(self) -> None:
        self._open_fence("")
        if self._mode != self._text:
            self._end()

    def _cannot_open(self) -> bool:
        """Tell whether the unfinished line is no action's already; looks only each time the line has doubled."""
        if self._held < self._check_at:
            return False
        self._check_at = 2 * self._held
        line = "".join(self._line)
        self._line = [line]
        start = look_at_line(line, 0).start
        info = line[start:].lstrip(line[start])
        if line[start] == "`" and "`" in info:
            return True
        words = info.split(maxsplit=MOST_WORDS)
        return len(words) > MOST_WORDS and read_info(" ".join(words[:MOST_WORDS])) is None

    def _open_fence(self, line_end: str) -> None:
        line = self._take_line()
        self._to_text()
        fence = self._outline.line(line)
        header = read_info(fence.info) if fence else None
        if fence is None or header is None:
            self._out.show(line + line_end)
            return
        self._fence = fence
        self._start = self._line_at
        self._crlf = line_end == "\r\n"
        self._announce(header)
        if fence.place:
            self._switch(self._nested, self._end_nested)
        else:
            self._switch(self._code, self._end_code)

    def _announce(self, header: Header) -> None:
        if self._fence.place and header.word:
            header = Header(header.word, reason=f"{header.word} {_IN_LIST}")
        self._header = header
        self._announced = True
        self._body = []
        self._out.add(Opened(header.kind, header.path, self._start))

    def _finish(self, end: int, unclosed: str = "") -> None:
        """Give out the open action, which ends here."""
        header, body = self._header, "".join(self._body)
        reason = header.reason or unclosed
        if reason:
            self._out.end_action(Refused(header.word, reason, body, self._start, end))
        else:
            self._out.end_action(Block(header.kind, header.path, body, header.options, header.word, self._start, end))
        self._in_code_line = False
        self._to_text()

    # The body of a fence

    def _kept(self, line_end: str) -> str:
        return "\n" if self._crlf and line_end == "\r\n" else line_end

    def _code(self, text: str, at: int) -> int:
        end, after = self._line_end(text, at)
        piece = text[at:end]
        complete = after > end
        if not self._in_code_line:
            self._line.append(piece)
            if not complete and not piece.strip(self._fence.mark + " \t"):
                return after  # may become the closing line
            piece = self._take_line()
            if complete and self._closes(piece):
                self._outline.leave_fence(self._fence)
                self._finish(self._base + after)
                return after
            piece = dedent(piece, self._fence.column)
        self._add_code(piece + self._kept(text[end:after]))
        self._in_code_line = not complete
        return after

    def _closes(self, line: str) -> bool:
        spot = spot_of(line)
        return spot.column < 4 and self._fence.closes(line, spot.at)

    def _end_code(self) -> None:
        line = self._take_line()
        if self._closes(line):
            self._finish(self._read)
            return
        if line:
            self._add_code(dedent(line, self._fence.column))
        closing = self._fence.mark * self._fence.size
        word = self._header.word
        self._finish(self._read, f"{word} was not closed, so it did not run: end it with a line of {closing}")

    # The body of a fence in a list item, which is refused: it ends where the item does, too

    def _nested(self, text: str, at: int) -> int:
        if not self._line:
            step = self._leave_item(text, at)
            if step is not None:
                return step
        end, after = self._line_end(text, at)
        self._line.append(text[at:end])
        if after > end:
            line = self._take_line()
            self._outline.line(line)
            if self._fence.closed:
                self._finish(self._base + after)
            else:
                self._add_code(dedent(line, self._fence.column) + self._kept(text[end:after]))
        return after

    def _leave_item(self, text: str, at: int) -> int | None:
        """Look whether the line, which has just begun, is still in the item; `None` if it is."""
        indent = _INDENT.match(text, at, at + WIDEST)
        start = indent.end() if indent else at
        if start == len(text):
            return WAIT if start - at < WIDEST else None
        if text[start] in "\r\n" or self._fence.deep or spot_of(text[at:start]).column >= self._fence.base:
            return None
        self._finish(self._base + at)
        return at

    def _end_nested(self) -> None:
        line = self._take_line() + self._carry
        self._outline.line(line)
        if line and not self._fence.closed:
            self._add_code(dedent(line, self._fence.column))
        self._finish(self._read)

    # The XML form

    def _open_invoke(self, start: int, at: int) -> int:
        self._start = start
        self._invoke = Invoke()
        self._announced = False
        self._switch(self._read_invoke, self._end_invoke)
        return at

    def _read_invoke(self, text: str, at: int) -> int:
        after = self._invoke.read(text, at)
        self._take_invoke()
        if self._invoke.done:
            self._finish_invoke(self._base + after)
        return after

    def _take_invoke(self) -> None:
        if self._invoke.opened and not self._announced:
            self._announce(self._invoke.header)
        for code in self._invoke.code:
            self._add_code(code)
        self._invoke.code.clear()

    def _finish_invoke(self, end: int) -> None:
        if not self._header.reason:
            self._header = self._invoke.header
        self._outline.leave_fence(self._fence)
        self._finish(end)
        self._switch(self._after_invoke, self._end_text)

    def _end_invoke(self) -> None:
        self._invoke.close(self._carry)
        self._take_invoke()
        self._finish_invoke(self._read)

    def _end_wrapper(self, at: int) -> int:
        self._wrapped = False
        self._out.extend_group(self._base + at)
        self._switch(self._after_invoke, self._end_text)
        return at

    def _after_invoke(self, text: str, at: int) -> int:
        """Read the rest of a line after a closing tag: blank, or another tag."""
        if text[at] in "\r\n":
            self._to_text()
            return self._line_end(text, at)[1]
        if text[at].isspace():
            return at + 1
        kind = Kind.TEXT
        if text[at] == "<":
            look = look_at_tag(text, at)
            kind = look.kind
            if kind is Kind.MORE:
                return WAIT
            if kind is Kind.WRAPPER_END and self._wrapped:
                return self._end_wrapper(look.at)
            if kind is Kind.INVOKE or kind is Kind.WRAPPED_INVOKE:
                self._wrapped = self._wrapped or kind is Kind.WRAPPED_INVOKE
                return self._open_invoke(self._base + at, look.at)
        self._out.show(text[at:])
        return len(text)


def scan(text: str) -> list[Piece]:
    """Return the pieces of a whole message."""
    scanner = Scanner()
    return scanner.feed(text) + scanner.close()
