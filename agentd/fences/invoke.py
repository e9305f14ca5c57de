"""The XML form of an action: `<invoke name="bash:execute"><parameter name="command">…</parameter></invoke>`.

The body is the parameter `command`, `code` or `content`; any other parameter is an option. One line end right after
the parameter's tag is not part of the value. `&lt; &gt; &amp; &quot; &apos;` are unescaped once, every other `&` and
`<` stays as it is, so that a script need not be escaped. A value that is one CDATA section is what stands in the
section, literally.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from agentd.fences.headers import ALLOWED, Header, read_word, with_options

FORM = '<invoke name="bash:execute"><parameter name="command">…</parameter></invoke>'
_NAME = r"""\s+name\s*=\s*(?:"([^"<]*)"|'([^'<]*)')\s*>"""
_INVOKE = re.compile(rf"<invoke{_NAME}")
_PARAMETER = re.compile(rf"<parameter{_NAME}")
_CLOSERS = re.compile(r"</(?:parameter|invoke)>")
_ENTITY = re.compile(r"&(lt|gt|amp|quot|apos);")
_CHARACTERS = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}
_UNDECIDED = ("</parameter>", "</invoke>", "&quot;", "&apos;", "&amp;", "&lt;", "&gt;")
_SUSPECTS = re.compile(r"[<&\]]")
_CDATA = "<![CDATA["
_BODIES = ("command", "code", "content")
_LONGEST_TAG = 4096
_SPACE = re.compile(r"\s*")
_LEADING = re.compile(r"\s{0,16}")

WAIT = -1


def unescape(text: str) -> str:
    return _ENTITY.sub(lambda match: _CHARACTERS[match[1]], text)


def undecided(text: str, start: int, marks: tuple[str, ...]) -> int:
    """Return where a mark that may be complete only with the next text begins, else the text's end."""
    longest = max(map(len, marks))
    for match in _SUSPECTS.finditer(text, max(start, len(text) - longest + 1)):
        if any(mark.startswith(text[match.start() :]) for mark in marks):
            return match.start()
    return len(text)


