"""Where a recording holds: nested, in threads, in tasks, as a decorator; and that nothing of it stays behind."""

from __future__ import annotations

import asyncio
import importlib
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

from agentd.core.errors import OptionError
from agentd.llm.replay import CassetteError, NotOnCassette, ReplayUnavailable, replay
from agentd.llm.scripted import Request, ScriptedModel

HTTPX: Any = importlib.import_module("httpx")
HTTPX2: Any = importlib.import_module("httpx2")
CLIENTS: list[Any] = [HTTPX.Client, HTTPX.AsyncClient, HTTPX2.Client, HTTPX2.AsyncClient]
KEY = "sk-0123456789abcdefghij"
PICK = "_transport_for_url"
METHODS = [vars(cls)[PICK] for cls in CLIENTS]


def echo(request: Request) -> str:
    return f"You said {request.last_text}."


def say(url: str, text: str) -> str:
    with OpenAI(base_url=url, api_key=KEY, max_retries=0) as asked:
        return asked.responses.create(model="m", input=text).output_text


def untouched() -> bool:
    return [vars(cls)[PICK] for cls in CLIENTS] == METHODS


def test_all_is_put_back_whatever_the_order(tmp_path: Path) -> None:
    first, second = replay(tmp_path / "first.yaml"), replay(tmp_path / "second.yaml")
    first.__enter__()
    assert not untouched()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not untouched()
    second.__exit__(None, None, None)
    assert untouched()
    with pytest.raises(ZeroDivisionError), replay(tmp_path / "third.yaml"):
        raise ZeroDivisionError
    assert untouched()


def test_a_hook_of_another_tool_on_top_of_ours_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picked: list[str] = []
    with ScriptedModel(echo) as server, monkeypatch.context() as other_tool:
        with replay(tmp_path / "one.yaml"):
            ours: Any = vars(HTTPX.Client)[PICK]

            def theirs(client: Any, url: Any) -> Any:
                picked.append(url.path)
                return ours(client, url)

            other_tool.setattr(HTTPX.Client, PICK, theirs)
        assert vars(HTTPX.Client)[PICK] is theirs
        with HTTPX.Client(base_url=server.base_url, headers={"authorization": f"Bearer {KEY}"}) as client:
            assert client.get("/models").is_success
            with replay(tmp_path / "two.yaml"):
                ask = {"model": "m", "input": "once"}
                assert client.post("/responses", json=ask).is_success
        assert (tmp_path / "two.yaml").read_text().count("- request:") == 1
    setattr(HTTPX.Client, PICK, METHODS[0])  # what the other tool has put back is ours
    assert picked == ["/v1/models", "/v1/responses"]
    assert untouched()


def test_the_inner_of_two_gets_the_traffic(tmp_path: Path) -> None:
    outer, inner = tmp_path / "outer.yaml", tmp_path / "inner.yaml"
    with ScriptedModel(echo) as server:
        url = server.base_url
        with replay(outer):
            say(url, "outside")
            with replay(inner):
                say(url, "inside")
    with replay(inner):
        assert say(url, "inside") == "You said inside."
    with replay(outer):
        assert say(url, "outside") == "You said outside."
        with replay(inner):
            assert say(url, "inside") == "You said inside."


def test_threads_and_clients_made_before(tmp_path: Path) -> None:
    said: list[str] = []
    with ScriptedModel(echo) as server, OpenAI(base_url=server.base_url, api_key=KEY) as asked:
        asked.responses.create(model="m", input="before")

        def work() -> None:
            said.append(asked.responses.create(model="m", input="in a thread").output_text)

        for _ in range(2):
            with replay(tmp_path / "thread.yaml"):
                thread = threading.Thread(target=work)
                thread.start()
                thread.join()
        asked.responses.create(model="m", input="after")
        assert [request.last_text for request in server.requests] == ["before", "in a thread", "after"]
    assert said == ["You said in a thread."] * 2


async def test_tasks_have_cassettes_of_their_own(tmp_path: Path) -> None:
    async def work(asked: AsyncOpenAI, name: str) -> str:
        async with replay(tmp_path / f"{name}.yaml"):
            await asyncio.sleep(0.01)
            first = await asked.responses.create(model="m", input=name)
            await asyncio.sleep(0.01)
            return first.output_text

    with ScriptedModel(echo) as server:
        async with AsyncOpenAI(base_url=server.base_url, api_key=KEY) as asked:
            names = ["a", "b", "c"]
            expected = [f"You said {name}." for name in names]
            assert await asyncio.gather(*(work(asked, name) for name in names)) == expected
            assert len(server.requests) == 3
            assert await asyncio.gather(*(work(asked, name) for name in names)) == expected
            assert len(server.requests) == 3
    assert untouched()


