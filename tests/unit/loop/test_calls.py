"""JSON calls out of chat deltas and Responses events: whole, in order, each on its own side."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.actions import Action, Answer, Call
from agentd.core.tools import JSON, Media
from agentd.loop.calls import CallingMessage
from agentd.loop.chat import Chat
from agentd.loop.chat_calls import ChatCalls
from agentd.loop.definitions import relaxed
from agentd.loop.folding import call_item, fold
from agentd.loop.memory import MAX_BYTES, HiddenRounds, Memory, StandIn
from agentd.loop.responses import Responses, results
from agentd.loop.transcript import Transcript, dumps
from agentd.loop.wire import Block, Called, Passed
from tests.fakes.toolkits import NamedTools

OURS, THEIRS = "read_file", "ask_user"
KIT = NamedTools(OURS)

calls = st.lists(st.tuples(st.sampled_from([OURS, THEIRS]), st.text(min_size=1, max_size=12)), max_size=5)


def call(name: str, arguments: str, number: int) -> dict[str, Any]:
    return {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments}}


def merged(deltas: list[Any]) -> list[dict[str, Any]]:
    """Put deltas together as the SDK does."""
    whole: dict[int, dict[str, Any]] = {}
    for delta in deltas:
        held = whole.setdefault(delta["index"], {"function": {"name": "", "arguments": ""}})
        function = delta.get("function") or {}
        held["function"]["name"] += function.get("name") or ""
        held["function"]["arguments"] += function.get("arguments") or ""
        held.update({name: value for name, value in delta.items() if name in ("id", "type")})
    return [whole[index] for index in sorted(whole)]


@given(calls, st.data(), st.booleans())
def test_chat_calls_are_put_together_and_sorted_by_side(
    made: list[tuple[str, str]], data: st.DataObject, name_late: bool
) -> None:
    expected = [call(name, arguments, number) for number, (name, arguments) in enumerate(made)]
    queues: list[list[dict[str, Any]]] = []
    for index, whole in enumerate(expected):
        arguments = whole["function"]["arguments"]
        cuts = sorted(data.draw(st.lists(st.integers(0, len(arguments)), max_size=3)))
        parts = [arguments[a:b] for a, b in zip([0, *cuts], [*cuts, len(arguments)], strict=True)]
        head: dict[str, Any] = {"index": index, "id": whole["id"], "type": "function"}
        first = {"name": whole["function"]["name"]}
        deltas = [{**head, "function": {} if name_late else {**first, "arguments": ""}}]
        deltas += [{"index": index, "function": first}] if name_late else []
        queues.append([*deltas, *({"index": index, "function": {"arguments": part}} for part in parts)])
    reader, shown = ChatCalls(KIT), []
    while any(queues):
        queue = data.draw(st.sampled_from([queue for queue in queues if queue]))
        shown += json.loads(json.dumps(reader.feed([queue.pop(0)])))
    found = list(reader.finish())
    assert [(one.id, one.name, one.arguments) for one in found] == [
        (one["id"], OURS, one["function"]["arguments"]) for one in expected if one["function"]["name"] == OURS
    ]
    theirs = [one for one in expected if one["function"]["name"] == THEIRS]
    assert sorted(merged(shown), key=lambda one: one["id"]) == theirs
    assert reader.all == expected and reader.callers == theirs
    indexes = {delta["index"] for delta in shown}
    assert indexes == set(range(len(theirs)))


def test_deltas_without_an_index_belong_to_the_call_whose_id_was_last_said() -> None:
    reader = ChatCalls(NamedTools())
    more: Any = {"function": {"arguments": "b"}}
    for delta in (call(THEIRS, "a", 1), more, call(THEIRS, "c", 2)):
        reader.feed([delta])
    list(reader.finish())
    callers: Any = reader.callers
    assert [one["function"]["arguments"] for one in callers] == ["ab", "c"]


@pytest.mark.parametrize("ids", [["a", "a"], ["", ""], [None, None], ["a", "a", "a"]])
def test_calls_of_one_id_get_ids_of_their_own(ids: list[Any]) -> None:
    reader = ChatCalls(KIT)
    reader.feed([{**call(OURS, "{}", at), "id": given, "index": at} for at, given in enumerate(ids)])
    found = list(reader.finish())
    assert len({one.id for one in found}) == len(ids) and all(one.id for one in found)
    assert [one["id"] for one in reader.all] == [one.id for one in found]


def test_a_call_of_ours_never_takes_the_id_of_the_callers() -> None:
    reader = ChatCalls(KIT)
    reader.feed([{**call(OURS, "{}", 1), "index": 0}, {**call(THEIRS, "{}", 1), "index": 1}])
    (ours,) = reader.finish()
    assert ours.id != "call_1" and reader.callers[0]["id"] == "call_1"


def responses_frames(items: list[dict[str, Any]], **final: Any) -> list[dict[str, Any]]:
    response = {"id": "resp_1", "object": "response", "status": "completed", "output": items, "usage": None, **final}
    frames: list[dict[str, Any]] = [{"type": "response.created", "response": response}]
    for index, item in enumerate(items):
        frames.append({"type": "response.output_item.added", "output_index": index, "item": {**item, "arguments": ""}})
        at = {"output_index": index, "item_id": item["id"]}
        frames.append({"type": "response.function_call_arguments.delta", **at, "delta": item["arguments"]})
        frames.append({"type": "response.function_call_arguments.done", **at, "arguments": item["arguments"]})
        frames.append({"type": "response.output_item.done", "output_index": index, "item": item})
    return [*frames, {"type": "response.completed", "response": response}]


def item(name: str, number: int, arguments: str = "{}") -> dict[str, Any]:
    fields = {"type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}", "status": "completed"}
    return {**fields, "name": name, "arguments": arguments}


@pytest.mark.parametrize("streamed", [True, False])
def test_the_caller_sees_his_own_calls_only(streamed: bool) -> None:
    turn = Responses({"model": "m", "input": "x"}, "", streamed, KIT, Memory())
    frames = responses_frames([item(OURS, 1), item(THEIRS, 2), item(OURS, 1)])
    if not streamed:
        frames = [frames[-1]["response"]]
    current = turn.begin()
    pieces = [piece for frame in frames for piece in current.read(frame)]
    found = [piece for piece in pieces if isinstance(piece, Called)]
    assert len(found) == 2 and len({one.id for one in found}) == 2
    _, ending = current.end(None)
    assert ending.wants_caller
    shown: Any = turn.whole()["output"]
    assert [one["name"] for one in shown] == [THEIRS]
    passed = [piece.frame for piece in pieces if isinstance(piece, Passed)]
    assert all(frame.get("output_index", 0) == 0 for frame in passed)


def answered(number: int, text: str = "ok", ok: bool = True, **more: Any) -> Block:
    called = Called(f"call_{number}", OURS, "{}", item(OURS, number))
    return Block(f"mcp_agentd_{number}", OURS, "{}", "", called=called, answer=Answer("x", ok, text, **more))


def test_calls_are_folded_back_to_what_the_model_said_and_was_told() -> None:
    blocks = [answered(1), answered(2, "no", ok=False)]
    told = results(blocks, inline=True)
    items: list[Any] = [call_item(block, output["output"]) for block, output in zip(blocks, told, strict=True)]
    assert fold([{"role": "user", "content": "x"}, *items, item(THEIRS, 3)]) == [
        {"role": "user", "content": "x"}, item(OURS, 1), item(OURS, 2), *told, item(THEIRS, 3),
    ]  # fmt: skip
    stripped: Any = [{name: value for name, value in one.items() if name != "agentd"} for one in items]
    first, second, output, error = fold(stripped)
    assert isinstance(first, dict) and first["name"] == OURS and first["arguments"] == "{}"
    assert isinstance(output, dict) and output["call_id"] == first["call_id"] and output["output"] == "ok"
    assert isinstance(error, dict) and isinstance(second, dict)
    assert error["call_id"] == second["call_id"] and error["output"] == "no"


def test_images_stand_in_a_result_or_after_all_of_them() -> None:
    image = Media("image", "image/png", "AAAA")
    block = answered(1, media=(image, Media("audio", "audio/wav", "BBBB")))
    (inline,) = results([block], inline=True)
    output: Any = inline["output"]
    assert [part["type"] for part in output] == ["input_text", "input_image"]
    assert output[1]["image_url"] == "data:image/png;base64,AAAA"
    plain, message = results([block], inline=False)
    content: Any = message["content"]
    assert plain["output"] == "ok" and message["role"] == "user" and content[1] == output[1]
    chat = Chat({"model": "m", "messages": []}, "", False, KIT, Memory())
    reply: Any = {"choices": [{"message": {"role": "assistant", "tool_calls": [call(OURS, "{}", 1)]}}]}
    current = chat.begin()
    list(current.read(reply))
    current.end(None)
    chat.record([block])
    *_, tool, shown = json.loads(chat.body())["messages"]
    assert tool == {"role": "tool", "tool_call_id": "call_1", "content": "ok"}
    assert [part["type"] for part in shown["content"]] == ["text", "image_url", "input_audio"]
    assert shown["content"][2]["input_audio"] == {"data": "BBBB", "format": "wav"}


def test_calls_above_the_limit_are_answered_and_not_made() -> None:
    message = CallingMessage(KIT, iter("abc").__next__, max_blocks=2)
    made = [message.call(Called(f"call_{at}", OURS, "{}", {}))[0] for at in range(3)]
    assert all(isinstance(one, Call) for one in made)
    assert [one.problem for one in made if isinstance(one, Call)][:2] == ["", ""]
    last = made[2]
    assert isinstance(last, Call) and "at most 2 calls" in last.problem
    assert len(message.settle()) == 3 and not isinstance(last, Action)


ALLOWED: Any = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "x"}]}


@pytest.mark.parametrize(
    ("choice", "later"),
    [
        ("auto", None),
        (None, None),
        ("none", None),
        ("required", "auto"),
        ({"type": "function", "name": "x"}, "auto"),
        (ALLOWED, {**ALLOWED, "mode": "auto"}),
        ({**ALLOWED, "mode": "auto"}, None),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": []}},
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}},
        ),
    ],
)
def test_a_forced_choice_is_forced_once_only(choice: JSON, later: JSON) -> None:
    assert relaxed(choice) == later


@given(st.lists(st.text(max_size=5)), st.lists(st.text(max_size=5)), st.text(max_size=5))
def test_a_transcript_is_preceded_and_its_parameters_change(before: list[str], items: list[str], value: str) -> None:
    made = Transcript("input", {"model": "m", "n": 1}, [*items])
    made.precede(dumps([*before])[1:-1])
    made.append("last")
    made.change("n", value)
    assert json.loads(made.body()) == {"model": "m", "n": value, "input": [*before, *items, "last"]}
    assert json.loads(b"[" + made.items() + b"]") == [*before, *items, "last"]


def test_memory_is_bounded() -> None:
    memory = Memory()
    for number in range(20):
        memory.keep(f"resp_{number}", StandIn("", b"x" * (1 << 20)))
        memory.owe(f"resp_{number}", [{"output": "x" * (1 << 20)}])
    assert memory.transcript("resp_0") is None and memory.owed("resp_0") == []
    held = [memory.transcript(f"resp_{number}") for number in range(20)]
    size = sum(len(one.items) for one in held if one) + sum(len(str(memory.owed(f"resp_{n}"))) for n in range(20))
    assert (24 << 20) < size <= MAX_BYTES + 1000
    memory.keep("huge", StandIn("", b"x" * (MAX_BYTES + 1)))
    assert memory.transcript("huge") is None and memory.transcript("resp_19") is not None


def test_memory_is_safe_in_threads() -> None:
    memory = Memory()

    def work(number: int) -> None:
        for turn in range(300):
            memory.keep(f"resp_{turn % 7}", StandIn("", b"x" * number))
            memory.paid("nobody")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    held: list[Any] = [memory.transcript(f"resp_{number}") for number in range(7)]
    assert memory._size == sum(len(one.items) for one in held)


ASKED: Any = {"role": "user", "content": "yes"}
SEEN: Any = {"role": "assistant", "content": None, "tool_calls": [call(THEIRS, "{}", 2)]}
FULL: Any = {**SEEN, "tool_calls": [call(OURS, "{}", 1), call(THEIRS, "{}", 2)]}
TOLD: Any = {"role": "tool", "tool_call_id": "call_2", "content": "2"}
BEFORE: list[Any] = [{"role": "assistant", "content": "before"}]
RESULTS: list[Any] = [{"role": "tool", "tool_call_id": "call_1", "content": "1"}]
AFTER: list[Any] = [{"role": "user", "content": "after"}]


def remembering(*messages: Any) -> Memory:
    memory = Memory()
    memory.hide(messages, HiddenRounds([call(THEIRS, "{}", 2)], BEFORE, FULL, RESULTS, AFTER))
    return memory


def test_hidden_rounds_come_back_where_they_were() -> None:
    memory = remembering(ASKED)
    assert memory.restore([ASKED, SEEN, TOLD]) == [ASKED, *BEFORE, FULL, *RESULTS, TOLD, *AFTER]
    assert memory.restore([ASKED, SEEN, TOLD, ASKED]) == [ASKED, *BEFORE, FULL, *RESULTS, TOLD, *AFTER, ASKED]


def test_hidden_rounds_of_one_conversation_are_never_put_into_another() -> None:
    """Some servers count the ids of calls anew in every answer, and people say the same things."""
    memory = remembering({"role": "user", "content": "I am Alice"}, ASKED)
    bobs: list[Any] = [{"role": "user", "content": "I am Bob"}, ASKED, SEEN, TOLD]
    assert memory.restore(bobs) == bobs
    other: Any = {**SEEN, "tool_calls": [call(THEIRS, '{"other": 1}', 2)]}
    alices: list[Any] = [{"role": "user", "content": "I am Alice"}, ASKED, other, TOLD]
    assert memory.restore(alices) == alices


def test_calls_that_were_broken_off_are_told_to_be() -> None:
    message = CallingMessage(KIT, iter("abc").__next__, max_blocks=2)
    (made,) = message.call(Called("call_1", OURS, "", {}, cut=True))
    assert isinstance(made, Call) and "broken off" in made.problem


def test_calls_that_all_have_index_zero_are_told_apart_by_their_ids() -> None:
    reader = ChatCalls(KIT)
    for number in (1, 2):
        reader.feed([{**call(OURS, '{"a":', number), "index": 0}])
        reader.feed([{"index": 0, "function": {"arguments": f"{number}}}"}}])
    assert [one.arguments for one in reader.finish()] == ['{"a":1}', '{"a":2}']


@pytest.mark.parametrize("status", ["incomplete", "failed"])
@pytest.mark.parametrize("streamed", [True, False])
def test_a_response_that_is_broken_off_makes_no_call(streamed: bool, status: str) -> None:
    frames = responses_frames([item(OURS, 1, "")], status=status)
    turn = Responses({"model": "m", "input": "x"}, "", streamed, KIT, Memory())
    current = turn.begin()
    read = frames if streamed else [frames[-1]["response"]]
    found = [piece for frame in read for piece in current.read(frame) if isinstance(piece, Called)]
    assert [one.cut for one in found] == [True]
    _, ending = current.end(None)
    assert ending.cut and not ending.wants_caller


@pytest.mark.parametrize(
    "more",
    [
        {"type": "tool_search_call", "execution": "client", "call_id": "call_2", "id": "ts_1", "arguments": {}},
        {**item(OURS, 2), "namespace": "crm"},
    ],
)
def test_what_the_caller_has_to_answer_ends_the_turn(more: dict[str, Any]) -> None:
    turn = Responses({"model": "m", "input": "x"}, "", False, KIT, Memory())
    current = turn.begin()
    response = responses_frames([item(OURS, 1)])[-1]["response"]
    found = list(current.read({**response, "output": [item(OURS, 1), more]}))
    assert len([one for one in found if isinstance(one, Called)]) == 1
    assert current.end(None)[1].wants_caller


def test_what_the_api_has_answered_itself_does_not_end_the_turn() -> None:
    turn = Responses({"model": "m", "input": "x"}, "", False, KIT, Memory())
    current = turn.begin()
    hosted: list[Any] = [
        {"type": "shell_call", "id": "sh_1", "call_id": "call_9", "status": "completed", "action": {}},
        {"type": "shell_call_output", "id": "sho_1", "call_id": "call_9", "output": []},
    ]
    response = responses_frames([item(OURS, 1)])[-1]["response"]
    list(current.read({**response, "output": [*hosted, item(OURS, 1)]}))
    assert not current.end(None)[1].wants_caller
