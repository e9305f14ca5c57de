from __future__ import annotations

import base64

import mcp_types as types
import pytest

from agentd.core.tools import JSON, ToolResult
from agentd.mcp.values import is_wrapped, result_of, spec_of

LIMIT = 1000


def text(*lines: str) -> list[types.ContentBlock]:
    return [types.TextContent(type="text", text=line) for line in lines]


def picture(data: bytes = b"png") -> types.ContentBlock:
    return types.ImageContent(type="image", mime_type="image/png", data=base64.b64encode(data).decode())


async def value_of(*blocks: types.ContentBlock, structured: object = None, wrapped: bool = False) -> JSON:
    answer = types.CallToolResult(content=list(blocks), structured_content=structured)
    result = await result_of(answer, wrapped, LIMIT, lambda suffix, data: f"files/{len(data)}{suffix}")
    assert result.ok, result.value
    return result.value


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ('{"a": [1, null]}', {"a": [1, None]}),
        (" [1]\n", [1]),
        ("123", "123"),
        ("null", "null"),
        ('"x"', '"x"'),
        ("{not json", "{not json"),
        ('{"a": NaN}', '{"a": NaN}'),
        ("[" * 900, "[" * 900),
        ("", ""),
        ('{"a": 1} trailing', '{"a": 1} trailing'),
    ],
)
async def test_one_text_is_json_when_it_is_an_object_or_an_array(said: str, value: JSON) -> None:
    assert await value_of(*text(said)) == value


async def test_several_texts_are_lines() -> None:
    assert await value_of(*text("[1]", "[2]")) == "[1]\n[2]"
    assert await value_of() is None


async def test_structured_content_comes_first() -> None:
    assert await value_of(*text("told"), structured={"a": 1}) == {"a": 1}
    assert await value_of(structured={"result": [1]}, wrapped=True) == [1]
    assert await value_of(structured={"result": 1, "more": 2}, wrapped=True) == {"result": 1, "more": 2}
    assert await value_of(structured={"result": 1}) == {"result": 1}


async def test_binary_blocks_become_files() -> None:
    image = {"type": "image", "mimeType": "image/png", "file": "files/3.png"}
    assert await value_of(picture()) == image
    assert await value_of(*text("look"), picture()) == ["look", image]
    assert await value_of(picture(), structured={"width": 1}) == {"width": 1, "files": [image]}
    assert await value_of(picture(), structured={"files": 1}) == [{"files": 1}, image]
    unknown = types.BlobResourceContents(uri="mem://x", mime_type="application/x-unheard-of", blob="AA==")
    found = await value_of(types.EmbeddedResource(type="resource", resource=unknown))
    assert isinstance(found, dict) and found["file"] == "files/1.bin" and found["uri"] == "mem://x"


async def test_a_file_that_cannot_be_saved_is_a_failure_that_says_so() -> None:
    def full(suffix: str, data: bytes) -> str:
        raise OSError("no space left")

    result = await result_of(types.CallToolResult(content=[picture()]), False, LIMIT, full)
    assert not result.ok and "the tool ran" in str(result.value) and "no space left" in str(result.value)
    broken = types.ImageContent(type="image", mime_type="image/png", data="%%%")
    assert not (await result_of(types.CallToolResult(content=[broken]), False, LIMIT, full)).ok


async def test_errors_and_size() -> None:
    failed = types.CallToolResult(content=text("no such", "file"), is_error=True)
    assert await result_of(failed, False, LIMIT, None) == ToolResult(False, "no such\nfile")
    silent = types.CallToolResult(content=[], is_error=True)
    assert (await result_of(silent, False, LIMIT, None)).value
    big = await result_of(types.CallToolResult(content=text("x" * 600, "x" * 600)), False, LIMIT, None)
    assert not big.ok and "1200 bytes" in str(big.value)


def test_the_wrapper_of_python_servers() -> None:
    wrapper = {"type": "object", "properties": {"result": {"$ref": "#/$defs/A"}}, "required": ["result"]}
    assert is_wrapped({**wrapper, "title": "addOutput"}) and is_wrapped({**wrapper, "x-fastmcp-wrap-result": True})
    assert not is_wrapped(wrapper) and not is_wrapped(None)
    assert not is_wrapped({**wrapper, "title": "addOutput", "required": []})
    two = {"result": {}, "more": {}}
    assert not is_wrapped({**wrapper, "title": "addOutput", "properties": two})
    tool = types.Tool(
        name="add", input_schema={"type": "object"}, output_schema={**wrapper, "title": "addOutput", "$defs": {"A": {}}}
    )
    assert spec_of(tool, "s").output_schema == {"$ref": "#/$defs/A", "$defs": {"A": {}}}
    assert (spec_of(tool, "s").server, spec_of(tool, "s").description) == ("s", "")
