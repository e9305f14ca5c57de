"""What the runner remembers: shells, and the blocks that run in them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from .output import Output
from .wire import Header
from .worker import Worker


@dataclass(slots=True)
class Settings:
    """What the host says once, before anything else."""

    workspace: str
    env: dict[str, str]
    path: list[str]
    budget: int
    spill_cap: int
    live_cap: int
    processes: int
    census: str
    cpu: int
    rlimits: dict[str, int]
    prefix: str
    score: bool

    @classmethod
    def read(cls, header: Header) -> Settings:
        return cls(
            workspace=header.text("workspace"),
            env=header.table("env"),
            path=header.words("path"),
            budget=header.integer("budget"),
            spill_cap=header.integer("spill_cap"),
            live_cap=header.integer("live_cap"),
            processes=header.integer("processes"),
            census=header.text("census"),
            cpu=header.integer("cpu"),
            rlimits=header.integers("rlimits"),
            prefix=header.text("prefix"),
            score=header.flag("score"),
        )


@dataclass(slots=True)
class Shell:
    """The state that lasts from block to block of one session."""

    number: int
    cwd: str
    env: dict[str, str]
    version: int = 0
    saved: tuple[bytes, dict[str, str], list[str]] | None = None
    worker: Worker | None = None
    worker_version: int = -1
    blocks: int = 0


@dataclass(slots=True)
class Block:
    """A block that has been asked for and has not ended."""

    id: int
    shell: Shell
    kind: str
    code: str
    output: Output
    tag: int
    deadline: float
    timeout: float
    env: dict[str, str]
    bin_dirs: list[str]
    python_dirs: list[str]
    digest: str
    keep: bool
    tools: tuple[int, ...]
    pid: int = 0
    read_fd: int = -1
    state_fd: int = -1
    state_start: int = 0
    why: str = ""
    notes: list[str] = field(default_factory=list[str])
    began: tuple[str, dict[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        # What the shell was when the block began: others that run beside it may change that.
        self.began = self.shell.cwd, self.shell.env

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
