"""Whether microsandbox can be used: what is missing is named, with what to do about it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agentd.executors import microsandbox_probe
from agentd.executors.microsandbox import MicrosandboxExecutor
from agentd.executors.microsandbox_probe import INSTALL, examine, installed

# What `msb doctor` of 0.7.11 says on a machine without hardware virtualisation, shortened.
DOCTOR = """\
  ✓ msb                 /usr/bin/msb
  • Storage             ext4
    → use a reflink-capable filesystem for MSB_HOME
  ✗ CPU virt            not found
error: CPU virtualization is not available
  → no vmx (Intel) or svm (AMD) flag in /proc/cpuinfo
  → inside a VM, enable nested virtualization on the host
"""


def says(words: str, code: int) -> list[str]:
    """Return a command that says something and ends with an exit code."""
    return [sys.executable, "-c", f"import sys; print({words!r}); sys.exit({code})"]


def test_the_package_is_here_in_a_version_that_is_known() -> None:
    found = installed()
    assert found.ok
    assert found.version.startswith("0.7.")


@pytest.mark.parametrize(("version", "known"), [("0.7.10", False), ("0.7.12", True), ("0.8.0", False), ("1.0", False)])
def test_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, known: bool) -> None:
    folder = tmp_path / f"microsandbox-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: microsandbox\nVersion: {version}\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = examine(says("fine", 0))
    assert (found.ok, found.version) == (known, version)
    if not known:
        assert found.reason.startswith(f"microsandbox {version} is not known here")
        assert found.fix == f"Install one from 0.7.11 on, before 0.8: {INSTALL}"


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microsandbox_probe, "PACKAGE", "microsandbox-is-not-here")
    found = examine()
    assert not found.ok
    assert found.reason == "the package microsandbox-is-not-here is not installed"
    assert found.fix == "Run pip install 'agentd[microsandbox]'"


def test_the_words_of_the_doctor() -> None:
    found = examine(says(DOCTOR, 1))
    assert not found.ok
    assert found.reason == "msb doctor: CPU virtualization is not available"
    assert found.fix == (
        "no vmx (Intel) or svm (AMD) flag in /proc/cpuinfo; inside a VM, enable nested virtualization on the host"
    )


@pytest.mark.parametrize(("words", "reason"), [("something else\n", "something else"), ("", "it has exited with 3")])
def test_a_doctor_that_speaks_otherwise(words: str, reason: str) -> None:
    found = examine(says(words, 3))
    assert (found.ok, found.reason, found.fix) == (False, f"msb doctor: {reason}", "Run `msb doctor --fix`")


def test_without_msb(tmp_path: Path) -> None:
    found = examine([str(tmp_path / "msb"), "doctor"])
    assert not found.ok
    assert found.reason.startswith("msb cannot be run: ")
    assert found.fix == f"Repair it: {INSTALL} --force-reinstall"


def test_a_doctor_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microsandbox_probe, "_SECONDS", 0.2)
    found = examine([sys.executable, "-c", "import time; time.sleep(60)"])
    assert not found.ok
    assert "timed out" in found.reason


def test_the_probe_says_what_the_doctor_says_here() -> None:
    msb = microsandbox_probe._msb()
    done = subprocess.run([msb, "doctor"], check=False, capture_output=True, text=True)
    found = MicrosandboxExecutor.probe()
    assert found.ok == (done.returncode == 0)
    if not found.ok:
        said = found.reason.removeprefix("msb doctor: ").split("; ")
        assert [one for one in said if f"error: {one}" not in done.stdout + done.stderr] == []


def test_the_sdk_is_loaded_only_when_a_machine_is_made() -> None:
    code = "import sys, agentd.executors.microsandbox as m; m.examine(['true']); print('microsandbox' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"
