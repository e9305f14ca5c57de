"""JSON tool calls on a patched client: made, answered, and the caller's own left to him, in every form of a call."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from agentd import ScriptedModel
from agentd import ToolCall as ShownCall
from agentd.core.events import CodeFinished, Message, ToolFinished, ToolStarted, TurnEnded
from agentd.llm.scripted import Reply, ToolCall
from tests.fakes.driver import Driver
from tests.integration.patch.calls import MCP, SHELL, add, calls_of, fail, offered, outputs, own_function


def test_a_call_is_made_and_answered(driver: Driver, workspace: Path) -> None:
    script = [Reply("Let me see.", tool_calls=(ToolCall("add", {"a": 40}),)), "It is 42."]
    with ScriptedModel(script) as server:
        driver.connect(server, workspace, tools=[add], **MCP)
        answer = driver.ask("x")
        assert answer.text.endswith("It is 42.") and answer.run.status == "completed"
        assert offered(server.requests[0]) == ["add"]
        assert outputs(server.requests[1]) == ["42"]
        events = answer.run.events
        (started,) = [event for event in events if isinstance(event, ToolStarted)]
        (finished,) = [event for event in events if isinstance(event, ToolFinished)]
        assert (started.tool, started.block, json.loads(started.arguments)) == ("add", "", {"a": 40})
        assert finished.id == started.id and finished.ok and finished.result == "42"
        assert [event.text for event in events if isinstance(event, Message)] == ["Let me see.", "42", "It is 42."]
        if driver.streamed:
            (shown,) = [event for event in answer.shown if isinstance(event, ShownCall)]
            assert (shown.tool, shown.ok) == ("add", True)


def test_calls_of_one_message_are_made_at_once_and_answered_in_order(driver: Driver, workspace: Path) -> None:
    together = threading.Barrier(3)

    def meet(name: str, rest: float) -> str:
        together.wait(10)
        time.sleep(rest)
        return name

    calls = tuple(ToolCall("meet", {"name": name, "rest": rest}) for name, rest in (("a", 0.2), ("b", 0.1), ("c", 0)))
    with ScriptedModel([Reply(tool_calls=calls), "ok"]) as server:
        driver.connect(server, workspace, tools=[meet], **MCP)
        assert driver.ask("x").text == "ok"
        assert outputs(server.requests[1]) == ["a", "b", "c"]


def test_what_fails_is_told_to_the_model(driver: Driver, workspace: Path) -> None:
    calls = (ToolCall("fail"), ToolCall("add", "forty two, please"), ToolCall("nothing"), ToolCall("add", {"a": "5"}))
    with ScriptedModel([Reply(tool_calls=calls), "ok"]) as server:
        driver.connect(server, workspace, tools=[add, fail], **MCP)
        answer = driver.ask("x")
        failed, prose, unknown, repaired = outputs(server.requests[1])
        assert "no such thing" in failed and "JSON" in prose and "nothing" in unknown and repaired == "7"
        finished = [event for event in answer.run.events if isinstance(event, ToolFinished)]
        assert sorted(event.ok for event in finished) == [False, False, False, True]


def test_the_callers_own_functions_are_his_to_answer(api: str, workspace: Path) -> None:
    calls = (ToolCall("ask_user", {"question": "why?"}, id="call_own"), ToolCall("add", {"a": 1}))
    for mode in ("sync", "async"):
        driver = Driver(api, mode)
        with ScriptedModel([Reply(tool_calls=calls)]) as server:
            driver.connect(server, workspace, tools=[add], **MCP)
            answer = driver.ask("x", tools=[own_function(api)])
            assert calls_of(answer) == [("call_own", "ask_user")]
            assert answer.run.status == "completed"
            assert offered(server.requests[0]) == ["ask_user", "add"]
            events = answer.run.events
            assert [event.ok for event in events if isinstance(event, ToolFinished)] == [True]
        driver.close()


def test_a_clash_with_the_callers_own_function_is_resolved(api: str, workspace: Path) -> None:
    driver = Driver(api, "sync")
    with ScriptedModel(lambda request: "ok") as server:
        driver.connect(server, workspace, tools=[add], **MCP)
        driver.ask("x", tools=[own_function(api, "add")])
        first, second = offered(server.requests[0])
        assert first == "add" and second != "add"
    driver.close()


def go_on(driver: Driver, answer: Any, result: str) -> Any:
    """Go on after a call of the caller's own function as its API's documentation tells."""
    (call_id, _) = calls_of(answer)[0]
    own = [own_function(driver.api)]
    if driver.api == "responses":
        told = {"type": "function_call_output", "call_id": call_id, "output": result}
        return driver.ask([{"role": "user", "content": "x"}, *answer.response.output, told], tools=own)
    message = answer.response.choices[0].message
    told = {"role": "tool", "tool_call_id": call_id, "content": result}
    return driver.ask([{"role": "user", "content": "x"}, message, told], tools=own)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_going_on_after_an_own_call_loses_no_round(api: str, mode: str, workspace: Path) -> None:
    both = (ToolCall("add", {"a": 10}), ToolCall("ask_user", {"question": "why?"}))
    script = [Reply(tool_calls=(ToolCall("add", {"a": 1}),)), Reply(tool_calls=both), "done"]
    driver = Driver(api, mode)
    with ScriptedModel(script) as server:
        driver.connect(server, workspace, tools=[add], **MCP)
        answer = driver.ask("x", tools=[own_function(api)])
        assert go_on(driver, answer, "because").text == "done"
        assert outputs(server.requests[2]) == ["3", "12", "because"]
    driver.close()


def test_a_response_id_goes_on_after_an_own_call(workspace: Path) -> None:
    both = (ToolCall("add", {"a": 10}), ToolCall("ask_user", {"question": "why?"}, id="call_own"))
    for mode in ("sync", "sync-stream"):
        driver = Driver("responses", mode)
        with ScriptedModel([Reply(tool_calls=both), "done"]) as server:
            driver.connect(server, workspace, tools=[add], **MCP)
            created: Any = driver.client.responses.create(
                model="m", input="x", tools=[own_function("responses")], stream=driver.streamed
            )
            last = list(created)[-1].response if driver.streamed else created
            told: Any = {"type": "function_call_output", "call_id": "call_own", "output": "because"}
            response = driver.client.responses.create(model="m", input=[told], previous_response_id=last.id)
            assert response.output_text == "done"
            assert outputs(server.requests[1]) == ["12", "because"]
        driver.close()


def test_without_a_store_our_transcript_stands_in(driver: Driver, workspace: Path) -> None:
    if driver.api == "chat":
        return
    script = [Reply(tool_calls=(ToolCall("add", {"a": 1}),)), "three", "again three"]
    with ScriptedModel(script) as server:
        driver.connect(server, workspace, tools=[add], **MCP)
        first = driver.ask("x", store=False)
        last = first.response.id if first.response else None
        if last is None:
            last = next(name for _, name in driver.client._agentd_patch.runtime.memory._entries)
        assert driver.ask("and?", previous_response_id=last, store=False).text == "again three"
        sent = server.requests[2].body
        assert "previous_response_id" not in sent
        kinds = [item.get("type") or item["role"] for item in sent["input"]]
        assert kinds == ["user", "function_call", "function_call_output", "message", "user"]


def test_a_forced_call_is_forced_once(driver: Driver, workspace: Path) -> None:
    script = [Reply(tool_calls=(ToolCall("add", {"a": 1}),)), "three"]
    with ScriptedModel(script) as server:
        driver.connect(server, workspace, tools=[add], **MCP)
        assert driver.ask("x", tool_choice="required").text == "three"
        assert [request.body["tool_choice"] for request in server.requests] == ["required", "auto"]


def test_a_model_that_calls_for_ever_is_stopped(driver: Driver, workspace: Path) -> None:
    with ScriptedModel(lambda request: Reply(tool_calls=(ToolCall("add", {"a": 1}),))) as server:
        driver.connect(server, workspace, tools=[add], **MCP)
        answer = driver.ask("x")
        assert answer.run.status == "max_turns" and answer.run.model_calls == 20 and len(server.requests) == 20
        assert [event.status for event in answer.run.events if isinstance(event, TurnEnded)] == ["max_turns"]
        if answer.response is not None and driver.api == "responses":
            assert answer.response.status == "incomplete"
            assert answer.response.incomplete_details.reason == "max_turns"
        elif answer.response is not None:
            assert answer.response.choices[0].finish_reason == "length"
            assert not answer.response.choices[0].message.tool_calls


def test_two_calls_with_one_id_have_both_their_answers(driver: Driver, workspace: Path) -> None:
    calls = (ToolCall("add", {"a": 1}, id="call_same"), ToolCall("add", {"a": 2}, id="call_same"))
    with ScriptedModel([Reply(tool_calls=calls), "ok"]) as server:
        driver.connect(server, workspace, tools=[add], **MCP)
        assert driver.ask("x").text == "ok"
        assert outputs(server.requests[1]) == ["3", "4"]


def test_a_tool_that_hangs_is_no_longer_waited_for(driver: Driver, workspace: Path) -> None:
    done = threading.Event()

    def hang() -> None:
        done.wait(30)

    try:
        with ScriptedModel([Reply(tool_calls=(ToolCall("hang"), ToolCall("add", {"a": 1}))), "ok"]) as server:
            driver.connect(server, workspace, tools=[add, hang], timeout=0.2, **MCP)
            assert driver.ask("x").text == "ok"
            late, good = outputs(server.requests[1])
            assert "did not answer within" in late and good == "3"
    finally:
        done.set()


def test_a_huge_result_is_cut_and_kept_in_a_file(driver: Driver, workspace: Path) -> None:
    def big() -> str:
        return "begin" + "x" * 50_000_000 + "end"

    with ScriptedModel([Reply(tool_calls=(ToolCall("big"),)), "ok"]) as server:
        driver.connect(server, workspace, tools=[big], **MCP)
        assert driver.ask("x").text == "ok"
        (told,) = outputs(server.requests[1])
        assert len(told) < 21_000 and told.startswith("begin") and told.endswith("end")
        (saved,) = (workspace / ".agentd" / "files").iterdir()
        assert f".agentd/files/{saved.name}" in told and saved.stat().st_size == 50_000_008


def test_the_shell_as_a_tool(driver: Driver, workspace: Path) -> None:
    script = [
        Reply(tool_calls=(ToolCall("bash", {"command": "mkdir d && cd d && export A=1"}),)),
        Reply(tool_calls=(ToolCall("bash", {"command": "echo $A; basename $PWD; exit 3"}),)),
        Reply("Now Python.", tool_calls=(ToolCall("python", {"code": "print(6 * 7)"}),)),
        "ok",
    ]
    with ScriptedModel(script) as server:
        driver.connect(server, workspace, **SHELL)
        answer = driver.ask("x")
        assert answer.outputs == ["", "1\nd\n", "42\n"]
        assert [status for _, status in answer.codes] == ["completed", "failed", "completed"]
        assert offered(server.requests[0]) == ["bash", "python"]
        assert outputs(server.requests[3])[1].startswith("exit code 3, ")
        assert outputs(server.requests[3])[1].endswith("\n1\nd\n")
        assert len([event for event in answer.run.events if isinstance(event, CodeFinished)]) == 3


def test_shell_calls_go_back_as_calls(workspace: Path) -> None:
    driver = Driver("responses", "sync")
    with ScriptedModel([Reply(tool_calls=(ToolCall("bash", {"command": "echo 42"}),)), "ok", "fine"]) as server:
        driver.connect(server, workspace, **SHELL)
        first = driver.ask("x")
        kinds = [item.type for item in first.response.output]
        assert kinds == ["code_interpreter_call", "message"]
        asked: Any = [{"role": "user", "content": "x"}, *first.response.output, {"role": "user", "content": "and?"}]
        assert driver.ask(asked).text == "fine"
        kinds = [item.get("type") or item["role"] for item in server.requests[2].body["input"]]
        assert kinds == ["user", "function_call", "function_call_output", "message", "user"]
    driver.close()


def test_tools_are_functions_in_the_shells_code(driver: Driver, workspace: Path) -> None:
    with ScriptedModel([Reply(tool_calls=(ToolCall("python", {"code": "print(add(40))"}),)), "ok"]) as server:
        driver.connect(server, workspace, **{**SHELL, "tools": [add]})
        assert driver.ask("x").outputs == ["42\n"]
        assert offered(server.requests[0]) == ["bash", "python"]


def test_a_stream_cut_within_a_call_runs_nothing(api: str, workspace: Path) -> None:
    made: list[int] = []

    def note(number: int) -> None:
        made.append(number)

    call = ToolCall("note", {"number": 1})
    driver = Driver(api, "sync-stream")
    with ScriptedModel([Reply(tool_calls=(call,), chunk=3, cut_after=2)]) as server:
        driver.connect(server, workspace, tools=[note], **MCP)
        with pytest.raises(Exception, match=r"(?i)cut|closed|connection|incomplete") as caught:
            driver.ask("x")
        assert made == [] and caught.value.__dict__["agentd"].status == "failed"
    driver.close()
