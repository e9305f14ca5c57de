"""Code in a container of a Docker engine on this machine: the back end that comes in by the door for plug-ins."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from pathlib import Path

from agentd.core.errors import OptionError
from agentd.core.ids import new_id
from agentd.executors.cgroups import CONTROLLERS
from agentd.executors.docker_engine import Engine, EngineTrouble
from agentd.executors.docker_launch import OWNER, ContainerLaunch
from agentd.executors.docker_mounts import binds, covers, shown
from agentd.executors.doorway import FILE, Doorway
from agentd.executors.landlock import BIND_ABI, LEAST_ABI, landlock_abi
from agentd.executors.launch import RUNNER_PROCESSES, Launch, Probe
from agentd.executors.limits import Enforcement, divide
from agentd.executors.mounts import HOME, RUNNER_INSIDE, RUNNER_SOURCE, Mount, writable
from agentd.executors.owner import mark
from agentd.executors.policy import Policy, settle
from agentd.executors.ports import proxy_environment
from agentd.executors.sandboxed import SandboxedExecutor
from agentd.executors.seccomp import program

IMAGE = "python:3.12-slim"
_DOOR = "/run/agentd/door"
_INIT = 1
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SCRATCH = "rw,exec,nosuid,nodev,size={size}"
_SCRATCH_SIZE = 1 << 30
_ULIMITS = {"file_size": "fsize", "open_files": "nofile"}
_PREFIX = re.compile(r"[^a-zA-Z0-9_.-]+")


class DockerExecutor(SandboxedExecutor):
    """Runs code in a container: it sees the image, and of this machine only what the policy names.

    Any image will do that has `python3` (3.11 or newer) and `bash`; it has to be there, none is fetched. The container
    has no network, no capabilities, a root that is not written to, and runs as the caller's user and group; the
    workspace has the same path inside as outside. The kernel is shared with the machine. The engine must be on this
    machine: `base_url` is its Unix socket, by default `DOCKER_HOST`, the usual place, or that of the user's own engine.

    Making one asks the engine what it is and whether it has the image, which takes some milliseconds. It raises
    `ExecutorUnavailable` when there is no engine, when it is out of reach or too old, or when the image is missing.
    """

    name = "docker"

    def __init__(
        self,
        workspace_dir: str | Path,
        *,
        image: str = IMAGE,
        timeout: float = 60.0,
        output_tokens: int = 5000,
        policy: Policy | Mapping[str, object] | None = None,
        env: Mapping[str, str] | None = None,
        base_url: str | None = None,
        name_prefix: str = "agentd",
    ) -> None:
        self.name_prefix = _PREFIX.sub("-", name_prefix).strip("-._")[:64]
        if not image or not self.name_prefix:
            raise OptionError("image and name_prefix must be names")
        self._engine = Engine(base_url)
        self._facts = self._engine.facts()
        self.image = image
        self._image = self._engine.image(image)
        super().__init__(workspace_dir, timeout=timeout, output_tokens=output_tokens, policy=policy, env=env)

    def __repr__(self) -> str:
        return f"DockerExecutor({str(self.workspace_dir)!r}, image={self.image!r}, engine {self._facts.version})"

    @classmethod
    def probe(cls) -> Probe:
        """Tell whether there is an engine that can be used. Which images it has is not looked at."""
        try:
            return Probe(True, Engine().facts().version)
        except EngineTrouble as trouble:
            return Probe(False, reason=trouble.reason, fix=trouble.fix)

    def _version(self) -> str:
        return self._facts.version

    @property
    def _landlock(self) -> int:
        """The version of Landlock that can be used inside."""
        abi = landlock_abi() if self._facts.admits_landlock else 0
        return abi if abi >= LEAST_ABI else 0

    def _limit(self) -> Enforcement:
        limits, keeps = self.policy.limits, self._facts.keeps
        return divide(limits, {name: "cgroup" for name in CONTROLLERS if name in keeps and getattr(limits, name)})

    def _keep(self) -> dict[str, str]:
        keeps: dict[str, str] = dict.fromkeys(("readable", "hidden"), "mounts")
        keeps["writable"] = "mounts, Landlock" if self._landlock else "mounts"
        keeps["protected"] = "read-only mounts; what is put there later is moved away after each block"
        keeps |= dict.fromkeys(("allowed_domains", "denied_domains", "private_networks"), "no network, proxy")
        why: dict[str, str] = {}
        if self.policy.local_binding:
            keeps["local_binding"] = "a loopback of its own"
        elif self._landlock >= BIND_ABI:
            keeps["local_binding"] = "Landlock"
        else:
            why["local_binding"] = "it takes Docker 23 and Linux 6.7 to forbid listening (Landlock 4)"
        return settle(self.policy, self.name, {**keeps, **self._limits.report, "wall_time": "runner"}, why)

    def _environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        env = {"PATH": _PATH, "LANG": "C.UTF-8", **self._image.env}
        env |= {"HOME": HOME, "USER": "agentd", "LOGNAME": "agentd", "SHELL": "/bin/bash"}
        env |= {"TMPDIR": "/tmp", "TERM": "dumb"}
        if self.policy.allowed_domains:
            env |= proxy_environment()
        return env | dict(extra)

    def _launch(self) -> Launch:
        doorway = Doorway(self._on_arrival)
        name = f"{self.name_prefix}-{new_id('c')}"
        try:
            return ContainerLaunch(self._engine, name, lambda: self._configure(doorway.folder), doorway)
        except BaseException:
            doorway.close()
            raise

    def _settings(self, launch: Launch) -> dict[str, object]:
        assert launch.doorway is not None  # as it was made above
        walls = {
            "seccomp": base64.b64encode(program()).decode(),
            "landlock": self._landlock > 0,
            "writable": [*writable(self.policy, self.workspace_dir), *self._image.volumes],
            "bind": self.policy.local_binding,
        }
        return {
            "walls": walls,
            "ports": [str(port) for port in self.ports.numbers],
            "door_path": f"{_DOOR}/{FILE}",
            "net_key": launch.doorway.net_key,
            # Those of the image's own interpreter, which it finds by itself.
            "path": [],
            "prefix": "",
        }

    def _configure(self, door: Path) -> dict[str, object]:
        """Return the container, as the engine wants it. Looks at files: it is called in a thread."""
        own = [Mount(RUNNER_INSIDE, "read", RUNNER_SOURCE), Mount(_DOOR, "read", str(door))]
        found = [*shown(self.policy, self.workspace_dir, self.present), *own]
        return {
            "Image": self._image.id,
            # Not the image's own entry point. Its packages are wanted, so `site` is not left out.
            "Entrypoint": ["python3", "-I", RUNNER_INSIDE, "-"],
            "User": self._user(),
            "WorkingDir": str(self.workspace_dir),
            "Hostname": "agentd",
            "Labels": {OWNER: mark()},
            "Env": ["LANG=C.UTF-8"],
            "AttachStdin": True,
            "AttachStdout": True,
            "AttachStderr": True,
            "OpenStdin": True,
            "StdinOnce": True,  # nobody attached is the end of input, and that of the runner
            "NetworkDisabled": True,
            "Healthcheck": {"Test": ["NONE"]},
            "HostConfig": {**self._confinement(), "Mounts": [*binds(found)], "Tmpfs": self._scratch() | covers(found)},
        }

    def _user(self) -> str:
        # In an engine of the user's own, the container's root is that user, and all others are nobody here.
        return "0:0" if self._facts.rootless else f"{os.getuid()}:{os.getgid()}"

    def _scratch(self) -> dict[str, str]:
        options = _SCRATCH.format(size=_SCRATCH_SIZE)
        user, _, group = self._user().partition(":")
        mine = dict.fromkeys((HOME, *self._image.volumes), f"{options},mode=0700,uid={user},gid={group}")
        scratch = {"/tmp": f"{options},mode=1777", **mine}  # the container's own
        return {place: how for place, how in scratch.items() if place != str(self.workspace_dir)}

    def _confinement(self) -> dict[str, object]:
        group = self._limits.group
        limits = self.policy.limits
        given = {name: getattr(limits, clause) for clause, name in _ULIMITS.items()}
        ulimits = [{"Name": name, "Soft": value, "Hard": value} for name, value in given.items() if value is not None]
        config: dict[str, object] = {
            "NetworkMode": "none",
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            # Labels of SELinux would have to be changed on the user's own files.
            "SecurityOpt": ["no-new-privileges:true", *(["label=disable"] if self._facts.labelled else [])],
            "IpcMode": "private",
            "CgroupnsMode": "private",
            "Init": True,
            "AutoRemove": True,
            "LogConfig": {"Type": "none"},  # what is printed are frames
            "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}, *ulimits],
        }
        if self._facts.remapped and not self._facts.rootless:
            config["UsernsMode"] = "host"  # the caller's number means the caller
        if "processes" in group:
            config["PidsLimit"] = group["processes"] + RUNNER_PROCESSES + _INIT
        if "memory" in group:
            config |= {"Memory": group["memory"], "MemorySwap": group["memory"]}
        return config
