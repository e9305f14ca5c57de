"""Sandboxes by the name of a conversation: the executors as users of earlier releases know them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from agentd.core.errors import OptionError
from agentd.core.ids import new_id
from agentd.executors.environment import data_dir
from agentd.executors.landlock import BIND_ABI, landlock_abi
from agentd.executors.microsandbox import MicrosandboxExecutor
from agentd.executors.policy import SECRETS, TRAPS, Policy
from agentd.executors.srt import SrtExecutor

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


class SandboxRuntimeExecutor(SrtExecutor):
    """Runs code in Anthropic's sandbox-runtime, on a workspace that belongs to a conversation.

    The workspace is kept: the same `conversation_id` finds its files again. `deny_read` and `deny_write` are hidden
    and protected besides what always is; `allow_write` are folders besides the workspace. Unless `allow_local_binding`
    says so, code may not listen on the sandbox's own loopback, where the kernel can forbid it (Linux 6.7).
    """

    def __init__(  # noqa: PLR0913 - the parameters of the function below
        self,
        conversation_id: str | None = None,
        timeout: float = 60.0,
        *,
        workspace_dir: str | Path | None = None,
        allowed_domains: Sequence[str] = (),
        denied_domains: Sequence[str] = (),
        allow_local_binding: bool | None = None,
        deny_read: Sequence[str] | None = None,
        allow_write: Sequence[str] | None = None,
        deny_write: Sequence[str] | None = None,
    ) -> None:
        self.conversation_id = conversation_name(conversation_id)
        if allow_local_binding is None:
            allow_local_binding = landlock_abi() < BIND_ABI
        policy: dict[str, object] = {
            "allowed_domains": tuple(allowed_domains),
            "denied_domains": tuple(denied_domains),
            "local_binding": allow_local_binding,
            "hidden": (*SECRETS, *(deny_read or ())),
            "writable": tuple(allow_write or ()),
            "protected": (*TRAPS, *(deny_write or ())),
        }
        super().__init__(workspace_dir or _private(workspace_of(self.conversation_id)), timeout=timeout, policy=policy)


class MicrosandboxCLIExecutor(MicrosandboxExecutor):
    """Runs code in a virtual machine of microsandbox, on a workspace that belongs to a conversation.

    The workspace is kept: the same `conversation_id` finds its files again. `memory` is in MiB.
    """

    def __init__(
        self,
        conversation_id: str | None = None,
        image: str = "python",
        memory: int = 1024,
        timeout: float = 60.0,
        *,
        workspace_dir: str | Path | None = None,
        policy: Policy | Mapping[str, object] | None = None,
    ) -> None:
        name = conversation_name(conversation_id)
        folder = workspace_dir or _private(workspace_of(name))
        super().__init__(folder, conversation_id=name, image=image, memory=memory, timeout=timeout, policy=policy)


def create_sandbox_runtime_executor(  # noqa: PLR0913 - one that users of earlier releases have in their code
    conversation_id: str | None = None,
    timeout: float = 60.0,
    *,
    allowed_domains: Sequence[str] = (),
    denied_domains: Sequence[str] = (),
    allow_local_binding: bool | None = None,
    deny_read: Sequence[str] | None = None,
    allow_write: Sequence[str] | None = None,
    deny_write: Sequence[str] | None = None,
    workspace_dir: str | Path | None = None,
) -> SandboxRuntimeExecutor:
    """Return a `SandboxRuntimeExecutor`; raises `ExecutorUnavailable` when it cannot run here, with the remedy."""
    return SandboxRuntimeExecutor(
        conversation_id,
        timeout,
        workspace_dir=workspace_dir,
        allowed_domains=allowed_domains,
        denied_domains=denied_domains,
        allow_local_binding=allow_local_binding,
        deny_read=deny_read,
        allow_write=allow_write,
        deny_write=deny_write,
    )


def create_microsandbox_cli_executor(
    conversation_id: str | None = None,
    image: str = "python",
    memory: int = 1024,
    timeout: float = 60.0,
    workspace_dir: str | Path | None = None,
) -> MicrosandboxCLIExecutor:
    """Return a `MicrosandboxCLIExecutor`; raises `ExecutorUnavailable` when it cannot run here, with the remedy."""
    return MicrosandboxCLIExecutor(conversation_id, image, memory, timeout, workspace_dir=workspace_dir)


def conversation_name(given: str | None) -> str:
    """Return a conversation's name, a new one for `None`; raises `OptionError` for what cannot be a folder's name."""
    name = new_id("conversation") if given is None else given
    if not _NAME.fullmatch(name):
        raise OptionError(f"conversation_id {name!r}: up to 64 letters, digits, '.', '_' and '-', not a sign first")
    return name


def workspace_of(conversation: str) -> Path:
    """Return where the files of a conversation are, whether there are any or not; raises `OptionError`."""
    try:
        return data_dir() / "workspaces" / conversation
    except RuntimeError as error:
        raise OptionError(f"{error} Set XDG_DATA_HOME, or give workspace_dir") from error


def _private(workspace: Path) -> Path:
    """Make a workspace that no other user looks into, if there is none yet."""
    for folder in (*reversed(workspace.parents), workspace):
        with contextlib.suppress(FileExistsError):
            folder.mkdir(0o700)
    return workspace
