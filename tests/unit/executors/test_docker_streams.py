"""Taking the outputs of a container apart."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from agentd.executors.docker_launch import Streams

pieces = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)))
cuts = st.lists(st.integers(1, 30), min_size=1)


@given(pieces, cuts)
def test_any_pieces_cut_anywhere(sent: list[tuple[int, bytes]], sizes: list[int]) -> None:
    data = b"".join(struct.pack(">BxxxL", kind, len(text)) + text for kind, text in sent)
    streams = Streams()
    got = {1: b"", 2: b""}
    order: list[int] = []
    while data:
        size = sizes[len(order) % len(sizes)]
        for kind, text in streams.feed(data[:size]):
            assert text
            got[kind] += text
        order.append(size)
        data = data[size:]
    assert got == {kind: b"".join(text for one, text in sent if one == kind) for kind in (1, 2)}


def test_what_has_come_is_not_kept_back() -> None:
    streams = Streams()
    assert list(streams.feed(struct.pack(">BxxxL", 1, 10) + b"abc")) == [(1, b"abc")]
    assert list(streams.feed(b"defg")) == [(1, b"defg")]
    assert list(streams.feed(b"hij" + struct.pack(">BxxxL", 2, 1) + b"!")) == [(1, b"hij"), (2, b"!")]
