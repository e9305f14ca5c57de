"""Code in a sandbox of Anthropic's sandbox runtime (srt), which is driven as a library."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from agentd.core.errors import ExecutorUnavailable
from agentd.executors import scratch
from agentd.executors.environment import outline
from agentd.executors.landlock import BIND_ABI, LEAST_ABI, landlock_abi
from agentd.executors.launch import Launch, Probe
from agentd.executors.mounts import HOME, RUNNER_INSIDE
from agentd.executors.policy import Policy, settle
from agentd.executors.sandboxed import SandboxedExecutor
from agentd.executors.srt_install import VERSION, Installed, examine
from agentd.executors.srt_launch import NODE_PROGRAM, Job, SrtLaunch, tidy
from agentd.executors.srt_settings import Place, obstacles, options, write_settings

# srt's own variables by which programs find its proxy. Its TMPDIR is not among them: inside, that is `/tmp`.
PROXY_VARIABLES = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "FTP_PROXY", "GRPC_PROXY", "RSYNC_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ftp_proxy", "grpc_proxy"),
    *("DOCKER_HTTP_PROXY", "DOCKER_HTTPS_PROXY", "GIT_SSH_COMMAND", "GIT_CONFIG_PARAMETERS", "JAVA_TOOL_OPTIONS"),
    *("CLOUDSDK_PROXY_TYPE", "CLOUDSDK_PROXY_ADDRESS", "CLOUDSDK_PROXY_PORT"),
    *("CLOUDSDK_PROXY_USERNAME", "CLOUDSDK_PROXY_PASSWORD"),
)
_SOCKETS = "s"
_ROOM = len(f"{_SOCKETS}/claude-socks-0123456789abcdef.sock")
# srt gives code a process namespace of its own, and a `/proc` for it. Where a kernel refuses the second, it goes on.
_PROC_IS_OWN = (
    'read -r pid _ < /proc/self/stat; [ "$pid" = "$$" ] || { '
    "echo 'srt could not give the sandbox a /proc of its own, as happens to root on some kernels: run as an ordinary "
    "user, or use bwrap' >&2; exit 1; }; "
)


class SrtExecutor(SandboxedExecutor):
    """Runs code as this user in srt's sandbox: it sees the workspace, the system's programs, and no network.

    The kernel is shared with the machine. Names that the policy allows are reached through srt's own proxy. Besides
    what srt does there are a second filter of system calls, and Landlock. The workspace has the same path inside as
    outside.

    `srt_path` is the command `srt`, or the folder of its package; by default the one on the PATH is taken.
    """

    name = "srt"
    own_egress = False
    known_versions = frozenset({VERSION})

    def __init__(
        self,
        workspace_dir: str | Path,
        *,
        timeout: float = 60.0,
        output_tokens: int = 5000,
        policy: Policy | Mapping[str, object] | None = None,
        env: Mapping[str, str] | None = None,
        srt_path: str | Path | None = None,
    ) -> None:
        self.installed = self._find(srt_path)
        super().__init__(workspace_dir, timeout=timeout, output_tokens=output_tokens, policy=policy, env=env)

    @classmethod
    def probe(cls, srt_path: str | Path | None = None) -> Probe:
        """Tell whether this back end can run here."""
        return examine(srt_path)[0]

    def _find(self, srt_path: str | Path | None) -> Installed:
        probe, installed = examine(srt_path)
        probe.demand(self.name)
        assert installed is not None  # what can run is there
        if os.geteuid() == 0 and landlock_abi() < LEAST_ABI:
            raise ExecutorUnavailable(
                "srt: as root, only Landlock keeps code from the kernel's settings in /proc/sys, and it is missing. "
                "Run as an ordinary user, or boot with `landlock` in `lsm=`"
            )
        return installed

    def _version(self) -> str:
        return self.installed.version

    def _keep(self) -> dict[str, str]:
        files, network = "srt (mount namespace)", "srt (network namespace, proxy)"
        keeps = {
            "readable": files,
            "hidden": files,
            "writable": f"{files}, Landlock",
            "protected": "srt (read-only mounts); what is put there later is moved away after each block",
            "allowed_domains": network,
            "denied_domains": network,
            "private_networks": network,
        }
        why = obstacles(self.policy)
        abi = landlock_abi()
        if self.policy.local_binding:
            keeps["local_binding"] = "srt (network namespace)"
        elif abi >= BIND_ABI:
            keeps["local_binding"] = "Landlock"
        else:
            why["local_binding"] = f"it takes Landlock {BIND_ABI} (Linux 6.7) to forbid listening; here it is {abi}"
        kept = {clause: who for clause, who in keeps.items() if clause not in why}
        return settle(self.policy, self.name, {**kept, **self._limits.report, "wall_time": "runner"}, why)

    def _environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        env = outline(HOME, "agentd")
        if self.policy.allowed_domains:
            env["NODE_USE_ENV_PROXY"] = "1"
        return env | dict(extra)

    def _launch(self) -> Launch:
        folder = scratch.make("srt", _ROOM, tidy)
        try:
            return SrtLaunch(self._job(folder), self._limits.group)
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, OSError):
                raise ExecutorUnavailable(f"srt: a sandbox cannot be prepared: {error}") from error
            raise

    def _job(self, folder: Path) -> Job:
        installed, programs = self.installed, self.installed.programs
        cwd, sockets = folder / "cwd", folder / _SOCKETS
        for one in (cwd, sockets):
            one.mkdir()
        place = Place(programs["bwrap"], programs["socat"], programs["rg"], installed.seccomp, sockets)
        settings = write_settings(self.policy, self.workspace_dir, place, self.present)
        folders = [*(os.path.dirname(found) for found in programs.values()), "/usr/bin", "/bin"]
        path = os.pathsep.join(dict.fromkeys(folders))
        return {
            "folder": str(folder),
            "cwd": str(cwd),
            "node": programs["node"],
            "program": str(NODE_PROGRAM),
            "env": {"PATH": path, "HOME": str(folder), "TMPDIR": str(sockets), "LANG": "C.UTF-8"},
            "bwrap": programs["bwrap"],
            "seccomp": str(installed.seccomp),
            "options": options(self.policy, self.workspace_dir, self.present),
            "command": _PROC_IS_OWN + shlex.join(["exec", sys.executable, "-I", "-S", RUNNER_INSIDE]),
            "request": {"library": str(installed.library), "settings": settings, "shell": programs["bash"]},
        }

    def _settings(self, launch: Launch) -> dict[str, object]:
        kept = PROXY_VARIABLES if self.policy.allowed_domains else ()
        return {**super()._settings(launch), "keep_env": list(kept)}
