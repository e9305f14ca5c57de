"""How a probe is declared, run in a process of its own, and judged."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence

SECONDS = 4.0
_DETAIL = 60
_MISHAPS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EFAULT, errno.EINVAL, errno.EBADF, errno.ENAMETOOLONG}


class Refused(Exception):
    """The attempt has failed, and that without an error number."""


class Absent(Exception):
    """There is nothing here that it could be tried on."""


class Facts:
    """What the host tells the probes: paths, numbers and names by key. What it could not plant is not there."""

    def __init__(self, told: Mapping[str, object]) -> None:
        self._told = told

    def text(self, key: str) -> str:
        """Return a text; raises `Absent` when the host has not told it."""
        value = self._told.get(key)
        if value is None:
            raise Absent(f"no {key} here")
        return str(value)

    def number(self, key: str) -> int:
        """Return a whole number; raises `Absent` when the host has not told it."""
        return int(self.text(key))

    def target(self, case: str) -> str:
        """Return the path that a probe of writing is to change, and that the host looks at afterwards."""
        return self.text(f"target:{case}")


Probe = Callable[[Facts], str]
PROBES: dict[str, Probe] = {}
TITLES: dict[str, str] = {}
GROUPS: dict[str, str] = {}


def probe(case: str, title: str) -> Callable[[Probe], Probe]:
    """Declare a probe: it returns what it got hold of, or raises `OSError` or `Refused`."""

    def declare(work: Probe) -> Probe:
        PROBES[case] = work
        TITLES[case] = title
        GROUPS[case] = work.__module__.rpartition(".")[2]
        return work

    return declare


def judge(work: Probe, facts: Facts) -> tuple[str, str]:
    """Return what became of one attempt: `allowed`, `refused`, `absent` or `error`, and a detail."""
    try:
        return "allowed", work(facts)
    except Refused as refusal:
        return "refused", str(refusal)
    except Absent as absence:
        return "absent", str(absence)
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, type(error).__name__)
        return ("error" if error.errno in _MISHAPS else "refused"), name
    except BaseException as error:  # noqa: BLE001  # a rim: whatever a probe raises is its result
        return "error", f"{type(error).__name__}: {error}"


def attempt(work: Probe, facts: Facts, seconds: float = SECONDS) -> tuple[str, str]:
    """Run one probe in a child, so that what it changes of itself, or its death, concerns nobody else."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read)
            outcome, detail = judge(work, facts)
            os.write(write, json.dumps([outcome, detail[:_DETAIL]]).encode())
        finally:
            os._exit(0)
    os.close(write)
    told = _hear(read, seconds)
    os.close(read)
    if not told:
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if told:
        outcome, detail = json.loads(told)
        return outcome, detail
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if number == signal.SIGSYS:
        return "refused", "killed for the system call"
    return "error", "it took too long" if number == signal.SIGKILL else f"it ended with status {status}"


def _hear(read: int, seconds: float) -> bytes:
    """Return the one message of a child; nothing when it ends without, or takes too long."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([read], [], [], left)[0]:
            return os.read(read, 4096)
    return b""


def same(path: str, digest: str) -> str:
    """Read a file and see whether it is the host's; raises `Refused` when it is another one of that name."""
    with open(path, "rb") as file:
        content = file.read(1 << 16)
    if hashlib.sha256(content).hexdigest() != digest:
        raise Refused("another file stands there")
    return f"read {len(content)} bytes"


def main(told: Mapping[str, object], cases: Sequence[str]) -> None:
    """Run the probes and print what became of each, as one line of JSON."""
    facts = Facts(told)
    results = {case: attempt(PROBES[case], facts) for case in cases}
    sys.stdout.write(facts.text("mark") + json.dumps(results, separators=(",", ":")) + "\n")
