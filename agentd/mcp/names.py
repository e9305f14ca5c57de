"""What to call a server: the package that its command runs, or the host of its URL."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import PurePath
from urllib.parse import urlsplit

_RUNNER = re.compile(r"npx|bunx|pnpx|uvx|npm|pnpm|yarn|bun|uv|pipx|node|deno|tsx|docker|podman")
_DIRECT = {"npx", "bunx", "pnpx", "uvx", "node", "tsx"}
_VERBS = {"exec", "x", "dlx", "tool", "run"}
_VALUED = re.compile(
    r"-p|--package|--from|--with(-editable|-requirements)?|--python|--index(-url)?|--cache|--prefix|--directory|--project"
    r"|--spec|-e|--env(-file)?|-v|--volume|--mount|--name|--network|-u|--user|-w|--workdir|--entrypoint|-r|--require"
    r"|--import|--loader"
)
_DULL = {"index", "main", "__main__", "server", "app", "cli", "dist", "build", "src", "bin", "lib", "out"}
_SCRIPT = {".py", ".js", ".mjs", ".cjs", ".ts", ".mts", ".sh", ".exe", ".cmd", ".jar"}


def name_of_command(command: str, args: Sequence[str]) -> str:
    """Return the package, module or program that the command line runs.

    `npx -y @scope/pkg@1.2 /tmp` gives `@scope/pkg`, `uvx mcp-server-git` and `/x/bin/mcp-server-git` both
    `mcp-server-git`, `python -m mcp_server_time` `mcp_server_time`, `node …/server-x/dist/index.js` `server-x`.
    """
    program = _strip_script(PurePath(command).name)
    rest = list(args)
    if program == "env":
        while rest and ("=" in rest[0] or rest[0].startswith("-")):
            rest.pop(0)
        return name_of_command(rest[0], rest[1:]) if rest else program
    if re.fullmatch(r"(python|pypy)[\d.]*", program):
        return _python_name(rest) or program
    if _RUNNER.fullmatch(program):
        while rest and program not in _DIRECT and rest[0] in _VERBS:
            rest.pop(0)
        return _runner_name(rest) or program
    return _path_name(command)


def name_of_url(url: str) -> str:
    """Return the URL's host, without port, user or path."""
    return urlsplit(url).hostname or url


def distinct(name: str, taken: Collection[str]) -> str:
    """Return `name`, or `name-2`, `name-3` … when it is taken."""
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}-{number}"
    return candidate


def _python_name(args: list[str]) -> str:
    if "-m" in args[:-1]:
        return args[args.index("-m") + 1]
    script = next((arg for arg in args if not arg.startswith("-")), "")
    return _path_name(script) if script else ""


def _runner_name(args: list[str]) -> str:
    rest = list(args)
    while rest:
        arg = rest.pop(0)
        if _VALUED.fullmatch(arg):
            rest[:1] = []
        elif not arg.startswith("-"):
            return name_of_command(arg, rest) if arg.startswith("python") else _package_name(arg)
    return ""


def _package_name(spec: str) -> str:
    if PurePath(spec).suffix in _SCRIPT or spec.startswith(("/", ".")):
        return _path_name(spec)
    name = re.split(r"[=<>!~\[]", spec, maxsplit=1)[0]
    version = name.rfind("@")
    if version > 0:
        return name[:version]
    return name.rpartition(":")[0] or name


def _path_name(path: str) -> str:
    parts = [part for part in PurePath(path).parts if part not in ("/", ".", "..")]
    parts[-1:] = [_strip_script(part) for part in parts[-1:]]
    telling = [part for part in parts if part not in _DULL]
    scope = telling[-2] + "/" if len(telling) > 1 and telling[-2].startswith("@") else ""
    return scope + telling[-1] if telling else (parts[-1] if parts else path)


def _strip_script(name: str) -> str:
    path = PurePath(name)
    return path.stem if path.suffix in _SCRIPT else name