class Invoke:
    """Reads one `<invoke>`, from its `<` to the `>` of its closing tag.

    `read` takes text from an offset and returns how far it came, or `WAIT` when it needs more to go on: then the caller
    hands in the same text again, with more behind. What it found of the body is appended to `code`.
    """

    def __init__(self) -> None:
        self.header = Header("")
        self.code: list[str] = []
        self.opened = False  # the body has begun, or there will be none
        self.done = False
        self._options: dict[str, str] = {}
        self._value: list[str] | None = None  # of the option that is being read
        self._parameter = ""
        self._crlf = False
        self._has_body = False
        self.read: Callable[[str, int], int] = self._read_name

    @property
    def streams(self) -> bool:
        """True within the body: what is neither markup nor the start of it goes through as it is."""
        return self._value is None and self.read in (self._read_value, self._read_cdata)

    def close(self, text: str) -> None:
        """The message is over: what is left of the text is code."""
        if self.read in (self._read_start, self._read_value, self._read_cdata):
            self._add(text)
        self._refuse(f"{self.header.word or 'the invoke'} was not closed, so it did not run: end it with </invoke>")

    # Tags

    def _tag(self, text: str, at: int) -> tuple[str, int] | None:
        """Return the tag at the offset and its end, `""` for something else; `None` when more text is needed."""
        start = _end(_SPACE, text, at)
        if start == len(text):
            return None
        end = text.find(">", start, start + _LONGEST_TAG)
        if text[start] == "<" and end < 0 and len(text) - start < _LONGEST_TAG:
            return None
        return ("", at) if text[start] != "<" or end < 0 else (text[start : end + 1], end + 1)

    def _read_name(self, text: str, at: int) -> int:
        tag = self._tag(text, at)
        if tag is None:
            return WAIT
        match = _INVOKE.fullmatch(tag[0])
        name = unescape((match[1] or match[2] or "") if match else "").strip()
        header = read_word(name)
        if match is None:
            self._fail(f"the tag is malformed, write {FORM}")
        elif header is None or header.reason:
            self.header = Header(name)
            self._fail(header.reason if header else f"{name!r} is not known: {ALLOWED}")
        else:
            self.header = header
            self.read = self._read_between
        if tag[0].endswith("/>"):
            self.done = True
        return max(tag[1], at + 1)

    def _read_between(self, text: str, at: int) -> int:
        tag = self._tag(text, at)
        if tag is None:
            return self._skip_space(text, at)
        word, end = tag
        match = _PARAMETER.fullmatch(word)
        if word == "</invoke>":
            self._finish()
        elif match is None:
            self._fail(f"only parameters may stand in an invoke, write {FORM}")
            return at
        else:
            self._open_parameter(unescape(match[1] or match[2] or "").strip())
        return end

    def _skip_space(self, text: str, at: int) -> int:
        start = _end(_SPACE, text, at)
        return start if start > at else WAIT

    def _open_parameter(self, name: str) -> None:
        self._parameter = name
        if name not in _BODIES:
            self._value = []
        elif self._has_body:
            self._fail("it has two bodies")
            return
        else:
            self._value = None
            self._has_body = self.opened = True
        self.read = self._read_start

    # Values

    def _read_start(self, text: str, at: int) -> int:
        """Read what decides how the value is written: the line end after the tag, and whether it is a CDATA section."""
        start = _end(_LEADING, text, at)
        if start - at < 16 and (start == len(text) or _CDATA.startswith(text[start : start + len(_CDATA)])):
            if text[start : start + len(_CDATA)] != _CDATA:
                return WAIT
            self.read = self._read_cdata
            return start + len(_CDATA)
        self.read = self._read_value
        if text.startswith("\r\n", at):
            self._crlf = True
            return at + 2
        return at + (text[at] in "\r\n")

    def _read_value(self, text: str, at: int) -> int:
        match = _CLOSERS.search(text, at)
        end = match.start() if match else undecided(text, at, _UNDECIDED)
        self._add(unescape(text[at:end]))
        if match is None:
            return end if end > at else WAIT
        if match[0] == "</invoke>":
            self._fail("its parameter is not closed (in a value write &lt;/invoke> for </invoke>)")
            return end
        self._close_parameter()
        return match.end()

    def _read_cdata(self, text: str, at: int) -> int:
        end = text.find("]]>", at)
        if end >= 0:
            self._add(text[at:end])
            self.read = self._read_cdata_end
            return end + 3
        end = undecided(text, at, ("]]>",))
        self._add(text[at:end])
        return end if end > at else WAIT

    def _read_cdata_end(self, text: str, at: int) -> int:
        tag = self._tag(text, at)
        if tag is None:
            return self._skip_space(text, at)
        if tag[0] != "</parameter>":
            self._fail("only </parameter> may stand after a CDATA section")
            return at
        self._close_parameter()
        return tag[1]

    def _add(self, text: str) -> None:
        if self._crlf:
            text = text.replace("\r\n", "\n")
        if text:
            (self.code if self._value is None else self._value).append(text)

    def _close_parameter(self) -> None:
        if self._value is not None:
            if self._parameter in self._options:
                self._fail(f"the option {self._parameter} is given twice")
                return
            self._options[self._parameter] = "".join(self._value).strip()
        self.read = self._read_between

    # Ends

    def _finish(self) -> None:
        self.done = True
        if not self._has_body:
            self._refuse(f"{self.header.word} has no parameter named command, code or content")
        elif not self.header.reason:
            self.header = with_options(self.header, self._options)

    def _refuse(self, reason: str) -> None:
        self.opened = True
        if not self.header.reason:
            self.header = Header(self.header.word, reason=reason)

    def _fail(self, reason: str) -> None:
        """Refuse the action, and look only for its end from now on."""
        self._refuse(reason)
        self.read = self._read_rest

    def _read_rest(self, text: str, at: int) -> int:
        end = text.find("</invoke>", at)
        if end >= 0:
            self.done = True
            return end + len("</invoke>")
        end = undecided(text, at, ("</invoke>",))
        return end if end > at else WAIT


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at
