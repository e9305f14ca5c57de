"""`agentd demo`: real turns, shown as they happen and checked at the end."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentd.cli.demo_script import ALLOWED, CALLS_PROMPT, PROMPT, SANDBOX_PROMPT, SCRIPT
from agentd.cli.demo_view import View, summary_of_calls, summary_of_code, summary_of_sandbox

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
    """Let a model solve a task with code in fenced blocks, another one with JSON tool calls, and fail in a sandbox.

    The code is bash and Python, the tools are those of an MCP server and a function of this program. Runs a patched
    OpenAI client: against the real API when there is a key for it, else against a scripted model, a server on this
    machine that answers as its script says. All else is real: the model's code runs here, as you, and in the last part
    in a sandbox, where it tries to read a file and to reach a site that it may not; without bubblewrap that part is
    left out. Exits with 0 only if all of it happened.
    """
    with contextlib.ExitStack() as stack:
        workspace = stack.enter_context(_workspace(keep))
        real = bool(api_key) and not scripted
        client = stack.enter_context(_real(api_key) if real else _scripted())
        click.echo(f"agentd demo on {model} ({'the real API' if real else SCRIPTED})")
        click.echo(f"workspace {workspace}")
        missing = [
            *_code(client, model, workspace),
            *_calls(client, model, workspace),
            *_sandbox(client, model, workspace),
        ]
    if missing:
        raise click.ClickException(f"the demo did not show: {', '.join(missing)}")


def _code(client: OpenAI, model: str, workspace: Path) -> list[str]:
    """Show a turn with code in fenced blocks; return what should have happened and did not."""
    from agentd import patch_openai_with_ptc, tool
    from agentd.mcp.demo_server import PRICES, parameters

    own_calls = 0

    @tool
    def add_vat(net: float, percent: float = VAT) -> float:
        """Add value added tax to a net amount in euros."""
        nonlocal own_calls
        own_calls += 1
        return round(net * (1 + percent / 100), 2)

    patch_openai_with_ptc(client, cwd=workspace, tools=[add_vat], mcp_servers=[parameters()])
    view = _show(client, model, "patch_openai_with_ptc: the model writes code", PROMPT)
    gross = round(sum(PRICES.values()) * (1 + VAT / 100), 2)
    return summary_of_code(view, workspace, f"{gross:.2f}", own_calls)


def _calls(client: OpenAI, model: str, workspace: Path) -> list[str]:
    """Show a turn with JSON tool calls; return what should have happened and did not."""
    from agentd import patch_openai_with_mcp
    from agentd.mcp.demo_server import parameters

    patch_openai_with_mcp(client, cwd=workspace, tools=[], mcp_servers=[parameters()])
    return summary_of_calls(_show(client, model, "patch_openai_with_mcp: the model calls tools", CALLS_PROMPT))


def _sandbox(client: OpenAI, model: str, workspace: Path) -> list[str]:
    """Show a turn whose code is shut in, and tries to get out; return what should have happened and did not."""
    from agentd import BwrapExecutor, patch_openai_with_ptc

    probe = BwrapExecutor.probe()
    if not probe.ok:
        click.echo(click.style('\nexecutor="bwrap": left out, it does not run here', bold=True))
        click.echo(f"  why  {probe.reason}\n  fix  {probe.fix}")
        return []
    secret = secrets.token_hex(8)
    with (
        tempfile.TemporaryDirectory(prefix="agentd-demo-secret-") as outside,
        BwrapExecutor(workspace, policy={"allowed_domains": [ALLOWED]}) as executor,
    ):
        key = Path(outside, "key.txt")
        key.write_text(secret)
        patch_openai_with_ptc(client, executor=executor, tools=[])
        title = f'executor="bwrap": the code is shut in, and of the network sees {ALLOWED} only'
        view = _show(client, model, title, SANDBOX_PROMPT.format(key=key))
    return summary_of_sandbox(view, workspace, secret)


def _show(client: OpenAI, model: str, title: str, prompt: str) -> View:
    """Run and show one turn of a patched client, and unpatch it."""
    from openai import OpenAIError

    from agentd import display_events, unpatch_openai

    view = View()
    click.echo(click.style(f"\n{title}", bold=True))
    click.echo(f"> {prompt}\n")
    try:
        with client.responses.create(model=model, input=prompt, stream=True) as stream:
            for event in display_events(stream):
                view.show(event)
            view.run = stream.agentd  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] - the patch adds it
    except OpenAIError as error:
        raise click.ClickException(f"the model API failed: {error}") from error
    finally:
        unpatch_openai(client)
    return view


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
