"""Whose something is: marks of living processes, of dead ones, and of other machines."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from agentd.executors.owner import is_orphan, mark

SAY = "from agentd.executors.owner import mark; print(mark(), flush=True); input()"


def test_a_process_is_an_orphans_maker_once_it_is_gone() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", SAY], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout
        theirs = process.stdout.readline().strip()
        assert theirs != mark()
        assert not is_orphan(theirs, up=True)
        assert not is_orphan(theirs, up=False)
        process.communicate("\n")
    assert is_orphan(theirs, up=True)


def test_this_process_is_not_another_with_its_number() -> None:
    place, pid, begun = mark().split("-")
    assert int(pid) == os.getpid()
    assert not is_orphan(mark(), up=True)
    assert is_orphan(f"{place}-{pid}-{int(begun) - 1}", up=True)


def test_of_other_machines_only_what_is_down_is_removed() -> None:
    theirs = "0123456789-1-1"
    assert not is_orphan(theirs, up=True)
    assert is_orphan(theirs, up=False)


@pytest.mark.parametrize("text", ["", "s1", "0123456789-1", "0123456789-1-1-1", "0123456789-x-1", "ABCDEF0123-1-1"])
def test_what_bears_no_mark_is_nobodys(text: str) -> None:
    assert not is_orphan(text, up=False)
