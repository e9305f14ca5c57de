"""Nasty Markdown to throw at the scanner, and what markdown-it, which the scanner has to agree with, finds in it."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from agentd.fences import Code, Piece, Scanner, Text
from agentd.fences.headers import Header, read_info

_MARKDOWN = MarkdownIt("commonmark")
_LINE = re.compile(r"([^\r\n]*)(\r\n?|\n|\Z)")

INDENTS = ["", "", "", " ", "  ", "   ", "    ", "     ", "        ", "\t", " \t", "   \t", "\t\t"]
MARKERS = ["> ", ">", ">\t", "- ", "-  ", "-\t", "*     ", "1. ", "2. ", "1)\t", "-", "12345678) ", "1234567890. "]
OPENINGS = [
    "```bash:execute",
    "````bash:execute",
    "~~~py:execute timeout=5",
    "``` a.txt:create",
    "~~~ `x`.txt:create",
    "```bash:execute`",
    "```BASH:EXECUTE",
    "```bash:execute state=session",
    "``` one two:execute",
    "``` one two three four five six seven eight nine ten eleven:execute",
]
FENCES = ["```", "````", "```  ", "``````", "~~~", "~~~~\t", "```text", "~~~ text", "``` `", "```~~~", "``", "``` x"]
WORDS = ["text", "text", "echo 1", "# x", "#x", "a\\", "\\```", "`code", "\0", "\u2028", "\x0b", "\xa0", "x\ty", ":"]
RULES = ["***", "---", "- - -", "===", "=", "-", "_ _ _", "--- x", "**", "+"]
HTML = [
    *["<div>", "</div>", "<!--", "-->", "<!-- x -->", "<pre>", "</pre>", "<script x", "</script>", "<?", "?>"],
    *[
        "<!X",
        "<![CDATA[",
        "]]>",
        "<span>",
        "<a b='c'>",
        "<a b='",
        "</x>",
        "<x>y",
        "<textarea",
        "</textarea>",
        "<style>",
        "</STYLE>",
        "<http://x.y>",
        "<",
        "<b",
        "<hr/>",
    ],
]
LINKS = [
    *[
        "[a]: b",
        "[a]:",
        "[a",
        "]: b",
        "[a]: <b c>",
        "[a]: <b",
        "[a]: b 'c'",
        "[a]: b 'c",
        "c'",
        "'c'",
        '"c"',
        '"',
        "(c",
    ],
    *[
        "c)",
        "[a]: b 'c' d",
        "[a]: b ''",
        "'' x",
        "[]: b",
        "[a]: javascript:x",
        "[a\\]: b",
        "[a]: b\\",
        "[a]: (b",
        "[[a]: b",
    ],
]
INVOKES = [
    *['<invoke name="bash:execute">', "<invoke name='a.txt:create'>", '<invoke name="x">', "<invoke", "</invoke>"],
    *[
        '<parameter name="command">',
        '<parameter name="timeout">',
        "</parameter>",
        "<function_calls>",
        "</function_calls>",
    ],
    *["&lt;", "&amp;lt;", "&", "<![CDATA[", "]]>", "5", '<invoke name="py:execute"><parameter name="code">'],
    '<invoke name="bash:execute"><parameter name="command">echo</parameter></invoke>',
]

_MARKUP = st.one_of(*map(st.sampled_from, (OPENINGS, FENCES, FENCES, WORDS, RULES, HTML, LINKS)))
_PREFIX = st.one_of(
    st.sampled_from(INDENTS),
    st.lists(st.sampled_from([*MARKERS, *INDENTS]), max_size=4).map("".join),
)
_ENDS = st.sampled_from(["\n"] * 12 + ["\r\n", "\n\n", "\r"])


_DEEP = st.lists(st.sampled_from(["> ", ">", "- ", "- ", "1. ", "  ", "\t"]), min_size=5, max_size=25).map("".join)


def _message(markup: st.SearchStrategy[str], prefix: st.SearchStrategy[str] = _PREFIX) -> st.SearchStrategy[str]:
    lines = st.lists(st.tuples(prefix, st.one_of(markup, st.just("")), _ENDS).map("".join), max_size=14)
    return st.tuples(lines.map("".join), st.one_of(st.just(""), prefix, markup)).map("".join)


MARKDOWN = _message(_MARKUP)
# The same without those that open an action: there is no cut, so all of it counts.
QUIET = _message(st.one_of(*map(st.sampled_from, (FENCES, WORDS, RULES, HTML, LINKS))))
# Quotes and lists in each other, deeper than markdown-it looks.
DEEP = _message(_MARKUP, st.one_of(_DEEP, _PREFIX))
TABS = _message(
    st.sampled_from(["```", "``` x", "~~~", "x", "- x", "<!--", "-->"]),
    st.lists(st.sampled_from([">", ">", "\t", "\t", " ", "-", "- ", "1."]), max_size=6).map("".join),
)
# Invokes, which markdown-it does not know, and any characters at all.
ANYTHING = _message(st.one_of(_MARKUP, st.sampled_from(INVOKES), st.text(max_size=6)))
CHARACTERS = st.text(
    st.one_of(st.sampled_from("```~~~  \t\n\n\r>-1.<:/&;[]'\0\ud800\u2028"), st.characters()), max_size=80
)


@dataclass(frozen=True)
class Found:
    """A code fence that markdown-it finds: `line` is its first, `closed` only right at the top level."""

    line: int
    start: int
    end: int
    info: str
    content: str
    level: int
    closed: bool

    @property
    def header(self) -> Header | None:
        return read_info(self.info)


def lines_of(text: str) -> list[tuple[int, str]]:
    """Return the offset and the text of every line, without its end; last comes the end of the text."""
    lines = [(match.start(), match[1]) for match in _LINE.finditer(text) if match[0]]
    return [*lines, (len(text), "")]


def fences_of(text: str) -> list[Found]:
    lines = lines_of(text)
    return [_found(token, lines) for token in _MARKDOWN.parse(text) if token.type == "fence"]


def _found(token: Token, lines: list[tuple[int, str]]) -> Found:
    assert token.map is not None
    first, after = token.map
    last = lines[min(after, len(lines)) - 1][1]
    closed = after - first > 1 and re.fullmatch(rf" {{0,3}}{token.markup}{token.markup[0]}*[ \t]*", last) is not None
    end = lines[min(after, len(lines) - 1)][0]
    return Found(first, lines[first][0], end, token.info, token.content, token.level, closed)


def normal(text: str) -> str:
    """Return the text as markdown-it takes it."""
    return re.sub(r"\r\n?", "\n", text).replace("\0", "\ufffd")


def joined(pieces: list[Piece]) -> list[Piece]:
    """Join neighbouring pieces of text, and of code."""
    result: list[Piece] = []
    for piece in pieces:
        last = result[-1] if result else None
        if isinstance(piece, Text) and isinstance(last, Text):
            result[-1] = Text(last.text + piece.text)
        elif isinstance(piece, Code) and isinstance(last, Code):
            result[-1] = Code(last.text + piece.text)
        else:
            result.append(piece)
    return result


def scan_chunks(chunks: list[str]) -> list[Piece]:
    scanner = Scanner()
    pieces = [piece for chunk in chunks for piece in scanner.feed(chunk)]
    return joined(pieces + scanner.close())


def split(text: str, cuts: list[int]) -> list[str]:
    places = sorted({cut % (len(text) + 1) for cut in cuts} | {0, len(text)})
    return [text[a:b] for a, b in itertools.pairwise(places)]
