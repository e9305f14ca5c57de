"""Whether this sandbox has the mounts that were meant, and no others."""

from __future__ import annotations

import os

from .wire import Header

_BWRAPS = (b"/proc/", b"/dev/")


def trouble(meant: Header) -> str:
    """Say what is mounted otherwise than it was meant; empty when nothing is."""
    most = meant.integers("points")
    counts: dict[str, int] = {}
    with open("/proc/self/mountinfo", "rb") as lines:
        for line in lines:
            raw = unescaped(line.split()[4])
            point = os.fsdecode(raw)
            counts[point] = counts.get(point, 0) + 1
            if counts[point] > most.get(point, 0) and not raw.startswith(_BWRAPS):
                return f"{point} is mounted, which was not meant"
    for place in meant.words("needed"):
        if place not in counts:
            return f"{place} is not mounted"
    for place, (device, number) in meant.pairs("identities").items():
        status = os.lstat(place)
        if (status.st_dev, status.st_ino) != (device, number):
            return f"{place} is not what was meant"
    return ""


def unescaped(text: bytes) -> bytes:
    """Return a path of `mountinfo` as it is."""
    first, *rest = text.split(b"\\")
    return first + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in rest)
