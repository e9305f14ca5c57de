"""The back ends under contract, and how each is made here."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from agentd.core.errors import ExecutorUnavailable
from agentd.core.protocols import Executor
from agentd.executors import backend, create
from agentd.executors.launch import Probe

ROOT = Path(__file__).parents[3]
# The copy that the tests install.
SRT = ROOT / "tools" / "node_modules" / "@anthropic-ai" / "sandbox-runtime"


def make(name: str, workspace: Path, **options: object) -> Executor:
    """Return an executor of a back end on a workspace."""
    if name == "srt":
        options.setdefault("srt_path", SRT)
    return create(name, workspace, **options)


@cache
def reason_against(name: str) -> str:
    """Return why a back end cannot run here, `""` when it can."""
    try:
        probe = _probe(name)
    except (ExecutorUnavailable, ImportError) as error:
        return str(error)
    return "" if probe.ok else probe.reason


def _probe(name: str) -> Probe:
    if name == "srt":
        from agentd.executors.srt import SrtExecutor

        return SrtExecutor.probe(SRT)
    return backend(name).probe()
