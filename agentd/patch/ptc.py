"""Patching an OpenAI client, so that it runs the code that the model writes."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from agentd.core.errors import OptionError
from agentd.core.protocols import Executor
from agentd.patch.install import MARK, Patch, apply, attributes
from agentd.patch.options import CallOptions
from agentd.patch.runtime import Runtime

Client = TypeVar("Client")


def patch_openai_with_ptc(
    client: Client,
    *,
    cwd: str | PathLike[str] | None = None,
    executor: str | Executor = "local",
    tools: Sequence[object] | None = None,
    mcp_servers: Sequence[object] = (),
    max_turns: int = 20,
    timeout: float | None = None,
) -> Client:
    """Make this client run the bash and Python that the model writes in fenced blocks; return the same client.

    Works on `OpenAI`, `AsyncOpenAI` and their subclasses, for `responses` and `chat.completions`: `create`, `.parse`,
    `.stream`, the raw forms, and clients derived by `with_options`. A client that is patched already stays as it is.

    `cwd` is the workspace, made if it is missing; by default the executor's, else the process's working directory.
    `executor` is an executor, which stays the caller's to close, or the name of one: `"local"` runs code on this
    machine as the current user, with no isolation. `tools` are the functions that the code may call, by default all
    that are decorated with `@tool`. `mcp_servers` are connected at the first call and offered at every one.
    `max_turns` is the number of model calls that one call may make, `timeout` how many seconds a block may run, by
    default the executor's own, 60.
    """
    target: Any = client
    for name in ("responses", "chat", "post", "__dict__"):
        if not hasattr(target, name):
            raise OptionError(f"an OpenAI or AsyncOpenAI client is needed, not {type(client).__name__}")
    if MARK in attributes(target):
        return client
    CallOptions(max_turns=max_turns, mcp_servers=mcp_servers)
    runtime = Runtime(
        _executor(executor, cwd, timeout),
        tools=tools,
        mcp_servers=list(mcp_servers),
        max_turns=max_turns,
        owned=isinstance(executor, str),
    )
    apply(target, runtime)
    return client


def unpatch_openai(client: Client) -> Client:
    """Restore a patched client and return it; the last client of a runtime closes its processes and servers."""
    target: Any = client
    patch: Patch | None = attributes(target).get(MARK)
    if patch is not None:
        patch.undo()
        release = attributes(target).pop("_agentd_release")
        if release.detach() is not None:
            patch.runtime.release(True)
    return client


def _executor(given: str | Executor, cwd: str | PathLike[str] | None, timeout: float | None) -> Executor:
    if not isinstance(given, str):
        if cwd is not None and Path(cwd).resolve() != Path(given.workspace_dir).resolve():
            raise OptionError(f"cwd is {cwd}, but the executor works in {given.workspace_dir}; leave one of them out")
        if timeout is not None:
            raise OptionError("timeout is an option of the executor when one is given: LocalExecutor(…, timeout=…)")
        return given
    from agentd.executors import create

    options = {} if timeout is None else {"timeout": timeout}
    return create(given, workspace_dir=Path(cwd or "."), **options)
