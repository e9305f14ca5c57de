"""Which `input` of a Responses request the API takes, and what it remembers of earlier responses to judge it by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from agentd.llm.scripted_check import (
    RESPONSES_PARAMETERS,
    ApiError,
    check_function,
    check_parameters,
    check_parts,
    is_list,
    is_object,
    missing,
    sequence,
    tokens_in,
    wrong_type,
    wrong_value,
)

INPUT_PARTS = {"input_text": "text", "input_image": "", "input_file": "", "input_audio": "input_audio"}
OUTPUT_PARTS = {"output_text": "text", "refusal": "refusal"}
RESULT_PARTS = {"input_text": "text", "input_image": "", "input_file": ""}
ROLES = {"user": INPUT_PARTS, "system": INPUT_PARTS, "developer": INPUT_PARTS, "assistant": OUTPUT_PARTS}
FIELDS = {
    "message": frozenset({"type", "role", "content", "id", "status", "phase"}),
    "function_call": frozenset(
        {"type", "id", "call_id", "name", "arguments", "status", "namespace", "caller", "async"}
    ),
    "function_call_output": frozenset({"type", "id", "call_id", "output", "status", "name", "namespace", "caller"}),
    "reasoning": frozenset({"type", "id", "summary", "content", "encrypted_content", "status"}),
}
_UNCHECKED = (
    "additional_tools apply_patch_call apply_patch_call_output compaction compaction_trigger computer_call "
    "computer_call_output configuration_update custom_tool_call custom_tool_call_output file_search_call "
    "image_generation_call local_shell_call local_shell_call_output mcp_approval_request mcp_approval_response "
    "mcp_call mcp_list_tools program program_output shell_call shell_call_output tool_search_call tool_search_output "
    "web_search_call"
)
PASSED_UNCHECKED = frozenset(_UNCHECKED.split())


@dataclass(frozen=True, slots=True)
class Remembered:
    """A stored response, the tokens of the conversation so far, and the calls that wait for their output."""

    response: dict[str, Any]
    tokens: int
    calls: frozenset[str]


@dataclass(slots=True)
class Memory:
    """What `store` keeps: responses by id, and their items by id with the reasoning item that goes before each."""

    responses: dict[str, Remembered] = field(default_factory=dict[str, Remembered])
    items: dict[str, tuple[dict[str, Any], str]] = field(default_factory=dict[str, tuple[dict[str, Any], str]])

    def response(self, response_id: str) -> Remembered | None:
        return self.responses.get(response_id)

    def previous(self, response_id: object) -> Remembered:
        """Return the response that a request goes on from."""
        found = self.responses.get(response_id) if isinstance(response_id, str) else None
        if found is None:
            message = f"Previous response with id '{response_id}' not found."
            raise ApiError(message, "previous_response_id", "previous_response_not_found")
        return found

    def keep(self, response: dict[str, Any]) -> None:
        """Store a response with its items."""
        calls = frozenset(item["call_id"] for item in response["output"] if item["type"] == "function_call")
        self.responses[response["id"]] = Remembered(response, response["usage"]["total_tokens"], calls)
        reasoning = ""
        for item in response["output"]:
            if "id" in item:
                self.items[item["id"]] = (item, reasoning)
            reasoning = item["id"] if item["type"] == "reasoning" else ""


def check_request(body: dict[str, Any], memory: Memory) -> int:
    """Refuse what the API would refuse; return the tokens of the whole prompt, estimated at four characters each."""
    check_parameters(body, RESPONSES_PARAMETERS)
    if not body.get("model"):
        raise missing("model")
    for unsupported in ("background", "conversation", "prompt"):
        if body.get(unsupported):
            raise ApiError(f"The scripted model has no '{unsupported}'.", unsupported, "unsupported_parameter")
    for index, tool in enumerate(sequence(body, "tools")):
        if tool["type"] == "function":
            check_function(tool, f"tools[{index}]")
    instructions = body.get("instructions")
    if not isinstance(instructions or "", str):
        raise wrong_type("instructions", "a string", instructions)
    previous_id = body.get("previous_response_id")
    previous = memory.previous(previous_id) if previous_id is not None else None
    size = _Input(memory, previous).check(body.get("input")) + len(instructions or "")
    return tokens_in(size) + (previous.tokens if previous else 0)


class _Input:
    """One walk over the items of an input."""

    def __init__(self, memory: Memory, previous: Remembered | None) -> None:
        self._memory = memory
        self._previous = previous
        self._calls: dict[str, bool] = dict.fromkeys(previous.calls if previous else (), False)  # to "is answered"
        self._reasoning: str | None = None  # the reasoning item right before this one
        self._checks = {
            "message": self._message,
            "function_call": self._call,
            "function_call_output": self._call_output,
            "reasoning": self._reasoning_item,
        }

    def check(self, items: Any) -> int:
        if items is None and self._previous is None:
            message = "One of 'input', 'previous_response_id', 'prompt' or 'conversation' must be provided."
            raise ApiError(message, "input", "missing_required_parameter")
        if isinstance(items, str):
            items = [{"role": "user", "content": items}]
        elif items is not None and not is_list(items):
            raise wrong_type("input", "a string or an array", items)
        size = sum(self._item(item, f"input[{index}]") for index, item in enumerate(items or ()))
        if self._reasoning is not None:
            raise _lonely_reasoning(self._reasoning)
        for call_id, answered in self._calls.items():
            if not answered:
                raise ApiError(f"No tool output found for function call {call_id}.", "input")
        return size

    def _item(self, item: Any, where: str) -> int:
        if not is_object(item):
            raise wrong_type(where, "an object", item)
        kind: str = item.get("type") or ("message" if "role" in item else "")
        if kind == "code_interpreter_call":
            message = f"Unknown item '{item.get('id')}' of type 'code_interpreter_call': it must not be sent here."
            raise ApiError(message, where, "invalid_value")
        unknown = item.keys() - FIELDS.get(kind, item.keys())
        if unknown:
            name = f"{where}.{min(unknown)}"
            raise ApiError(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
        if kind == "item_reference":
            return self._reference(item, where)
        self._follows_reasoning(item, kind)
        if kind in FIELDS:
            return self._checks[kind](item, where)
        if kind not in PASSED_UNCHECKED:
            raise wrong_value(where, kind, sorted(FIELDS.keys() | PASSED_UNCHECKED | {"item_reference"}))
        return 0

    def _follows_reasoning(self, item: dict[str, Any], kind: str) -> None:
        by_model = kind not in ("function_call_output", "message") or item.get("role") == "assistant"
        if self._reasoning is not None and (kind == "reasoning" or not by_model):
            raise _lonely_reasoning(self._reasoning)
        _, needed = self._memory.items.get(item.get("id") or "", ({}, ""))
        if needed and needed != self._reasoning:
            message = f"Item '{item['id']}' of type '{kind}' was provided without its required 'reasoning' item"
            raise ApiError(f"{message}: '{needed}'.", "input")
        self._reasoning = None

    def _reference(self, item: dict[str, Any], where: str) -> int:
        found, _ = self._memory.items.get(item.get("id") or "", (None, ""))
        if found is None:
            raise ApiError(f"Item with id '{item.get('id')}' not found.", where, status=404)
        return self._item(found, where)

    def _message(self, item: dict[str, Any], where: str) -> int:
        role = item.get("role")
        if role not in ROLES:
            raise wrong_value(f"{where}.role", role, sorted(ROLES))
        if "content" not in item:
            raise missing(f"{where}.content")
        content = item["content"]
        if role == "assistant" and is_list(content):
            self._no_parsed(content, where)
        return check_parts(content, f"{where}.content", ROLES[role])

    @staticmethod
    def _no_parsed(parts: list[Any], where: str) -> None:
        for index, part in enumerate(parts):
            if is_object(part) and "parsed" in part:
                name = f"{where}.content[{index}].parsed"
                raise ApiError(f"Unknown parameter: '{name}'.", name, "unknown_parameter")

    def _call(self, item: dict[str, Any], where: str) -> int:
        for name in ("call_id", "name", "arguments"):
            if not isinstance(item.get(name), str):
                raise missing(f"{where}.{name}")
        self._calls[item["call_id"]] = False
        return len(item["name"]) + len(item["arguments"])

    def _call_output(self, item: dict[str, Any], where: str) -> int:
        call_id = item.get("call_id")
        if not isinstance(call_id, str):
            raise missing(f"{where}.call_id")
        if call_id not in self._calls:
            raise ApiError(f"No tool call found for function call output with call_id {call_id}.", "input")
        self._calls[call_id] = True
        return check_parts(item.get("output"), f"{where}.output", RESULT_PARTS)

    def _reasoning_item(self, item: dict[str, Any], where: str) -> int:
        item_id = item.get("id")
        if not isinstance(item_id, str):
            raise missing(f"{where}.id")
        if not isinstance(item.get("summary"), list):
            raise missing(f"{where}.summary")
        if not item.get("encrypted_content") and item_id not in self._memory.items:
            message = f"Item with id '{item_id}' not found. Items are not persisted when `store` is set to false."
            raise ApiError(message, where, status=404)
        self._reasoning = item_id
        return 0


def _lonely_reasoning(item_id: str) -> ApiError:
    message = f"Item '{item_id}' of type 'reasoning' was provided without its required following item."
    return ApiError(message, "input")
