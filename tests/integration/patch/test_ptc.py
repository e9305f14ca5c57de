"""A patched client runs the model's code: the same in all its forms."""

from __future__ import annotations

from pathlib import Path

from agentd import ScriptedModel
from agentd.llm.scripted import Reply
from tests.fakes.driver import Driver

LS = "Let me look.\n\n```bash:execute\necho one; echo two\n```\n"


def test_runs_a_block_and_tells_the_model(driver: Driver, workspace: Path) -> None:
    with ScriptedModel([LS, "There are two."]) as server:
        driver.connect(server, workspace)
        answer = driver.ask("How many?")
        assert answer.codes == [("one\ntwo\n", "completed")]
        assert answer.text.endswith("There are two.")
        assert "```" not in answer.text
        assert answer.run.status == "completed"
        assert answer.run.model_calls == 2
        told = server.requests[1].last_text
        assert "one\ntwo\n" in told and "exit code 0" in told


def test_keeps_what_the_model_said(driver: Driver, workspace: Path) -> None:
    with ScriptedModel([LS, "Done."]) as server:
        driver.connect(server, workspace)
        driver.ask("How many?")
        items = server.requests[1].body["input" if driver.api == "responses" else "messages"]
        said = items[-2]
        content = said["content"] if isinstance(said["content"], str) else said["content"][0]["text"]
        assert content == LS


def test_cuts_what_the_model_guesses(driver: Driver, workspace: Path) -> None:
    guess = LS + "\nThe output was: ninety-nine.\n"
    with ScriptedModel([Reply(guess, chunk=4), "Two."]) as server:
        driver.connect(server, workspace)
        answer = driver.ask("How many?")
        assert "ninety" not in answer.text
        assert all("ninety" not in str(request.body) for request in server.requests)
        assert answer.codes == [("one\ntwo\n", "completed")]


def test_a_group_runs_in_order_whatever_the_exit_codes(driver: Driver, workspace: Path) -> None:
    group = "```bash:execute\ncd /tmp; export A=1; exit 3\n```\n\n```bash:execute\necho $A; pwd\n```\n"
    with ScriptedModel([group, "Done."]) as server:
        driver.connect(server, workspace)
        answer = driver.ask("Go")
        assert answer.codes == [("", "failed"), ("1\n/tmp\n", "completed")]
        told = server.requests[1].last_text
        assert "Result 1 of 2" in told and "exit code 3" in told and "Result 2 of 2" in told


def test_creates_a_file(driver: Driver, workspace: Path) -> None:
    with ScriptedModel(["```notes/a.md:create\n# Title\n\ntext\n```\n", "Done."]) as server:
        driver.connect(server, workspace)
        answer = driver.ask("Go")
        assert (workspace / "notes/a.md").read_text() == "# Title\n\ntext\n"
        assert answer.codes[0][1] == "completed"


def test_tells_of_what_does_not_run(driver: Driver, workspace: Path) -> None:
    wrong = "```ruby:execute\nputs 1\n```\n"
    unclosed = "```bash:execute\ntouch here\n"
    with ScriptedModel([wrong, unclosed, "Sorry."]) as server:
        driver.connect(server, workspace)
        answer = driver.ask("Go")
        assert [status for _, status in answer.codes] == ["failed", "failed"]
        assert "ruby:execute" in server.requests[1].last_text
        assert "did not run" in server.requests[2].last_text
        assert not (workspace / "here").exists()


def test_ends_visibly_at_max_turns(driver: Driver, workspace: Path) -> None:
    with ScriptedModel([LS], repeat_last=True) as server:
        driver.connect(server, workspace)
        answer = driver.ask("Loop", max_turns=3)
        assert len(server.requests) == 3
        assert answer.run.status == "max_turns"
        assert len(answer.codes) == 3


def test_answers_without_code_pass_through(driver: Driver, workspace: Path) -> None:
    text = "Use this:\n\n```python\nprint(1)\n```\n\nand `bash:execute` is inline."
    with ScriptedModel([text]) as server:
        driver.connect(server, workspace)
        answer = driver.ask("Hi")
        assert answer.text == text
        assert len(server.requests) == 1
        assert answer.run.status == "completed"


def test_many_calls_on_one_client(driver: Driver, workspace: Path) -> None:
    with ScriptedModel([LS, "Done."] * 10) as server:
        driver.connect(server, workspace)
        for _ in range(10):
            assert driver.ask("Again").outputs == ["one\ntwo\n"]


def test_at_most_fifty_blocks_a_message(driver: Driver, workspace: Path) -> None:
    many = "".join(f"```bash:execute\necho {number}\n```\n" for number in range(60))
    with ScriptedModel([many, "Done."]) as server:
        driver.connect(server, workspace)
        answer = driver.ask("Go")
        assert [status for _, status in answer.codes].count("completed") == 50
        assert [status for _, status in answer.codes].count("failed") == 10
        assert "at most 50 blocks" in server.requests[1].last_text
