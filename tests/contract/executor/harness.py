"""What the contract tests do with an executor."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from agentd.core.actions import Action, ActionResult, Bindings, Kind
from agentd.core.protocols import Door, Shell
from agentd.executors.runner.processes import descendants

SOURCE = '''
def echo(*, value):
    """Return the value."""
    return _call("echo", {"value": value})


def broken(*, reason="no reason"):
    """Fail."""
    return _call("broken", {"reason": reason})


def slow(*, seconds):
    """Take a while."""
    return _call("slow", {"seconds": seconds})
'''


class EchoDoor:
    """Answers `echo`, `broken` and `slow`; remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[dict[str, object]] = []
        self.together = 0
        self._now = 0

    def call(self, request: bytes) -> bytes:
        asked = json.loads(request)
        self.requests.append(asked)
        arguments = asked["arguments"]
        if asked["tool"] == "broken":
            return json.dumps({"ok": False, "error": arguments["reason"]}).encode()
        if asked["tool"] == "slow":
            self._now += 1
            self.together = max(self.together, self._now)
            time.sleep(arguments["seconds"])
            self._now -= 1
        return json.dumps({"ok": True, "value": arguments.get("value")}).encode()


@dataclass
class Session:
    """One shell, with the bindings above."""

    shell: Shell
    door: EchoDoor = field(default_factory=EchoDoor)
    bindings: Bindings = field(default_factory=lambda: Bindings(SOURCE, "v1"))
    live: list[str] = field(default_factory=list[str])
    count: int = 0

    async def run(self, kind: Kind, code: str, door: Door | None = None, **options: object) -> ActionResult:
        self.count += 1
        action = Action(f"block-{self.count}", kind, code, **options)  # pyright: ignore[reportArgumentType]
        self.live = live = []
        return await self.shell.run(action, self.bindings, door or self.door, live.append)

    async def bash(self, code: str, **options: object) -> ActionResult:
        return await self.run(Kind.BASH, code, **options)  # pyright: ignore[reportArgumentType]

    async def python(self, code: str, **options: object) -> ActionResult:
        return await self.run(Kind.PYTHON, code, **options)  # pyright: ignore[reportArgumentType]

    async def create(self, path: str, text: str) -> ActionResult:
        return await self.run(Kind.CREATE, text, path=path)

    async def run_env(self, code: str, env: dict[str, str]) -> str:
        """Run bash with variables of its own, and return what it printed."""
        return (await self.run(Kind.BASH, code, env=env)).output

    async def out(self, code: str) -> str:
        """Run bash that must succeed, and return what it printed."""
        result = await self.bash(code)
        assert result.exit_code == 0, result
        return result.output


def running(mark: str) -> list[int]:
    """Return the processes that have `mark` as a word of their command line."""
    found: list[int] = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if mark.encode() in words:
                found.append(int(name))
    return found


def host_pid(inner: int) -> int:
    """Return the number that a process of ours has on the host, from the one that it has inside of its sandbox."""
    for one in descendants(os.getpid()):
        status = Path(f"/proc/{one.pid}/status").read_text()
        spaces = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
        if int(spaces[-1]) == inner:
            return one.pid
    raise AssertionError(f"no process has the number {inner} inside of a sandbox")


async def until_gone(mark: str, seconds: float = 2.0) -> list[int]:
    """Wait until no process has `mark` on its command line; return those that are left after `seconds`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while (left := running(mark)) and loop.time() < deadline:  # noqa: ASYNC110  # /proc tells nobody
        await asyncio.sleep(0.02)
    return left


async def until_running(mark: str, count: int = 1, seconds: float = 10.0) -> None:
    """Wait until `count` processes have `mark` on their command line."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while len(running(mark)) < count:
        assert loop.time() < deadline, f"only {running(mark)} of {count} were started"
        await asyncio.sleep(0.02)
