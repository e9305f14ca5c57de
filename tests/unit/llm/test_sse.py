"""Server-sent events: the same objects however the bytes are cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.errors import MalformedReply
from agentd.llm.sse import SseParser

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
OBJECTS = st.lists(st.dictionaries(TEXT, TEXT | st.integers(), max_size=3), max_size=6)


def stream_of(objects: list[dict[str, object]], end: str, ascii_only: bool) -> bytes:
    parts = [f": comment{end}{end}"]
    for value in objects:
        parts.append(f"event: e{end}data: {json.dumps(value, ensure_ascii=ascii_only)}{end}{end}")
    return "".join(parts).encode()


def parse(chunks: list[bytes]) -> list[Any]:
    parser = SseParser()
    found: list[Any] = []
    for chunk in chunks:
        found += parser.feed(chunk)
    return [*found, *parser.close()]


@given(OBJECTS, st.sampled_from(["\n", "\r\n"]), st.booleans(), st.lists(st.integers(1, 40), min_size=1))
def test_every_chunking_gives_the_same(
    objects: list[dict[str, object]], end: str, plain: bool, cuts: list[int]
) -> None:
    whole = stream_of(objects, end, plain)
    chunks, at = [], 0
    while at < len(whole):
        size = cuts[len(chunks) % len(cuts)]
        chunks.append(whole[at : at + size])
        at += size
    assert parse(chunks) == parse([whole]) == objects


def test_done_ends_the_stream() -> None:
    assert parse([b'data: {"a":1}\n\ndata: [DONE]\n\ndata: {"b":2}\n\n']) == [{"a": 1}]


def test_data_over_several_lines_is_joined() -> None:
    assert parse([b'data: {"a":\ndata: 1}\n\n']) == [{"a": 1}]


def test_a_last_event_without_its_blank_line_counts() -> None:
    assert parse([b'data: {"a":1}\n\ndata: {"b":2}']) == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize("data", [b"{oops", b"[1]", b"\xff{}", b'"text"'])
def test_what_is_no_object_is_an_error_that_shows_it(data: bytes) -> None:
    with pytest.raises(MalformedReply, match="JSON"):
        list(SseParser().feed(b"data: " + data + b"\n\n"))


def test_a_long_event_is_searched_once() -> None:
    class Counting(bytearray):
        searched = 0

        def rfind(self, sub: Any, start: int = 0, *end: Any) -> int:
            Counting.searched += len(self) - start
            return super().rfind(sub, start, *end)

    parser = SseParser()
    parser._rest = Counting()
    found = list(parser.feed(b'data: {"a":1}\n\nda'))
    for chunk in (b'ta: {"a":"', *[b"x" * 1000] * 300, b'"}\n\n'):
        found += parser.feed(chunk)
    assert [len(str(value["a"])) for value in found] == [1, 300_000]
    assert Counting.searched < 2_000_000
