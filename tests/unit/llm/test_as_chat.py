from __future__ import annotations

import json
from typing import Any

import pytest

from agentd.core.errors import OptionError
from agentd.llm.as_chat import chat_request, sealed, unsealed

USER = {"role": "user", "content": "hi"}


def messages(items: Any, **more: Any) -> Any:
    return chat_request({"model": "m", "input": items, **more})["messages"]


def call(name: str, arguments: str = "{}") -> dict[str, Any]:
    return {"type": "function_call", "id": f"fc_{name}", "call_id": name, "name": "look", "arguments": arguments}


def result(name: str, output: Any = "rain") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": name, "output": output}


def said(text: str) -> dict[str, Any]:
    return {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }


def test_a_text_and_instructions() -> None:
    assert messages("hi", instructions="Be brief.") == [{"role": "system", "content": "Be brief."}, USER]
    assert messages(None) == []


def test_developers_are_systems_to_other_providers() -> None:
    assert messages([{"role": "developer", "content": "x"}, USER])[0] == {"role": "system", "content": "x"}


def test_what_one_answer_was_made_of_is_one_message() -> None:
    reasoning = {
        "type": "reasoning",
        "summary": [],
        "encrypted_content": sealed([{"type": "thinking", "thinking": "t"}]),
    }
    _, answer, one, two, last = messages(
        [USER, reasoning, said("Look."), call("a"), call("b"), result("a"), result("b"), USER]
    )
    assert answer["content"] == "Look."
    assert answer["thinking_blocks"] == [{"type": "thinking", "thinking": "t"}]
    assert [made["id"] for made in answer["tool_calls"]] == ["a", "b"]
    assert (one["tool_call_id"], two["tool_call_id"], last) == ("a", "b", USER)


def test_rounds_stay_apart() -> None:
    made = messages([USER, call("a"), result("a"), call("b"), result("b"), said("Done."), USER, said("1"), said("2")])
    assert [message["role"] for message in made] == [
        *("user", "assistant", "tool", "assistant", "tool", "assistant", "user", "assistant", "assistant")
    ]


def test_thoughts_belong_to_the_answer_that_follows() -> None:
    thought = {"type": "reasoning", "summary": [], "encrypted_content": sealed([{"type": "thinking", "thinking": "t"}])}
    made = messages([USER, said("A."), thought, call("a"), result("a")])
    assert "thinking_blocks" not in made[1]
    assert made[2]["thinking_blocks"]
    assert "tool_calls" in made[2]


def test_parts() -> None:
    parts = [
        {"type": "input_text", "text": "a"},
        {"type": "input_image", "image_url": "data:x", "detail": "low"},
        {"type": "input_file", "file_data": "data:y", "filename": "y.pdf"},
        {"type": "input_audio", "input_audio": {"data": "z", "format": "wav"}},
    ]
    (message,) = messages([{"role": "user", "content": parts}])
    assert message["content"] == [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": "data:x", "detail": "low"}},
        {"type": "file", "file": {"file_data": "data:y", "filename": "y.pdf"}},
        {"type": "input_audio", "input_audio": {"data": "z", "format": "wav"}},
    ]


def test_results_of_calls() -> None:
    assert messages([result("a")])[0]["content"] == "rain"
    assert messages([result("a", [{"type": "input_text", "text": "x"}])])[0]["content"] == "x"
    assert messages([result("a", {"x": 1})])[0]["content"] == '{"x": 1}'


def test_tools_and_choices() -> None:
    tool = {"type": "function", "name": "look", "description": None, "parameters": {"type": "object"}, "strict": True}
    asked = chat_request({"input": "x", "tools": [tool], "tool_choice": {"type": "function", "name": "look"}})
    assert asked["tools"] == [
        {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}, "strict": True}}
    ]
    assert asked["tool_choice"] == {"type": "function", "function": {"name": "look"}}
    assert chat_request({"input": "x", "tools": [tool], "tool_choice": "required"})["tool_choice"] == "required"
    bare = chat_request({"input": "x", "tools": [], "tool_choice": "auto", "parallel_tool_calls": True})
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & bare.keys()


def test_options() -> None:
    schema = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}
    asked = chat_request(
        {
            "model": "m",
            "stream": True,
            "input": "x",
            "max_output_tokens": 5,
            "reasoning": {"effort": "low", "summary": "auto"},
            "text": {"format": schema, "verbosity": "low"},
            "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
            "truncation": "disabled",
            "top_p": 0.5,
            "temperature": None,
            "thinking": {"type": "enabled"},
        }
    )
    del asked["messages"]
    assert asked == {
        "max_tokens": 5,
        "reasoning_effort": "low",
        "verbosity": "low",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
        },
        "logprobs": True,
        "top_p": 0.5,
        "thinking": {"type": "enabled"},
    }


@pytest.mark.parametrize(
    "items",
    [
        [{"type": "item_reference", "id": "x"}],
        [{"type": "computer_call", "id": "x"}],
        ["text"],
        [{"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]}],
        [{"role": "user", "content": ["x"]}],
    ],
    ids=json.dumps,
)
def test_items_without_a_counterpart_are_refused(items: Any) -> None:
    with pytest.raises(OptionError):
        chat_request({"input": items})


@pytest.mark.parametrize(
    "tool_choice", [{"type": "file_search"}, {"type": "allowed_tools", "mode": "auto", "tools": []}]
)
def test_choices_without_a_counterpart_are_refused(tool_choice: Any) -> None:
    with pytest.raises(OptionError, match="tool_choice"):
        chat_request({"input": "x", "tools": [{"type": "function", "name": "f"}], "tool_choice": tool_choice})


def test_seals() -> None:
    blocks: list[Any] = [{"type": "thinking", "thinking": "ä", "signature": "s"}]
    assert unsealed(sealed(blocks)) == blocks
    assert unsealed("of another provider") == []
    assert unsealed(None) == []
    with pytest.raises(OptionError, match="changed"):
        unsealed(sealed(blocks) + "!")
