"""`agentd demo`: one real turn, shown as it happens and checked at the end."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentd.cli.demo_script import PROMPT, SCRIPT
from agentd.cli.demo_view import View

if TYPE_CHECKING:
    from openai import OpenAI

SCRIPTED = "the scripted model: no network, no cost; with OPENAI_API_KEY set it is the real one"
VAT = 19.0


@click.command("demo", short_help="Show a turn at work: text, code, tools, files.")
@click.option("--model", default="gpt-5-mini", show_default=True, help="The model to ask.")
@click.option("--scripted", is_flag=True, help="Use the scripted model even when there is a key.")
@click.option("--keep", is_flag=True, help="Keep the workspace.")
@click.option("--api-key", envvar="OPENAI_API_KEY", show_envvar=True, default="", help="The key of the real API.")
def command(model: str, scripted: bool, keep: bool, api_key: str) -> None:
    """Let a model solve a small task with bash, Python, an MCP server and a function of this program.

    Runs a patched OpenAI client: against the real API when there is a key for it, else against a scripted model, a
    server on this machine that answers as its script says. All else is real: the model's code runs here, as you.
    Exits with 0 only if all of it happened.
    """
    with contextlib.ExitStack() as stack:
        workspace = stack.enter_context(_workspace(keep))
        real = bool(api_key) and not scripted
        client = stack.enter_context(_real(api_key) if real else _scripted())
        click.echo(f"agentd demo on {model} ({'the real API' if real else SCRIPTED})")
        click.echo(f"workspace {workspace}\n")
        missing = _run(client, model, workspace)
    if missing:
        raise click.ClickException(f"the demo did not show: {', '.join(missing)}")


def _run(client: OpenAI, model: str, workspace: Path) -> list[str]:
    """Run the turn and show it; return what should have happened and did not."""
    from openai import OpenAIError

    from agentd import display_events, patch_openai_with_ptc, tool, unpatch_openai
    from agentd.mcp.demo_server import PRICES, parameters

    view = View()

    @tool
    def add_vat(net: float, percent: float = VAT) -> float:
        """Add value added tax to a net amount in euros."""
        view.own_calls += 1
        return round(net * (1 + percent / 100), 2)

    click.echo(click.style(f"> {PROMPT}\n", bold=True))
    patch_openai_with_ptc(client, cwd=workspace, tools=[add_vat], mcp_servers=[parameters()])
    try:
        with client.responses.create(model=model, input=PROMPT, stream=True) as stream:
            for event in display_events(stream):
                view.show(event)
            view.run = stream.agentd  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] - the patch adds it
    except OpenAIError as error:
        raise click.ClickException(f"the model API failed: {error}") from error
    finally:
        unpatch_openai(client)
    gross = round(sum(PRICES.values()) * (1 + VAT / 100), 2)
    return view.summary(workspace, f"{gross:.2f}")


@contextlib.contextmanager
def _workspace(keep: bool) -> Generator[Path]:
    """Make a fresh directory; remove it in the end unless it is to be kept."""
    if keep:
        yield Path(tempfile.mkdtemp(prefix="agentd-demo-"))
        return
    with tempfile.TemporaryDirectory(prefix="agentd-demo-") as name:
        yield Path(name)


@contextlib.contextmanager
def _real(api_key: str) -> Generator[OpenAI]:
    from openai import OpenAI

    with OpenAI(api_key=api_key) as client:
        yield client


@contextlib.contextmanager
def _scripted() -> Generator[OpenAI]:
    """Give a client of a scripted model; the proxies of the environment must not come between them."""
    from openai import DefaultHttpxClient, OpenAI

    from agentd.llm.scripted import ScriptedModel

    http = DefaultHttpxClient(trust_env=False)
    with (
        ScriptedModel(SCRIPT) as server,
        OpenAI(base_url=server.base_url, api_key="scripted", http_client=http) as client,
    ):
        yield client
