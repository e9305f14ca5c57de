"""The small parts of the loop: results, transcript, usage, folding."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from agentd.core.actions import ActionResult
from agentd.core.events import Usage
from agentd.loop import usage
from agentd.loop.folding import code_item, fold
from agentd.loop.results import feedback
from agentd.loop.transcript import Transcript
from agentd.loop.wire import Block

OUTPUT = st.lists(st.sampled_from(["```", "````", "~~~", "`", "a", " ", "\n", "#", "> "]), max_size=20).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def block(output: str, **how: Any) -> Block:
    return Block("ci_1", "bash:execute", "ls\n", "```bash:execute\nls\n```\n", ActionResult(0, output, 0.5, **how))


@given(st.lists(OUTPUT, min_size=1, max_size=4))
def test_output_cannot_leave_its_fence(outputs: list[str]) -> None:
    message = feedback([block(output) for output in outputs])
    fences = [token for token in MarkdownIt("commonmark").parse(message) if token.type == "fence"]
    wanted = [output if output.endswith("\n") or not output else output + "\n" for output in outputs]
    assert [token.content for token in fences] == wanted


def test_says_how_a_block_ended() -> None:
    assert "exit code 0, 0.50 s" in feedback([block("x")])
    assert "timeout after 0.50 s" in feedback([block("x", reason="timeout")])
    assert "did not run" in feedback([block("why", reason="refused")])
    assert "Result 2 of 2" in feedback([block("x"), block("y")])


@given(st.dictionaries(st.text(), JSON, max_size=3), st.lists(JSON, max_size=3), st.lists(JSON, max_size=3))
def test_a_transcript_is_the_json_of_its_items(rest: dict, first: list, later: list) -> None:
    transcript = Transcript("messages", rest, first)
    for item in later:
        transcript.append(item)
    assert json.loads(transcript.body()) == {**rest, "messages": first + later}


def test_a_lone_surrogate_is_sent_as_json_escape() -> None:
    assert b"\\ud800" in Transcript("input", {}, ["\ud800"]).body()


def test_usage_is_summed_with_its_details() -> None:
    one = {"input_tokens": 3, "output_tokens": 1, "input_tokens_details": {"cached_tokens": 2}, "total_tokens": 4}
    total = usage.add(usage.add({}, one), one)
    assert total == {
        "input_tokens": 6,
        "output_tokens": 2,
        "input_tokens_details": {"cached_tokens": 4},
        "total_tokens": 8,
    }
    assert usage.read(total) == Usage(6, 2, 4, 0)
    chat = {"prompt_tokens": 5, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 1}}
    assert usage.read(chat) == Usage(5, 2, 0, 1)
    assert usage.read(usage.estimate("chat", 400, 8)) == Usage(100, 2, 0, 0, True)


def test_our_items_fold_back_to_what_was_said_and_told() -> None:
    part = {"type": "output_text", "text": "A\n"}
    message = {"type": "message", "id": "msg_1", "role": "assistant", "content": [part]}
    folded = fold([{"role": "user", "content": "q"}, message, code_item(block("out\n"))])
    assert folded[1] == {**message, "content": [{"type": "output_text", "text": "A\n```bash:execute\nls\n```\n"}]}
    assert folded[2] == {"role": "user", "content": feedback([block("out\n")])}
    assert len(folded) == 3


def test_a_code_item_that_lost_our_mark_still_folds() -> None:
    item = {name: value for name, value in code_item(block("out\n")).items() if name != "agentd"}
    folded: list[Any] = fold([item])
    assert folded[0] == {"role": "assistant", "content": "```bash:execute\nls\n```\n"}
    assert folded[1]["role"] == "user" and "out" in folded[1]["content"]


def test_items_of_others_are_left_alone() -> None:
    theirs: Any = {
        "type": "code_interpreter_call",
        "id": "x",
        "container_id": "cntr_1",
        "code": "1",
        "status": "completed",
    }
    assert fold([theirs, "text", 5]) == [theirs, "text", 5]


def test_a_cut_message_loses_the_id_that_was_never_stored() -> None:
    cut = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": "A", "agentd": {}}
    assert fold([cut]) == [{"type": "message", "role": "assistant", "content": "A"}]
