"""A real virtual machine, where one can run.

The image is `python` of the registry, or what `AGENTD_TEST_IMAGE` names: a folder with a root file system will do.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import microsandbox
import pytest

from agentd.core.errors import ExecutorUnavailable
from agentd.executors.microsandbox import MicrosandboxExecutor
from tests.contract.executor.harness import Session

PROBE = MicrosandboxExecutor.probe()

here = pytest.mark.skipif(not PROBE.ok, reason=f"not installable: {PROBE.reason}")


@pytest.fixture
async def executor(tmp_path: Path) -> AsyncIterator[MicrosandboxExecutor]:
    workspace = tmp_path / "workspace"
    (workspace / ".git" / "hooks").mkdir(parents=True)
    image = os.environ.get("AGENTD_TEST_IMAGE", "python")
    made = MicrosandboxExecutor(workspace, conversation_id="test", image=image)
    yield made
    await made.aclose()


@here
@pytest.mark.kvm
@pytest.mark.timeout(600)
async def test_a_session_in_a_virtual_machine(executor: MicrosandboxExecutor) -> None:
    session = Session(await executor.open("one"))
    assert await session.out("uname -r") != os.uname().release + "\n"
    assert await session.out("echo hello > file; pwd") == f"{executor.workspace_dir}\n"
    assert (executor.workspace_dir / "file").read_text() == "hello\n"
    assert (await session.create("made/here.txt", "text")).exit_code == 0
    assert await session.out("cat made/here.txt") == "text"
    result = await session.python("print(echo(value=[1, 'two']))")
    assert (result.exit_code, result.output) == (0, "[1, 'two']\n")
    assert (await session.bash("touch .git/hooks/pre-commit")).exit_code != 0
    assert (await session.bash("ls /etc/shadow-of-the-host ~/.ssh", timeout=10)).exit_code != 0
    reach = "import socket; socket.create_connection(('1.1.1.1', 443), 5)"
    assert (await session.python(reach)).exit_code != 0
    await executor.aclose()
    page = await microsandbox.Sandbox.list_with(limit=100)
    assert [one.name for one in page.sandboxes if one.name.startswith("test-agentd-")] == []


@pytest.mark.skipif(PROBE.ok, reason="not installable: virtual machines can run here")
def test_where_no_machine_can_run_the_reason_is_told(tmp_path: Path) -> None:
    with pytest.raises(ExecutorUnavailable) as caught:
        MicrosandboxExecutor(tmp_path / "workspace")
    assert PROBE.reason in str(caught.value)
    assert PROBE.fix in str(caught.value)
