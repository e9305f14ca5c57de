"""What holds for any message, however nasty: chunks do not matter, and markdown-it finds the same fences."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from agentd.fences import Block, Code, Cut, Opened, Piece, Refused, Text, scan
from agentd.fences.outline import Outline
from tests.unit.fences.markdown import (
    ANYTHING,
    CHARACTERS,
    DEEP,
    MARKDOWN,
    QUIET,
    TABS,
    fences_of,
    joined,
    lines_of,
    normal,
    scan_chunks,
    split,
)

CUTS = st.lists(st.integers(0, 10_000), max_size=12)
MESSAGES = st.one_of(ANYTHING, MARKDOWN, DEEP, CHARACTERS)


@given(MESSAGES, CUTS)
def test_chunks_do_not_matter(text: str, cuts: list[int]) -> None:
    whole = joined(scan(text))
    assert scan_chunks(split(text, cuts)) == whole
    assert scan_chunks(list(text)) == whole


@given(st.one_of(MARKDOWN, MARKDOWN, DEEP))
@settings(max_examples=300)
def test_markdown_it_finds_the_same_actions(text: str) -> None:
    assume(not re.search(r"\r[ \t]+\n", text))  # a body may lose the blanks, and CR and LF then look like one line end
    pieces = scan(text)
    cut = next((piece.at for piece in pieces if isinstance(piece, Cut)), len(text))
    top = [piece for piece in pieces if isinstance(piece, Block | Refused) and not in_list(piece)]
    wanted = [fence for fence in fences_of(text) if fence.level == 0 and fence.header]
    assert [piece.start for piece in top] == [fence.start for fence in wanted if fence.start < cut]
    for piece, fence in zip(top, wanted, strict=False):
        assert isinstance(piece, Block) is (fence.closed and fence.header is not None and not fence.header.reason)
        if fence.closed:
            assert (piece.end, normal(piece.body)) == (fence.end, fence.content)
        else:  # markdown-it drops blanks at the very end
            assert piece.end == len(text) and normal(piece.body).rstrip(" \t") == fence.content.rstrip(" \t")
    following = next((fence.start for fence in wanted if fence.start >= cut), len(text))
    assert cut == len(text) or text[cut:following].strip()


def in_list(piece: Piece) -> bool:
    return isinstance(piece, Refused) and "inside a list item" in piece.reason


@given(st.one_of(QUIET, MARKDOWN, DEEP, TABS))
@settings(max_examples=500)
def test_markdown_it_finds_the_same_fences_everywhere(text: str) -> None:
    agree_on_fences(text)


@pytest.mark.parametrize("depth", range(1, 25))
@pytest.mark.parametrize("markers", [">", "> ", "- ", "1. ", "> - ", "- > "])
def test_markdown_it_looks_as_deep(markers: str, depth: int) -> None:
    agree_on_fences(markers * depth + "```\nx\n~~~\n")


@pytest.mark.parametrize("before", ["", "> x\n", "- x\n", "> - x\n", "1. > x\n\n"])
def test_markdown_it_counts_the_same_columns(before: str) -> None:
    for length in range(5):
        for prefix in itertools.product(">\t -", repeat=length):
            agree_on_fences(before + "".join(prefix) + "```\n")


@pytest.mark.parametrize("tag", ["script", "pre", "style", "textarea"])
def test_markdown_it_ends_the_same_html(tag: str) -> None:
    agree_on_fences(f"<{tag}>\n\n```\nx\n```\n</{tag.upper()}>\n``` y\n")


def agree_on_fences(text: str) -> None:
    outline = Outline()
    fences = [(number, outline.line(line)) for number, (_, line) in enumerate(lines_of(text)[:-1])]
    ours = [(number, fence.info.strip(), not fence.place) for number, fence in fences if fence and not fence.deep]
    assert ours == [(fence.line, fence.info.strip(), fence.level == 0) for fence in fences_of(normal(text))]


@given(MESSAGES)
def test_nothing_is_lost(text: str) -> None:
    """Text and the markup of actions are the message up to the cut, but for blank space after an action."""
    pieces = joined(scan(text))
    at = 0
    acted = False
    for piece in pieces:
        if isinstance(piece, Text):
            assert text.startswith(piece.text, at) and not acted
            at += len(piece.text)
        elif isinstance(piece, Block | Refused):
            assert at <= piece.start <= piece.end
            assert not text[at : piece.start].strip() if acted else at == piece.start
            acted, at = True, piece.end
        elif isinstance(piece, Cut):
            assert piece.at == at and text[at:].strip() and piece is pieces[-1]
    assert isinstance(pieces[-1] if pieces else None, Cut) or not text[at:].strip()


@given(MESSAGES)
def test_an_action_is_opened_then_its_code_then_closed(text: str) -> None:
    opened: Opened | None = None
    code = ""
    for piece in scan(text):
        if isinstance(piece, Opened):
            assert opened is None
            opened, code = piece, ""
        elif isinstance(piece, Code):
            assert opened is not None
            code += piece.text
        elif isinstance(piece, Block | Refused):
            assert opened is not None and (opened.start, code) == (piece.start, piece.body)
            if isinstance(piece, Block):
                assert (opened.kind, opened.path) == (piece.kind, piece.path)
            opened = None
    assert opened is None


@given(st.text())
def test_any_text_can_be_scanned(text: str) -> None:
    scan(text)
