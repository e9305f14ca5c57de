"""Names of hosts, and rules about them: read strictly, so that nobody reads them differently from us."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from encodings import idna

LONGEST_NAME = 253
LONGEST_LABEL = 63
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Rule:
    """Some names, as `read_rule` reads them: one, all below one, or (`below` without a name) every name."""

    name: str
    below: bool = False
    port: int | None = None

    def __str__(self) -> str:
        name = ("*." if self.name else "*") + self.name if self.below else self.name
        return name if self.port is None else f"{name}:{self.port}"

    def covers(self, name: str, port: int) -> bool:
        """Tell whether a name, as `read_name` returns it, is one of these."""
        if self.port not in (None, port):
            return False
        if self.below:
            return not self.name or name.endswith(f".{self.name}")
        return name == self.name


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules say about a request: the name to look up, or the reason why not. Both can be shown to anyone."""

    name: str
    port: int
    reason: str = ""

    @property
    def allowed(self) -> bool:
        """Whether the name may be looked up."""
        return not self.reason


class Rules:
    """Which names may be reached. What is denied is refused even if it is allowed; none allowed is none reached."""

    def __init__(self, allowed: Iterable[str], denied: Iterable[str] = ()) -> None:
        self.allowed = tuple(read_rule(text) for text in allowed)
        self.denied = tuple(read_rule(text) for text in denied)

    def verdict(self, host: str, port: int) -> Verdict:
        """Judge a request, which may be anything: it is never looked up here, and no error is raised."""
        try:
            name = read_name(host)
        except ValueError as error:
            return Verdict(shown(host), port, str(error))
        if not 0 < port < 1 << 16:
            return Verdict(name, port, f"{name}: {port} is not a port")
        for rule in self.denied:
            if rule.covers(name, port):
                return Verdict(name, port, f"{name}:{port} is in denied_domains ({rule})")
        if any(rule.covers(name, port) for rule in self.allowed):
            return Verdict(name, port)
        return Verdict(name, port, f"{name}:{port} is not in allowed_domains")


def read_rule(text: str) -> Rule:
    """Read `github.com`, `*.python.org` (all below it, and not itself) or `*`, each with or without `:port`.

    Capitals, one trailing dot and a national spelling stand for the canonical name, which `str` of the rule shows.
    Raises `ValueError`, which says what is wrong with the entry, and how to write it.
    """
    entry = shown(text)
    if "://" in text or "/" in text or "@" in text:
        raise ValueError(f"{entry}: give the name only, without https://, path or user")
    if text.startswith("[") or text.count(":") > 1:
        raise ValueError(f"{entry} is an address: names only; see private_networks")
    host, colon, digits = text.partition(":")
    if colon and (not _PORT.fullmatch(digits) or int(digits) >= 1 << 16):
        raise ValueError(f"{entry}: after the colon comes a port, from 1 to 65535")
    port = int(digits) if colon else None
    if host == "*":
        return Rule("", below=True, port=port)
    below = host.startswith("*.")
    host = host.removeprefix("*.")
    if "*" in host:
        raise ValueError(f"{entry}: '*' stands alone, or once at the beginning as in '*.python.org'")
    if host.startswith(".") and host != ".":
        raise ValueError(f"{entry}: for all names below, write '*{shown(host)[1:-1]}'")
    name = read_name(_in_ascii(host, entry))
    if below and "." not in name:
        raise ValueError(f"{entry} would allow a whole top-level domain: name two labels, as in '*.python.org'")
    return Rule(name, below, port)


def read_name(text: str) -> str:
    """Return the canonical form of a name that a program asked for: in small letters, without a trailing dot.

    Raises `ValueError` for whatever is no such name in ASCII: addresses in any spelling, and what another reader could
    take for a different name.
    """
    entry = shown(text)
    if not text.isascii():
        raise ValueError(f"{entry} is not ASCII: write it as xn--...")
    name = text.lower().removesuffix(".")
    if "[" in name or ":" in name:
        raise ValueError(f"{entry} is an address, or has a port too many: names only; see private_networks")
    if not name or len(name) > LONGEST_NAME:
        raise ValueError(f"{entry} is empty, or longer than {LONGEST_NAME} characters" if name else "the name is empty")
    labels = name.split(".")
    for label in labels:
        if len(label) > LONGEST_LABEL:
            raise ValueError(f"{entry}: a label is longer than {LONGEST_LABEL} characters")
        if not _LABEL.fullmatch(label):
            raise ValueError(f"{entry} is not the name of a host: letters, digits, '-', '_' and single dots")
    # No top-level domain is a number; whatever ends in one, inet_aton and browsers may read as an address.
    if _NUMBER.fullmatch(labels[-1]):
        raise ValueError(f"{entry} is an address: names only; see private_networks")
    return name


def shown(text: str) -> str:
    """Return hostile text as one short piece of ASCII in quotes; what stands before an '@' may be a password."""
    plain = text.rpartition("@")[2]
    cut = ascii(plain[:_SHOWN])
    return cut if len(plain) <= _SHOWN else f"{cut[:-1]}...{cut[-1]}"


def _in_ascii(host: str, entry: str) -> str:
    return ".".join(label if label.isascii() else _punycode(label, entry) for label in host.split("."))


def _punycode(label: str, entry: str) -> str:
    """Write a label in punycode, if all standards agree on how: nothing that stands for other letters is taken."""
    try:
        coded = idna.ToASCII(label).decode("ascii")
        same = idna.ToUnicode(coded) == label.lower()
    except UnicodeError:
        coded, same = "", False
    letters = all(unicodedata.category(sign)[0] in "LMN" for sign in label if not sign.isascii())
    if not (same and letters and coded.startswith("xn--") and unicodedata.normalize("NFKC", label) == label):
        raise ValueError(f"{entry}: it is not clear which name that is; write it as xn--...")
    return coded
