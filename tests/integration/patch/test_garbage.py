"""What a call held goes with its response; left to the garbage collector, it would slow all calls down."""

from __future__ import annotations

import gc
import time
import weakref
from pathlib import Path
from typing import Any

import pytest

from agentd import ScriptedModel, patch_openai_with_mcp, patch_openai_with_ptc
from agentd.llm.scripted import Reply, ToolCall
from tests.fakes.driver import Driver


def add(a: int) -> int:
    """Add one."""
    return a + 1


@pytest.mark.parametrize("convention", ["fences", "tools"])
def test_a_call_is_gone_with_its_response(api: str, convention: str, workspace: Path) -> None:
    driver = Driver(api, "sync")
    fenced = convention == "fences"
    turn: Any = "```bash:execute\n:\n```\n" if fenced else Reply(tool_calls=(ToolCall("add", {"a": 1}),))
    with ScriptedModel([turn, "done"]) as server:
        patch = patch_openai_with_ptc if fenced else patch_openai_with_mcp
        driver.connect(server, workspace, patch=patch, tools=[] if fenced else [add])
        gc.collect()
        gc.disable()
        try:
            answer = driver.ask("x")
            assert answer.run.status == "completed" and answer.run.model_calls == 2
            left = weakref.ref(answer.run), weakref.ref(answer.run._engine)
            del answer
            deadline = time.monotonic() + 20
            while any(one() is not None for one in left):  # the background loop may not have let go yet
                assert time.monotonic() < deadline
                time.sleep(0.01)
        finally:
            gc.enable()
            driver.close()