async def test_decorated_functions(tmp_path: Path) -> None:
    with ScriptedModel(echo) as server:
        url = server.base_url

    @replay(tmp_path / "decorated.yaml")
    def blocking(text: str) -> str:
        """Say it."""
        return say(url, text)

    @replay(tmp_path / "decorated.yaml")
    async def awaited(text: str) -> str:
        async with AsyncOpenAI(base_url=url, api_key=KEY) as asked:
            return (await asked.responses.create(model="m", input=text)).output_text

    assert (blocking.__name__, blocking.__doc__) == ("blocking", "Say it.")
    with ScriptedModel(echo, port=int(url.split(":")[2].split("/")[0])):
        assert blocking("x") == "You said x."
    assert blocking("x") == "You said x."  # each call starts the cassette anew
    assert blocking("x") == "You said x."
    assert await awaited("x") == "You said x."
    assert await asyncio.gather(awaited("x"), awaited("x")) == ["You said x."] * 2
    with pytest.raises(NotOnCassette):
        blocking("y")


def test_what_cannot_be_decorated_or_entered(tmp_path: Path) -> None:
    tape = replay(tmp_path / "x.yaml")

    def generator() -> Any:
        yield 1

    with pytest.raises(OptionError, match="with statement"):
        tape(generator)
    with tape, pytest.raises(OptionError, match="open already"), tape:
        pytest.fail("it began")
    with pytest.raises(OptionError, match="mode"):
        replay(tmp_path / "x.yaml", mode="sometimes")  # pyright: ignore[reportArgumentType]


BROKEN = {
    "yaml": ("version: 1\ninteractions:\n- request: {method: [\n", r"line 4, column 1: it is not YAML"),
    "other": ("- 1\n- 2\n", "no list of interactions"),
    "empty": ("", "no list of interactions"),
    "binary": ("\x00\x01", "it is not YAML"),
    "request": ("version: 1\ninteractions:\n- response: {}\n", "interaction 1: 'request' is missing"),
    "body": (
        "interactions:\n- request: {method: POST, uri: x, headers: {}, body: 3}\n"
        "  response: {status: {code: 200}, headers: {}, body: null}\n",
        "interaction 1: its body is neither",
    ),
    "object": ("interactions: !!python/object/apply:os.system ['false']\n", "could not determine a constructor"),
}


@pytest.mark.parametrize("mode", ["once", "replay"])
@pytest.mark.parametrize("kind", BROKEN)
def test_a_corrupt_cassette_says_where_and_is_kept(kind: str, mode: Any, tmp_path: Path) -> None:
    text, message = BROKEN[kind]
    cassette = tmp_path / "broken.yaml"
    cassette.write_text(text)
    with pytest.raises(CassetteError, match=message) as raised, replay(cassette, mode=mode):
        pytest.fail("it began")
    assert str(cassette) in str(raised.value)
    assert cassette.read_text() == text
    assert untouched()
    with ScriptedModel(echo) as server, replay(cassette, mode="record"):
        say(server.base_url, "anew")
    with replay(cassette, mode="replay"):
        assert say(server.base_url, "anew") == "You said anew."


def test_where_nothing_can_be_written_is_found_before_the_first_call(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "x.yaml", Path("/proc/x.yaml")):
        with pytest.raises(CassetteError, match=r"x\.yaml cannot be written"), replay(path):
            pytest.fail("it began")
    with pytest.raises(CassetteError, match="is a folder"), replay(tmp_path, mode="record"):
        pytest.fail("it began")
    assert untouched()


def test_the_file_is_the_owners_alone_and_two_recordings_leave_one_whole_file(tmp_path: Path) -> None:
    cassette = tmp_path / "deep" / "er" / "x.yaml"
    with ScriptedModel(echo) as server:
        url = server.base_url
        first, second = replay(cassette), replay(cassette)
        with first:
            say(url, "first")
            with second:
                say(url, "second")
        assert stat.S_IMODE(cassette.stat().st_mode) == 0o600
        with replay(cassette, mode="replay"):
            assert say(url, "first") == "You said first."  # the one that ended last
        cassette.chmod(0o644)
        with replay(cassette, mode="record"):
            say(url, "third")
    assert stat.S_IMODE(cassette.stat().st_mode) == 0o644
    assert [entry.name for entry in cassette.parent.iterdir()] == ["x.yaml"]


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "vcr"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "vcr", None)
    with pytest.raises(ReplayUnavailable, match=r"agentd\[replay\]"), replay(tmp_path / "x.yaml"):
        pytest.fail("it began")
    assert untouched()
