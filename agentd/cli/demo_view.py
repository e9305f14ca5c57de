"""How a turn of the demo is shown, and whether all of it happened."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentd.cli.demo_script import REPORT
from agentd.patch.display import (
    CodeExecution,
    CodeOutput,
    CodeStarted,
    DisplayEvent,
    TextDelta,
    ToolCall,
    TurnEnd,
)

if TYPE_CHECKING:
    from agentd.patch.turns import Run


class View:
    """Prints display events as they come and remembers what was seen."""

    def __init__(self) -> None:
        self.run: Run | None = None
        self.own_calls = 0
        self._tools: Counter[str] = Counter()
        self._done: Counter[str] = Counter()
        self._failed = 0
        self._running: set[str] = set()
        self._live = False
        self._end: TurnEnd | None = None
        self._mid_line = False

    def show(self, event: DisplayEvent) -> None:
        """Print one event; types that it does not know are left out."""
        match event:
            case TextDelta():
                self._write(event.text)
            case CodeStarted():
                self._code(event)
            case CodeOutput():
                self._live = self._live or event.id in self._running
                self._write(event.text, dim=True)
            case ToolCall():
                self._tool(event)
            case CodeExecution():
                self._ended(event)
            case TurnEnd():
                self._end = event
            case _:
                pass

    def summary(self, workspace: Path, gross: str) -> list[str]:
        """Print what happened; return what should have and did not."""
        self._new_line()
        status = self._end.status if self._end else "unfinished"
        calls = self.run.model_calls if self.run else 0
        tokens = (self._end.input_tokens, self._end.output_tokens) if self._end else (0, 0)
        files = [path for path in sorted(workspace.iterdir()) if path.is_file() and not path.name.startswith(".")]
        blocks = ", ".join(f"{count} {kind}" for kind, count in self._done.items()) or "none"
        click.echo(click.style("\nsummary", bold=True))
        click.echo(f"  turn         {status}")
        click.echo(f"  model calls  {calls}, {tokens[0]:,} tokens in, {tokens[1]:,} out")
        click.echo(f"  code blocks  {blocks}{f', {self._failed} failed' if self._failed else ''}")
        click.echo(f"  tool calls   {', '.join(f'{n} {name}' for name, n in self._tools.items()) or 'none'}")
        click.echo(f"  files        {', '.join(f'{path.name} ({path.stat().st_size} bytes)' for path in files)}")
        report = workspace / REPORT
        expected = {
            "a completed turn": status == "completed",
            "more than one model call": calls > 1,
            "bash that ran": self._done["bash"] > 0,
            "Python that ran": self._done["python"] > 0,
            "live output": self._live,
            "a call of the MCP server": self._tools["price_of"] > 0,
            "a call of this program's function": self.own_calls > 0 and self._tools["add_vat"] > 0,
            f"a file {REPORT} with the sum {gross}": report.is_file() and gross in report.read_text("utf-8"),
        }
        return [what for what, happened in expected.items() if not happened]

    def _code(self, event: CodeStarted) -> None:
        self._running.add(event.id)
        self._new_line()
        click.echo(click.style(f"\n  ┌ {event.kind}", fg="cyan"))
        for line in event.code.splitlines():
            click.echo(click.style("  │ ", fg="cyan") + line)

    def _tool(self, event: ToolCall) -> None:
        self._new_line()
        if event.ok:
            self._tools[event.tool.rpartition("__")[2]] += 1
        result = event.result if len(event.result) <= 60 else f"{event.result[:57]}…"
        click.echo(click.style(f"  → {event.tool}({event.arguments}) = {result}", fg="yellow"))

    def _ended(self, event: CodeExecution) -> None:
        self._running.discard(event.id)
        self._new_line()
        good = event.status == "completed"
        if good:
            self._done[event.kind] += 1
        else:
            self._failed += 1
        click.echo(click.style(f"  └ {event.status}, {event.duration:.2f} s\n", fg="green" if good else "red"))

    def _write(self, text: str, dim: bool = False) -> None:
        if text:
            click.echo(click.style(text, dim=True) if dim else text, nl=False)
            self._mid_line = not text.endswith("\n")

    def _new_line(self) -> None:
        if self._mid_line:
            click.echo()
            self._mid_line = False
