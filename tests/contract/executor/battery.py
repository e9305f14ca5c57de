"""One run of the battery for each back end and each kind of user; what it gave is kept for all tests of a process."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from functools import cache
from pathlib import Path
from typing import TypedDict

import pytest

from agentd.executors.battery.run import ALL
from scripts import enforced
from tests.contract.executor.backends import ROOT, reason_against
from tests.contract.executor.driver import CLAUSES
from tests.contract.executor.expected import RIGHTS

USER = 1000
NOBODY = 65534
BACKENDS = ("local", "bwrap", "srt")
# Who runs them: as root both are possible, as somebody else only that.
IDENTITIES = ("root", "user") if os.geteuid() == 0 else ("user",)

# `setpriv` still has root's rights when it starts the interpreter: that has to start itself once more.
_TRIAL = """
import subprocess, sys, pydantic, tests.contract.executor.driver
subprocess.run([sys.executable, "-c", ""], check=True)
"""


class Run(TypedDict):
    """What the driver has printed: outcome and detail by case, and who keeps which clause; or why there is none."""

    findings: dict[str, tuple[str, str]]
    enforcement: dict[str, str]
    trouble: str
    skip: str


def outcome_of(name: str, identity: str) -> Run:
    """Return what the battery finds in a back end, or skip with the reason why it does not run here."""
    against = reason_against(name)
    if against:
        pytest.skip(f"not installable: {name}: {against}")
    run = _run(name, identity)
    if run["skip"]:
        pytest.skip(run["skip"])
    assert not run["trouble"], run["trouble"]
    return run


def recorded() -> enforced.Record:
    """Run everything that can run here, and return what a page is made of."""
    runs = {name: {identity: _run(name, identity) for identity in IDENTITIES} for name in BACKENDS}
    troubles = [run["trouble"] or run["skip"] for named in runs.values() for run in named.values()]
    if any(troubles):
        raise RuntimeError("\n".join(troubles))
    outcomes = {
        case: {name: {who: outcome(name, case, run) for who, run in named.items()} for name, named in runs.items()}
        for case in ALL
    }
    clauses = {
        clause: {name: enforced.keeper(clause, kept(named[IDENTITIES[0]], clause)) for name, named in runs.items()}
        for clause in CLAUSES
    }
    return {"outcomes": outcomes, "clauses": clauses}


def outcome(name: str, case: str, run: Run) -> str:
    """Return what a case came to, as it is recorded."""
    return "your rights" if name == "local" and case in RIGHTS else run["findings"][case][0]


def kept(run: Run, clause: str) -> str:
    """Return who keeps a clause."""
    return run["enforcement"].get(clause, enforced.NOBODY)


@cache
def _run(name: str, identity: str) -> Run:
    folder = Path(tempfile.mkdtemp(prefix="agentd-escapes-"))
    try:
        folder.chmod(0o755)
        others = _others(folder)
        command, env = [sys.executable], {"PYTHONPATH": str(ROOT)}
        if os.geteuid() == 0 and identity == "user":
            command, env = _as_user(folder)
        if not command:
            return _none(skip="not installable: an ordinary user can run no interpreter of this version here")
        place = folder / "run"
        place.mkdir()
        if identity == "user" and os.geteuid() == 0:
            os.chown(place, USER, USER)
        env |= {"PATH": os.environ["PATH"], "HOME": str(place / "home"), "PYTHONDONTWRITEBYTECODE": "1"}
        env["AGENTD_BATTERY_SECRET"] = f"secret-{secrets.token_hex(12)}"
        argv = [*command, "-m", "tests.contract.executor.driver", name, str(place), json.dumps(others)]
        done = subprocess.run(argv, check=False, capture_output=True, text=True, env=env, timeout=50, cwd="/")
        if done.returncode:
            return _none(trouble=done.stderr[-3000:])
        told = json.loads(done.stdout)
        return {"findings": told["findings"], "enforcement": told["enforcement"], "trouble": "", "skip": ""}
    finally:
        shutil.rmtree(folder)


def _others(folder: Path) -> dict[str, tuple[str, str]]:
    """Make two files of another user, which only root can."""
    if os.geteuid() != 0:
        return {}
    made: dict[str, tuple[str, str]] = {}
    for key, mode in (("other-user", 0o644), ("other-user-private", 0o600)):
        file = folder / key
        file.write_text(secrets.token_hex(16))
        file.chmod(mode)
        os.chown(file, NOBODY, NOBODY)
        made[key] = (str(file), hashlib.sha256(file.read_bytes()).hexdigest())
    return made


def _as_user(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Return how to run the driver as an ordinary user, who may be kept from this interpreter, or from here."""
    libraries = sysconfig.get_path("purelib")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for home in (ROOT, folder / "copy"):
        if home != ROOT:
            for part in ("agentd", "tests/contract/executor"):
                shutil.copytree(ROOT / part, home / part)
        for python in (sys.executable, shutil.which(version, path="/usr/local/bin:/usr/bin:/bin")):
            env = {"PYTHONPATH": f"{home}:{libraries}"}
            command = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", python or "python3"]
            tried = [*command, "-c", _TRIAL]
            if subprocess.run(tried, check=False, capture_output=True, env=env, cwd="/").returncode == 0:
                return command, env
    return [], {}


def _none(trouble: str = "", skip: str = "") -> Run:
    return {"findings": {}, "enforcement": {}, "trouble": trouble, "skip": skip}
