"""Probes: reaching what is not allowed. What counts is which words the host's listeners have heard."""

from __future__ import annotations

import os
import socket
import struct
import urllib.parse
from collections.abc import Callable

from agentd.executors.battery.inside.harness import Absent, Facts, Refused, probe

_SECONDS = 1.0
_PROXIES = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")


def _say(sock: socket.socket, case: str) -> str:
    sock.settimeout(_SECONDS)
    sock.sendall(f"GET /said:{case} HTTP/1.0\r\n\r\n".encode())
    if not sock.recv(64):
        raise Refused("closed without an answer")
    return "answered"


def _tcp(case: str, host: str, port: int) -> str:
    with socket.create_connection((host, port), _SECONDS) as sock:
        return _say(sock, case)


def _udp(case: str, host: str, port: int) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(_SECONDS / 4)  # where it is refused there is nobody to say so
        sock.sendto(f"said:{case} ".encode(), (host, port))
        sock.recv(64)
    return "answered"


def _unix(case: str, address: str) -> str:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(_SECONDS)
        sock.connect(address)
        return _say(sock, case)


@probe("net-loopback", "reach a service on the machine's 127.0.0.1")
def net_loopback(facts: Facts) -> str:
    return _tcp("net-loopback", "127.0.0.1", facts.number("tcp"))


@probe("net-loopback-6", "reach a service on the machine's ::1")
def net_loopback_6(facts: Facts) -> str:
    return _tcp("net-loopback-6", "::1", facts.number("tcp6"))


@probe("net-localhost", "reach a service on the machine's localhost, by name")
def net_localhost(facts: Facts) -> str:
    return _tcp("net-localhost", "localhost", facts.number("tcp"))


@probe("net-address", "reach a service on the machine's other address")
def net_address(facts: Facts) -> str:
    return _tcp("net-address", facts.text("address"), facts.number("tcp"))


@probe("net-udp", "send a datagram to the machine's 127.0.0.1")
def net_udp(facts: Facts) -> str:
    return _udp("net-udp", "127.0.0.1", facts.number("udp"))


@probe("net-dns", "send a datagram (a DNS question) to another address")
def net_dns(facts: Facts) -> str:
    return _udp("net-dns", facts.text("address"), facts.number("udp"))


@probe("net-interfaces", "use another network interface than its own loopback")
def net_interfaces(_facts: Facts) -> str:
    names = [name for _, name in socket.if_nameindex() if name != "lo"]
    for name in names:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, 25, name.encode())  # SO_BINDTODEVICE
            return name
    raise Refused("there is none")


def _family(family: int, kind: int, protocol: int = 0) -> str:
    with socket.socket(family, kind, protocol):
        return "made"


@probe("net-raw", "open a raw socket")
def net_raw(_facts: Facts) -> str:
    return _family(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)


@probe("net-packet", "open a packet socket, which hears all traffic")
def net_packet(_facts: Facts) -> str:
    return _family(socket.AF_PACKET, socket.SOCK_RAW)


@probe("net-ping", "send an echo request (ICMP) to another address")
def net_ping(facts: Facts) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as sock:
        sock.settimeout(_SECONDS)
        sock.sendto(b"\x08\x00\xf7\xff\x00\x00\x00\x00", (facts.text("address"), 0))
        sock.recv(64)
    return "answered"


@probe("net-vsock", "open a socket to the machine's hypervisor (vsock)")
def net_vsock(_facts: Facts) -> str:
    return _family(socket.AF_VSOCK, socket.SOCK_STREAM)


@probe("net-alg", "open a socket to the kernel's ciphers (AF_ALG)")
def net_alg(_facts: Facts) -> str:
    return _family(socket.AF_ALG, socket.SOCK_SEQPACKET)


@probe("net-unix", "reach another session's socket by its path")
def net_unix(facts: Facts) -> str:
    return _unix("net-unix", facts.text("unix"))


@probe("net-unix-workspace", "reach a socket that a program on the machine has put into the workspace")
def net_unix_workspace(facts: Facts) -> str:
    return _unix("net-unix-workspace", facts.text("unix-workspace"))


@probe("net-abstract", "reach another session's abstract socket")
def net_abstract(facts: Facts) -> str:
    return _unix("net-abstract", "\0" + facts.text("abstract"))


@probe("net-docker", "reach a daemon's socket in `/run` (as Docker's)")
def net_docker(facts: Facts) -> str:
    return _unix("net-docker", facts.text("unix-run"))


@probe("net-listen", "listen where the machine's network can reach it")
def net_listen(facts: Facts) -> str:
    with socket.socket() as sock:
        sock.bind((facts.text("address"), 0))
        return "bound"


