"""When connections close, and who waits for whom."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from tests.fakes.messages_http import MessagesServer, Said
from tests.integration.llm.conftest import Talker, drive

pytestmark = pytest.mark.xdist_group("litellm")

NAME = "claude-sonnet-4-5"
LONG = 20.0


def held(messages: MessagesServer) -> None:
    """Let the next answer begin, and go on only when its client has left."""
    messages.say(Said(release=messages.left))


def test_leaving_a_stream_early_hangs_up(messages: MessagesServer, api: str) -> None:
    held(messages)
    talker = Talker(api, "sync-stream")
    talker.start(NAME)

    async def leave() -> None:
        reply = await talker.open("hello")
        async for _ in reply:
            break
        await reply.aclose()
        await reply.aclose()

    drive(leave())
    assert messages.left.wait(LONG)


async def test_leaving_a_stream_early_hangs_up_async(messages: MessagesServer, api: str) -> None:
    held(messages)
    talker = Talker(api, "async-stream")
    talker.start(NAME)
    reply = await talker.open("hello")
    async for _ in reply:
        break
    await reply.aclose()
    assert await asyncio.to_thread(messages.left.wait, LONG)


@pytest.mark.parametrize("mode", ["sync-stream", "async-stream"])
def test_leaving_a_providers_own_responses_hangs_up(
    messages: MessagesServer, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setenv("OPENAI_API_BASE", messages.url)
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-openai")
    created = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "m",
        "status": "in_progress",
        "output": [],
    }
    messages.say(Said(events=[{"type": "response.created", "response": created}], release=messages.left))
    talker = Talker("responses", mode)
    talker.start("openai/gpt-5-mini")

    async def leave() -> None:
        reply = await talker.open("hello")
        async for frame in reply:
            assert frame["type"] == "response.created"
            break
        await reply.aclose()

    asyncio.run(leave()) if talker.is_async else drive(leave())
    assert messages.left.wait(LONG)


@pytest.mark.parametrize("name", ["openai/gpt-5-mini", "ollama_chat/llama3", "gemini-2.5-flash"])
@pytest.mark.parametrize("mode", ["async", "async-stream"])
async def test_a_cancelled_call_hangs_up(
    messages: MessagesServer, monkeypatch: pytest.MonkeyPatch, name: str, api: str, mode: str
) -> None:
    """Any provider: this server holds back every answer, so its protocol does not matter."""
    for variable in ("OPENAI_API_BASE", "OLLAMA_API_BASE", "GEMINI_API_BASE"):
        monkeypatch.setenv(variable, messages.url)
    for variable in ("OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(variable, "key-of-somebody")
    messages.say(Said(head=messages.left))
    talker = Talker(api, mode)
    talker.start(name)
    asking = asyncio.create_task(talker.ask("hello"))
    assert await asyncio.to_thread(messages.arrived.wait, LONG)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await asyncio.to_thread(messages.left.wait, LONG)


def test_a_stream_that_is_lost_hangs_up(messages: MessagesServer) -> None:
    held(messages)
    talker = Talker("chat", "sync-stream")
    talker.start(NAME)
    reply = drive(talker.open("hello"))
    assert reply is not None
    del reply
    gc.collect()
    assert messages.left.wait(LONG)


async def test_the_callers_loop_goes_on(messages: MessagesServer) -> None:
    """The answer comes only when another task of the same loop has let it."""
    released = threading.Event()
    messages.say(Said(head=released))
    talker = Talker("chat", "async")
    talker.start(NAME)

    async def release() -> None:
        await asyncio.to_thread(messages.arrived.wait, LONG)
        released.set()

    # `to_thread` itself needs this loop to go on.
    frames, _ = await asyncio.gather(talker.ask("hello"), release())
    assert frames[0]["choices"][0]["message"]["content"] == "Well."


async def test_a_blocking_model_works_inside_a_running_loop(messages: MessagesServer) -> None:
    messages.say(Said(), Said())
    assert Talker("chat", "sync").send(NAME, "hello")[0]["choices"][0]["message"]["content"] == "Well."
    assert Talker("responses", "sync-stream").send(NAME, "hello")[-1]["type"] == "response.completed"


async def test_no_task_is_left_on_the_callers_loop(messages: MessagesServer) -> None:
    messages.say(Said(), Said())
    for mode in ("async", "async-stream"):
        talker = Talker("chat", mode)
        talker.start(NAME)
        await talker.ask("hello")
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_many_at_once(messages: MessagesServer) -> None:
    messages.say(*[Said()] * 20)
    talkers = [Talker("chat", "async-stream") for _ in range(20)]
    for talker in talkers:
        talker.start(NAME)
    answers = await asyncio.gather(*[talker.ask("hello") for talker in talkers])
    assert all(any(c["delta"].get("content") == "Well." for f in frames for c in f["choices"]) for frames in answers)
    assert len(messages.asked) == 20
