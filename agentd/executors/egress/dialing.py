"""From a name to a connection: looked up once, and what was looked up is checked, and used."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Iterable

from agentd.executors.egress.addresses import Address, refusal
from agentd.executors.egress.refusals import Refusal, Why
from agentd.executors.egress.streams import is_affordable

Resolve = Callable[[str, int], Awaitable[Iterable[str]]]
LOOKUPS_AT_ONCE = 8
MOST_ADDRESSES = 16


class Lookups:
    """The system's resolver, in threads of its own: slow names hold up neither the host's other threads nor its end."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(LOOKUPS_AT_ONCE)

    async def __call__(self, name: str, port: int) -> list[str]:
        """Return the addresses of a name."""
        await self._free.acquire()  # until the answer is there, also when nobody waits for it any more
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[str]] = loop.create_future()

        def settle(found: list[str] | OSError | UnicodeError) -> None:
            self._free.release()
            if answer.done():
                return
            if isinstance(found, list):
                answer.set_result(found)
            else:
                answer.set_exception(found)

        def work() -> None:
            found = _look_up(name, port)
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(settle, found)

        try:
            threading.Thread(target=work, name="egress", daemon=True).start()
        except RuntimeError as error:
            settle(OSError(errno.EAGAIN, str(error)))
        return await answer


def _look_up(name: str, port: int) -> list[str] | OSError | UnicodeError:
    try:
        return [str(entry[4][0]) for entry in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError) as error:
        return error


class Dialer:
    """Connects to names, at addresses that are public or in one of some networks."""

    def __init__(self, networks: Iterable[str], resolve: Resolve, timeout: float) -> None:
        self._networks = tuple(ipaddress.ip_network(text) for text in networks)
        self._resolve = resolve
        self._timeout = timeout

    async def connect(self, name: str, port: int) -> socket.socket:
        """Return a connection to a name; raises `Refusal`, of the kind `FORBIDDEN` for where it leads to."""
        try:
            async with asyncio.timeout(self._timeout):
                addresses = self._checked(name, await self._look_up(name, port))
                return await self._first(name, port, addresses)
        except TimeoutError:
            raise Refusal(Why.SLOW_SERVER, f"{name}:{port} could not be reached in time") from None

    async def _look_up(self, name: str, port: int) -> list[Address]:
        try:
            found = list(await self._resolve(name, port))[:MOST_ADDRESSES]
        except TimeoutError:
            raise
        except (OSError, UnicodeError) as error:
            raise Refusal(Why.UNKNOWN_NAME, f"{name} could not be looked up by the host") from error
        return list(dict.fromkeys(ipaddress.ip_address(text) for text in found))

    def _checked(self, name: str, addresses: list[Address]) -> list[Address]:
        reasons = {address: refusal(address, self._networks) for address in addresses}
        good = [address for address, reason in reasons.items() if not reason]
        if reasons and not good:
            address, reason = next(iter(reasons.items()))
            raise Refusal(Why.FORBIDDEN, f"{name} leads to {address}, which {reason}")
        if not good:
            raise Refusal(Why.UNKNOWN_NAME, f"{name} has no address")
        return good

    async def _first(self, name: str, port: int, addresses: list[Address]) -> socket.socket:
        """Connect to the first address that answers; each gets its part of the time."""
        trouble: OSError | None = None
        for address in addresses:
            try:
                async with asyncio.timeout(self._timeout / len(addresses)):
                    return await _connect(address, port)
            except OSError as error:  # a time-out is one
                trouble = error
        if isinstance(trouble, TimeoutError):
            raise trouble
        raise Refusal(Why.UNREACHABLE, f"{name}:{port} could not be reached from the host") from trouble


async def _connect(address: Address, port: int) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if not is_affordable(sock):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        await asyncio.get_running_loop().sock_connect(sock, (str(address), port))
    except BaseException:
        sock.close()
        raise
    return sock
