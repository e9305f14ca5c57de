"""What stands behind the ports that a runner listens on inside its sandbox: the way out, and the tools' bridges."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine

from agentd.executors.egress.proxy import Egress
from agentd.executors.egress.relay import Relay

PROXY = 3128
_FIRST_BRIDGE = 7780
_BRIDGES = 8  # each may have some hundred connections


class Ports:
    """Serves connections that somebody inside has made. Everything here happens on the event loop of the runner."""

    def __init__(self, egress: Egress | None) -> None:
        self._egress = egress
        self._bridges: dict[str, tuple[int, Relay]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def numbers(self) -> list[int]:
        """The ports to listen on from the start."""
        return [*([PROXY] if self._egress is not None else []), *(port for port, _ in self._bridges.values())]

    def bridge(self, path: str) -> tuple[int, bool]:
        """Return the port behind which the bridge at a Unix socket is, and whether it is a new one."""
        known = self._bridges.get(path)
        if known is not None:
            return known[0], False
        while len(self._bridges) >= _BRIDGES:  # the oldest are of calls that have long ended
            _, relay = self._bridges.pop(next(iter(self._bridges)))
            self._keep(relay.aclose())
        taken = {port for port, _ in self._bridges.values()}
        port = next(port for port in range(_FIRST_BRIDGE, _FIRST_BRIDGE + _BRIDGES) if port not in taken)
        self._bridges[path] = port, Relay(path)
        return port, True

    def arrived(self, port: int, sock: socket.socket) -> None:
        """Serve a connection that somebody inside has made to a port."""
        relay = next((relay for number, relay in self._bridges.values() if number == port), None)
        if port == PROXY and self._egress is not None:
            self._keep(self._egress.serve(sock))
        elif relay is not None:
            self._keep(relay.serve(sock))
        else:
            sock.close()

    def _keep(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """End all connections."""
        if self._egress is not None:
            await self._egress.aclose()
        for _, relay in self._bridges.values():
            await relay.aclose()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def proxy_environment() -> dict[str, str]:
    """Return the variables by which programs inside find the way out."""
    address = f"http://127.0.0.1:{PROXY}"
    names = ("http_proxy", "https_proxy", "all_proxy")
    env = dict.fromkeys(names, address) | {name.upper(): address for name in names}
    here = "localhost,127.0.0.1,::1"
    return env | {"no_proxy": here, "NO_PROXY": here, "NODE_USE_ENV_PROXY": "1"}
