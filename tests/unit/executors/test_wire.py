"""Frames: whole from any pieces, and refused when they are not frames."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.executors.runner.wire import LENGTHS, FrameError, FrameReader, Header, pack


@given(
    st.lists(st.tuples(st.text(), st.binary(max_size=50)), max_size=5),
    st.lists(st.integers(1, 40), min_size=1, max_size=20),
)
def test_frames_come_whole_from_any_pieces(frames: list[tuple[str, bytes]], cuts: list[int]) -> None:
    data = b"".join(pack({"op": name}, payload) for name, payload in frames)
    reader, found, at = FrameReader(), [], 0
    while at < len(data):
        size = cuts[at % len(cuts)]
        found += [(header.text("op"), payload) for header, payload in reader.feed(data[at : at + size])]
        at += size
    assert found == frames


@pytest.mark.parametrize(
    "data",
    [LENGTHS.pack(1 << 30, 0), LENGTHS.pack(2, 1 << 31), LENGTHS.pack(3, 0) + b"xyz", LENGTHS.pack(2, 0) + b"[]"],
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(FrameError):
        list(FrameReader().feed(data))


def test_a_field_of_another_type_is_refused() -> None:
    header = Header({"text": 1, "list": ["a", 2], "table": {"a": 1}, "number": "x"})
    for read in (header.text, header.words, header.table):
        for name in ("text", "list", "table"):
            with pytest.raises(FrameError):
                read(name)
    with pytest.raises(FrameError):
        header.number("number")
    assert (header.text("none"), header.integer("none"), header.words("none"), header.flag("text")) == (
        "",
        0,
        [],
        False,
    )
