"""What paths stand for: every way to put something else there is noticed, however quiet it was before."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.executors.standing import Standing

CHANGES: dict[str, Callable[[Path], object]] = {
    "made": lambda root: (root / "none").touch(),
    "removed": lambda root: (root / "file").unlink(),
    "saved anew": lambda root: ((root / "draft").write_text("new"), os.replace(root / "draft", root / "file")),
    "its folder replaced": lambda root: (
        (root / "deep").rename(root / "away"),
        (root / "deep").mkdir(),
        (root / "deep" / "er").write_text("new"),
    ),
    "what a link leads to": lambda root: ((root / "t2").write_text("new"), os.replace(root / "t2", root / "to" / "it")),
    "a link": lambda root: ((root / "link").unlink(), (root / "link").symlink_to("file")),
}


@pytest.mark.parametrize("quiet", [False, True])
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_noticed(tmp_path: Path, name: str, quiet: bool) -> None:
    for folder in ("deep", "to"):
        (tmp_path / folder).mkdir()
    for file in ("file", "deep/er", "to/it"):
        (tmp_path / file).write_text("old")
    (tmp_path / "link").symlink_to("to/it")
    standing = Standing(tmp_path / part for part in ("file", "none", "deep/er", "link"))
    assert not standing.changed
    if quiet:  # long enough for times to tell
        time.sleep(0.05)
        assert not standing.changed
        assert not standing.changed
    CHANGES[name](tmp_path)
    assert standing.changed


def test_what_is_written_in_place_is_no_change(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    standing = Standing([tmp_path / "file", tmp_path / "nowhere" / "x"])
    (tmp_path / "file").write_text("new")
    (tmp_path / "other").touch()
    assert not standing.changed
