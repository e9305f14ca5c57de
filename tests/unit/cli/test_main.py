"""The `agentd` command itself: version, help, errors, and what it does not import."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

import agentd
from agentd.cli.main import COMMANDS, LazyGroup, main
from agentd.core.errors import OptionError


def test_version() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert result.exit_code == 0
    assert result.output == f"agentd, version {agentd.__version__}\n"


def test_help_lists_every_command_with_the_help_it_gives_itself() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    context = click.Context(main)
    for name, (_, short) in COMMANDS.items():
        command = main.get_command(context, name)
        assert command is not None
        assert (command.name, command.get_short_help_str(200)) == (name, short)
        assert short in result.output


def test_an_unknown_command_is_refused() -> None:
    result = CliRunner().invoke(main, ["nonsense"])
    assert result.exit_code == 2
    assert "No such command 'nonsense'" in result.output


@click.command("broken")
def command() -> None:
    """Break."""
    raise OptionError("no such thing")


def test_an_error_of_ours_is_a_message() -> None:
    group = LazyGroup({"broken": (__name__, "Break.")}, "Test.")
    result = CliRunner().invoke(group, ["broken"])
    assert result.exit_code == 1
    assert result.output == "Error: An option cannot be used: no such thing\n"


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_the_heavy_libraries_stay_unimported(option: str) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['agentd', {option!r}]\n"
        "from agentd.cli.main import main\n"
        "main(standalone_mode=False)\n"
        "print([name for name in ('openai', 'mcp', 'aiohttp', 'pydantic', 'asyncio') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
