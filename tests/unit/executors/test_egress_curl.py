"""The proxy as curl uses it."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from tests.unit.executors.egress_rig import Gate, gate, page

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="not installable: there is no curl here")


async def _curl(*words: str) -> tuple[int, str]:
    argv = ["curl", "-q", "--silent", "--show-error", "--max-time", "20", *words]
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


def _ways(proxy: Gate) -> dict[str, list[str]]:
    return {
        "plain": ["--proxy", f"http://127.0.0.1:{proxy.port}"],
        "tunnel": ["--proxy", f"http://127.0.0.1:{proxy.port}", "--proxytunnel"],
        "socks": ["--socks5-hostname", f"127.0.0.1:{proxy.port}"],
    }


@pytest.mark.parametrize("way", ["plain", "tunnel", "socks"])
async def test_a_page_is_fetched(way: str) -> None:
    async with gate() as proxy, page() as there:
        assert await _curl(*_ways(proxy)[way], f"http://ok.test:{there.port}/x") == (0, "hello")
        assert there.seen[0].startswith(b"GET /x HTTP/1.1\r\nHost: ok.test:")


@pytest.mark.parametrize("way", ["plain", "tunnel", "socks"])
async def test_a_body_is_sent(way: str) -> None:
    async with gate() as proxy, page(body=100_000) as there:
        words = ["--data-binary", "x" * 100_000, f"http://ok.test:{there.port}/x"]
        assert await _curl(*_ways(proxy)[way], *words) == (0, "hello")
        assert there.seen[0].endswith(b"\r\n\r\n" + b"x" * 100_000)


async def test_a_body_of_unknown_length_is_sent() -> None:
    async with gate() as proxy, page(body=len(b"4\r\nbody\r\n0\r\n\r\n")) as there:
        words = ["-X", "POST", "-H", "Transfer-Encoding: chunked", "-d", "body", f"http://ok.test:{there.port}/"]
        assert await _curl(*_ways(proxy)["plain"], *words) == (0, "hello")
        assert there.seen[0].endswith(b"4\r\nbody\r\n0\r\n\r\n")


@pytest.mark.parametrize("host", ["evil.test", "127.0.0.1", "2130706433", "0x7f.1", "[::1]", "OK.test.evil.test"])
async def test_what_is_not_allowed_is_not_reached(host: str) -> None:
    async with gate() as proxy, page() as there:
        url = f"http://{host}:{there.port}/"
        code, output = await _curl("--fail-with-body", *_ways(proxy)["plain"], url)
        assert code == 22 and "agentd: " in output
        code, output = await _curl(*_ways(proxy)["tunnel"], url)
        assert code == 56 and "403" in output
        code, output = await _curl(*_ways(proxy)["socks"], url)
        assert code == 97
        assert there.seen == [] and proxy.names.asked == []


async def test_names_that_the_client_looks_up_itself_are_addresses() -> None:
    async with gate(allowed=["*"]) as proxy, page() as there:
        code, _ = await _curl("--socks5", f"127.0.0.1:{proxy.port}", f"http://localhost:{there.port}/")
        assert code == 97
        assert "is an address" in proxy.refused[0][2]


async def test_a_redirect_is_another_request() -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://evil.test/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    async with gate() as proxy, page(answer=moved) as there:
        words = ["--location", "--fail-with-body", f"http://ok.test:{there.port}/"]
        code, output = await _curl(*_ways(proxy)["plain"], *words)
        assert code == 22 and "evil.test:80 is not in allowed_domains" in output
