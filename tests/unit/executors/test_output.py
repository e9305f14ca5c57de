"""The output budget, over every way that output can be cut into pieces."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agentd.executors.runner.output import Output

PIECES = st.lists(st.binary(max_size=300) | st.text(max_size=80).map(lambda text: text.encode()), max_size=12)


@given(PIECES, st.integers(64, 400))
def test_head_tail_and_file(pieces: list[bytes], budget: int) -> None:
    whole = b"".join(pieces)
    with tempfile.TemporaryDirectory() as workspace:
        output = Output(workspace, "id", budget, 1 << 20, 1 << 20)
        for piece in pieces:
            output.add(piece)
        output.close()
        text = output.text()
        assert bytes(output.live) == whole
        assert output.total == len(whole)
        if len(whole) <= budget:
            assert text == whole
            assert not output.spill
            return
        assert (Path(workspace) / output.spill).read_bytes() == whole
    head, rest = text.split(b"[... ", 1)
    tail = rest.split(b" ...]\n", 1)[1]
    assert whole.startswith(head.removesuffix(b"\n"))
    assert whole.endswith(tail)
    assert len(head) + len(tail) <= budget + 1
    assert len(head) + len(tail) >= budget // 2 - 8


@given(st.text("aé€😀", min_size=200, max_size=400))
def test_a_cut_is_between_characters(text: str) -> None:
    with tempfile.TemporaryDirectory() as workspace:
        output = Output(workspace, "id", 101, 1 << 20, 1 << 20)
        output.add(text.encode())
        output.close()
        assert "\ufffd" not in output.text().decode("utf-8", "replace")


def test_the_file_is_capped_and_says_so(tmp_path: Path) -> None:
    output = Output(str(tmp_path), "../odd name", 100, 1000, 1 << 20)
    for _ in range(30):
        output.add(b"x" * 99 + b"\n")
    assert output.full
    assert b"the first 1,000 bytes are in .agentd/output/___odd_name.txt" in output.text()
    assert (tmp_path / ".agentd/output/___odd_name.txt").stat().st_size == 1000
    output.close()


def test_live_output_is_capped(tmp_path: Path) -> None:
    output = Output(str(tmp_path), "id", 100, 1000, 50)
    for _ in range(10):
        output.add(b"y" * 20)
    assert bytes(output.live).startswith(b"y" * 50 + b"\n[... no more live output")
    assert output.live.count(b"no more live output") == 1
    output.close()


def test_memory_stays_within_a_few_budgets(tmp_path: Path) -> None:
    output = Output(str(tmp_path), "id", 1000, 1000, 0)
    for _ in range(1000):
        output.add(b"z" * 60_000)
    assert len(output._start) + len(output._tail) < 10_000  # pyright: ignore[reportPrivateUsage]
    output.close()
