"""MCP servers behind a URL on the loopback."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from pathlib import Path

SERVER = str(Path(__file__).with_name("mcp_http.py"))


class Remote:
    """A server on a port of its own, which keeps it when it is started again."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        self.process: asyncio.subprocess.Process | None = None

    async def start(self, *command: str, **env: str) -> None:
        command = command or (sys.executable, SERVER, str(self.port))
        quiet = asyncio.subprocess.DEVNULL
        self.process = await asyncio.create_subprocess_exec(*command, env=os.environ | env, stdout=quiet, stderr=quiet)
        async with asyncio.timeout(40):
            while not await self._answers():  # noqa: ASYNC110  another process has no event to wait for
                await asyncio.sleep(0.05)

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except ConnectionError:
            return False
        writer.close()
        return True

    def await_answer(self) -> None:
        """Block until something listens on the port."""
        for _ in range(2000):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise TimeoutError(f"nothing listens on port {self.port}")

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
            await self.process.wait()
