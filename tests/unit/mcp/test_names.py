from __future__ import annotations

import shlex

import pytest

from agentd.mcp.names import distinct, name_of_command, name_of_url


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("npx -y @modelcontextprotocol/server-filesystem /tmp", "@modelcontextprotocol/server-filesystem"),
        ("npx --yes @scope/pkg@1.2.3 --flag", "@scope/pkg"),
        ("npx pkg@latest", "pkg"),
        ("npx -p @scope/pkg tool", "tool"),
        ("npm exec -y -- pkg@2", "pkg"),
        ("pnpm dlx @a/b", "@a/b"),
        ("bunx @a/b@next", "@a/b"),
        ("uvx mcp-server-git --repository /x", "mcp-server-git"),
        ("uvx mcp-server-git==2026.1", "mcp-server-git"),
        ("uvx mcp-server-git[extra]@1", "mcp-server-git"),
        ("uvx --with 'mcp<2' mcp_subscribe -- uvx mcp-server-fetch", "mcp_subscribe"),
        ("uvx --from git+https://x/y mcp-y", "mcp-y"),
        ("uv tool run mcp-z", "mcp-z"),
        ("uv run --directory /srv/thing server.py", "server"),
        ("uv run python -m a_server", "a_server"),
        ("pipx run mcp-x", "mcp-x"),
        ("python -m mcp_server_time --local-timezone UTC", "mcp_server_time"),
        ("/usr/bin/python3.11 -u -m x.y", "x.y"),
        ("python /srv/weather/server.py", "weather"),
        ("python weather.py", "weather"),
        ("python", "python"),
        (
            "node /x/node_modules/@modelcontextprotocol/server-memory/dist/index.js",
            "@modelcontextprotocol/server-memory",
        ),
        ("node dist/index.js", "index"),
        ("deno run -A main.ts", "main"),
        ("docker run -i --rm -e KEY mcp/fetch:latest", "mcp/fetch"),
        ("/srv/tools/bin/mcp-server-git", "mcp-server-git"),
        ("C/mcp-thing.exe", "mcp-thing"),
        ("env A=1 B=2 npx -y pkg", "pkg"),
        ("env", "env"),
        ("/", "/"),
    ],
)
def test_the_name_of_a_command(command: str, name: str) -> None:
    program, *args = shlex.split(command)
    assert name_of_command(program, args) == name


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://user:pass@mcp.example.com:8080/mcp?key=1", "mcp.example.com"),
        ("http://127.0.0.1:9/sse", "127.0.0.1"),
        ("http://[::1]:9/", "::1"),
    ],
)
def test_the_name_of_a_url(url: str, name: str) -> None:
    assert name_of_url(url) == name


def test_equal_names_are_made_distinct() -> None:
    taken: list[str] = []
    for _ in range(3):
        taken.append(distinct("git", taken))
    assert taken == ["git", "git-2", "git-3"]
