"""What the runner remembers: shells, and the blocks that run in them."""

from __future__ import annotations

import os
from collections.abc import Sequence

from .output import Output
from .wire import Header
from .worker import Worker


class Settings:
    """What the host says once, before anything else."""

    def __init__(self, header: Header) -> None:
        self.workspace = header.text("workspace")
        self.env = header.table("env")
        self.path = header.words("path")
        self.budget = header.integer("budget")
        self.spill_cap = header.integer("spill_cap")
        self.live_cap = header.integer("live_cap")
        self.processes = header.integer("processes")
        self.cpu = header.integer("cpu")
        self.rlimits = header.integers("rlimits")
        self.prefix = header.text("prefix")
        self.score = header.flag("score")
        self.door_path = header.text("door_path")
        self.door_port = header.integer("door_port")
        self.net_key = header.text("net_key")
        self.ports = [int(port) for port in header.words("ports")]
        self.keep_env = header.words("keep_env")
        self.walls = header.section("walls")
        self.mounted = header.section("mounted")


class Shell:
    """The state that lasts from block to block of one session."""

    def __init__(self, number: int, cwd: str, env: dict[str, str]) -> None:
        self.number = number
        self.cwd = cwd
        self.env = env
        self.version = 0
        self.saved: tuple[bytes, dict[str, str], list[str]] | None = None
        self.worker: Worker | None = None
        self.worker_version = -1
        self.blocks = 0


class Block:
    """A block that has been asked for and has not ended."""

    def __init__(
        self, header: Header, code: str, shell: Shell, output: Output, tools: tuple[int, ...], tag: int
    ) -> None:
        self.id = header.integer("id")
        self.shell = shell
        self.kind = header.text("kind")
        self.code = code
        self.output = output
        self.tag = tag
        self.deadline = float("inf")
        self.timeout = header.number("timeout")
        self.env = header.table("env")
        self.bin_dirs = header.words("bin")
        self.python_dirs = header.words("path")
        self.digest = header.text("digest")
        self.keep = header.flag("keep")
        self.tools = tools
        self.cwd = header.text("cwd")
        self.pid = 0
        self.read_fd = -1
        self.state_fd = -1
        self.state_start = 0
        self.why = ""
        self.notes: list[str] = []
        # What the shell was when the block began: others that run beside it may change that.
        self.began = shell.cwd, shell.env

    def environment(self) -> dict[str, str]:
        """Return what the block's process starts with."""
        env = self.shell.env | self.env
        env["PWD"] = self.shell.cwd
        if self.bin_dirs:
            env["PATH"] = os.pathsep.join([*self.bin_dirs, *filter(None, [env.get("PATH", "")])])
        return env

    def close_fds(self) -> None:
        """Close what was opened for the block and not passed on."""
        for fd in self.tools:
            os.close(fd)
        self.tools = ()


def lasting(env: dict[str, str], block: Block) -> dict[str, str]:
    """Take out of a shell's last environment what belonged to one block only."""
    _, before = block.began
    for name, value in block.env.items():
        if env.get(name) == value:
            env.pop(name, None)
            if name in before:
                env[name] = before[name]
    if block.bin_dirs and "PATH" in env:
        env["PATH"] = os.pathsep.join(_without_first(env["PATH"].split(os.pathsep), block.bin_dirs))
    return env


def merged(block: Block, cwd: str, env: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Return the shell's state with what the block has changed, beside what others have since it began."""
    shell = block.shell
    cwd_before, before = block.began
    if shell.env is before and shell.cwd == cwd_before:
        return cwd, env
    changed = {name: value for name, value in env.items() if before.get(name) != value}
    kept = {name: value for name, value in shell.env.items() if name in env or name not in before}
    return (shell.cwd if cwd == cwd_before else cwd), kept | changed


def _without_first(parts: list[str], prefix: Sequence[str]) -> list[str]:
    for one in prefix:
        if one in parts:
            parts.remove(one)
    return parts