def _proxy(preferred: str) -> tuple[str, int]:
    """Return where the proxy is, which may speak more than it is named for."""
    known = [urllib.parse.urlsplit(os.environ.get(name, "")) for name in _PROXIES]
    for parts in sorted(known, key=lambda one: not one.scheme.startswith(preferred)):
        if parts.hostname:
            return parts.hostname, parts.port or 80
    raise Absent("there is no proxy")


def _connect(case: str, target: str) -> str:
    """Ask the HTTP proxy for a tunnel."""
    with socket.create_connection(_proxy("http"), _SECONDS) as sock:
        sock.settimeout(_SECONDS)
        sock.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode("utf-8", "surrogateescape"))
        status = sock.recv(4096).split(b"\r\n")[0].decode("ascii", "replace")
        if " 200" not in status:
            raise Refused(status)
        return _say(sock, case)


def _through(case: str, title: str, host: Callable[[Facts], str], port: str = "tcp") -> None:
    @probe(case, title)
    def _(facts: Facts) -> str:
        return _connect(case, f"{host(facts)}:{facts.number(port)}")


_through("proxy-loopback", "reach 127.0.0.1 through the proxy", lambda _: "127.0.0.1")
_through("proxy-localhost", "reach localhost through the proxy, by name", lambda _: "localhost")
_through("proxy-loopback-6", "reach ::1 through the proxy", lambda _: "[::1]", "tcp6")
_through("proxy-mapped", "reach [::ffff:127.0.0.1] through the proxy", lambda _: "[::ffff:127.0.0.1]")
_through("proxy-decimal", "reach 2130706433 (127.0.0.1) through the proxy", lambda _: "2130706433")
_through("proxy-hex", "reach 0x7f.1 (127.0.0.1) through the proxy", lambda _: "0x7f.1")
_through("proxy-octal", "reach 0177.0.0.1 (127.0.0.1) through the proxy", lambda _: "0177.0.0.1")
_through("proxy-zero", "reach 0.0.0.0 through the proxy", lambda _: "0.0.0.0")  # noqa: S104  # nothing is bound to it
_through("proxy-address", "reach the machine's other address through the proxy", lambda facts: facts.text("address"))
_through("proxy-name", "reach a name through the proxy that is not allowed", lambda facts: facts.text("machine"))
_through("proxy-nul", "hide a name behind an allowed one (NUL)", lambda _: "localhost\0.allowed.example")
_through("proxy-dot", "reach localhost. through the proxy", lambda _: "localhost.")
_through("proxy-userinfo", "hide a name behind an allowed one (@)", lambda _: "allowed.example@127.0.0.1")


@probe("proxy-metadata", "reach a cloud's metadata service through the proxy")
def proxy_metadata(_facts: Facts) -> str:
    return _connect("proxy-metadata", "169.254.169.254:80")


@probe("proxy-get", "reach 127.0.0.1 through the proxy without a tunnel")
def proxy_get(facts: Facts) -> str:
    target = f"127.0.0.1:{facts.number('tcp')}"
    with socket.create_connection(_proxy("http"), _SECONDS) as sock:
        sock.settimeout(_SECONDS)
        request = f"GET http://{target}/said:proxy-get HTTP/1.1\r\nHost: allowed.example\r\nConnection: close\r\n\r\n"
        sock.sendall(request.encode())
        status = sock.recv(4096).split(b"\r\n")[0].decode("ascii", "replace")
    if " 200" not in status:
        raise Refused(status)
    return status


@probe("proxy-socks", "reach 127.0.0.1 through the proxy, by SOCKS")
def proxy_socks(facts: Facts) -> str:
    return _socks("proxy-socks", b"\x01" + socket.inet_aton("127.0.0.1"), facts.number("tcp"))


@probe("proxy-socks-name", "reach localhost through the proxy, by SOCKS and by name")
def proxy_socks_name(facts: Facts) -> str:
    return _socks("proxy-socks-name", b"\x03\x09localhost", facts.number("tcp"))


@probe("proxy-socks-bind", "have the proxy listen for it (SOCKS BIND)")
def proxy_socks_bind(facts: Facts) -> str:
    return _socks("proxy-socks-bind", b"\x01" + socket.inet_aton("127.0.0.1"), facts.number("tcp"), 2)


def _socks(case: str, address: bytes, port: int, command: int = 1) -> str:
    with socket.create_connection(_proxy("socks"), _SECONDS) as sock:
        sock.settimeout(_SECONDS)
        sock.sendall(b"\x05\x01\x00")
        if sock.recv(2) != b"\x05\x00":
            raise Refused("no SOCKS without a password")
        sock.sendall(bytes([5, command, 0]) + address + struct.pack("!H", port))
        answer = sock.recv(64)
        if answer[1:2] != b"\0":
            raise Refused(f"SOCKS answer {answer[1:2].hex()}")
        return _say(sock, case)
