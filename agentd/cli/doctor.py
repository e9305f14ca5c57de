"""`agentd doctor`: which executors run on this machine, and what the others lack."""

from __future__ import annotations

import contextlib
import json
import queue
import sys
import tempfile
import threading
from dataclasses import asdict, dataclass, replace
from typing import cast

import click

from agentd.core.errors import AgentdError
from agentd.executors import registry
from agentd.executors.launch import Probe
from agentd.executors.plain import PlainCalls

PATIENCE = 30.0
GIVES = {
    "local": "no isolation: code runs with your rights",
    "bwrap": "Linux namespaces, seccomp, Landlock; allowed names by proxy",
    "srt": "Anthropic's sandbox-runtime, with a second filter and Landlock",
    "microsandbox": "a virtual machine of its own",
    "docker": "a container of a Docker engine",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of one back end; `verified` is empty when no escapes were tried."""

    name: str
    ok: bool
    version: str = ""
    reason: str = ""
    fix: str = ""
    verified: str = ""


@click.command("doctor", short_help="Say which executors run here, and what the others lack.")
@click.option("--verify", is_flag=True, help="Try a short list of escapes in each sandbox that runs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(verify: bool, as_json: bool) -> None:
    """Probe every executor, of agentd and of plug-ins: whether it runs here, why not, and the remedy.

    Exits with 0 when code can run in at least one of them, and, with --verify, when every sandbox that runs holds.
    """
    with contextlib.redirect_stdout(sys.stderr):  # what a plug-in prints is no part of the report
        findings = [_find(name) for name in registry.names()]
        if verify:
            findings = [_verified(finding) if finding.ok else finding for finding in findings]
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            _show(finding)
    healthy = any(finding.ok for finding in findings)
    raise SystemExit(0 if healthy and not any(finding.ok is False and finding.verified for finding in findings) else 1)


def _find(name: str) -> Finding:
    """Probe one; whatever a plug-in does, the others are told of too."""
    answers: queue.SimpleQueue[Probe] = queue.SimpleQueue()
    threading.Thread(target=lambda: answers.put(_probe(name)), name=f"probe-{name}", daemon=True).start()
    try:
        probe = answers.get(timeout=PATIENCE)
    except queue.Empty:
        probe = Probe(False, reason=f"its probe has not answered within {PATIENCE:g} seconds")
    return Finding(name, probe.ok, probe.version, probe.reason, probe.fix)


def _probe(name: str) -> Probe:
    try:
        probe = cast("object", registry.backend(name).probe())
    except AgentdError as error:
        return Probe(False, reason=str(error))
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a rim: the code of strangers
        return Probe(False, reason=f"its probe has failed: {type(error).__name__}: {error}")
    if isinstance(probe, Probe):
        return probe
    return Probe(False, reason=f"its probe has answered {probe!r}, which is no agentd.executors.launch.Probe")


def _verified(finding: Finding) -> Finding:
    """Try escapes, in a workspace that is made for that."""
    with tempfile.TemporaryDirectory(prefix="agentd-doctor-", ignore_cleanup_errors=True) as folder:
        try:
            executor = registry.create(finding.name, folder)
            if not isinstance(executor, PlainCalls):
                return replace(finding, verified="nothing: this plug-in cannot be verified")
            with executor:
                ok, told = executor.verify()
        except AgentdError as error:
            return replace(finding, ok=False, verified=str(error))
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a rim: the code of strangers
            return replace(finding, ok=False, verified=f"it has failed: {type(error).__name__}: {error}")
    return replace(finding, ok=ok, verified=told)


def _show(finding: Finding) -> None:
    sign = click.style("runs", fg="green") if finding.ok else click.style("no", fg="red")
    version = f" {finding.version}" if finding.version else ""
    about = GIVES.get(finding.name, "brought by a plug-in")
    click.echo(f"{finding.name}{version}: {sign}. {about}")
    for label, text in (("why", finding.reason), ("fix", finding.fix), ("tried", finding.verified)):
        if text:
            click.echo(f"    {label}: {text}")
