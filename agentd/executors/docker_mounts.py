"""What a container sees of this machine: the policy's mounts, as the engine wants them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from agentd.executors.mounts import Mount, interpreter, mounts
from agentd.executors.policy import Policy, resolve
from agentd.executors.spelling import spelled

# An empty folder over one that is hidden.
_COVER = "ro,nosuid,nodev,noexec,size=4k,mode=0555"


def shown(policy: Policy, workspace: Path, present: Sequence[str] = ()) -> list[Mount]:
    """Return the policy's mounts. Code runs with the image's interpreter: ours is not among them.

    But where ours lies inside of what is shown, it is read-only there. Raises `OptionError` for what cannot be mounted.
    """
    seen = [workspace, *(resolve(text, workspace) for text in (*policy.readable, *policy.writable))]
    own = {*interpreter()} - {str(path) for path in seen}
    return [
        mount
        for mount in mounts(policy, workspace, present)
        if spelled(mount.place, "the engine")
        if mount.place not in own or any(Path(mount.place).is_relative_to(path) for path in seen)
    ]


def binds(found: Iterable[Mount]) -> Iterator[dict[str, object]]:
    """Yield what is bound. The engine makes no source that is missing, and passes nothing mounted inside back."""
    for mount in found:
        if mount.source:
            yield {
                "Type": "bind",
                "Source": mount.source,
                "Target": mount.place,
                "ReadOnly": mount.how != "write",
                "BindOptions": {"Propagation": "rprivate"},
            }


def covers(found: Iterable[Mount]) -> dict[str, str]:
    """Return the empty folders over those that are hidden."""
    return {mount.place: _COVER for mount in found if not mount.source}
