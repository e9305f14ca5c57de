"""What the models of other providers answer in the README: fixtures of aimock, which cannot compute an answer."""

from __future__ import annotations

from typing import Any

_LIST = {"id": "call_list", "name": "list_directory", "arguments": {"path": "./workspace"}}
_USAGE = {"input_tokens": 21, "output_tokens": 9, "prompt_tokens": 21, "completion_tokens": 9, "total_tokens": 30}
FIXTURES: list[dict[str, Any]] = [
    {
        "match": {"model": "gemini-2.0-flash", "turnIndex": 1},
        "response": {"content": "There are three: Oslo, Rome and skills.", "usage": _USAGE},
    },
    {"match": {"model": "gemini-2.0-flash"}, "response": {"content": "", "toolCalls": [_LIST], "usage": _USAGE}},
]
