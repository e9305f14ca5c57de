"""Code in a virtual machine of its own, by microsandbox."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from agentd.core.errors import OptionError
from agentd.executors.docker_mounts import shown
from agentd.executors.doorway import Doorway
from agentd.executors.host import Options
from agentd.executors.launch import Launch, Probe
from agentd.executors.limits import Enforcement, divide
from agentd.executors.microsandbox_probe import examine, installed
from agentd.executors.mounts import RUNNER_SOURCE
from agentd.executors.policy import settle
from agentd.executors.ports import proxy_environment
from agentd.executors.sandboxed import SandboxedExecutor
from agentd.executors.seccomp import program

if TYPE_CHECKING:
    from agentd.executors.microsandbox_sdk import Machine, Sdk

RUNNER_INSIDE = "/opt/agentd/runner"
DOOR_PORT = 7779
_MIB = 1 << 20
# What the image says about its own programs; everything else that code finds is said by us.
_IMAGE_KNOWS = ("PATH", "HOME", "USER", "LOGNAME", "TZ", "LD_LIBRARY_PATH")
_NO_LANDLOCK = "it takes Landlock to forbid listening, and whether the machine's own kernel has that is not known"


class MicrosandboxExecutor(SandboxedExecutor):
    """Runs code in a virtual machine with a kernel of its own: it sees the image, the workspace, and no network.

    `image` is the name of one in a registry, or the path of a folder or disk image with Linux and Python 3.11 or newer
    in it; `memory` is in MiB. The workspace has the same path inside as outside. Names that the policy allows are
    reached through a proxy of ours. The machine is named after `conversation_id`, and ends with this process, or after
    `max_duration` seconds. No version is known so well that the battery would not be tried on its first machine.
    """

    name = "microsandbox"

    def __init__(
        self,
        workspace_dir: str | Path,
        *,
        conversation_id: str = "",
        image: str = "python",
        memory: int = 1024,
        cpus: int = 1,
        max_duration: float | None = None,
        timeout: float = 60.0,
        **options: Unpack[Options],
    ) -> None:
        if not image or memory < 1 or cpus < 1 or (max_duration is not None and max_duration <= 0):
            raise OptionError("an image must be named, and memory (MiB), cpus and max_duration must be positive")
        self.conversation_id = conversation_id
        self.image = image
        self.memory = memory
        self.cpus = cpus
        self.max_duration = max_duration
        super().__init__(workspace_dir, timeout=timeout, **options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.workspace_dir)!r}, image={self.image!r}, memory={self.memory})"

    @classmethod
    def probe(cls) -> Probe:
        """Tell whether this back end can run here, in the words of `msb doctor`."""
        return examine()

    def _limit(self) -> Enforcement:
        # The machine is as large as the memory, the rest is the runner's.
        return replace(divide(self.policy.limits, {"memory": "virtual machine"}), group={})

    def _keep(self) -> dict[str, str]:
        self.probe().demand(self.name)
        self._machines().demand_local()
        policy = self.policy
        if policy.memory is not None:
            self.memory = -(-policy.memory // _MIB)
        keeps: dict[str, str] = dict.fromkeys(("readable", "hidden", "writable"), "virtual machine, mounts")
        keeps["protected"] = "read-only mounts; what is put there later is moved away after each block"
        keeps |= dict.fromkeys(("allowed_domains", "denied_domains", "private_networks"), "no network, proxy")
        why: dict[str, str] = {}
        if policy.local_binding:
            keeps["local_binding"] = "virtual machine"
        else:
            why["local_binding"] = _NO_LANDLOCK
        return settle(policy, self.name, {**keeps, **self._limits.report, "wall_time": "runner"}, why)

    def _version(self) -> str:
        return installed().version

    def _machines(self) -> Sdk:
        from agentd.executors.microsandbox_sdk import Sdk

        return Sdk()

    def _environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        env = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "SHELL": "/bin/bash", "TERM": "dumb"}
        if self.policy.allowed_domains:
            env |= proxy_environment()
        return env | dict(extra)

    def _launch(self) -> Launch:
        from agentd.executors.microsandbox_launch import MachineLaunch, machine_name

        doorway = Doorway(self._on_arrival)
        try:
            name = machine_name(self.conversation_id)
            return MachineLaunch(self._machines(), name, lambda: self._configure(name, doorway), doorway)
        except BaseException:
            doorway.close()
            raise

    def _configure(self, name: str, doorway: Doorway) -> Machine:
        """Return the machine that is wanted. Looks at files: it is called in a thread."""
        from agentd.executors.microsandbox_sdk import Machine, Mount

        nothing = doorway.folder / "nothing"
        nothing.touch(0o400)
        seen = [Mount(RUNNER_INSIDE, RUNNER_SOURCE, readonly=True)]
        for one in shown(self.policy, self.workspace_dir, self.present):
            # A folder is hidden by an empty one, a file by an empty file.
            source = str(nothing) if one.how == "hide" and one.source else one.source
            seen.append(Mount(one.place, source, readonly=one.how != "write"))
        return Machine(
            name=name,
            image=self.image,
            memory=self.memory,
            cpus=self.cpus,
            runner=("python3", "-I", RUNNER_INSIDE, "-"),
            cwd=str(self.workspace_dir),
            mounts=tuple(seen),
            vsock=self._routes(doorway),
            max_duration=self.max_duration,
        )

    def _routes(self, doorway: Doorway) -> dict[str, int]:
        """Return which of our sockets is behind which port of the machine's host."""
        return {str(doorway.path): DOOR_PORT}

    def _settings(self, launch: Launch) -> dict[str, object]:
        assert launch.doorway is not None
        filtered = base64.b64encode(program(vsock=True)).decode()
        return {
            "walls": {"seccomp": filtered, "landlock": False, "writable": [], "bind": True},
            "path": [],
            "prefix": "",
            "keep_env": _IMAGE_KNOWS,
            "net_key": launch.doorway.net_key,
            "ports": [str(port) for port in self.ports.numbers],
            **self._door(launch.doorway),
        }

    def _door(self, doorway: Doorway) -> dict[str, object]:
        """Return where the runner finds the way to the tools."""
        return {"door_port": DOOR_PORT}
