"""The `agentd` command: a group whose commands are imported when they are used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import click

from agentd import __version__
from agentd.core.errors import AgentdError

# name: (module with the click command `command`, its short help)
COMMANDS = {
    "doctor": ("agentd.cli.doctor", "Say which executors run here, and what the others lack."),
    "demo": ("agentd.cli.demo", "Show a turn at work: text, code, tools, files."),
}


class LazyGroup(click.Group):
    """Lists commands without importing them; errors of agentd's own are messages, not tracebacks."""

    def __init__(self, commands: Mapping[str, tuple[str, str]], about: str) -> None:
        super().__init__("agentd", help=about)
        self._lazy = commands

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._lazy:
            return None
        module, _ = self._lazy[cmd_name]
        command: click.Command = importlib.import_module(module).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._lazy[name][1]) for name in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except AgentdError as error:
            raise click.ClickException(str(error)) from error


main = click.version_option(__version__, prog_name="agentd")(
    LazyGroup(COMMANDS, "Agents from any OpenAI client: the model's code runs, with tools importable from it.")
)

if __name__ == "__main__":
    main()
