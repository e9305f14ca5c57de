"""What is missing, too old, or not what it says it is: a clear error each, and never a sandbox with other walls."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from agentd.core.errors import ExecutorUnavailable, OptionError
from agentd.executors.srt import SrtExecutor
from tests.integration.executors.srt_rig import PACKAGE, need_srt, package, parts

pytestmark = pytest.mark.srt

PROGRAMS = ("node", "bwrap", "socat", "rg", "true")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the one folder of the PATH, with what srt needs in it."""
    need_srt()
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in PROGRAMS:
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(os.path.realpath(found))
    monkeypatch.setenv("PATH", str(folder))
    return folder


def refusal(tmp_path: Path, srt_path: Path | None = PACKAGE) -> str:
    """Return why no block could be run."""
    with pytest.raises(ExecutorUnavailable) as caught, SrtExecutor(tmp_path / "work", srt_path=srt_path) as executor:
        executor.execute_bash("true")
    return str(caught.value)


def test_the_command_on_the_path_is_found(tmp_path: Path, programs: Path) -> None:
    assert "no `srt` on the PATH. Install it: npm install -g @anthropic-ai/sandbox-runtime@0.0.83" in refusal(
        tmp_path, None
    )
    (programs / "srt").symlink_to(PACKAGE / "dist" / "cli.js")
    with SrtExecutor(tmp_path / "work") as executor:
        assert executor.installed.folder == PACKAGE
        assert executor.execute_bash("echo x") == ("x\n", 0)


def test_something_else_is_not_taken_for_it(tmp_path: Path, programs: Path) -> None:
    (programs / "srt").write_text("#!/bin/sh\n")
    (programs / "srt").chmod(0o755)
    message = refusal(tmp_path, None)
    assert f"{programs / 'srt'} is not @anthropic-ai/sandbox-runtime" in message
    assert "srt_path" in message
    assert "is not @anthropic-ai/sandbox-runtime" in refusal(tmp_path, tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "debian"), [("node", "nodejs"), ("bwrap", "bubblewrap"), ("socat", "socat"), ("rg", "ripgrep")]
)
def test_a_missing_program_is_named(tmp_path: Path, programs: Path, name: str, debian: str) -> None:
    (programs / name).unlink()
    message = refusal(tmp_path)
    assert f"srt needs {name}, not found on the PATH" in message
    assert f"apt install {debian}" in message
    probe = SrtExecutor.probe(PACKAGE)
    assert (probe.ok, probe.version) == (False, "0.0.83")


def test_an_old_node_is_refused(tmp_path: Path, programs: Path) -> None:
    old = tmp_path / "old.cjs"
    old.write_text("Object.defineProperty(process.versions, 'node', { value: '18.20.4' })")
    node = os.path.realpath(programs / "node")
    (programs / "node").unlink()
    (programs / "node").write_text(f'#!/bin/sh\nexec {node} --require {old} "$@"\n')
    (programs / "node").chmod(0o755)
    assert "Node.js 18.20.4 is too old, srt needs 20 or newer" in refusal(tmp_path)


def test_a_node_that_fails_is_told_with_its_words(tmp_path: Path, programs: Path) -> None:
    (programs / "node").unlink()
    (programs / "node").write_text("#!/bin/sh\necho 'bad option' >&2; exit 9\n")
    (programs / "node").chmod(0o755)
    message = refusal(tmp_path)
    assert "Node.js has ended without a word" in message
    assert "bad option" in message


SCHEMA = "export const SandboxRuntimeConfigSchema = { safeParse: data => ({ success: true, data }) }\n"
MANAGER = "export const SandboxManager = { initialize: async () => {}, reset: async () => {}, "


@pytest.mark.parametrize(
    ("library", "reason"),
    [
        ("import 'nothing-of-that-name'", "nothing-of-that-name"),
        ("export const x = 1", "Cannot read properties of undefined"),
        (
            "export * from 'REAL'\n" + SCHEMA.replace("data })", "data: { ...data, network: {} } })"),
            "does not know all",
        ),
        (SCHEMA + MANAGER + "wrapWithSandbox: async command => command }", "not what is known of this version"),
        (SCHEMA + MANAGER + "wrapWithSandbox: async command => `/usr/bin/env ${command}` }", "not what is known"),
        (SCHEMA + MANAGER + "wrapWithSandbox: async () => { throw new Error('no wrapping') } }", "no wrapping"),
        ("process.exit(3)", "Node.js has ended without a word"),
    ],
)
def test_another_library_is_no_sandbox(tmp_path: Path, library: str, reason: str) -> None:
    need_srt()
    assert reason in refusal(tmp_path, package(tmp_path / "package", library))


