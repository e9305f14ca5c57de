"""Whether microsandbox can be used here: the package, its version, and what `msb doctor` says about the machine."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

from agentd.executors.launch import Probe

PACKAGE = "microsandbox"
OLDEST, TOO_NEW = (0, 7, 11), (0, 8)
INSTALL = "pip install 'agentd[microsandbox]'"
_SECONDS = 20.0


def installed() -> Probe:
    """Tell whether the SDK is here in a version that is known. Does not import it."""
    try:
        version = importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return Probe(False, reason=f"the package {PACKAGE} is not installed", fix=f"Run {INSTALL}")
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    if not OLDEST <= numbers < TOO_NEW:
        oldest, next_line = (".".join(map(str, one)) for one in (OLDEST, TOO_NEW))
        reason = f"{PACKAGE} {version} is not known here, and its interface changes from release to release"
        return Probe(False, version, reason, f"Install one from {oldest} on, before {next_line}: {INSTALL}")
    return Probe(True, version)


def examine(command: list[str] | None = None) -> Probe:
    """Tell whether virtual machines can run here, in the words of `msb doctor` (or of another `command`)."""
    found = installed()
    if not found.ok:
        return found
    argv = command or [_msb(), "doctor"]
    try:
        done = subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Probe(False, found.version, f"msb cannot be run: {error}", f"Repair it: {INSTALL} --force-reinstall")
    if done.returncode == 0:
        return found
    return _diagnosis(found.version, (done.stdout + done.stderr).decode("utf-8", "replace"), done.returncode)


def _msb() -> str:
    """Return the `msb` that machines are started with: a complete one in the user's home goes before the package's."""
    from microsandbox import MicrosandboxError, resolve_runtime

    try:
        return resolve_runtime().msb_path
    except MicrosandboxError:
        spec = find_spec(PACKAGE)
        folders = spec.submodule_search_locations if spec else None
        return str(Path(next(iter(folders or ["."]))) / "_bundled" / "bin" / "msb")


def _diagnosis(version: str, words: str, code: int) -> Probe:
    lines = [line.strip() for line in words.splitlines()]
    errors = [line.removeprefix("error:").strip() for line in lines if line.startswith("error:")]
    # Advice stands under an error; there is some under what is well, too.
    after = lines[lines.index(f"error: {errors[0]}") :] if errors else []
    advice = [line.removeprefix("→").strip() for line in after if line.startswith("→")]
    reason = "; ".join(errors) or next((line for line in reversed(lines) if line), "") or f"it has exited with {code}"
    return Probe(False, version, f"msb doctor: {reason}", "; ".join(advice) or "Run `msb doctor --fix`")
