"""The proxy as clients of HTTP see it, and as sites do."""

from __future__ import annotations

import asyncio
import http.client
import socket

import pytest

from agentd.executors.egress.carrying import Exchange
from agentd.executors.egress.streams import Stream
from tests.unit.executors.egress_rig import PAGE, echo, gate, hang_up, page, reset, site, tunnel


def _status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


async def test_a_tunnel_carries_bytes_both_ways_and_each_end_apart() -> None:
    async with gate() as proxy, echo() as there:
        reader, writer = await tunnel(proxy, there.port)
        writer.write(b"\x00\xffping")
        assert await reader.readexactly(6) == b"\x00\xffping"
        writer.write_eof()
        assert await reader.read() == b"bye"
        await hang_up(writer)


async def test_what_is_sent_along_with_the_request_goes_through_the_tunnel() -> None:
    async with gate() as proxy, echo() as there:
        reader, writer = await proxy.connect()
        writer.write(f"CONNECT ok.test:{there.port} HTTP/1.1\r\n\r\nearly".encode())
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(5) == b"early"
        await hang_up(writer)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("evil.test:443", "evil.test:443 is not in allowed_domains"),
        ("OK.test.:22", "ok.test:22 is in denied_domains (ok.test:22)"),
        ("sub.ok.test:443", "sub.ok.test:443 is not in allowed_domains"),
        ("127.0.0.1:80", "'127.0.0.1' is an address: names only"),
        ("2130706433:80", "'2130706433' is an address: names only"),
        ("0x7f.1:80", "'0x7f.1' is an address: names only"),
        ("[::1]:80", "'[::1]' is an address"),
        ("[::ffff:127.0.0.1]:80", "'[::ffff:127.0.0.1]' is an address"),
        ("ok%2etest:443", "'ok%2etest' is not the name of a host"),
        ("ok.test:0", "ok.test: 0 is not a port"),
        ("ok.test:65536", "ok.test: 65536 is not a port"),
    ],
)
async def test_what_the_rules_refuse_is_told_and_never_looked_up(target: str, reason: str) -> None:
    async with gate(denied=["ok.test:22"]) as proxy:
        answer = await proxy.ask(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(f"HTTP/1.1 403 {reason}".encode())
        assert body.startswith(f"agentd: {reason}".encode())
        (told,) = proxy.refused
        assert reason in told[2]
        assert proxy.names.asked == []
        plain = await proxy.ask(f"GET http://{target}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert reason.encode() in plain


async def test_many_a_client_shows_the_reason() -> None:
    async with gate() as proxy:

        def connect() -> None:
            client = http.client.HTTPConnection("127.0.0.1", proxy.port)
            client.set_tunnel("evil.test", 443)
            client.connect()

        with pytest.raises(OSError, match=r"403 evil\.test:443 is not in allowed_domains"):
            await asyncio.to_thread(connect)


async def test_a_request_is_passed_on_with_the_host_of_its_url() -> None:
    sent = (
        "GET http://OK.test.:{port}/a?b=c HTTP/1.1\r\nHost: other.test\r\nAccept: */*\r\nX-One: 1\r\n"
        "Proxy-Authorization: Basic c2VjcmV0\r\nProxy-Connection: keep-alive\r\nConnection: keep-alive, x-one\r\n"
        "Keep-Alive: timeout=5\r\nTE: trailers\r\nUpgrade: h2c\r\n\r\n"
    )
    async with gate() as proxy, page() as there:
        answer = await proxy.ask(sent.format(port=there.port).encode())
        assert answer == PAGE
        head = f"GET /a?b=c HTTP/1.1\r\nHost: ok.test:{there.port}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        assert await there.whole() == head.encode()
        assert proxy.names.asked == ["ok.test"]


@pytest.mark.parametrize(
    ("method", "rest", "path"),
    [("GET", "", "/"), ("GET", "?q", "/?q"), ("OPTIONS", "", "*"), ("GET", "/\xe9", "/\xe9")],
)
async def test_the_path_is_what_follows_the_host(method: str, rest: str, path: str) -> None:
    async with gate() as proxy, page() as there:
        await proxy.ask(f"{method} http://ok.test:{there.port}{rest} HTTP/1.0\r\n\r\n".encode("latin-1"))
        assert there.seen[0].startswith(f"{method} {path} HTTP/1.0\r\n".encode("latin-1"))


async def test_of_a_body_exactly_its_length_is_passed_on() -> None:
    async with gate() as proxy, page(body=5) as there:
        sent = (
            f"POST http://ok.test:{there.port}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n"
        )
        assert await proxy.ask(sent.encode()) == PAGE
        assert (await there.whole()).endswith(b"Content-Length: 5\r\nConnection: close\r\n\r\nhello")


async def test_a_request_without_body_is_one_request() -> None:
    async with gate() as proxy, page() as there:
        sent = (
            f"GET http://ok.test:{there.port}/ HTTP/1.1\r\nHost: x\r\n\r\nGET /second HTTP/1.1\r\nHost: inner\r\n\r\n"
        )
        assert await proxy.ask(sent.encode()) == PAGE
        assert (await there.whole()).endswith(b"Connection: close\r\n\r\n")


async def test_chunks_are_written_anew() -> None:
    passed = b"3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n"
    async with gate() as proxy, page(body=len(passed)) as there:
        head = f"PUT http://ok.test:{there.port}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n"
        chunks = b"003\r\nabc\r\nA\r\n0123456789\r\n00\r\nTrailer: x\r\n\r\nGET /second HTTP/1.1\r\n\r\n"
        assert await proxy.ask(head.encode() + chunks) == PAGE
        assert (await there.whole()).endswith(b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + passed)


@pytest.mark.parametrize(
    "chunks",
    [
        b"3;x=y\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nabcXX0\r\n\r\n",
        b"ffffffffffffffffff\r\nabc",
        b"\r\n",
        b"1" * 9000,
    ],
)
async def test_chunks_that_could_be_read_in_two_ways_break_the_exchange_off(chunks: bytes) -> None:
    heard = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        try:
            assert not (await reader.read()).endswith(b"0\r\n\r\n")
        finally:
            heard.set()

    async with gate() as proxy, site(handle) as there:
        head = f"PUT http://ok.test:{there.port}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        with pytest.raises(ConnectionResetError):
            await proxy.ask(head.encode() + chunks)
        await heard.wait()


_LINE = b"GET http://ok.test/ HTTP/1.1\r\n"
MALFORMED = [
    b"GET / HTTP/1.1\r\nHost: ok.test\r\n\r\n",
    b"GET https://ok.test/ HTTP/1.1\r\n\r\n",
    b"GET ftp://ok.test/ HTTP/1.1\r\n\r\n",
    b"GET http://ok.test/#f HTTP/1.1\r\n\r\n",
    b"GET http://ok.test:x/ HTTP/1.1\r\n\r\n",
    b"GET http://[::1/ HTTP/1.1\r\n\r\n",
    b"GET http://a:b:80/ HTTP/1.1\r\n\r\n",
    b"GET http://u:secret@ok.test/ HTTP/1.1\r\n\r\n",
    b"GET http://secret@ok.test/ HTTP/1.1\r\n\r\n",
    b"CONNECT secret@ok.test:443 HTTP/1.1\r\n\r\n",
    b"CONNECT u:secret@ok.test:443 HTTP/1.1\r\n\r\n",
    b"CONNECT ok.test HTTP/1.1\r\n\r\n",
    b"CONNECT ok.test:44\xb2 HTTP/1.1\r\n\r\n",
    b"CONNECT ok.test:443 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
    b"CONNECT ok.test:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"CONNECT  ok.test:443 HTTP/1.1\r\n\r\n",
    b"CONNECT ok.test:443 HTTP/1.1 \r\n\r\n",
    b"CONNECT ok.test:443 HTTP/2.0\r\n\r\n",
    b"CONNECT ok.test:443\r\n\r\n",
    b"CONNECT evil.test\0.ok.test:443 HTTP/1.1\r\n\r\n",
    b"CONNECT evil.test\r.ok.test:443 HTTP/1.1\r\n\r\n",
    b"\r\n" + _LINE + b"\r\n",
    b" " + _LINE + b"\r\n",
    b"G\xc9T http://ok.test/ HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00",
    b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00",
    b"GET http://ok.test/ HTTP/1.1\n\n",
    _LINE + b"Host: x\nX: y\r\n\r\n",
    _LINE + b"Host: x\rX: y\r\n\r\n",
    _LINE + b"X: a\0b\r\n\r\n",
    _LINE + b"X: a\x0bb\r\n\r\n",
    _LINE + b"X: a\r\n folded\r\n\r\n",
    _LINE + b"X : a\r\n\r\n",
    _LINE + b": a\r\n\r\n",
    _LINE + b"no colon\r\n\r\n",
    _LINE + b"Host: a\r\nHost: a\r\n\r\n",
    _LINE + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    _LINE + b"Content-Length: 5\r\ncontent-length: 6\r\n\r\nhello",
    _LINE + b"Content-Length: 5, 5\r\n\r\nhello",
    _LINE + b"Content-Length: +5\r\n\r\nhello",
    _LINE + b"Content-Length: \xb2\r\n\r\nhello",
    _LINE + b"Content-Length: -1\r\n\r\n",
    _LINE + b"Content-Length:\r\n\r\n",
    _LINE + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    _LINE + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    _LINE + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    _LINE + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    _LINE + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    b"GET http://ok.test/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
]


@pytest.mark.parametrize("sent", MALFORMED)
async def test_what_could_be_read_in_two_ways_is_refused(sent: bytes) -> None:
    async with gate() as proxy:
        answer = await proxy.ask(sent)
        assert _status(answer) == 400
        assert b"secret" not in answer
        assert proxy.names.asked == []


async def test_a_head_is_no_longer_than_64_kb() -> None:
    async with gate() as proxy, page() as there:
        line = f"GET http://ok.test:{there.port}/ HTTP/1.1\r\n".encode()
        assert _status(await proxy.ask(line + b"X: " + b"a" * 65000 + b"\r\n\r\n")) == 200
        assert _status(await proxy.ask(line + b"X: " + b"a" * 66000 + b"\r\n\r\n")) == 431
        assert _status(await proxy.ask(line + b"X: y\r\n" * 11000 + b"\r\n")) == 431
        assert _status(await proxy.ask(b"GET http://ok.test/" + b"a" * 300_000)) == 431


async def test_what_a_host_tells_goes_to_nobody_else() -> None:
    async with gate() as proxy:
        line = b"GET http://evil.test/path?token=t0p HTTP/1.1\r\n"
        answer = await proxy.ask(line + b"Proxy-Authorization: Basic c2VjcmV0\r\nCookie: c00kie\r\n\r\n")
        assert _status(answer) == 403
        for secret in (b"t0p", b"c2VjcmV0", b"c00kie"):
            assert secret not in answer
        assert "t0p" not in str(proxy.refused)


async def test_the_answer_to_head_has_no_body() -> None:
    async with gate() as proxy:
        answer = await proxy.ask(b"HEAD http://evil.test/ HTTP/1.1\r\n\r\n")
        assert _status(answer) == 403 and answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(("name", "status"), [("evil.test", 403), ("ok.test", 413)])
async def test_an_answer_before_the_end_of_the_request_is_not_taken_back(name: str, status: int) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too much\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    loop = asyncio.get_running_loop()
    async with gate() as proxy, site(handle) as there:
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            client.setblocking(False)
            head = f"PUT http://{name}:{there.port}/ HTTP/1.1\r\nContent-Length: 900000\r\n\r\n"
            await loop.sock_sendall(client, head.encode())
            answer = b""
            while piece := await loop.sock_recv(client, 4096):
                answer += piece
            assert _status(answer) == status
            for _ in range(2):  # a connection that is closed would answer the first with a reset
                await loop.sock_sendall(client, b"x" * 1000)
                await asyncio.sleep(0.05)
            assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


async def test_a_site_that_takes_no_more_of_the_request_has_still_answered() -> None:
    loop = asyncio.get_running_loop()
    client, theirs = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    far.sendall(b"x" * 60_000)
    far.close()
    streams = Stream(theirs), Stream(server)
    carried = asyncio.create_task(Exchange("ok.test", 80, b"head", 1 << 20).carry(*streams))
    with client:
        client.setblocking(False)
        for _ in range(5):  # the answer is stuck, and the site resets what is sent to it
            await loop.sock_sendall(client, b"body")
            await asyncio.sleep(0.02)
        answer = b""
        while piece := await loop.sock_recv(client, 65536):
            answer += piece
        assert answer == b"x" * 60_000
    await carried
    for stream in streams:
        stream.close()


async def test_a_response_that_breaks_off_does_not_look_whole() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await reader.readexactly(4)
        reset(writer)

    async with gate() as proxy, site(handle) as there:
        reader, writer = await proxy.connect()
        writer.write(f"PUT http://ok.test:{there.port}/ HTTP/1.1\r\nContent-Length: 9\r\n\r\n".encode())
        await reader.readuntil(b"half")
        writer.write(b"more")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        await hang_up(writer)


async def test_a_request_that_breaks_off_does_not_look_whole() -> None:
    ended: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    async def handle(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"half")
        try:
            ended.set_result(await reader.read())
        except ConnectionResetError as error:
            ended.set_result(error)

    async with gate() as proxy, site(handle) as there:
        reader, writer = await proxy.connect()
        writer.write(f"PUT http://ok.test:{there.port}/ HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf".encode())
        writer.write_eof()
        assert isinstance(await ended, ConnectionResetError)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        await hang_up(writer)


async def test_a_client_that_says_nothing_is_let_go() -> None:
    async with gate() as proxy:
        reader, writer = await proxy.connect()
        writer.write_eof()
        assert await reader.read() == b""
        await hang_up(writer)
