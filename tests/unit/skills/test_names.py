"""Foreign names become identifiers and folder names."""

from __future__ import annotations

import builtins
import keyword
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from skills_ref.validator import validate_metadata

from agentd.skills.names import free, parameter_identifier, skill_name, tool_identifier


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("read_file", "read_file"),
        ("get-annotated-message", "get_annotated_message"),
        ("getIssue", "getIssue"),
        ("list", "list_"),
        ("class", "class_"),
        ("print", "print_"),
        ("ToolError", "ToolError_"),
        ("match", "match"),
        ("__init__", "init"),
        ("_private", "private"),
        ("3d", "tool_3d"),
        ("", "tool"),
        ("日本", "tool"),
        ("café", "cafe"),
        ("a.b/c d", "a_b_c_d"),
        ("x" * 500, "x" * 64),
        ("f(): import os #", "f_import_os"),
    ],
)
def test_tools(name: str, identifier: str) -> None:
    assert tool_identifier(name) == identifier


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("path", "path"),
        ("max-results", "max_results"),
        ("class", "class_"),
        ("None", "None_"),
        ("type", "type"),
        ("_meta", "_meta"),
        ("__debug__", "debug__"),
        ("__1", "arg_1"),
        ("$filter", "_filter"),
        ("2nd", "arg_2nd"),
        ("", "arg"),
        ("*", "arg"),
    ],
)
def test_parameters(name: str, identifier: str) -> None:
    assert parameter_identifier(name) == identifier


@pytest.mark.parametrize(
    ("server", "folder"),
    [
        ("@modelcontextprotocol/server-filesystem", "filesystem"),
        ("@modelcontextprotocol/server-filesystem-2", "filesystem-2"),
        ("mcp-server-git", "git"),
        ("mcp_server_time", "time"),
        ("@upstash/context7-mcp", "context7"),
        ("github-mcp-server", "github"),
        ("My Server", "my"),
        ("server", "server"),
        ("mcp", "mcp"),
        ("api.example.com", "api-example-com"),
        ("https://example.com/mcp/", "mcp"),
        ("../../etc", "etc"),
        ("日本", "server"),
        ("", "server"),
        ("a" * 90 + "-", "a" * 64),
    ],
)
def test_folders(server: str, folder: str) -> None:
    assert skill_name(server) == folder


@given(st.text())
def test_a_tool_is_always_a_public_identifier(name: str) -> None:
    made = tool_identifier(name)
    assert made.isidentifier()
    assert made.isascii()
    assert not made.startswith("_")
    assert not keyword.iskeyword(made)
    assert not hasattr(builtins, made)
    assert len(made) <= 70


@given(st.text())
def test_a_parameter_is_always_an_identifier(name: str) -> None:
    made = parameter_identifier(name)
    compile(f"def f(*, {made}): pass", "f", "exec")
    assert made.isascii()


@given(st.one_of(st.text(), st.from_regex(r"(@[a-z]+/)?(mcp-)?(server-)?[a-zA-Z0-9_\-]*(-mcp)?(-server)?(-2)?")))
def test_a_folder_is_always_a_valid_skill_name(server: str) -> None:
    made = skill_name(server)
    assert validate_metadata({"name": made, "description": "d"}) == []
    assert re.fullmatch(r"[a-z0-9-]{1,64}", made)


def test_free_counts_on() -> None:
    assert free("a", {"a", "a_2"}, "_") == "a_3"
    assert free("b", {"a"}, "_") == "b"
    assert free("x" * 64, {"x" * 64}, "-") == "x" * 62 + "-2"
