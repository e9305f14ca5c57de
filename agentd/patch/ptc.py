"""Patching an OpenAI client, so that it runs the code that the model writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeVar

from agentd.core.errors import OptionError
from agentd.core.protocols import Executor
from agentd.mcp.handlers import MCPHandlers
from agentd.patch.install import MARK, Patch, apply, attributes
from agentd.patch.options import CallOptions
from agentd.patch.runtime import Runtime
from agentd.patch.sampling import ClientSampling, Sampler
from agentd.patch.toolbox import Convention, Toolbox

Client = TypeVar("Client")


def patch_openai_with_ptc(  # noqa: PLR0913 - each is an option of the one call that most users make
    client: Client,
    *,
    cwd: str | PathLike[str] | None = None,
    executor: str | Executor = "local",
    tools: Sequence[object] | None = None,
    mcp_servers: Sequence[object] = (),
    mode: Literal["fences", "tool"] = "fences",
    handlers: MCPHandlers | None = None,
    max_turns: int = 20,
    timeout: float | None = None,
) -> Client:
    """Make this client run the bash and Python that the model writes in fenced blocks; return the same client.

    Works on `OpenAI`, `AsyncOpenAI` and their subclasses, for `responses` and `chat.completions`: `create`, `.parse`,
    `.stream`, the raw forms, and clients derived by `with_options`. A client that is patched already stays as it is.

    `cwd` is the workspace, made if it is missing; by default the executor's, else the process's working directory.
    `executor` is an executor, which stays the caller's to close, or the name of one: `"local"` runs code on this
    machine as the current user, with no isolation; `"bwrap"`, `"srt"`, `"docker"` and `"microsandbox"` run it in a
    sandbox without a network, in which only the workspace can be changed. One that cannot run here raises
    `ExecutorUnavailable` with the remedy. `tools` are the functions that the code may call, by default all
    that are decorated with `@tool`. `mcp_servers` are connected at the first call and offered at every one.
    `handlers` answer what the servers ask for; their roots are the workspace unless you name others.
    With `mode="tool"` the model's code comes as JSON calls of the tools `bash` and `python` instead of fenced blocks.
    `max_turns` is the number of model calls that one call may make, `timeout` how many seconds a block may run, by
    default the executor's own, 60.
    """
    if mode not in ("fences", "tool"):
        raise OptionError(f"mode is 'fences' or 'tool', not {mode!r}")
    convention: Convention = "shell" if mode == "tool" else "fences"
    if is_patched(client, convention):
        return client
    CallOptions(max_turns=max_turns, mcp_servers=mcp_servers)
    place = _executor(executor, cwd, timeout)
    bound, sampler = _bound(handlers, place.workspace_dir)
    toolbox = Toolbox(convention, place.workspace_dir, tools, list(mcp_servers), handlers=bound)
    runtime = Runtime(toolbox, place, max_turns=max_turns, owned=isinstance(executor, str), sampler=sampler)
    apply(client, runtime)
    return client


def patch_openai_with_mcp(
    client: Client,
    *,
    mcp_servers: Sequence[object] = (),
    tools: Sequence[object] | None = None,
    cwd: str | PathLike[str] | None = None,
    handlers: MCPHandlers | None = None,
    max_turns: int = 20,
    timeout: float = 60.0,
) -> Client:
    """Make this client call the tools of MCP servers and of `@tool` functions by itself; return the same client.

    The model calls them as JSON tool calls; calls of one message are made at the same time. Functions that the caller
    passes to the API in `tools` stay the caller's: their calls are returned to him. Works on the same clients and
    methods as `patch_openai_with_ptc`; a client that is patched already stays as it is.

    `mcp_servers` are connected at the first call and offered at every one. `tools` are the functions that the model
    may call, by default all that are decorated with `@tool`. `cwd` is where files are put that results hold, made if
    it is missing; by default the process's working directory. `handlers` answer what the servers ask for; their roots
    are `cwd` unless you name others. `max_turns` is the number of model calls that one call may make, `timeout` how
    many seconds a tool may take; a function that takes longer is no longer waited for, but cannot be stopped.
    """
    if is_patched(client, "tools"):
        return client
    CallOptions(max_turns=max_turns, mcp_servers=mcp_servers)
    if not 0 < timeout < float("inf"):
        raise OptionError(f"timeout must be a number of seconds above 0, not {timeout!r}")
    workspace = Path(cwd or ".").resolve()
    workspace.mkdir(parents=True, exist_ok=True)
    bound, sampler = _bound(handlers, workspace)
    toolbox = Toolbox("tools", workspace, tools, list(mcp_servers), timeout, handlers=bound)
    apply(client, Runtime(toolbox, None, max_turns=max_turns, owned=False, sampler=sampler))
    return client


def is_patched(client: object, convention: Convention) -> bool:
    """Tell whether a client is patched this way already; one that cannot be patched, or is otherwise, is an error."""
    for name in ("responses", "chat", "post", "__dict__"):
        if not hasattr(client, name):
            raise OptionError(f"an OpenAI or AsyncOpenAI client is needed, not {type(client).__name__}")
    patch: Patch | None = attributes(client).get(MARK)
    if patch is not None and patch.runtime.convention != convention:
        raise OptionError("this client is patched in another way: use a client of its own, or unpatch_openai() first")
    return patch is not None


def _bound(handlers: MCPHandlers | None, workspace: Path) -> tuple[MCPHandlers, Sampler | None]:
    """Return the handlers for the servers of a client with this workspace."""
    given = handlers or MCPHandlers()
    if not given.roots:
        given = replace(given, roots=(workspace,))
    if not isinstance(given.on_sampling, ClientSampling):
        return given, None
    sampler = Sampler(given.on_sampling)
    return replace(given, on_sampling=sampler), sampler


def unpatch_openai(client: Client) -> Client:
    """Restore a patched client and return it; the last client of a runtime closes its processes and servers."""
    target: Any = client
    patch: Patch | None = attributes(target).get(MARK)
    if patch is not None:
        patch.undo()
        release = attributes(target).pop("_agentd_release")
        if release.detach() is not None:
            patch.runtime.let_go(client)
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
