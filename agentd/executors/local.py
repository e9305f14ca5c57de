"""Code on the caller's own machine, with the caller's own rights."""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Unpack

from agentd.core.actions import Action, Kind
from agentd.core.errors import OptionError
from agentd.core.ids import new_id
from agentd.executors.host import Options, RunnerExecutor
from agentd.executors.launch import Launch, Probe, ProcessLaunch, runner_command
from agentd.executors.limits import Limits
from agentd.executors.policy import Policy, settle

_WHY = "code runs with all the rights of this user"
_log = logging.getLogger("agentd.executors")


class LocalExecutor(RunnerExecutor):
    """Runs code as processes of this user: no isolation, only order.

    Code may read and change whatever the user may, `/proc/<pid>/environ` of this very process included. What it gets
    is an environment without the host's variables, limits, time-outs, and a way to end everything that it has started.
    `limits` are those of a policy by themselves.
    """

    name = "local"

    def __init__(
        self,
        workspace_dir: str | Path,
        *,
        timeout: float = 60.0,
        output_tokens: int = 5000,
        policy: Policy | Mapping[str, object] | None = None,
        limits: Limits | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.probe().demand(self.name)
        if limits is not None:
            if policy is not None:
                raise OptionError("give limits within the policy, or alone")
            policy = asdict(limits)
        super().__init__(workspace_dir, timeout=timeout, output_tokens=output_tokens, policy=policy, env=env)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.workspace_dir)!r}: no isolation, code runs with your rights)"

    @classmethod
    def probe(cls) -> Probe:
        """Tell whether this back end can run here."""
        if sys.platform != "linux":
            return Probe(False, reason="it finds the processes of a block through Linux's /proc", fix="Use Linux")
        return Probe(True)

    def _keep(self) -> dict[str, str]:
        why = dict.fromkeys(Policy.model_fields, _WHY)
        return settle(self.policy, self.name, {**self._limits.report, "wall_time": "runner"}, why)

    async def _verified(self) -> tuple[bool, str]:
        result = await self._do(Action(new_id("call"), Kind.BASH, "true"))
        if result.exit_code:
            return False, f"local: code does not run: {result.output}"
        return True, f"local: code runs, with no isolation: {_WHY}"

    def _launch(self) -> Launch:
        _notice()
        return ProcessLaunch(runner_command(), cwd=self.workspace_dir, env=self.env, limits=self._limits.group)


@lru_cache(maxsize=1)
def _notice() -> None:
    """Say once in a process what runs here."""
    _log.warning(
        "what the model writes now runs on this machine as you, with no isolation; executor='bwrap' shuts it in "
        "(`agentd doctor` tells what runs here)"
    )


class SubprocessExecutor(LocalExecutor):
    """What earlier releases called `LocalExecutor`; without a workspace it makes one that is removed with it."""

    def __init__(
        self, timeout: float = 60.0, workspace_dir: str | Path | None = None, **options: Unpack[Options]
    ) -> None:
        self._temporary = None
        if workspace_dir is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="agentd-", ignore_cleanup_errors=True)
            workspace_dir = self._temporary.name
        super().__init__(workspace_dir, timeout=timeout, **options)

    def _cleared(self) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()
