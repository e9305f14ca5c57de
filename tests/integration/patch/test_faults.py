"""A bad model API, a bad stream, a caller who leaves: a clear error, no hang, nothing lost, nothing left running."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from agentd import ScriptedModel, display_events, display_events_async, patch_openai_with_ptc, unpatch_openai
from agentd.core.errors import AgentdError, MalformedReply, NotPatched, OptionError, StreamCut
from agentd.core.events import CodeFinished, ErrorRaised, TurnEnded
from agentd.llm.scripted import Reply
from tests.fakes.driver import Driver

# An argument of no other process, not of another test worker either.
NAP = f"61.7{os.getpid()}"
CODE = "```bash:execute\necho 42\n```\n"


def processes_with(argument: str) -> list[str]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                command = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if argument.encode() in command:
                found.append(entry)
    return found


def until_there(argument: str, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not processes_with(argument):
        assert time.monotonic() < end, f"no process with {argument} came"
        time.sleep(0.02)


def until_gone(argument: str, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while processes_with(argument):
        assert time.monotonic() < end, f"a process with {argument} is still there"
        time.sleep(0.02)


def test_errors_of_the_api_pass_unchanged(driver: Driver, workspace: Path) -> None:
    with ScriptedModel([Reply("slow down", status=429), CODE, Reply("oops", status=500), CODE, "fine"]) as server:
        driver.connect(server, workspace)
        with pytest.raises(openai.RateLimitError) as first:
            driver.ask("x")
        assert first.value.status_code == 429
        with pytest.raises(openai.InternalServerError):
            driver.ask("x")
        assert driver.ask("x").text == "fine"


def test_the_sdk_retries_as_it_was_told(driver: Driver, workspace: Path) -> None:
    busy = Reply("busy", status=429, headers={"Retry-After": "0"})
    with ScriptedModel([CODE, busy, "fine"]) as server:
        driver.connect(server, workspace, max_retries=2)
        answer = driver.ask("x")
        assert answer.text == "fine" and answer.outputs == ["42\n"]
        assert len(server.requests) == 3


@pytest.mark.parametrize("fault", [{"cut_after": 2}, {"malformed": "end"}, {"malformed": "json"}])
def test_a_broken_stream_is_an_error_and_runs_nothing_twice(api: str, workspace: Path, fault: dict[str, Any]) -> None:
    script = [CODE.replace("echo 42", "echo x >> log"), Reply("Let me think. " + CODE * 3, **fault)]
    events: list[Any] = []
    for mode in ("sync-stream", "async-stream"):
        driver = Driver(api, mode)
        with ScriptedModel(list(script)) as server:
            driver.connect(server, workspace)
            with pytest.raises((openai.APIConnectionError, MalformedReply, StreamCut)) as failure:
                driver.ask("x", on_event=events.append)
            account: Any = failure.value.__dict__["agentd"]
            assert account.status == "failed" and account.model_calls == 2
            driver.close()
    assert (workspace / "log").read_text() == "x\nx\n"
    finished = [event for event in events if isinstance(event, CodeFinished)]
    assert [event.exit_code for event in finished if not event.output and not event.reason] == [0, 0]
    assert all(event.exit_code == 0 or event.reason == "cancelled" for event in finished)
    assert [event.status for event in events if isinstance(event, TurnEnded)] == ["failed", "failed"]
    assert len([event for event in events if isinstance(event, ErrorRaised)]) == 2


@pytest.mark.parametrize("malformed", ["json", "array", "html", "utf8"])
def test_a_malformed_body_is_an_error(api: str, workspace: Path, malformed: Any) -> None:
    for mode in ("sync", "async"):
        driver = Driver(api, mode)
        with ScriptedModel([Reply("hello", malformed=malformed)]) as server:
            driver.connect(server, workspace)
            with pytest.raises(MalformedReply, match="JSON"):
                driver.ask("x")
            driver.close()


def test_a_cut_connection_is_the_sdks_connection_error(api: str, workspace: Path) -> None:
    with ScriptedModel([Reply("hello there, this is long", cut_after=1)]) as server:
        driver = Driver(api, "sync-stream")
        driver.connect(server, workspace)
        with pytest.raises((openai.APIConnectionError, StreamCut)):
            driver.ask("x")
        driver.close()


def test_a_closed_stream_ends_its_code(api: str, workspace: Path) -> None:
    with ScriptedModel([f"```bash:execute\necho begun; sleep {NAP}1\n```\n", CODE, "never"]) as server:
        driver = Driver(api, "sync-stream")
        client = driver.connect(server, workspace)
        stream = driver.resource().create(**driver.arguments("x", {"stream": True}))
        for event in display_events(stream):
            if event.type == "code_output":
                break
        until_there(f"{NAP}1")
        stream.close()
        assert not processes_with(f"{NAP}1")
        assert stream.agentd.status == "cancelled"
        assert len(server.requests) == 1
        assert client.responses is not None
        driver.close()


def test_an_abandoned_stream_ends_its_code(workspace: Path) -> None:
    with ScriptedModel([f"```bash:execute\necho begun; sleep {NAP}2\n```\n", "never"]) as server:
        client = patch_openai_with_ptc(OpenAI(base_url=server.base_url, api_key="x"), cwd=workspace)
        stream = client.responses.create(model="m", input="x", stream=True)
        for event in display_events(stream):
            if event.type == "code_output":
                break
        del stream, event
        gc.collect()
        until_gone(f"{NAP}2")
        assert len(server.requests) == 1
        unpatch_openai(client).close()


async def test_a_cancelled_call_ends_its_code(workspace: Path) -> None:
    with ScriptedModel([f"```bash:execute\nsleep {NAP}3\n```\n", "never"]) as server:
        async with AsyncOpenAI(base_url=server.base_url, api_key="x") as client:
            patch_openai_with_ptc(client, cwd=workspace)
            call = asyncio.create_task(client.responses.create(model="m", input="x"))
            await asyncio.to_thread(until_there, f"{NAP}3")
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            until_gone(f"{NAP}3")
            unpatch_openai(client)
        assert len(server.requests) == 1


async def test_a_closed_async_stream_ends_its_code(workspace: Path) -> None:
    server = ScriptedModel([f"```bash:execute\necho begun; sleep {NAP}4\n```\n", "never"])
    async with AsyncOpenAI(base_url=server.base_url, api_key="x") as client:
        patch_openai_with_ptc(client, cwd=workspace)
        async with await client.responses.create(model="m", input="x", stream=True) as stream:
            async for event in display_events_async(stream):
                if event.type == "code_output":
                    break
        assert not processes_with(f"{NAP}4")
        unpatch_openai(client)
    server.close()


def test_generation_is_cut_where_the_model_guesses(api: str, workspace: Path) -> None:
    guess = CODE + "\nIt printed 41, so now I will go on and on." * 200
    with ScriptedModel([Reply(guess, delay=0.002), "Right, 42."]) as server:
        driver = Driver(api, "sync-stream")
        driver.connect(server, workspace)
        assert driver.ask("x").text == "Right, 42."
        driver.close()
        assert server.disconnects == 1


def test_a_block_starts_while_the_model_goes_on(workspace: Path) -> None:
    two = "```bash:execute\ntouch first\n```\n```bash:execute\n" + "# wait\n" * 40 + "ls\n```\n"
    with ScriptedModel([Reply(two, delay=0.01, chunk=4), "ok"]) as server:
        client = patch_openai_with_ptc(OpenAI(base_url=server.base_url, api_key="x"), cwd=workspace)
        stream = client.responses.create(model="m", input="x", stream=True)
        types = [event.type for event in display_events(stream)]
        unpatch_openai(client).close()
    assert types.index("code_execution") < len(types) - 1
    assert types.count("code_execution") == 2


def test_wrong_options_say_what_is_right(workspace: Path) -> None:
    client: Any = OpenAI(base_url="http://127.0.0.1:9", api_key="x")
    with pytest.raises(OptionError, match="OpenAI"):
        patch_openai_with_ptc(object())
    with pytest.raises(OptionError, match="max_turns"):
        patch_openai_with_ptc(client, max_turns=0)
    with pytest.raises(AgentdError, match="local"):
        patch_openai_with_ptc(client, executor="nowhere")
    patch_openai_with_ptc(client, cwd=workspace)
    with pytest.raises(OptionError, match="max_turns"):
        client.responses.create(model="m", input="x", max_turns="many")
    with pytest.raises(OptionError, match="session"):
        client.responses.create(model="m", input="x", session="")
    with pytest.raises(OptionError, match="n > 1"):
        client.chat.completions.create(model="m", messages=[], n=2)
    with pytest.raises(NotPatched):
        display_events(iter([]))
    unpatch_openai(client).close()


def test_an_observer_sees_every_event(driver: Driver, workspace: Path) -> None:
    seen: list[Any] = []
    with ScriptedModel(["Hm.\n" + CODE, "42"]) as server:
        driver.connect(server, workspace)
        driver.ask("x", on_event=seen.append)
    types = [event.type for event in seen]
    assert types[0] == "turn.started" and types[-1] == "turn.ended"
    assert {"text.delta", "code.started", "code.output", "code.finished", "message", "usage"} <= set(types)


def test_an_observer_that_fails_harms_nobody(driver: Driver, workspace: Path) -> None:
    def fail(event: Any) -> None:
        raise ValueError(event.type)

    with ScriptedModel([CODE, "42"]) as server:
        driver.connect(server, workspace)
        answer = driver.ask("x", on_event=fail)
    assert answer.run.status == "completed" and answer.outputs == ["42\n"]


def test_a_session_keeps_one_log(driver: Driver, workspace: Path) -> None:
    with ScriptedModel([CODE, "one", CODE, "two"]) as server:
        driver.connect(server, workspace)
        first = driver.ask("x", session="s")
        second = driver.ask("x", session="s")
        assert [record.seq for record in first.run.records + second.run.records] == list(
            range(1, len(first.run.records) + len(second.run.records) + 1)
        )
