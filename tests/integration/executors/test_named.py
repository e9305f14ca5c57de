"""Sandboxes by the name of a conversation."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from agentd import SandboxRuntimeExecutor, create_sandbox_runtime_executor
from agentd.core.errors import ExecutorUnavailable, OptionError
from agentd.executors import landlock, named
from agentd.executors.named import conversation_name, workspace_of
from tests.integration.executors.srt_rig import PACKAGE, need_srt


@pytest.fixture
def srt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put srt on the PATH, and the workspaces into a folder, which is returned."""
    need_srt()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "srt").symlink_to(PACKAGE / "dist" / "cli.js")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    return tmp_path / "share" / "agentd" / "workspaces"


@pytest.mark.srt
def test_what_users_of_earlier_releases_have_in_their_code(srt: Path) -> None:
    executor = create_sandbox_runtime_executor(
        conversation_id="s1",
        timeout=60,
        allowed_domains=["github.com", "*.python.org"],
        denied_domains=[],
        allow_local_binding=False,
        deny_read=["~/.ssh", "~/.aws"],
        allow_write=None,
        deny_write=[".env"],
    )
    with executor:
        assert isinstance(executor, SandboxRuntimeExecutor)
        ok, told = executor.verify()
        assert ok, told
        assert executor.workspace_dir == srt / "s1"
        assert executor.execute_bash("echo x > kept; cat kept", str(executor.workspace_dir)) == ("x\n", 0)
    (srt / "s1" / ".env").write_text("before")
    with create_sandbox_runtime_executor("s1", deny_write=[".env"]) as again:
        output, code = again.execute_bash("cat kept; echo y > .env")
        assert (output[:2], code) == ("x\n", 1)
    assert (srt / "s1" / ".env").read_text() == "before"


@pytest.mark.srt
def test_the_workspace_is_the_users_own(srt: Path) -> None:
    before = os.umask(0)
    try:
        create_sandbox_runtime_executor("s1").close()
    finally:
        os.umask(before)
    for folder in (srt / "s1", srt, srt.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.srt
def test_on_an_old_kernel_only_who_asks_for_what_it_lacks_is_refused(
    srt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("agentd.executors.srt", "agentd.executors.named"):
        monkeypatch.setattr(f"{module}.landlock_abi", lambda: landlock.BIND_ABI - 1)
    create_sandbox_runtime_executor("s1", allowed_domains=["github.com"]).close()
    with pytest.raises(ExecutorUnavailable, match=r"policy\.local_binding: it takes Landlock 4 \(Linux 6\.7\)"):
        create_sandbox_runtime_executor("s1", allow_local_binding=False)


@pytest.mark.srt
def test_where_it_can_be_had_code_may_not_listen(srt: Path) -> None:
    if landlock.landlock_abi() < landlock.BIND_ABI:
        pytest.skip("not installable: it takes Linux 6.7")
    code = "import socket\ntry:\n    socket.create_server(('127.0.0.1', 0))\nexcept OSError: print('refused')"
    with create_sandbox_runtime_executor("s1") as executor:
        assert executor.execute_python(code) == ("refused\n", 0)
    with create_sandbox_runtime_executor("s2", allow_local_binding=True) as executor:
        assert executor.execute_python(code) == ("", 0)


@pytest.mark.parametrize("text", ["", ".", "..", "../x", "a/b", "/etc", "~", "-x", "a\n", "a b", "ü", "a\0", "x" * 65])
def test_a_name_that_is_no_folders(text: str) -> None:
    with pytest.raises(OptionError, match="conversation_id"):
        conversation_name(text)


def test_where_the_workspaces_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    for given, share in (("/data", "/data"), ("relative", "/somewhere/.local/share"), ("", "/somewhere/.local/share")):
        monkeypatch.setenv("XDG_DATA_HOME", given)
        assert workspace_of("s1") == Path(share, "agentd/workspaces/s1")

    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(named, "data_dir", nobody)
    with pytest.raises(OptionError, match=r"home directory\. Set XDG_DATA_HOME, or give workspace_dir"):
        workspace_of("s1")
