"""Whole turns of patched clients, recorded over real HTTP and played back when the server is gone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentd import CodeOutput
from agentd.llm.replay import NotOnCassette, replay
from agentd.llm.scripted import Reply, ScriptedModel
from tests.fakes.driver import Answer, Driver

SCRIPT = [
    "Let me look.\n```bash:execute\npwd; cat note.txt; ls missing\n```\nI guess that it says",
    "```python:execute\nprint(6 * 7)\n```\n```out/answer.txt:create\n42\n```\n",
    "The answer is 42: é, 日本.",
]
MODES = [(api, mode) for api in ("responses", "chat") for mode in ("sync", "sync-stream", "async", "async-stream")]


@pytest.fixture(params=MODES, ids="-".join)
def new_driver(request: pytest.FixtureRequest) -> Iterator[Callable[[], Driver]]:
    made: list[Driver] = []

    def new() -> Driver:
        made.append(Driver(*request.param))
        return made[-1]

    yield new
    for driver in made:
        driver.close()


def workspace(tmp_path: Path, name: str, note: str = "the note") -> Path:
    place = tmp_path / name
    place.mkdir()
    (place / "note.txt").write_text(f"{note}\n")
    return place


def ask(driver: Driver, server: ScriptedModel, place: Path, prompt: str = "What is the answer?") -> Answer:
    driver.connect(server, place)
    return driver.ask(prompt)


def shown(answer: Answer) -> list[str]:
    """Return the kinds of what was shown; how live output is cut into pieces is up to the clock."""
    return [type(event).__name__ for event in answer.shown if not isinstance(event, CodeOutput)]


def test_a_turn_is_recorded_once_and_played_back_offline(new_driver: Callable[[], Driver], tmp_path: Path) -> None:
    cassette = tmp_path / "cassettes" / "turn.yaml"
    server = ScriptedModel(SCRIPT)
    with server, replay(cassette, ignore=[r"/\S*/(first|second)\b"]) as recorder:
        assert recorder.recording
        first = ask(new_driver(), server, workspace(tmp_path, "first"))
    assert len(server.requests) == 3

    with replay(cassette, ignore=[r"/\S*/(first|second)\b"]) as player:
        assert not player.recording
        second = ask(new_driver(), server, place := workspace(tmp_path, "second"))
    assert len(server.requests) == 3
    assert second.text == first.text
    assert second.text.endswith("The answer is 42: é, 日本.")
    assert "the note" in first.outputs[0]
    assert [output.replace("second", "first") for output in second.outputs] == first.outputs
    assert (place / "out" / "answer.txt").read_text() == "42\n"  # the code is run for real
    assert shown(second) == shown(first)


def test_a_change_of_the_prompt_is_noticed(new_driver: Callable[[], Driver], tmp_path: Path) -> None:
    cassette = tmp_path / "turn.yaml"
    driver = new_driver()
    with ScriptedModel(["Hello."], repeat_last=True) as server:
        with replay(cassette):
            ask(driver, server, tmp_path)
        place = r"input(\[0\].content)?" if driver.api == "responses" else r"messages\[1\].content"
        where = rf"first difference is at {place}: .*is the answer.*was the answer"
        with pytest.raises(NotOnCassette, match=where), replay(cassette):
            ask(new_driver(), server, tmp_path, "What was the answer?")
        assert len(server.requests) == 1  # and no request left the house


def test_a_change_of_what_the_code_says_is_noticed(new_driver: Callable[[], Driver], tmp_path: Path) -> None:
    cassette = tmp_path / "turn.yaml"
    script = ["```bash:execute\ncat note.txt\n```\n", "Done."]
    with ScriptedModel(script) as server, replay(cassette):
        ask(new_driver(), server, workspace(tmp_path, "a"))
    with pytest.raises(NotOnCassette, match=r"recorded .*the note.*, now .*the tone"), replay(cassette):
        ask(new_driver(), server, workspace(tmp_path, "b", "the tone"))


@pytest.mark.parametrize("api", ["responses", "chat"])
def test_a_recorded_stream_is_as_live_as_any(api: str, tmp_path: Path) -> None:
    gate = threading.Event()
    driver = Driver(api, "sync-stream")
    try:
        with ScriptedModel([Reply(["One ", gate, "two."])]) as server, replay(tmp_path / "live.yaml"):
            driver.connect(server, tmp_path)
            stream = driver.resource().create(**driver.arguments("Count.", {}), stream=True)
            for event in stream:
                if "One " in str(event):
                    break  # it came although the answer is held back
            else:
                pytest.fail("the stream ended")
            gate.set()
            list(stream)
    finally:
        driver.close()
