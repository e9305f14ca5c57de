"""How the turns of the demo are shown, and whether all of it happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentd.cli.demo_script import REPORT, VERDICT
from agentd.core.events import Event, Message, ToolStarted
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
    """Prints display events as they come and remembers what was seen.

    `tools` counts the calls that went well, `done` the blocks; `live` tells whether output was seen while code ran, and
    `output` is all of it, with what agentd has added to it in the end.
    """

    def __init__(self) -> None:
        self.run: Run | None = None
        self.tools: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.failed = 0
        self.live = False
        self.output = ""
        self.end = TurnEnd("unfinished")
        self._running: set[str] = set()
        self._shown: dict[str, str] = {}
        self._mid_line = False

    def show(self, event: DisplayEvent) -> None:
        """Print one event; types that it does not know are left out."""
        match event:
            case TextDelta():
                self._write(event.text)
            case CodeStarted():
                self._code(event)
            case CodeOutput():
                self.live = self.live or event.id in self._running
                self._shown[event.id] = self._shown.get(event.id, "") + event.text
                self._write(event.text, dim=True)
            case ToolCall():
                self._tool(event)
            case CodeExecution():
                self._ended(event)
            case TurnEnd():
                self.end = event
            case _:
                pass

    @property
    def model_calls(self) -> int:
        return self.run.model_calls if self.run else 0

    def summary(self, **lines: str) -> None:
        """Print what every turn has, and these lines."""
        end = self.end
        tokens = f"{end.input_tokens:,} tokens in ({end.cached_tokens:,} cached), {end.output_tokens:,} out"
        price = "unknown: this server is on no price list" if end.cost_usd is None else f"${end.cost_usd:.4f}"
        calls = ", ".join(f"{count} {name}" for name, count in self.tools.items()) or "none"
        self._new_line()
        click.echo(click.style("\nsummary", bold=True))
        all_lines = {
            "turn": end.status, "model calls": f"{self.model_calls}, {tokens}", "price": price, "tool calls": calls
        }  # fmt: skip
        for name, text in {**all_lines, **{name.replace("_", " "): text for name, text in lines.items()}}.items():
            click.echo(f"  {name:<12} {text}")

    def _code(self, event: CodeStarted) -> None:
        self._running.add(event.id)
        self._new_line()
        click.echo(click.style(f"\n  ┌ {event.kind}", fg="cyan"))
        for line in event.code.splitlines():
            click.echo(click.style("  │ ", fg="cyan") + line)

    def _tool(self, event: ToolCall) -> None:
        self._new_line()
        if event.ok:
            self.tools[event.tool.rpartition("__")[2]] += 1
        result = event.result if len(event.result) <= 60 else f"{event.result[:57]}…"
        click.echo(click.style(f"  → {event.tool}({event.arguments}) = {result}", fg="yellow"))

    def _ended(self, event: CodeExecution) -> None:
        self._running.discard(event.id)
        self.output += event.output
        self._write(_rest(event.output, self._shown.pop(event.id, "")), dim=True)
        self._new_line()
        good = event.status == "completed"
        if good:
            self.done[event.kind] += 1
        else:
            self.failed += 1
        click.echo(click.style(f"  └ {event.status}, {event.duration:.2f} s\n", fg="green" if good else "red"))

    def _write(self, text: str, dim: bool = False) -> None:
        if text:
            click.echo(click.style(text, dim=True) if dim else text, nl=False)
            self._mid_line = not text.endswith("\n")

    def _new_line(self) -> None:
        if self._mid_line:
            click.echo()
            self._mid_line = False


def summary_of_code(view: View, workspace: Path, gross: str, own_calls: int) -> list[str]:
    """Print what a turn with code did; return what it should have done and did not."""
    files = [path for path in sorted(workspace.iterdir()) if path.is_file() and not path.name.startswith(".")]
    blocks = ", ".join(f"{count} {kind}" for kind, count in view.done.items()) or "none"
    view.summary(
        code_blocks=f"{blocks}{f', {view.failed} failed' if view.failed else ''}",
        files=", ".join(f"{path.name} ({path.stat().st_size} bytes)" for path in files),
    )
    report = workspace / REPORT
    return _missing(
        view,
        {
            "bash that ran": view.done["bash"] > 0,
            "Python that ran": view.done["python"] > 0,
            "live output": view.live,
            "a call of the MCP server": view.tools["price_of"] > 0,
            "a call of this program's function": own_calls > 0 and view.tools["add_vat"] > 0,
            f"a file {REPORT} with the sum {gross}": report.is_file() and gross in report.read_text("utf-8"),
        },
    )


def summary_of_sandbox(view: View, workspace: Path, secret: str) -> list[str]:
    """Print what a turn in a sandbox did; return what it should have done, or not done, and did otherwise."""
    written = workspace / VERDICT
    told = written.read_text("utf-8") if written.is_file() else ""
    kept = secret not in view.output + told
    refused = "[refused: example.com" in view.output
    view.summary(
        secret="not seen" if kept else "SEEN",
        website="refused" if refused else "NOT refused",
        files=f"{VERDICT} ({len(told)} bytes)" if told else "none",
    )
    return _missing(
        view,
        {
            "code in a sandbox": view.done["python"] + view.failed > 0,
            "a secret that stays one": kept,
            "a name that is refused": refused,
            f"a file {VERDICT} that was written in the sandbox": bool(told),
        },
    )


def _rest(output: str, shown: str) -> str:
    """Return the end of an output that was not seen while it came: what agentd has to say about the block."""
    return output[len(shown) :] if output.startswith(shown) else ""


def summary_of_calls(view: View) -> list[str]:
    """Print what a turn with JSON tool calls did; return what it should have done and did not."""
    together = max(_calls_of_messages(view.run.events if view.run else ()), default=0)
    view.summary(in_parallel=f"up to {together}")
    return _missing(
        view,
        {"a JSON tool call of the MCP server": view.tools["price_of"] > 0, "parallel tool calls": together > 1},
    )


def _calls_of_messages(events: Iterable[Event]) -> list[int]:
    """Return how many tools each message of the model called: results of one come before the calls of the next."""
    kinds = [type(event) for event in events if isinstance(event, ToolStarted) or _is_result(event)]
    return [len([*group]) for kind, group in groupby(kinds) if kind is ToolStarted]


def _is_result(event: Event) -> bool:
    return isinstance(event, Message) and event.role != "assistant"


def _missing(view: View, expected: dict[str, bool]) -> list[str]:
    always = {"a completed turn": view.end.status == "completed", "more than one model call": view.model_calls > 1}
    return [what for what, happened in {**always, **expected}.items() if not happened]
