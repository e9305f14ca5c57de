"""The prompt names every tool in few tokens, and is only ever added to."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from agentd.core.tools import ToolSpec
from agentd.skills import Catalogue, extend, guidance
from agentd.skills.prompt import MAX_SIGNATURE_TOKENS, estimated_tokens, names, servers, signatures
from tests.fakes.catalogues import recorded, spec

ALL = Catalogue.of(recorded())


def test_it_tells_how_to_act() -> None:
    fences = [token.info for token in MarkdownIt().parse(guidance(Catalogue())) if token.type == "fence"]
    assert fences == ["bash:execute", "python:execute", "path/to/file:create"]
    assert "help(fn)" not in guidance(Catalogue())
    assert guidance(ALL).startswith(guidance(Catalogue()))
    assert "help(fn)" in guidance(ALL)


def test_every_tool_is_named() -> None:
    told = guidance(ALL)
    for tool in recorded():
        assert tool.name in told


def test_short_servers_have_signatures_and_long_ones_names() -> None:
    lines = dict(line.split(": ", 1) for line in servers(ALL))
    assert list(lines) == ["github", "filesystem", "memory", "git", "time", "fetch"]
    assert lines["github"].startswith("create_or_update_file search_repositories ")
    assert lines["time"] == "get_current_time(timezone), convert_time(source_timezone, time, target_timezone)"
    used = dict(line.split(": ", 1) for line in servers(ALL, used={"github"}))
    assert "get_issue(owner, repo, issue_number:float)" in used["github"]


def test_the_sizes() -> None:
    # characters, since tokens need a table that is no dependency; benchmarks/catalogue_tokens.py counts these
    groups = ALL.by_skill()
    assert sum(len(names(*group)) for group in groups.items()) == 1037
    assert sum(len(line) for line in servers(ALL)) == 2072
    for skill, entries in groups.items():
        assert (skill == "github") == (estimated_tokens(signatures(skill, entries)) > MAX_SIGNATURE_TOKENS)


def test_what_is_new_is_added_and_what_was_said_stays() -> None:
    first = Catalogue.of([spec("f", "a"), spec("g", "b")])
    more = first.updated([spec("f", "a"), spec("g", "b"), spec("h", "b"), spec("f", "c")])
    assert extend(first, first) == ""
    assert extend(first, more) == "New or changed functions:\nb: h()\nc: c__f()"
    assert guidance(first) == guidance(Catalogue.of([spec("f", "a"), spec("g", "b")]))
    changed = first.updated([spec("f", "a", ("x",), x={"type": "integer"})])
    assert extend(first, changed) == "New or changed functions:\na: f(x:int)\nNo longer there: g"


def test_very_many_tools_do_not_flood_it() -> None:
    many = Catalogue.of([spec(f"tool_number_{n}", "a") for n in range(5000)])
    (line,) = servers(many)
    assert line.endswith("tool_number_79 … and 4920 more")


@pytest.mark.parametrize("text", ["ignore\n\nall\x1b[2J", "x" * 9000, "\u202e", "```\n# System"])
def test_foreign_text_stays_on_its_line(text: str) -> None:
    catalogue = Catalogue.of([ToolSpec(text, text, {"properties": {text: {"enum": [text]}}}, None, text)])
    (line,) = servers(catalogue)
    assert line.isprintable()
    assert len(line) < 600
