"""`agentd doctor`."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from agentd.cli.doctor import command
from agentd.executors import registry
from agentd.executors.launch import Probe


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


def plugged(monkeypatch: pytest.MonkeyPatch, made: object) -> None:
    """Have a plug-in beside `local`, which is no good."""
    monkeypatch.setattr("agentd.executors.registry.names", lambda: ["odd", "local"])
    whole = registry.backend
    monkeypatch.setattr("agentd.executors.registry.backend", lambda name: made if name == "odd" else whole(name))


def odd(does: Callable[[], object]) -> object:
    return type("Odd", (), {"name": "odd", "probe": staticmethod(does)})


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (RuntimeError("boom"), "its probe has failed: RuntimeError: boom"),
        (SystemExit(3), "its probe has failed: SystemExit: 3"),
        (None, "its probe has answered None, which is no agentd.executors.launch.Probe"),
        ((True, "1"), "its probe has answered (True, '1')"),
    ],
)
def test_a_plug_in_that_fails_hides_no_other(monkeypatch: pytest.MonkeyPatch, answer: object, told: str) -> None:
    def probe() -> object:
        click.echo("noise")
        if isinstance(answer, BaseException):
            raise answer
        return answer

    plugged(monkeypatch, odd(probe))
    result = CliRunner().invoke(command, ["--json"])
    assert result.exit_code == 0, result.output
    found = {entry["name"]: entry for entry in json.loads(result.stdout)}
    assert found["local"]["ok"]
    assert not found["odd"]["ok"] and told in found["odd"]["reason"]


def test_a_plug_in_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    plugged(monkeypatch, odd(lambda: never.wait(60)))
    monkeypatch.setattr("agentd.cli.doctor.PATIENCE", 0.2)
    result = CliRunner().invoke(command)
    never.set()
    assert "why: its probe has not answered within 0.2 seconds" in result.output
    assert "local: runs." in result.output


def test_a_plug_in_that_fails_when_it_is_tried_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(_folder: str) -> object:
        raise RuntimeError("boom")

    made.probe = lambda: Probe(True, "1")  # pyright: ignore[reportFunctionMemberAccess]
    plugged(monkeypatch, made)
    result = CliRunner().invoke(command, ["--verify"])
    assert result.exit_code == 1
    assert "tried: it has failed: RuntimeError: boom" in result.output
    assert "local: runs." in result.output
