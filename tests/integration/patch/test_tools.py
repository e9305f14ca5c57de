"""Tools in the model's code: functions of ours, MCP servers, other programs over the bridge."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mcp import StdioServerParameters
from openai import OpenAI

from agentd import ScriptedModel, patch_openai_with_ptc, tool, unpatch_openai
from agentd.core.errors import ServerFailed
from agentd.core.events import ToolFinished, ToolStarted
from agentd.tools import decorator
from tests.fakes.driver import Driver

TIME = StdioServerParameters(
    command=str(Path(sys.executable).parent / "mcp-server-time"), args=["--local-timezone=UTC"]
)


def python(code: str) -> str:
    return f"```python:execute\n{code}\n```\n"


@dataclass
class Point:
    x: int
    y: int = 0


def add(a: int, b: int = 2) -> int:
    """Add two numbers.

    Args:
        a: the first
        b: the second
    """
    return a + b


async def norm(points: list[Point]) -> float:
    """Sum the lengths."""
    return sum((point.x**2 + point.y**2) ** 0.5 for point in points)


def fail() -> None:
    """Fail."""
    raise ValueError("no such thing")


def logs_of(response: Any) -> list[str]:
    return [item.outputs[0].logs for item in response.output if item.type == "code_interpreter_call"]


def test_functions_are_in_scope(driver: Driver, workspace: Path) -> None:
    code = python(
        "print(add(1), add(a=1, b=5), norm([{'x': 3, 'y': 4}]))\nfrom lib.tools import add as plus\nprint(plus(2))"
    )
    with ScriptedModel([code, "ok"]) as server:
        driver.connect(server, workspace, tools=[add, norm])
        answer = driver.ask("x")
        assert answer.outputs == ["3 6 5.0\n4\n"]
        sent = server.requests[0].body
        prompt = sent["instructions"] if driver.api == "responses" else sent["messages"][0]["content"]
        assert "add(" in prompt and "norm(" in prompt
        events = answer.run.events
        assert len([event for event in events if isinstance(event, ToolStarted)]) == 4
        assert all(event.ok for event in events if isinstance(event, ToolFinished))


def test_a_failing_tool_raises_in_the_code(driver: Driver, workspace: Path) -> None:
    code = python("try:\n    fail()\nexcept ToolError as error:\n    print('caught', error)\nadd()")
    with ScriptedModel([code, "ok"]) as server:
        driver.connect(server, workspace, tools=[add, fail])
        output, status = driver.ask("x").codes[0]
        assert "caught" in output and "no such thing" in output
        assert status == "failed" and "add(a" in output


def test_tools_of_a_call_are_for_that_call(driver: Driver, workspace: Path) -> None:
    code = python("print('add' in dir(__builtins__) or 'add' in globals())\nprint(add(1))")
    with ScriptedModel([code, "ok", python("add(1)"), "ok"]) as server:
        driver.connect(server, workspace, tools=[])
        assert driver.ask("x", tools=[add]).outputs[0].endswith("3\n")
        assert "NameError" in driver.ask("x").outputs[0]


def test_decorated_functions_are_offered_to_every_client(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decorator, "_registered", {})
    namespace: dict[str, Any] = {"tool": tool, "__name__": "somewhere"}
    exec("@tool\ndef shout(text: str) -> str:\n    '''Shout.'''\n    return text.upper()\n", namespace)
    with ScriptedModel([python("print(shout('hey'))"), "ok"]) as server:
        client = patch_openai_with_ptc(OpenAI(base_url=server.base_url, api_key="x"), cwd=workspace)
        response = client.responses.create(model="m", input="x")
        unpatch_openai(client).close()
        assert logs_of(response) == ["HEY\n"]


def test_an_mcp_server_call_after_call(driver: Driver, workspace: Path) -> None:
    code = python("r = get_current_time(timezone='UTC')\nprint(r['timezone'])")
    with ScriptedModel([code, "ok"] * 10) as server:
        driver.connect(server, workspace, tools=[])
        for _ in range(10):
            assert driver.ask("x", mcp_servers=[TIME]).outputs == ["UTC\n"]


def test_other_programs_use_the_bridge(workspace: Path) -> None:
    curl = (
        '```bash:execute\ncurl -s -X POST -H "Authorization: Bearer $AGENTD_BRIDGE_TOKEN" '
        "-H 'Content-Type: application/json' -d '{\"a\": 40}' $AGENTD_BRIDGE_URL/call/add; echo; "
        "skills list; python3 skills/local/scripts/add_example.py >/dev/null && echo ran\n```\n"
    )
    with ScriptedModel([curl, "ok"]) as server:
        client = patch_openai_with_ptc(OpenAI(base_url=server.base_url, api_key="x"), cwd=workspace, tools=[add])
        response = client.responses.create(model="m", input="x")
        unpatch_openai(client).close()
    answer, listing, ran = logs_of(response)[0].splitlines()
    assert json.loads(answer) == {"ok": True, "value": 42}
    assert listing.startswith("local") and ran == "ran"
    assert (workspace / "skills/local/SKILL.md").exists()


def test_a_server_that_cannot_start_fails_the_call(driver: Driver, workspace: Path) -> None:
    bad = StdioServerParameters(command=sys.executable, args=["-c", "import sys; sys.exit('no licence')"])
    with ScriptedModel(["ok"]) as server:
        driver.connect(server, workspace, tools=[])
        with pytest.raises(ServerFailed, match="no licence"):
            driver.ask("x", mcp_servers=[bad])
        assert driver.ask("x").text == "ok"
        assert len(server.requests) == 1
