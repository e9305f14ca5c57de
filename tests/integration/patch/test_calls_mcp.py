"""JSON tool calls of real MCP servers: results, images, progress, questions, and servers that vanish."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from agentd import ScriptedModel, patch_openai_with_mcp, unpatch_openai
from agentd.core.events import ToolFinished, ToolProgress
from agentd.llm.scripted import Reply, ToolCall
from agentd.mcp.handlers import ElicitationRequest, MCPHandlers
from agentd.patch.sampling import ClientSampling
from tests.fakes.driver import Driver
from tests.fakes.mcp_servers import faulty, npm_server, python_server
from tests.integration.patch.calls import MCP, offered, outputs

SCRIPT_IMAGE = [Reply(tool_calls=(ToolCall("get-tiny-image"),)), "ok"]


@pytest.fixture
def everything() -> Any:
    return npm_server("mcp-server-everything")


def test_servers_and_functions_together(driver: Driver, workspace: Path, everything: Any) -> None:
    def add(a: int, b: int) -> int:
        return a + b

    (workspace / "note.txt").write_text("from the file")
    files = npm_server("mcp-server-filesystem", str(workspace))
    time = python_server("mcp-server-time", "--local-timezone=UTC")
    calls = (
        ToolCall("read_text_file", {"path": str(workspace / "note.txt")}),
        ToolCall("get-sum", {"a": 1, "b": 2}),
        ToolCall("add", {"a": 40, "b": 2}),
        ToolCall("get_current_time", {"timezone": "UTC"}),
    )
    with ScriptedModel([Reply(tool_calls=calls), "ok"]) as server:
        driver.connect(server, workspace, tools=[add], mcp_servers=[files, everything, time], **MCP)
        answer = driver.ask("x")
        assert answer.text == "ok"
        read, total, own, now = outputs(server.requests[1])
        assert "from the file" in read and "3" in total and own == "42" and "UTC" in now
        assert {"read_text_file", "get-sum", "add", "get_current_time"} <= set(offered(server.requests[0]))
        if answer.response is not None and driver.api == "responses":
            labels = [item.server_label for item in answer.response.output if item.type == "mcp_call"]
            assert labels == ["mcp-server-filesystem", "mcp-server-everything", "local", "mcp-server-time"]


def shown_images(request: Any) -> list[str]:
    """Return the images that a request shows the model."""
    items: list[Any] = request.body["input" if request.api == "responses" else "messages"]
    held = [item.get("output") or item.get("content") for item in items]
    parts = [part for each in held if isinstance(each, list) for part in each]
    shown = [part["image_url"] for part in parts if part["type"] in ("input_image", "image_url")]
    return [url if isinstance(url, str) else url["url"] for url in shown]


def test_an_image_is_shown_to_a_model_that_can_see(driver: Driver, workspace: Path, everything: Any) -> None:
    with ScriptedModel(SCRIPT_IMAGE) as server:
        driver.connect(server, workspace, tools=[], mcp_servers=[everything], **MCP)
        assert driver.ask("x", model="gpt-5-mini").text == "ok"
        (url,) = shown_images(server.requests[1])
        (saved,) = (workspace / ".agentd" / "files").iterdir()
        assert base64.b64decode(url.partition(",")[2]) == saved.read_bytes()


def test_an_image_is_a_file_for_a_model_that_cannot(driver: Driver, workspace: Path, everything: Any) -> None:
    with ScriptedModel(SCRIPT_IMAGE) as server:
        driver.connect(server, workspace, tools=[], mcp_servers=[everything], **MCP)
        assert driver.ask("x", model="gpt-3.5-turbo").text == "ok"
        assert shown_images(server.requests[1]) == []
        (saved,) = (workspace / ".agentd" / "files").iterdir()
        assert f".agentd/files/{saved.name}" in json.dumps(server.requests[1].body)


def test_progress_is_seen_while_a_tool_runs(driver: Driver, workspace: Path, everything: Any) -> None:
    call = ToolCall("trigger-long-running-operation", {"duration": 0.4, "steps": 4})
    seen: list[Any] = []
    with ScriptedModel([Reply(tool_calls=(call,)), "ok"]) as server:
        driver.connect(server, workspace, tools=[], mcp_servers=[everything], **MCP)
        answer = driver.ask("x", on_event=seen.append)
        steps = [event for event in seen if isinstance(event, ToolProgress)]
        assert [(event.progress, event.total) for event in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]
        assert not [event for event in answer.run.events if isinstance(event, ToolProgress)]
        if driver.streamed:
            assert [event.progress for event in answer.shown if event.type == "tool_progress"] == [1, 2, 3, 4]


def test_a_server_asks_the_user_and_the_model(driver: Driver, workspace: Path, everything: Any) -> None:
    def answer(request: ElicitationRequest) -> Any:
        return {"name": "Ada"} if request.schema else None

    handlers = MCPHandlers(on_elicitation=answer, on_sampling=ClientSampling("sampled-model", max_calls=1))

    sampling, elicitation = "trigger-sampling-request", "trigger-elicitation-request"
    names = [elicitation, sampling, sampling, "get-roots-list"]

    def script(request: Any) -> Any:
        if request.body["model"] == "sampled-model":
            return "a haiku"
        done = len(outputs(request))
        if done == len(names):
            return "ok"
        return Reply(tool_calls=(ToolCall(names[done], {"prompt": "Write."} if "sampling" in names[done] else {}),))

    with ScriptedModel(script) as server:
        driver.connect(server, workspace, tools=[], mcp_servers=[everything], handlers=handlers, **MCP)
        assert driver.ask("x").text == "ok"
        elicited, sampled, refused, roots = outputs(server.requests[-1])
        assert "Ada" in elicited and "a haiku" in sampled and "a haiku" not in refused
        assert workspace.as_uri() in roots
        (asked,) = [request for request in server.requests if request.body["model"] == "sampled-model"]
        assert asked.api == "chat" and "tools" not in asked.body


def test_a_server_that_vanishes_in_a_call_is_told_of_and_started_anew(driver: Driver, workspace: Path) -> None:
    script = [Reply(tool_calls=(ToolCall("die"),)), Reply(tool_calls=(ToolCall("echo", {"text": "hey"}),)), "ok"]
    with ScriptedModel(script) as server:
        driver.connect(server, workspace, tools=[], mcp_servers=[faulty()], **MCP)
        answer = driver.ask("x")
        first, second = outputs(server.requests[2])
        assert first.startswith("Error: ") and "ended" in first and "hey" in second
        assert [event.ok for event in answer.run.events if isinstance(event, ToolFinished)] == [False, True]


def test_two_ways_of_patching_are_told_apart(workspace: Path) -> None:
    from agentd import patch_openai_with_ptc
    from agentd.core.errors import OptionError

    client = patch_openai_with_mcp(OpenAI(api_key="x"), cwd=workspace)
    assert patch_openai_with_mcp(client) is client
    with pytest.raises(OptionError, match="unpatch_openai"):
        patch_openai_with_ptc(client)
    patch_openai_with_ptc(unpatch_openai(client), cwd=workspace, mode="tool")
    with pytest.raises(OptionError, match="unpatch_openai"):
        patch_openai_with_ptc(client)
    unpatch_openai(client).close()
    with pytest.raises(OptionError, match="mode"):
        patch_openai_with_ptc(client, mode="both")  # pyright: ignore[reportArgumentType]
    with pytest.raises(OptionError, match="timeout"):
        patch_openai_with_mcp(client, timeout=0)
