"""What all executors have in common whose code runs in a runner: sessions, the runner's life, the policy."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, TypedDict

from agentd.core.actions import Action
from agentd.core.background import runs_in
from agentd.core.errors import AgentdError, ExecutorLost, OptionError
from agentd.core.protocols import Door
from agentd.executors import environment
from agentd.executors.doorway import Ticket
from agentd.executors.launch import PATIENCE, Launch, Probe
from agentd.executors.limits import Enforcement, enforce
from agentd.executors.link import Link, in_thread
from agentd.executors.plain import PlainCalls
from agentd.executors.policy import Policy, read_policy
from agentd.executors.shell import RunnerShell

SPILL_CAP = 64 << 20
LIVE_CAP = 1 << 20
BYTES_PER_TOKEN = 4
SPARE_AFTER = 1.0
_log = logging.getLogger("agentd.executors")
LONGEST = 1e8  # three years; timers cannot hold just any number


class Options(TypedDict, total=False):
    """The options of every executor besides its workspace and time-out."""

    output_tokens: int
    policy: Policy | Mapping[str, object] | None
    env: Mapping[str, str] | None


class RunnerExecutor(PlainCalls):
    """Runs code through a runner. A back end says how one is started (`_launch`) and who keeps the policy (`_keep`)."""

    name = ""
    keeps_spare: ClassVar[bool] = False
    """Whether another runner is kept ready, to be there at once when one is lost."""

    def __init__(
        self,
        workspace_dir: str | Path,
        *,
        timeout: float = 60.0,
        output_tokens: int = 5000,
        policy: Policy | Mapping[str, object] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        if not timeout > 0 or output_tokens < 1:
            raise OptionError("timeout and output_tokens must be positive")
        self.policy = read_policy(policy)
        self.workspace_dir = self._workspace(Path(workspace_dir))
        self.timeout = timeout
        self.output_tokens = output_tokens
        self._limits = self._limit()
        self.enforcement = self._keep()
        self.env = self._environment(_variables(env or {}))
        self._shells: dict[str, RunnerShell] = {}
        self._link: Link | None = None
        self._old: list[Link] = []
        self._spare: Link | None = None
        self._closed = False
        self._pid = os.getpid()

    @classmethod
    def probe(cls) -> Probe:
        """Tell whether this back end can run here."""
        raise NotImplementedError

    def _launch(self) -> Launch:
        """Start a runner, on the event loop and without waiting for it."""
        raise NotImplementedError

    def _keep(self) -> dict[str, str]:
        """Return who keeps each clause of the policy; raises `ExecutorUnavailable` for one that nobody can keep."""
        raise NotImplementedError

    def _limit(self) -> Enforcement:
        """Return who keeps the limits; raises `ExecutorUnavailable` for one that cannot be kept."""
        return enforce(self.policy.limits)

    def _settings(self, launch: Launch) -> dict[str, object]:
        """Return what this back end's runner is told besides what all are."""
        return {}

    def _workspace(self, given: Path) -> Path:
        """Return the folder to work in, made if it is missing."""
        folder = given.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        """Return what every block finds in its environment."""
        return environment.built(extra)

    def environment(self, link: Link, action: Action) -> dict[str, str]:
        """Return the variables of an action, as they hold inside."""
        return action.env

    def guard(self, path: str) -> None:
        """Raise `PathRefused` for a file that may not be created."""

    async def look(self) -> list[str]:
        """Return what is to be said about what a block has done."""
        return []

    def seconds(self, action: Action) -> float:
        """Return how long an action may run."""
        asked = self.timeout if action.timeout is None else max(0.0, action.timeout)
        return min(self.policy.timeout(asked), LONGEST)

    def ticket(self, link: Link, door: Door) -> Ticket:
        """Return a block's way to its tools, where descriptors cannot be sent."""
        assert link.doorway is not None  # every launch has one or the other
        return link.doorway.issue(door)

    async def open(self, session: str) -> RunnerShell:
        """Return the shell of a session, the same one as long as it is open.

        Raises `ExecutorUnavailable` when code cannot be run.
        """
        link = self.warm()
        shell = self._shells.get(session)
        if shell is None:
            shell = self._shells[session] = RunnerShell(self, session)
        if not link.ready.done() or link.ready.exception() is not None:
            await link.start()
        if self.keeps_spare and self._spare is None:
            link.loop.call_later(SPARE_AFTER, self._stock_up)
        return shell

    def warm(self) -> Link:
        """Return the runner, started if there is none. Does not wait for it to be ready."""
        if self._closed:
            raise ExecutorLost("the executor is closed")
        self._inherited()
        link, loop = self._link, asyncio.get_running_loop()
        if link is not None and not link.lost and link.loop is loop:
            return link
        if link is not None:
            self._give_up(link, loop)
        link = self._link = self._take_spare() or self._new_link()
        for name, shell in self._shells.items():
            shell.restore(link, name)
        return link

    def _stock_up(self) -> None:
        """Start a runner for the time when this one is lost."""
        link = self._link
        if self._spare is None and link is not None and not link.lost and not self._closed:
            try:
                self._spare = self._new_link()
            except (AgentdError, OSError) as error:  # who needs one is told why when it is made then
                _log.warning("no %s is kept in reserve: %s", self.name, error)

    def _take_spare(self) -> Link | None:
        spare, self._spare = self._spare, None
        if spare is None:
            return None
        if spare.lost or spare.loop is not asyncio.get_running_loop():
            self._give_up(spare, asyncio.get_running_loop())
            return None
        spare.loop.call_later(SPARE_AFTER, self._stock_up)
        return spare

    def _new_link(self) -> Link:
        self.workspace_dir.mkdir(parents=True, exist_ok=True)
        launch = self._launch()
        try:
            most = 2 * self.output_tokens * BYTES_PER_TOKEN
            hello = self._hello(launch)
            return Link(launch, hello, self._keep_state, on_arrival=self._on_arrival, most_output=most)
        except BaseException:
            launch.sock.close()
            launch.destroy()
            raise

    def _hello(self, launch: Launch) -> dict[str, object]:
        """Return what a runner is told first."""
        spill = self._limits.rlimits.get("RLIMIT_FSIZE", SPILL_CAP)
        return {
            "workspace": str(self.workspace_dir),
            "env": self.env,
            "path": list(environment.package_dirs()),
            "prefix": sys.prefix,
            "budget": self.output_tokens * BYTES_PER_TOKEN,
            "spill_cap": min(SPILL_CAP, spill),
            "live_cap": LIVE_CAP,
            "processes": self.policy.processes or 0,
            "cpu": self._limits.cpu,
            "rlimits": self._limits.rlimits,
            "score": "memory" in self._limits.group,
            **self._settings(launch),
        }

    def _on_arrival(self, port: int, sock: socket.socket) -> None:
        """Serve somebody inside who has connected to a port of the runner's; where it has none, that is nobody's."""
        sock.close()

    def _give_up(self, link: Link, loop: asyncio.AbstractEventLoop) -> None:
        if link.loop is not loop and not link.loop.is_closed():
            raise OptionError("an executor belongs to one event loop; this one is in use on another")
        if link.loop is loop:
            self._old.append(link)
            task = loop.create_task(link.aclose())
            task.add_done_callback(lambda _: self._old.remove(link))
        else:
            link.close()

    def _keep_state(self, session: str, cwd: str, env: dict[str, str]) -> None:
        shell = self._shells.get(session)
        if shell is not None and "\0" not in cwd:
            shell.state = (cwd, {name: value for name, value in env.items() if _can_be(name, value)})

    def forget(self, session: str) -> Link | None:
        """Take a shell off the list; return the runner that still knows it."""
        self._shells.pop(session, None)
        return self._link

    def _inherited(self) -> bool:
        """Forget, in a child that was forked from the program, what is its parent's: it is neither used nor ended."""
        if os.getpid() == self._pid:
            return False
        self._pid = os.getpid()
        for link in (*self._old, *self._living()):
            link.disown()
        self._old.clear()
        self._shells.clear()
        return True

    def _loop(self) -> asyncio.AbstractEventLoop | None:
        """Return the event loop that the runner lives on, if it still goes round."""
        self._inherited()
        link = self._link
        return link.loop if link is not None and link.loop.is_running() else None

    async def aclose(self) -> None:
        """Kill everything that was started here, and return when it is gone."""
        self._closed = True
        if self._inherited():
            return
        links = [*self._old, *self._living()]
        for one in links:
            if one.loop is asyncio.get_running_loop():
                await one.aclose()
            elif not one.loop.is_running():
                one.close()
            else:
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(one.aclose(), one.loop))
        await in_thread(self._cleared)

    def close(self) -> None:
        """Do what `aclose` does, from a place that has no event loop."""
        if self._inherited():
            self._closed = True
            return
        loop = self._loop()
        if loop is not None and not runs_in(loop):
            asyncio.run_coroutine_threadsafe(self.aclose(), loop).result(3 * PATIENCE)
            return
        self._closed = True
        for one in self._living():
            one.close()
        self._cleared()

    def _living(self) -> list[Link]:
        """Return the runners that there are, and forget them."""
        links = [link for link in (self._link, self._spare) if link is not None]
        self._link = self._spare = None
        return links

    def _cleared(self) -> None:
        """Tidy up what a back end has beside its runner, all of which is gone now."""


def _can_be(name: object, value: object) -> bool:
    """Tell whether there can be such a variable: callers need not have types."""
    if not isinstance(name, str) or not isinstance(value, str):
        return False
    return bool(name) and "=" not in name and "\0" not in name + value


def _variables(given: Mapping[str, str]) -> Mapping[str, str]:
    for name, value in given.items():
        if not _can_be(name, value):
            raise OptionError(f"env: there can be no variable {name!r} with such a value")
    return given
