"""A patched client whose code runs in a sandbox."""

from __future__ import annotations

from pathlib import Path

import pytest
from openai import OpenAI

from agentd import ScriptedModel, patch_openai_with_ptc, tool, unpatch_openai
from agentd.core.errors import ExecutorUnavailable, OptionError
from agentd.executors.bwrap import BwrapExecutor
from tests.fakes.driver import Driver

CALL = "curl -sS -H \"Authorization: Bearer $AGENTD_BRIDGE_TOKEN\" -H 'Content-Type: application/json' -d '{\"a\": 5}'"
ANSWER = f"""```python:execute
print(double(a=4))
```
```bash:execute
{CALL} $AGENTD_BRIDGE_URL/call/double
ls skills
touch skills/mine || ls {{secret}}
```
"""


@tool
def double(a: int) -> int:
    """Return twice the number."""
    return 2 * a


def test_code_and_tools_in_a_sandbox(driver: Driver, workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    answer = ANSWER.replace("{secret}", str(tmp_path / "secret"))
    with ScriptedModel([answer, "Done."]) as server:
        driver.connect(server, workspace, executor="bwrap", tools=[double])
        got = driver.ask("go")
        assert "Code runs in a sandbox" in str(server.requests[0])
    (python, _), (bash, state) = got.codes
    assert python == "8\n"
    assert '{"ok": true, "value": 10}' in bash.replace('"ok":true,"value"', '"ok": true, "value"')
    assert "lib\nlocal\n" in bash
    assert bash.count("Read-only file system") == 1
    assert "No such file or directory" in bash
    assert state != "completed"


def test_an_executor_of_ones_own_stays_open(workspace: Path) -> None:
    with ScriptedModel(["```bash:execute\npwd\n```\n", "Done."]) as server, BwrapExecutor(workspace) as executor:
        client = OpenAI(base_url=server.base_url, api_key="x")
        patch_openai_with_ptc(client, executor=executor, cwd=str(executor.workspace_dir))
        response = client.responses.create(model="m", input="go")
        assert response.output_text == "Done."
        unpatch_openai(client)
        assert executor.execute_bash("echo still") == ("still\n", 0)
        with pytest.raises(OptionError, match="the executor works in"):
            patch_openai_with_ptc(client, executor=executor, cwd="/elsewhere")


def test_a_sandbox_that_is_not_there_is_an_error_at_once(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExecutorUnavailable, match="apt install bubblewrap"):
        patch_openai_with_ptc(OpenAI(api_key="x"), executor="bwrap", cwd=workspace)
