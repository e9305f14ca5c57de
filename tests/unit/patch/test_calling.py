"""What is encoded on the spot, and what goes to a thread."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.patch.calling import _is_small


@pytest.mark.parametrize("value", [None, True, 5, "", "x" * 2000, [], {}, {"a": [1, {"b": "c"}]}, ["x" * 100] * 15])
def test_small(value: Any) -> None:
    assert _is_small(value)


@pytest.mark.parametrize(
    "value",
    ["x" * 2001, ["x"] * 2000, [["x" * 500] * 2] * 2, {"x" * 2001: 1}, {"a": {"b": ["x" * 2001]}}],
    ids=["text", "list", "texts", "key", "inside"],
)
def test_large(value: Any) -> None:
    assert not _is_small(value)


def test_what_has_no_end_is_large() -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert not _is_small(circle)
    deep: list[Any] = []
    for _ in range(3000):
        deep = [deep]
    assert not _is_small(deep)
