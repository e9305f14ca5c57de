"""The only module that knows the SDK of microsandbox: what is asked of it, in our words, and its errors in ours.

Importing it loads the SDK; `microsandbox_probe.installed` tells beforehand whether it is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

import microsandbox as sdk

from agentd.core.errors import ExecutorUnavailable

# Less than the 15 s after which the SDK itself gives up a machine that cannot boot; one that can is up in a second.
BOOT = 12.0
_PAGE = 100
_CLOUD = (
    "microsandbox: it is set to run machines in its cloud, where this workspace is not. Set MSB_BACKEND=local, or "
    "take the cloud profile out of its configuration"
)


class Trouble(Exception):
    """What keeps a machine from running, in words."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder of this machine as it is seen inside; without a `host` an empty one that nobody can write."""

    inside: str
    host: str = ""
    readonly: bool = False


@dataclass(frozen=True, slots=True)
class Machine:
    """A virtual machine that is asked for, and the runner that is started in it.

    `memory` is in MiB, `vsock` says which of our sockets has which port, `runner` is a command and `cwd` its folder.
    """

    name: str
    image: str
    memory: int
    cpus: int
    runner: tuple[str, ...]
    cwd: str
    mounts: tuple[Mount, ...] = ()
    vsock: Mapping[str, int] = field(default_factory=dict[str, int])
    max_duration: float | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """Something that a process inside has done: written to `stdout` or `stderr`, `exited`, or `failed` to start.

    `code` is its exit code, or the number of the error that kept it from starting.
    """

    kind: str
    data: bytes = b""
    code: int = 0


class Process:
    """A process inside, with its standard input."""

    def __init__(self, handle: sdk.ExecHandle, stdin: sdk.ExecSink) -> None:
        self._handle = handle
        self._stdin = stdin

    async def write(self, data: bytes) -> None:
        """Write to its standard input; what it no longer reads is dropped."""
        with contextlib.suppress(sdk.MicrosandboxError):
            await self._stdin.write(data)

    async def close(self) -> None:
        """Say that nothing more comes on its standard input."""
        with contextlib.suppress(sdk.MicrosandboxError):
            await self._stdin.close()

    async def pieces(self) -> AsyncIterator[Piece]:
        """Yield what it does, until it or the machine has ended."""
        with contextlib.suppress(sdk.MicrosandboxError):
            async for event in self._handle:
                yield Piece(event.event_type.value, event.data or b"", event.code or 0)


class Running:
    """A virtual machine that is up."""

    def __init__(self, sandbox: sdk.Sandbox) -> None:
        self._sandbox = sandbox

    async def start(self, argv: Sequence[str], cwd: str) -> Process:
        """Start a process whose standard input stays open; raises `Trouble` when the machine refuses."""
        try:
            handle = await self._sandbox.exec_stream(argv[0], list(argv[1:]), cwd=cwd, stdin=sdk.Stdin.pipe())
        except sdk.MicrosandboxError as error:
            raise Trouble(f"{argv[0]} cannot be started: {error}") from error
        stdin = handle.take_stdin()
        if stdin is None:
            raise Trouble(f"{argv[0]} was given no standard input")
        return Process(handle, stdin)

    async def ask(self, argv: Sequence[str]) -> str | None:
        """Run a command to its end and return what it printed; `None` when it could not be run, or failed."""
        try:
            output = await self._sandbox.exec(argv[0], list(argv[1:]), timeout=BOOT)
        except sdk.MicrosandboxError:
            return None
        return output.stdout_text.strip() if output.success else None


class Sdk:
    """The machines of this user, by their names."""

    def demand_local(self) -> None:
        """Raise `ExecutorUnavailable` when machines would be made elsewhere."""
        try:
            here = sdk.default_backend_kind() == sdk.BackendKind.LOCAL
        except sdk.MicrosandboxError as error:
            raise ExecutorUnavailable(f"microsandbox: {error}") from error
        if not here:
            raise ExecutorUnavailable(_CLOUD)

    async def create(self, machine: Machine) -> Running:
        """Make a machine and boot it; raises `Trouble` when it does not come up.

        An image that is not here is fetched first: that may take as long as it makes progress.
        """
        try:
            session = sdk.Sandbox.create_with_progress(
                machine.name,
                image=_image(machine.image),
                memory=machine.memory,
                cpus=machine.cpus,
                security=sdk.SecurityProfile.RESTRICTED,
                network=sdk.Network.none(),
                volumes={mount.inside: _volume(mount) for mount in machine.mounts},
                vsock=dict(machine.vsock) or None,
                max_duration=machine.max_duration,
                ephemeral=True,
                detached=False,
            )
            return Running(await _arrival(session))
        except TimeoutError as error:
            raise Trouble(f"{machine.image} did not come up within {BOOT:g} s") from error
        except (sdk.MicrosandboxError, ValueError, TypeError) as error:
            raise Trouble(f"{machine.image} does not run: {error}") from error

    async def names(self) -> dict[str, bool]:
        """Return the machines that there are, each with whether it is up or on its way to be; raises `Trouble`."""
        ended = (sdk.SandboxStatus.STOPPED, sdk.SandboxStatus.CRASHED)
        found: dict[str, bool] = {}
        cursor: str | None = None
        while True:
            try:
                page = await sdk.Sandbox.list_with(cursor=cursor, limit=_PAGE)
            except sdk.MicrosandboxError as error:
                raise Trouble(f"there is no list of machines: {error}") from error
            found |= {one.name: one.status not in ended for one in page.sandboxes}
            cursor = page.next_cursor
            if not cursor:
                return found

    async def remove(self, name: str, grace: float) -> str:
        """Stop a machine and remove all of it; return what is wrong when that failed. A machine that is gone is fine.

        It is asked to stop, so that it writes out what it has changed in the workspace; after `grace` seconds it is
        killed.
        """
        try:
            handle = await sdk.Sandbox.get(name)
            try:
                await asyncio.wait_for(handle.stop(), grace)
            except (TimeoutError, sdk.MicrosandboxError):
                with contextlib.suppress(sdk.SandboxNotRunningError, sdk.UnsupportedError):
                    await handle.kill(grace)
            await sdk.Sandbox.remove(name)
        except sdk.SandboxNotFoundError:
            return ""
        except sdk.MicrosandboxError as error:
            return str(error)
        return ""


async def _arrival(session: sdk.PullSession) -> sdk.Sandbox:
    try:
        progress = aiter(session.progress)
        while True:
            try:
                await asyncio.wait_for(anext(progress), BOOT)
            except StopAsyncIteration:
                return await asyncio.wait_for(session.result(), BOOT)
    except BaseException:
        session.cancel()
        raise


def _image(text: str) -> str | sdk.ImageSource:
    """Return what a machine starts from: an image of a registry, or a folder or disk image of this machine."""
    if not os.path.isabs(text):
        return text
    return sdk.Image.bind(text) if os.path.isdir(text) else sdk.Image.disk(text)


def _volume(mount: Mount) -> sdk.MountConfig:
    if not mount.host:
        return sdk.Volume.tmpfs(size_mib=1, readonly=True)
    # What code does with `chmod` is to hold on this machine too.
    permissions = None if mount.readonly else sdk.HostPermissions.MIRROR
    return sdk.Volume.bind(mount.host, readonly=mount.readonly, host_permissions=permissions)
