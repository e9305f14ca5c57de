from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from agentd.mcp.lines import LineSplitter, LongLine, Tail


@given(st.lists(st.binary(max_size=30), max_size=20), st.integers(1, 7))
def test_lines_are_the_same_whatever_the_chunks(lines: list[bytes], size: int) -> None:
    whole = b"".join(line.replace(b"\n", b"") + b"\n" for line in lines)
    splitter = LineSplitter(1000)
    found = [line for start in range(0, len(whole), size) for line in splitter.feed(whole[start : start + size])]
    assert found == whole.split(b"\n")[:-1]


@given(st.integers(1, 50), st.integers(51, 400), st.integers(1, 60))
def test_a_line_over_the_limit_keeps_its_ends_and_spares_its_neighbours(short: int, long: int, size: int) -> None:
    whole = b"a" * short + b"\n" + b"<" + b"b" * (long - 2) + b">\n" + b"c" * short + b"\n"
    splitter = LineSplitter(50)
    found = [line for start in range(0, len(whole), size) for line in splitter.feed(whole[start : start + size])]
    first, middle, last = found
    assert (first, last) == (b"a" * short, b"c" * short)
    assert isinstance(middle, LongLine) and middle.size == long
    assert middle.head.startswith(b"<") and middle.tail.endswith(b">")


def test_the_id_of_a_long_answer_is_found_at_either_end() -> None:
    def answers(line: bytes) -> set[str | int]:
        (found,) = LineSplitter(100).feed(line + b"\n")
        assert isinstance(found, LongLine)
        return found.answers()

    filler = b'"x": "' + b"y" * 20_000 + b'"'
    assert answers(b'{"jsonrpc": "2.0", "id": 7, "result": {' + filler + b"}}") == {7}
    assert answers(b'{"result":{' + filler + b'},"jsonrpc":"2.0","id":8}') == {8}
    assert answers(b'{"jsonrpc":"2.0","id":"a-1","result":{' + filler + b"}}") == {"a-1"}
    assert answers(filler) == set()


def test_a_very_long_line_takes_linear_time() -> None:
    started = time.monotonic()
    splitter = LineSplitter(64 << 20)
    for _ in range(1600):
        assert not list(splitter.feed(b"x" * 20_000))
    (line,) = splitter.feed(b"\n")
    assert isinstance(line, bytes) and len(line) == 32_000_000
    assert time.monotonic() - started < 20


def test_the_tail_forgets_from_the_start() -> None:
    tail = Tail(limit=100)
    tail.add(b"x" * 1000 + b"\nfirst\n\n")
    tail.note("second \ud800")
    assert tail.last_lines(2) == "first\nsecond ?" and len(tail) <= 100
    assert tail.last_lines(1, width=3) == "sec"
