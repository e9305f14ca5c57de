"""What the executors have in common whose code is shut in: the way out, the look at what was done, the battery."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import os
import socket
import time
import weakref
from collections.abc import Mapping
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from agentd.core.actions import Action
from agentd.core.background import runs_in
from agentd.core.errors import ExecutorUnavailable, PathRefused
from agentd.executors.egress.names import Rules
from agentd.executors.egress.proxy import Egress
from agentd.executors.folders import FOLDER
from agentd.executors.host import RunnerExecutor
from agentd.executors.landlock import LEAST_ABI, landlock_abi
from agentd.executors.launch import Launch
from agentd.executors.link import Link
from agentd.executors.mounts import SKILLS, packages, workspace_for, writable
from agentd.executors.policy import ANYWHERE, GIT_CONFIG, HOOKS, Policy, resolve
from agentd.executors.ports import Ports
from agentd.executors.seccomp import program
from agentd.executors.shell import RunnerShell
from agentd.executors.wards import Wards, protected_parts

MOST_TOLD = 5
MOST_NAMED = 10
BRIEF = 0.001
if TYPE_CHECKING:
    from agentd.executors.battery.report import Report

# What held here: versions of back ends that are not known. Whether the battery is what asks.
_vouched: set[tuple[str, str]] = set()
_trying: ContextVar[bool] = ContextVar("agentd-battery", default=False)
_BRIDGE_URL, _BRIDGE_SOCKET = "AGENTD_BRIDGE_URL", "AGENTD_BRIDGE_SOCKET"


class SandboxedExecutor(RunnerExecutor):
    """Runs code where it cannot reach what its policy does not name."""

    own_egress: ClassVar[bool] = True
    """Whether the way out of the sandbox is ours, and not the back end's own."""
    known_versions: ClassVar[frozenset[str]] = frozenset()
    """The versions that the whole conformance suite was run on. Others are used if the short battery holds on them."""

    _ports: Ports | None = None
    _wards: Wards | None = None
    _release: weakref.finalize[..., object] | None = None

    def __init__(
        self,
        workspace_dir: str | Path,
        *,
        timeout: float = 60.0,
        output_tokens: int = 5000,
        policy: Policy | Mapping[str, object] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(workspace_dir, timeout=timeout, output_tokens=output_tokens, policy=policy, env=env)
        self.version = self._version()
        self._told: set[str] = set()
        self._brief = False
        self._warding: asyncio.Task[Wards] | None = None
        self._others: list[Wards] = []
        self._vouching: asyncio.Task[None] | None = None

    def _version(self) -> str:
        """Return the version of what makes the sandbox."""
        return self.probe().version

    def _workspace(self, given: Path) -> Path:
        return workspace_for(given)

    @property
    def guidance(self) -> str:
        """What the model is to know of the place where its code runs."""
        writes = ", ".join(("the working directory", "/tmp", *self.policy.writable))
        names = ", ".join(self.policy.allowed_domains[:MOST_NAMED])
        if len(self.policy.allowed_domains) > MOST_NAMED:
            names += f" and {len(self.policy.allowed_domains) - MOST_NAMED} more"
        reach = f"of the network only {names} (by the proxy in HTTPS_PROXY)" if names else "nothing of the network"
        return f"Code runs in a sandbox: it can write to {writes} only, and reach {reach}."

    async def open(self, session: str) -> RunnerShell:
        """Return the shell of a session, the same one as long as it is open.

        Raises `ExecutorUnavailable` when the sandbox cannot be made.
        """
        if self._mounts_what_stands:
            await self._look_first()
        self.warm()
        # While the runner starts, and before anything runs in it: what is there now was put there by others.
        await self._look_first()
        shell = await super().open(session)
        if self.version not in self.known_versions:
            await self._vouch()
        return shell

    async def _look_first(self) -> None:
        if self._wards is None:
            loop = asyncio.get_running_loop()
            if self._warding is None or self._warding.get_loop() is not loop or _has_failed(self._warding):
                self._warding = loop.create_task(asyncio.to_thread(self._ward))
            self._wards = await asyncio.shield(self._warding)

    @property
    def _mounts_what_stands(self) -> bool:
        """Whether something is protected wherever it lies, and has to be found before it is mounted."""
        return any(text.startswith(ANYWHERE) and text != HOOKS for text in self.policy.protected)

    @property
    def present(self) -> tuple[str, ...]:
        """The protected paths that were found in the workspace."""
        return self._wards.present if self._wards is not None and self._mounts_what_stands else ()

    def _ward(self) -> Wards:
        protected = self.policy.protected
        if not (self.workspace_dir / GIT_CONFIG).exists():
            # Whoever makes a repository here makes its settings.
            protected = tuple(text for text in protected if text != GIT_CONFIG)
        anywhere = [text for text in protected if text.startswith(ANYWHERE)]
        folders = [resolve(text, self.workspace_dir) for text in self.policy.writable]
        self._others = [Wards(folder, anywhere) for folder in folders if folder.is_dir()] if anywhere else []
        return Wards(self.workspace_dir, protected)

    def _look_around(self) -> list[str]:
        places = [self._wards, *self._others] if self._wards is not None else []
        return [note for wards in places for note in wards.look()]

    async def _vouch(self) -> None:
        """Wait until the battery has held on a version that is not known, once in a process.

        Raises `ExecutorUnavailable` when it does not. Whoever comes meanwhile waits, too, but for the battery itself.
        """
        if _trying.get() or (self.name, self.version) in _vouched:
            return
        loop, task = asyncio.get_running_loop(), self._vouching
        if task is None or task.done() or task.get_loop() is not loop:
            task = self._vouching = loop.create_task(self._try())
            task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # nobody may be left to ask
        await asyncio.shield(task)

    async def _try(self) -> None:
        _trying.set(True)  # in this task, and in those that it starts
        report = await self._battery()
        if report.holes:
            known = f"; known to hold: {', '.join(sorted(self.known_versions))}" if self.known_versions else ""
            raise ExecutorUnavailable(f"{self.name} {self.version} does not hold here: {report}{known}")
        _vouched.add((self.name, self.version))

    async def _battery(self) -> Report:
        from agentd.executors.battery.run import verify

        return await verify(self)

    async def _verified(self) -> tuple[bool, str]:
        try:
            report = await self._battery()
        except ExecutorUnavailable as error:
            return False, str(error)
        return not report.holes, f"{self.name} {self.version}: {report}"

    def environment(self, link: Link, action: Action) -> dict[str, str]:
        """Return the variables of an action: the bridge to the tools is behind a port of the sandbox's own."""
        path = action.env.get(_BRIDGE_SOCKET)
        if path is None:
            return action.env
        port, new = self.ports.bridge(path)
        if new:
            link.send({"op": "listen", "port": port})
        env = {name: value for name, value in action.env.items() if name != _BRIDGE_SOCKET}
        return env | {_BRIDGE_URL: f"http://127.0.0.1:{port}"}

    def _settings(self, launch: Launch) -> dict[str, object]:
        self._claim()
        walls = {
            "seccomp": _filter(),
            "landlock": landlock_abi() >= LEAST_ABI,
            "writable": writable(self.policy, self.workspace_dir),
            "bind": self.policy.local_binding,
        }
        return {"walls": walls, "path": packages(), "ports": [str(port) for port in self.ports.numbers]}

    def _inherited(self) -> bool:
        if not super()._inherited():
            return False
        self._ports = self._warding = self._wards = self._vouching = None
        return True

    @property
    def ports(self) -> Ports:
        """What stands behind the runner's ports."""
        if self._ports is None:
            self._ports = Ports(self._egress())
        return self._ports

    def _egress(self) -> Egress | None:
        policy = self.policy
        if not self.own_egress or not policy.allowed_domains:
            return None
        rules = Rules(policy.allowed_domains, policy.denied_domains)
        return Egress(rules, policy.private_networks, on_refused=self._refused)

    def _refused(self, host: str, port: int, reason: str) -> None:
        if len(self._told) < MOST_TOLD:
            self._told.add(f"[refused: {reason}]")

    def _on_arrival(self, port: int, sock: socket.socket) -> None:
        self.ports.arrived(port, sock)

    def guard(self, path: str) -> None:
        """Raise `PathRefused` for a file that the policy protects."""
        parts = tuple(part for part in path.split("/") if part not in ("", "."))
        for text in (*self.policy.protected, SKILLS):
            fixed, anywhere = protected_parts(self.workspace_dir, (text,))
            starts = [(0, named) for named in fixed] + [(at, named) for named in anywhere for at in range(len(parts))]
            if any(parts[at : at + len(named)] == named for at, named in starts):
                raise PathRefused(f"{path!r}: {text} is protected by the policy")

    async def look(self) -> list[str]:
        """Move away what a block has put where nothing may be written, and return what is to be said about it.

        That is also which names it could not reach.
        """
        notes = sorted(self._told)
        self._told.clear()
        if self._wards is not None:
            begun = time.perf_counter()
            # In a small workspace it takes no longer than the way to another thread.
            notes += self._look_around() if self._brief else await asyncio.to_thread(self._look_around)
            self._brief = time.perf_counter() - begun < BRIEF
        return notes

    async def aclose(self) -> None:
        """Kill everything that was started here, and return when it is gone."""
        ports, loop = self._ports, self._loop()
        await super().aclose()
        if ports is None:
            return
        if loop is None or runs_in(loop):
            await ports.aclose()
        else:  # its tasks are on the loop of the runner
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(ports.aclose(), loop))

    def _claim(self) -> None:
        """Say that `skills` is in use, to those who would remove it: mounts end with the folder that they cover."""
        if self._release is not None:
            self._release()
        with contextlib.suppress(OSError):
            folder = os.open(self.workspace_dir / SKILLS, FOLDER)
            self._release = weakref.finalize(self, os.close, folder)
            fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def _cleared(self) -> None:
        self._look_around()
        if self._release is not None:
            self._release()
        with contextlib.suppress(OSError):
            folder = os.open(self.workspace_dir / SKILLS, FOLDER)
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.rmdir(self.workspace_dir / SKILLS)  # if it is empty, and nobody else's
            finally:
                os.close(folder)


def _has_failed(task: asyncio.Task[Wards]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


@lru_cache(maxsize=1)
def _filter() -> str:
    return base64.b64encode(program()).decode()
