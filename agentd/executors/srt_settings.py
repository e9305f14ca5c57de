"""A policy in the words of srt: what is said to version 0.0.83, and what cannot be said to it."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from agentd.core.errors import OptionError
from agentd.executors.bwrap import GID, UID
from agentd.executors.egress.names import Rule, read_rule
from agentd.executors.mounts import HOME, RUNNER_INSIDE, RUNNER_SOURCE, Mount, mounts, system
from agentd.executors.policy import Policy, resolve
from agentd.executors.spelling import spelled

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# `/sys` is left readable by srt when `/` is denied.
NOTHING = ("/", "/sys")
# srt binds this one wherever it exists, whatever it is told.
SRT_TEMPORARY = "/tmp/claude"
_SCRATCH = 1 << 30
_UNSEEN = "/run/agentd/unseen"

_LOOPBACK = ("127.0.0.0/8", "::1/128")
_NEVER = ("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32", "::/128", "fe80::/10", "ff00::/8")
# Everything that is not public, besides what srt refuses by itself.
PRIVATE = (
    "10.0.0.0/8",
    "100.64.0.0/10",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "240.0.0.0/4",
    "64:ff9b:1::/48",
    "100::/64",
    "2001:db8::/32",
    "3fff::/20",
    "fc00::/7",
    "fec0::/10",
)


class Named(TypedDict):
    """A path that is never read as a pattern."""

    path: str
    literal: bool


class NetworkSettings(TypedDict):
    """Who may be reached."""

    allowedDomains: list[str]
    deniedDomains: list[str]
    deniedResolvedAddresses: list[str]
    strictAllowlist: bool
    allowAllUnixSockets: bool


class FilesystemSettings(TypedDict):
    """What is seen, and what may be changed."""

    denyRead: list[Named]
    allowRead: list[Named]
    allowWrite: list[Named]
    denyWrite: list[Named]


class Programs(TypedDict):
    """A program that srt starts."""

    command: str


class Helper(TypedDict):
    """srt's own program, which takes Unix sockets away."""

    applyPath: str


class Settings(TypedDict):
    """All that srt is told. A key that it does not know it would leave out without a word."""

    network: NetworkSettings
    filesystem: FilesystemSettings
    allowNestedUserNamespaces: bool
    enableWeakerNestedSandbox: bool
    mandatoryDenySearchDepth: int
    ripgrep: Programs
    seccomp: Helper
    bwrapPath: str
    socatPath: str


@dataclass(frozen=True, slots=True)
class Place:
    """What a sandbox is made of: the programs, and the folder that srt's sockets are in."""

    bwrap: str
    socat: str
    ripgrep: str
    seccomp: Path
    sockets: Path


def write_settings(policy: Policy, workspace: Path, place: Place, present: Sequence[str] = ()) -> Settings:
    """Return what srt is told; `present` is as for `mounts`.

    Raises `OptionError` for a path of the policy that cannot be shared.
    """
    own = [str(resolve(text, workspace)) for text in (str(workspace), *policy.writable)]
    found = mounts(policy, workspace, present)
    parts = [where for option, source, where in system() if option == "--symlink" or source == where]
    seen = [mount.place for mount in found if mount.how != "hide"]
    return {
        "network": _network(policy),
        "filesystem": {
            "denyRead": _named([*NOTHING, *(mount.place for mount in found if mount.how == "hide")]),
            "allowRead": _named([*parts, *seen, str(place.seccomp), str(place.sockets), place.bwrap, place.socat]),
            "allowWrite": _named(own),
            "denyWrite": _named(mount.place for mount in found if mount.how == "read" and _within(mount.place, own)),
        },
        "allowNestedUserNamespaces": False,
        "enableWeakerNestedSandbox": False,
        "mandatoryDenySearchDepth": 1,
        "ripgrep": {"command": place.ripgrep},
        "seccomp": {"applyPath": str(place.seccomp)},
        "bwrapPath": place.bwrap,
        "socatPath": place.socat,
    }


