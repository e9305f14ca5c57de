"""Whether the kernel here has Landlock: what the runner is asked for has to be known before it is started."""

from __future__ import annotations

from agentd.executors.runner.walls import BIND_ABI, LEAST_ABI, landlock_abi

__all__ = ["BIND_ABI", "LEAST_ABI", "landlock_abi"]
