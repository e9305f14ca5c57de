"""Rules about names mean what they say, and whatever could be read in two ways is refused."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentd.executors.egress.names import Rules, read_name, read_rule

CANONICAL = {
    "github.com": "github.com",
    "GitHub.COM": "github.com",
    "github.com.": "github.com",
    "github.com:443": "github.com:443",
    "*.python.org": "*.python.org",
    "*.Python.org.:80": "*.python.org:80",
    "*": "*",
    "*:443": "*:443",
    "localhost": "localhost",
    "my_bucket.s3.example": "my_bucket.s3.example",
    "r3---sn-x.example.com": "r3---sn-x.example.com",
    "münchen.de": "xn--mnchen-3ya.de",
    "MÜNCHEN.de": "xn--mnchen-3ya.de",
    "*.例え.jp": "*.xn--r8jz45g.jp",
    "1e100.net": "1e100.net",
    "9.9.9.9.example": "9.9.9.9.example",
}
REFUSED = {
    "": "empty",
    ".": "empty",
    "https://github.com": "without https://",
    "github.com/path": "without https://",
    "user@github.com": "without https://",
    "github.com:0": "from 1 to 65535",
    "github.com:65536": "from 1 to 65535",
    "github.com:": "from 1 to 65535",
    "github.com:0443": "from 1 to 65535",
    "github.com:4४": "from 1 to 65535",
    "github.com..": "not the name of a host",
    "a..b": "not the name of a host",
    "-a.b": "not the name of a host",
    "a-.b": "not the name of a host",
    "a b": "not the name of a host",
    " github.com": "not the name of a host",
    "github.com\n": "not the name of a host",
    "evil\0.ok.com": "not the name of a host",
    "a%62.com": "not the name of a host",
    "a\\b.com": "not the name of a host",
    f"{'a' * 64}.com": "longer than 63",
    f"{'ab.' * 84}com": "longer than 253",
    ".python.org": r"write '\*\.python\.org'",
    "*.com": "whole top-level domain",
    "*.com.": "whole top-level domain",
    "*.localhost": "whole top-level domain",
    "*.": "empty",
    "**": "stands alone",
    "*.*": "stands alone",
    "*python.org": "stands alone",
    "a.*.org": "stands alone",
    "127.0.0.1": "is an address: names only",
    "127.1": "is an address",
    "2130706433": "is an address",
    "0x7f.1": "is an address",
    "0X7F000001": "is an address",
    "017700000001": "is an address",
    "1.2.3.4.": "is an address",
    "0x": "is an address",
    "*.2.3.4": "is an address",
    "evil.com.1": "is an address",
    "::1": "is an address",
    "[::1]": "is an address",
    "[::ffff:127.0.0.1]:80": "is an address",
    "fe80::1%eth0": "is an address",
    "straße.de": "not clear which name",  # strasse.de for some programs, another name for others
    "ßü.de": "not clear which name",
    "ως.gr": "not clear which name",
    "\uff47ithub.com": "not clear which name",
    "githu\u212a.com": "not clear which name",
    "a\u3002com": "not clear which name",
    "git\u200dhub.com": "not clear which name",
    "\u0661\u0662\u0667.\u2460": "not clear which name",
    f"{'é' * 60}.de": "not clear which name",
}


@pytest.mark.parametrize(("text", "canonical"), CANONICAL.items())
def test_rules_have_one_canonical_text(text: str, canonical: str) -> None:
    assert str(read_rule(text)) == canonical
    assert read_rule(canonical) == read_rule(text)


@pytest.mark.parametrize(("text", "reason"), REFUSED.items())
def test_what_is_no_rule_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        read_rule(text)
    assert str(caught.value).isascii()
    assert not any(sign in str(caught.value) for sign in "\0\r\n")


def test_a_password_in_an_entry_is_not_repeated() -> None:
    with pytest.raises(ValueError, match=r"'github\.com'") as caught:
        read_rule("https://me:hunter2@github.com")
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in Rules([]).verdict("me:hunter2@github.com", 443).reason


def test_homographs_are_names_of_their_own() -> None:
    cyrillic = read_rule("g\u0456thub.com")
    assert str(cyrillic) == "xn--gthub-n2e.com"
    assert not cyrillic.covers("github.com", 443)
    assert not read_rule("github.com").covers("xn--gthub-n2e.com", 443)


@pytest.mark.parametrize(
    ("rule", "covered", "other"),
    [
        (
            "github.com",
            ["github.com", "GITHUB.com", "github.com."],
            ["api.github.com", "xgithub.com", "github.com.evil"],
        ),
        ("*.python.org", ["docs.python.org", "a.b.python.org"], ["python.org", "xpython.org", "python.org.evil.com"]),
        ("*", ["a.b", "localhost", "x"], ["1.2.3.4", "[::1]", "::1", "127.1", ""]),
    ],
)
def test_a_rule_covers_what_it_says(rule: str, covered: list[str], other: list[str]) -> None:
    rules = Rules([rule])
    assert [host for host in covered if not rules.verdict(host, 443).allowed] == []
    assert [host for host in other if rules.verdict(host, 443).allowed] == []


def test_a_rule_with_a_port_is_for_that_port() -> None:
    rules = Rules(["github.com:443", "*:80"], ["down.test:80"])
    assert rules.verdict("github.com", 443).allowed
    assert rules.verdict("other.test", 80).allowed
    assert rules.verdict("down.test", 80).reason == "down.test:80 is in denied_domains (down.test:80)"
    assert rules.verdict("github.com", 22).reason == "github.com:22 is not in allowed_domains"
    assert rules.verdict("github.com", 0).reason == "github.com: 0 is not a port"
    assert not Rules(["*"]).verdict("github.com", 65536).allowed


def test_what_is_denied_is_refused_even_if_it_is_allowed() -> None:
    rules = Rules(["*", "secret.corp.test"], ["*.corp.test"])
    for host in ("a.corp.test", "A.CORP.TEST.", "secret.corp.test"):
        assert "in denied_domains (*.corp.test)" in rules.verdict(host, 443).reason
    assert rules.verdict("corp.test", 443).allowed


def test_nothing_allowed_is_nothing_reached() -> None:
    assert Rules([]).verdict("github.com", 443).reason == "github.com:443 is not in allowed_domains"


def test_a_request_in_other_letters_is_refused() -> None:
    rules = Rules(["*", "münchen.de"])
    assert "write it as xn--" in rules.verdict("münchen.de", 443).reason
    assert rules.verdict("xn--mnchen-3ya.de", 443).allowed


def test_a_hostile_request_is_shown_short_and_plain() -> None:
    for host in ("x" * 100_000, "a\r\nSet-Cookie: x", "\x1b[2J", "\u202e", "'\"" * 50):
        verdict = Rules(["*"]).verdict(host, 443)
        assert not verdict.allowed
        assert len(verdict.reason) < 1000
        assert verdict.reason.isascii() and verdict.reason.isprintable()
        assert verdict.name.isascii() and verdict.name.isprintable()


_LETTERS = "abzA0129_-.*:ß\u212aé\0 /@[]"
_NAMES = st.from_regex(r"[a-z]{1,3}(\.[a-z]{1,3}){0,3}", fullmatch=True)


@given(st.text(_LETTERS, max_size=12) | st.text(max_size=12))
def test_the_canonical_text_of_a_rule_is_that_rule(text: str) -> None:
    try:
        rule = read_rule(text)
    except ValueError as error:
        assert str(error).isascii()
        return
    assert str(rule).isascii() and str(rule) == str(rule).lower()
    assert read_rule(str(rule)) == rule


@given(_NAMES, _NAMES, st.sampled_from(["", "*."]))
@example("b.c", "a.b.c", "*.")
def test_a_rule_never_covers_more_than_it_says(base: str, name: str, form: str) -> None:
    try:
        rule = read_rule(form + base)
    except ValueError:
        assert form and "." not in base
        return
    mine, theirs = base.split("."), name.split(".")
    below = len(theirs) > len(mine) and theirs[-len(mine) :] == mine
    assert rule.covers(name, 443) == (below if form else mine == theirs)


_PART = st.integers(0, 2**32 - 1).flatmap(lambda n: st.sampled_from([str(n), hex(n), f"0{n:o}", hex(n).upper(), "0x"]))
_SMALL = st.integers(0, 300).flatmap(lambda n: st.sampled_from([str(n), hex(n), f"0{n:o}", f"00{n:o}"]))


@given(
    st.lists(_SMALL | _PART, min_size=1, max_size=4).map(".".join)
    | st.ip_addresses().map(str)
    | st.ip_addresses(v=6).map(lambda a: f"[{a.exploded}]")
    | st.text("0123456789abcdefxX.:%[]", max_size=16),
    st.sampled_from(["", "."]),
)
def test_no_spelling_of_an_address_is_a_name(text: str, dot: str) -> None:
    if _is_address(text) or _is_address(text + dot):
        for wanted in (text, text + dot):
            with pytest.raises(ValueError):
                read_name(wanted)
            with pytest.raises(ValueError):
                read_rule(wanted)
            assert not Rules(["*"]).verdict(wanted, 80).allowed


def _is_address(text: str) -> bool:
    try:
        socket.inet_aton(text)
        return True
    except (OSError, UnicodeError):
        pass
    try:
        ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
        return True
    except ValueError:
        return False