def options(policy: Policy, workspace: Path, present: Sequence[str] = ()) -> list[str]:
    """Return what bubblewrap is told besides what srt makes of the settings: it can show a thing under another name."""
    found = ["--uid", str(UID), "--gid", str(GID), "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    found += [
        "--hostname",
        "agentd",
        "--size",
        str(_SCRATCH),
        "--tmpfs",
        HOME,
        "--ro-bind",
        RUNNER_SOURCE,
        RUNNER_INSIDE,
    ]
    if os.geteuid() == 0:
        # srt's helper mounts a `/proc` of its own, which the kernel refuses where no whole one is to be found. As root
        # bubblewrap's is not whole. So there has to be another one, which nobody inside gets to see.
        found += ["--bind", "/proc", f"{_UNSEEN}/proc", "--tmpfs", _UNSEEN]
    for option, source, where in system():
        if option != "--symlink" and source != where:
            found += [option, source, where]
    shared = [str(resolve(text, workspace)) for text in (str(workspace), *policy.readable, *policy.writable)]
    if os.path.exists(SRT_TEMPORARY) and not _within(SRT_TEMPORARY, shared):
        if any(_within(one, [SRT_TEMPORARY]) for one in shared):
            raise OptionError(f"srt shares all of {SRT_TEMPORARY} with its sandboxes: work in another folder")
        found += ["--tmpfs", SRT_TEMPORARY]
    return [*found, *_opened(mounts(policy, workspace, present)), "--chdir", str(workspace)]


def _opened(found: Sequence[Mount]) -> list[str]:
    """Return what makes folders writable that lie in readable ones: srt would leave them as those are.

    What is protected or hidden in them is put there once more.
    """
    readable = [mount.place for mount in found if mount.how == "read"]
    inside = [mount.place for mount in found if mount.how == "write" and _within(mount.place, readable)]
    words: list[str] = []
    covers: list[str] = []
    for mount in found:
        if not _within(mount.place, inside):
            continue
        if mount.source:
            words += ["--bind" if mount.how == "write" else "--ro-bind", mount.source, mount.place]
        else:
            words += ["--tmpfs", mount.place]
            covers += ["--remount-ro", mount.place]
    return [*words, *covers]


def obstacles(policy: Policy) -> dict[str, str]:
    """Return the clauses of a policy that srt has no words for, each with the reason."""
    found: dict[str, str] = {}
    for clause in ("allowed_domains", "denied_domains"):
        rules: tuple[str, ...] = getattr(policy, clause)
        dumb = [text for text in rules if not _sayable(read_rule(text), clause == "denied_domains")]
        if dumb:
            found[clause] = f"srt does not take {', '.join(dumb)}: it wants a name with a dot in it, or localhost"
    never = [text for text in policy.private_networks if _overlaps(text, _NEVER)]
    if never:
        found["private_networks"] = f"srt never connects to {', '.join(never)}, whatever it is told"
    return found


def _network(policy: Policy) -> NetworkSettings:
    allowed = [text for text in policy.allowed_domains if _sayable(read_rule(text), False)]
    if not any(_overlaps(text, _LOOPBACK) for text in policy.private_networks):
        # srt would let this name lead to the machine itself, which is no public address.
        allowed = [text for text in allowed if read_rule(text).name.rpartition(".")[2] != "localhost"]
    return {
        "allowedDomains": allowed,
        "deniedDomains": [text for text in policy.denied_domains if _sayable(read_rule(text), True)],
        "deniedResolvedAddresses": [str(network) for network in refused(policy.private_networks)],
        "strictAllowlist": True,
        "allowAllUnixSockets": False,
    }


def _sayable(rule: Rule, denied: bool) -> bool:
    if not rule.name:
        return denied
    return "." in rule.name or (rule.name == "localhost" and not rule.below)


def refused(permitted: Iterable[str]) -> list[Network]:
    """Return the addresses that no name may lead to: the private ones but for those permitted."""
    left: list[Network] = [ipaddress.ip_network(text) for text in PRIVATE]
    for text in permitted:
        left = [part for network in left for part in _without(network, ipaddress.ip_network(text))]
    return left


def _without(network: Network, taken: Network) -> Iterable[Network]:
    if network.version != taken.version or not network.overlaps(taken):
        return [network]
    if network.prefixlen >= taken.prefixlen:
        return []
    if isinstance(network, ipaddress.IPv4Network) and isinstance(taken, ipaddress.IPv4Network):
        return network.address_exclude(taken)
    if isinstance(network, ipaddress.IPv6Network) and isinstance(taken, ipaddress.IPv6Network):
        return network.address_exclude(taken)
    return [network]


def _overlaps(text: str, networks: Iterable[str]) -> bool:
    network = ipaddress.ip_network(text)
    others = (ipaddress.ip_network(other) for other in networks)
    return any(network.version == other.version and network.overlaps(other) for other in others)


def _within(path: str, folders: Iterable[str]) -> bool:
    return any(Path(path).is_relative_to(folder) for folder in folders)


def _named(paths: Iterable[str]) -> list[Named]:
    return [{"path": spelled(path, "srt"), "literal": True} for path in dict.fromkeys(paths)]
