"""Servers that people use, from npm and PyPI, alone and together."""

from __future__ import annotations

import asyncio
import base64
import subprocess
from pathlib import Path

from agentd.mcp.pool import ServerPool
from tests.fakes.mcp_servers import by_name, failure, npm_server, python_server, value


def repository(path: Path) -> Path:
    for command in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x", "--allow-empty"],
    ):
        subprocess.run(["git", "-C", str(path), *command], check=True)
    return path


async def test_filesystem(pool: ServerPool, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("héllo")
    tools = await pool.connect([npm_server("mcp-server-filesystem", str(tmp_path))])
    assert await value(tools, "read_text_file", {"path": str(tmp_path / "a.txt")}) == {"content": "héllo"}
    await value(tools, "write_file", {"path": str(tmp_path / "b.json"), "content": '{"a": 1}'})
    assert (tmp_path / "b.json").read_text() == '{"a": 1}'
    assert "outside" in await failure(tools, "read_text_file", {"path": "/etc/passwd"})
    assert "a.txt" in str(await value(tools, "list_directory", {"path": str(tmp_path)}))
    assert by_name(tools)["read_text_file"].spec.server == "mcp-server-filesystem"


async def test_everything(pool: ServerPool, tmp_path: Path) -> None:
    saved: list[bytes] = []

    def save(suffix: str, data: bytes) -> str:
        saved.append(data)
        return f"{len(saved)}{suffix}"

    tools = await pool.connect([npm_server("mcp-server-everything")], save=save)
    assert await value(tools, "echo", {"message": "hi"}) == "Echo: hi"
    assert "5" in str(await value(tools, "get-sum", {"a": 2, "b": 3}))
    structured = await value(tools, "get-structured-content", {"location": "New York"})
    assert isinstance(structured, dict) and "temperature" in structured
    picture = await value(tools, "get-tiny-image")
    assert isinstance(picture, list) and isinstance(picture[1], dict) and picture[1]["file"] == "1.png"
    assert saved[0].startswith(base64.b64decode("iVBORw0KGgo="))
    assert (
        "required" in (await failure(tools, "echo", {})).lower()
        or "invalid" in (await failure(tools, "echo", {})).lower()
    )


async def test_python_servers_of_the_stateless_era(pool: ServerPool, tmp_path: Path) -> None:
    git = python_server("mcp-server-git", "--repository", str(repository(tmp_path)))
    tools = await pool.connect([python_server("mcp-server-time"), git])
    now = await value(tools, "get_current_time", {"timezone": "UTC"})
    assert isinstance(now, dict) and now["timezone"] == "UTC"
    assert "timezone" in await failure(tools, "get_current_time", {"timezone": "Nowhere/None"})
    assert "nothing to commit" in str(await value(tools, "git_status", {"repo_path": str(tmp_path)}))
    assert {tool.spec.server for tool in tools} == {"mcp-server-time", "mcp-server-git"}


async def test_several_at_once_and_ten_times(pool: ServerPool, tmp_path: Path) -> None:
    servers = [
        npm_server("mcp-server-everything"),
        npm_server("mcp-server-filesystem", str(tmp_path)),
        python_server("mcp-server-time"),
    ]
    names: list[list[str]] = []
    for number in range(10):
        tools = await pool.connect(servers)
        names.append([f"{tool.spec.server}.{tool.spec.name}" for tool in tools])
        path = str(tmp_path / f"{number}")
        answers = await asyncio.gather(
            value(tools, "echo", {"message": str(number)}),
            value(tools, "write_file", {"path": path, "content": str(number)}),
            value(tools, "get_current_time", {"timezone": "UTC"}),
        )
        assert answers[0] == f"Echo: {number}" and Path(path).read_text() == str(number)
    assert all(each == names[0] for each in names) and len(set(names[0])) == len(names[0]) > 20
