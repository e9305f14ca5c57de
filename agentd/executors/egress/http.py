"""HTTP/1 as a proxy gets it, read strictly: what two servers could read in two ways is refused (RFC 9112)."""

from __future__ import annotations

import re
from http import HTTPStatus

from agentd.executors.egress.carrying import Exchange, Request, Tunnel
from agentd.executors.egress.names import read_name
from agentd.executors.egress.refusals import Refusal, Why
from agentd.executors.egress.streams import Stream

LONGEST_HEAD = 1 << 16
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rf"({_TOKEN}) ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])")
_NAME = re.compile(_TOKEN)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_URL = re.compile(r"http://([^/?#]*)([^#]*)", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?")
_LENGTH = re.compile(r"[0-9]{1,18}")
_NOT_PASSED_ON = {
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
Headers = list[tuple[str, str]]


class Http:
    """The conversation with one client."""

    def __init__(self) -> None:
        self._method = ""

    async def read(self, client: Stream) -> Request:
        """Return what the client asks for; raises `Refusal`, and `EOFError` when it leaves."""
        if not _NAME.match((await client.peek())[:1].decode("latin-1")):
            raise _bad("this is a proxy for HTTP and SOCKS5")
        left = LONGEST_HEAD
        line = await _line(client, left)
        found = _REQUEST_LINE.fullmatch(line)
        if found is None:
            raise _bad("the request line is malformed")
        self._method, target, minor = found.groups()
        headers: Headers = []
        while line:
            left -= len(line) + 2
            line = await _line(client, left)
            if line:
                headers.append(_header(line))
        length = _length(headers, minor)
        if self._method == "CONNECT":
            if length != 0:
                raise _bad("CONNECT has no body")
            return Tunnel(*_authority(target, None), _ESTABLISHED)
        return _exchange(self._method, target, minor, headers, length)

    def refusal(self, refusal: Refusal) -> bytes:
        """Say no in the client's language. The reason is in the status line as well: many a client shows only that."""
        status = refusal.why.status
        phrase = refusal.reason if refusal.why is Why.FORBIDDEN else HTTPStatus(status).phrase
        body = f"agentd: {refusal.reason}\n".encode("ascii", "backslashreplace")
        head = (
            f"HTTP/1.1 {status} {phrase}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        )
        return head.encode("ascii", "backslashreplace") + (b"" if self._method == "HEAD" else body)


def _bad(reason: str) -> Refusal:
    return Refusal(Why.MALFORMED, reason)


async def _line(client: Stream, most: int) -> str:
    raw = await client.read_line(max(most, 1))
    if not raw.endswith(b"\n"):
        raise Refusal(Why.TOO_LONG, f"the head of the request is longer than {LONGEST_HEAD} bytes")
    line = raw[:-2].decode("latin-1")
    if not raw.endswith(b"\r\n") or "\r" in line or "\0" in line:
        raise _bad("a line of the head does not end in CR and LF, or has one of them or NUL in it")
    return line


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not _NAME.fullmatch(name) or _CONTROL.search(value):
        raise _bad("a header is malformed")
    return name, value.strip(" \t")


def _values(headers: Headers, wanted: str) -> list[str]:
    return [value for name, value in headers if name.lower() == wanted]


def _length(headers: Headers, minor: str) -> int | None:
    """Return how long the body is, `None` when it comes in chunks."""
    lengths, codings = _values(headers, "content-length"), _values(headers, "transfer-encoding")
    if len(_values(headers, "host")) > 1 or len(lengths) + len(codings) > 1:
        raise _bad("Host, or what says how long the body is, is there twice")
    if codings:
        if codings[0].lower() != "chunked" or minor == "0":
            raise _bad("the only Transfer-Encoding known is chunked, with HTTP/1.1")
        return None
    if lengths and not _LENGTH.fullmatch(lengths[0]):
        raise _bad("Content-Length is not a number")
    return int(lengths[0]) if lengths else 0


def _authority(text: str, usual: int | None) -> tuple[str, int]:
    if "@" in text:
        raise _bad("the address has a user in it")
    found = _AUTHORITY.fullmatch(text)
    if found is None or (found[2] is None and usual is None):
        raise _bad("the request names no host and port")
    return found[1], int(found[2]) if found[2] else usual or 0


def _exchange(method: str, target: str, minor: str, headers: Headers, length: int | None) -> Exchange:
    url = _URL.fullmatch(target)
    if url is None:
        raise _bad("this is a proxy: it takes CONNECT, and URLs that begin with http:// and have no fragment")
    host, port = _authority(url[1], 80)
    rest = url[2] or ("*" if method == "OPTIONS" else "/")
    path = f"/{rest}" if rest.startswith("?") else rest
    named = {word.strip().lower() for value in _values(headers, "connection") for word in value.split(",")}
    lines = [f"{method} {path} HTTP/1.{minor}", f"Host: {_host(host, port)}"]
    for name, value in headers:
        lower = name.lower()
        if lower not in _NOT_PASSED_ON and lower not in named and not lower.startswith("proxy-"):
            lines.append(f"{name}: {value}")
    if length is None:
        lines.append("Transfer-Encoding: chunked")
    elif length or _values(headers, "content-length"):
        lines.append(f"Content-Length: {length}")
    lines.append("Connection: close")
    return Exchange(host, port, ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"), length)


def _host(host: str, port: int) -> str:
    """Return the header that agrees with the URL; a host that the rules are going to refuse gets none."""
    try:
        name = read_name(host)
    except ValueError:
        return ""
    return name if port == 80 else f"{name}:{port}"
