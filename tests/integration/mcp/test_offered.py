"""The tools of servers that people use, offered to every kind of model API and called with what a model sends."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from agentd.mcp.pool import ServerPool
from agentd.tools.arguments import Problem, read_arguments
from agentd.tools.offers import FLAVOURS, offers
from tests.fakes.catalogues import recorded
from tests.fakes.mcp_servers import npm_server, python_server
from tests.fakes.provider_schemas import complaints


async def test_every_api_takes_the_tools_of_real_servers(pool: ServerPool, tmp_path: Path) -> None:
    subprocess.run(["git", "-C", str(tmp_path), "init", "-q"], check=True)
    tools = await pool.connect(
        [
            npm_server("mcp-server-everything"),
            npm_server("mcp-server-filesystem", str(tmp_path)),
            python_server("mcp-server-git", "--repository", str(tmp_path)),
            python_server("mcp-server-time"),
        ]
    )
    specs = {f"{tool.spec.server}/{tool.spec.name}": tool.spec for tool in tools}
    assert len({spec.server for spec in specs.values()}) == 4 and len(specs) > 30
    for flavour in FLAVOURS:
        found = offers(specs, flavour)
        assert [complaints(offer) for offer in found] == [[]] * len(specs)
        assert all(offer.strict for offer in found) is (flavour == "openai")

    found = offers(specs, "openai")
    offer = found.find("functions.get-sum")
    assert offer is not None
    arguments = read_arguments('{"a": "2", "b": 3}', offer)
    assert not isinstance(arguments, Problem)
    result = await next(tool for tool in tools if tool.spec.name == "get-sum").call(arguments)
    assert result.ok and "5" in str(result.value)

    offer = found.find("read_text_file")
    assert offer is not None
    (tmp_path / "a.txt").write_text("one\ntwo")
    sent = {"path": str(tmp_path / "a.txt"), "head": 1, "tail": None}
    arguments = read_arguments(json.dumps(sent), offer)
    assert not isinstance(arguments, Problem)
    result = await next(tool for tool in tools if tool.spec.name == "read_text_file").call(arguments)
    assert result.ok and result.value == {"content": "one"}


def test_every_api_takes_the_recorded_tools() -> None:
    specs = {f"{spec.server}/{spec.name}": spec for spec in recorded()}
    for flavour in FLAVOURS:
        found = offers(specs, flavour)
        assert [complaints(offer) for offer in found] == [[]] * len(specs)
        assert not any(offer.renames for offer in found)
