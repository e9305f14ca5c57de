from __future__ import annotations

import mcp_types as types
import pytest
from mcp.shared.message import SessionMessage

from agentd.mcp.listing import mend


def mended(*tools: object) -> list[dict[str, object]]:
    answer = types.JSONRPCResponse(jsonrpc="2.0", id=1, result={"tools": list(tools), "nextCursor": "2"})
    item = mend(SessionMessage(answer))
    assert isinstance(item, SessionMessage) and isinstance(item.message, types.JSONRPCResponse)
    assert item.message.result["nextCursor"] == "2"
    return item.message.result["tools"]


@pytest.mark.parametrize(
    ("schema", "better"),
    [
        (None, {"type": "object"}),
        ({}, {"type": "object"}),
        ("x", {"type": "object"}),
        ({"type": "string"}, {"type": "object"}),
        ({"type": ["object", "null"], "properties": {"a": {}}}, {"type": "object", "properties": {"a": {}}}),
        ({"type": "object", "properties": []}, {"type": "object"}),
        ({"type": "object", "required": "a"}, {"type": "object"}),
        ({"type": "object", "required": [1]}, {"type": "object"}),
    ],
)
def test_an_input_schema_is_made_an_objects(schema: object, better: object) -> None:
    assert mended({"name": "t", "inputSchema": schema})[0]["inputSchema"] == better


def test_good_tools_are_not_touched() -> None:
    tool = {"name": "t", "inputSchema": {"type": "object", "required": ["a"]}, "outputSchema": {"type": "object"}}
    assert mended(dict(tool)) == [tool]


def test_a_bad_output_schema_is_left_out_and_what_is_no_tool_too() -> None:
    bad = [7, None, {"inputSchema": {}}, {"name": 1}, {"name": "t", "description": 5}]
    assert mended(*bad, {"name": "t", "outputSchema": {"type": "string"}}) == [
        {"name": "t", "inputSchema": {"type": "object"}}
    ]


def test_nothing_else_is_touched() -> None:
    error = ValueError("x")
    assert mend(error) is error
    answer = SessionMessage(types.JSONRPCResponse(jsonrpc="2.0", id=1, result={"tools": "seven"}))
    assert mend(answer) is answer
