"""A policy in srt's words, and what is made of srt's command."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.errors import OptionError
from agentd.executors import srt_settings
from agentd.executors.egress.addresses import refusal
from agentd.executors.policy import Policy, read_policy
from agentd.executors.srt_keeper import narrowed
from agentd.executors.srt_settings import Place, Settings, obstacles, options, write_settings


def settings_of(workspace: Path, **clauses: object) -> Settings:
    workspace.mkdir(exist_ok=True)
    place = Place("/opt/bwrap", "/opt/socat", "/opt/rg", Path("/opt/apply-seccomp"), Path("/opt/sockets"))
    return write_settings(read_policy(clauses), workspace, place)


def paths(settings: Settings, key: str) -> list[str]:
    """Return the paths of a list; all of them are to be taken as they are."""
    entries = settings["filesystem"][key]
    assert all(entry["literal"] for entry in entries)
    return [entry["path"] for entry in entries]


def test_everything_is_hidden_but_what_is_needed(tmp_path: Path) -> None:
    work = tmp_path / "work"
    settings = settings_of(work)
    assert paths(settings, "denyRead") == ["/", "/sys"]
    seen = paths(settings, "allowRead")
    assert {"/usr", str(work), "/opt/apply-seccomp", "/opt/sockets", "/opt/bwrap", "/opt/socat"} <= set(seen)
    assert not {"/", "/etc", "/home", "/root", "/tmp", "/var", "/proc", str(Path.home())} & set(seen)
    assert paths(settings, "allowWrite") == [str(work)]
    assert settings["allowNestedUserNamespaces"] is settings["enableWeakerNestedSandbox"] is False
    assert settings["network"]["allowAllUnixSockets"] is False


def test_paths_of_a_policy_come_to_their_lists(tmp_path: Path) -> None:
    work, drop, shared = tmp_path / "work", tmp_path / "drop", tmp_path / "shared"
    for folder in (work / ".git", work / "hidden", drop, shared):
        folder.mkdir(parents=True)
    for file in (work / ".env", work / ".git" / "config", drop / ".netrc"):
        file.touch()
    settings = settings_of(
        work,
        readable=[str(shared)],
        writable=[str(drop)],
        hidden=["hidden", "missing"],
        protected=[".env", ".mcp.json", ".git/config", "**/.git/hooks"],
    )
    assert paths(settings, "denyRead") == ["/", "/sys", str(work / "hidden")]
    assert str(shared) in paths(settings, "allowRead")
    assert paths(settings, "allowWrite") == [str(work), str(drop)]
    denied = paths(settings, "denyWrite")
    # What is not there would become a file of srt's in the workspace.
    assert {str(work / ".env"), str(work / ".git/config"), str(work / ".git/hooks")} <= set(denied)
    assert all(Path(path).exists() for path in denied)
    assert str(shared) not in denied


def test_names_with_signs_of_patterns_are_names(tmp_path: Path) -> None:
    work = tmp_path / "[a] *b?"
    assert paths(settings_of(work), "allowWrite") == [str(work)]


def test_domains_are_said_as_they_are(tmp_path: Path) -> None:
    domains = ["github.com", "*.python.org", "a.example:443"]
    network = settings_of(tmp_path, allowed_domains=domains, denied_domains=["b.example"])["network"]
    assert network["allowedDomains"] == domains
    assert network["deniedDomains"] == ["b.example"]
    assert network["strictAllowlist"] is True
    assert settings_of(tmp_path)["network"]["allowedDomains"] == []


def test_localhost_is_private(tmp_path: Path) -> None:
    allowed = ["localhost", "localhost:80", "www.localhost", "a.example"]
    assert settings_of(tmp_path, allowed_domains=allowed)["network"]["allowedDomains"] == ["a.example"]
    network = settings_of(tmp_path, allowed_domains=allowed, private_networks=["127.0.0.0/8"])["network"]
    assert network["allowedDomains"] == allowed


@pytest.mark.parametrize(
    ("clauses", "lacking"),
    [
        ({"allowed_domains": ["*"]}, {"allowed_domains"}),
        ({"allowed_domains": ["*:443"]}, {"allowed_domains"}),
        ({"allowed_domains": ["intranet", "a.example"]}, {"allowed_domains"}),
        ({"denied_domains": ["*"]}, set()),
        ({"denied_domains": ["intranet"]}, {"denied_domains"}),
        ({"allowed_domains": ["localhost:80", "a.example:1", "*.a.example"]}, set()),
        ({"private_networks": ["10.0.0.0/8", "127.0.0.0/8", "::1"]}, set()),
        ({"private_networks": ["169.254.0.0/16"]}, {"private_networks"}),
        ({"private_networks": ["0.0.0.0/0"]}, {"private_networks"}),
    ],
)
def test_what_srt_has_no_words_for(clauses: dict[str, object], lacking: set[str]) -> None:
    assert set(obstacles(read_policy(clauses))) == lacking


@given(
    address=st.ip_addresses(),
    permitted=st.lists(st.sampled_from(["10.0.0.0/8", "10.1.2.3/32", "192.168.0.0/16", "fd00::/8", "172.16.5.0/24"])),
)
def test_names_lead_to_the_same_private_addresses_as_through_our_own_proxy(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, permitted: list[str]
) -> None:
    refused = srt_settings.refused(permitted)
    by_srt = any(address in network for network in refused)
    if not any(address in ipaddress.ip_network(text) for text in srt_settings.PRIVATE):
        assert not by_srt
    else:
        networks = [ipaddress.ip_network(text) for text in permitted]
        assert by_srt == bool(refusal(address, networks))


def test_each_private_range_is_refused_but_for_what_is_permitted() -> None:
    every = srt_settings.refused([])
    assert [str(network) for network in every] == list(srt_settings.PRIVATE)
    left = srt_settings.refused(["10.0.0.0/9", "192.168.1.0/24", "fc00::/7"])
    assert ipaddress.ip_network("10.128.0.0/9") in left
    assert not any(ipaddress.ip_address("192.168.1.9") in network for network in left)
    assert any(ipaddress.ip_address("192.168.2.9") in network for network in left)
    assert not any(network.overlaps(ipaddress.ip_network("fc00::/7")) for network in left if network.version == 6)


def test_bubblewrap_is_told_the_rest(tmp_path: Path) -> None:
    told = options(Policy(), tmp_path)
    assert told[-2:] == ["--chdir", str(tmp_path)]
    assert {"--unshare-ipc", "--unshare-uts"} <= set(told)
    at = told.index("/etc/passwd")
    assert told[at - 2] == "--ro-bind"
    assert told[at - 1] != "/etc/passwd"


def test_the_folder_that_srt_shares_with_all_is_covered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = tmp_path / "claude"
    (shared / "work").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    monkeypatch.setattr(srt_settings, "SRT_TEMPORARY", str(shared))
    told = options(Policy(), tmp_path / "work")
    assert told[told.index(str(shared)) - 1] == "--tmpfs"
    with pytest.raises(OptionError, match="work in another folder"):
        options(Policy(), shared / "work")


def test_what_hides_a_folder_cannot_be_written_to() -> None:
    given = ["--ro-bind", "/", "/", "--tmpfs", "/etc", "--ro-bind", "/etc/ssl", "/etc/ssl", "--tmpfs", "/tmp"]
    assert narrowed(given, ["--chdir", "/x"]) == [
        *given[:8], "--size", str(1 << 30), "--tmpfs", "/tmp", "--chdir", "/x", "--remount-ro", "/etc",
    ]  # fmt: skip