def test_a_copy_without_its_helper_is_refused(tmp_path: Path) -> None:
    need_srt()
    copy = package(tmp_path / "package", "export * from 'REAL'")
    shutil.rmtree(copy / "vendor")
    assert "no seccomp helper" in refusal(tmp_path, copy)


def test_an_unknown_version_is_taken_when_it_holds(tmp_path: Path) -> None:
    need_srt()
    copy = package(tmp_path / "package", "export * from 'REAL'", version="0.0.998")
    with SrtExecutor(tmp_path / "work", srt_path=copy) as executor:
        assert executor.execute_bash("echo x") == ("x\n", 0)


LEAKY = """
import { SandboxManager as real } from 'REAL'
export { SandboxRuntimeConfigSchema } from 'REAL'
const hidden = ['/home', '/run', '/sys']
export const SandboxManager = {
  ...real,
  initialize: settings => real.initialize({ ...settings, filesystem: { ...settings.filesystem, denyRead: hidden } }),
}
"""


def test_an_unknown_version_that_does_not_hold_is_refused(tmp_path: Path) -> None:
    need_srt()
    message = refusal(tmp_path, package(tmp_path / "package", LEAKY, version="0.0.999"))
    assert "srt 0.0.999 does not hold here" in message
    assert "does not hold" in message


@pytest.mark.parametrize(
    ("policy", "clause"),
    [
        ({"allowed_domains": ["*"]}, "policy.allowed_domains: srt does not take *"),
        ({"allowed_domains": ["intranet"]}, "policy.allowed_domains: srt does not take intranet"),
        ({"denied_domains": ["intranet"]}, "policy.denied_domains: srt does not take intranet"),
        (
            {"private_networks": ["169.254.169.254/32"]},
            "policy.private_networks: srt never connects to 169.254.169.254/32",
        ),
    ],
)
def test_what_srt_has_no_words_for_is_an_error_that_names_the_clause(
    tmp_path: Path, policy: dict[str, object], clause: str
) -> None:
    need_srt()
    with pytest.raises(ExecutorUnavailable) as caught:
        SrtExecutor(tmp_path / "work", policy=policy, srt_path=PACKAGE)
    assert clause in str(caught.value)
    executor = SrtExecutor(tmp_path / "work", policy={**policy, "best_effort": True}, srt_path=PACKAGE)
    assert executor.enforcement[next(iter(policy))].startswith("not enforced: srt")


@pytest.mark.parametrize("clause", ["hidden", "protected", "readable", "writable", "the workspace"])
def test_a_path_that_is_not_utf_8_is_refused(tmp_path: Path, clause: str) -> None:
    """With another sign in its place srt would hide something that is not there."""
    need_srt()
    name = os.fsdecode(b"bad\xff")
    policy = {} if clause == "the workspace" else {clause: [name]}
    workspace = tmp_path / (name if clause == "the workspace" else "work")
    (workspace / name).mkdir(parents=True)
    with SrtExecutor(workspace, policy=policy, srt_path=PACKAGE) as executor:
        with pytest.raises(OptionError, match=r"bad\\xff.* is not UTF-8, and srt takes no such path: rename it"):
            executor.execute_bash(f"ls {name}")
        assert not [one for one in parts(os.getpid()).values() if one == "node"]


def test_a_place_without_room_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_srt()

    def full(*_words: object, **_named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with tempfile.TemporaryDirectory(dir="/tmp") as folder, SrtExecutor(tmp_path, srt_path=PACKAGE) as executor:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        for failing in ("TemporaryFile", "mkdtemp"):
            with monkeypatch.context() as patch:
                patch.setattr(tempfile, failing, full)
                with pytest.raises(ExecutorUnavailable, match="No space left on device"):
                    executor.execute_bash("true")
            assert os.listdir(folder) == []
