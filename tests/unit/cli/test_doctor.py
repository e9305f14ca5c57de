"""`agentd doctor`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from agentd.cli.doctor import command


def test_it_lists_all_back_ends_and_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = CliRunner().invoke(command)
    assert result.exit_code == 0  # local runs
    lines = result.output.splitlines()
    assert lines[0].startswith("local: runs. no isolation")
    for name in ("bwrap", "srt", "microsandbox"):
        at = next(index for index, line in enumerate(lines) if line.startswith(name))
        assert ": no. " in lines[at]
        assert lines[at + 1].startswith("    why: ")
        assert lines[at + 2].startswith("    fix: ")
    assert "apt install bubblewrap" in result.output


def test_it_tries_the_sandboxes_that_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.executors.registry.names", lambda: ["local", "bwrap"])
    result = CliRunner().invoke(command, ["--verify", "--json"])
    assert result.exit_code == 0, result.output
    found = {entry["name"]: entry for entry in json.loads(result.output)}
    assert "no isolation" in found["local"]["verified"]
    assert "tried and refused" in found["bwrap"]["verified"]
    assert found["bwrap"]["version"]


def test_a_sandbox_that_does_not_hold_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from agentd.executors.bwrap import BwrapExecutor

    whole = BwrapExecutor.command
    monkeypatch.setattr("agentd.executors.registry.names", lambda: ["bwrap"])
    monkeypatch.setattr(
        BwrapExecutor, "command", lambda self: [part for part in whole(self) if part != "--unshare-net"]
    )
    result = CliRunner().invoke(command, ["--verify"])
    assert result.exit_code == 1
    assert "bwrap 0.8.0: no." in result.output
