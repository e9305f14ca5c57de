"""Names that come from outside, made into Python identifiers and folder names. All are ASCII."""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from collections.abc import Container

MAX_NAME = 64
_RESERVED = frozenset(dir(builtins)) | frozenset(keyword.kwlist) | {"ToolError", "lib", "annotations"}
_PREFIX = re.compile(r"^(mcp-server-|server-|mcp-)(?=.)")
_SUFFIX = re.compile(r"(?<=.)(-mcp-server|-server|-mcp)(?=(-\d+)?$)")


def tool_identifier(name: str) -> str:
    """Return a public identifier for a tool: `get-sum` gives `get_sum`, `list` `list_`, `3d` `tool_3d`.

    It is never a keyword and never hides a built-in name; at most 64 characters long.
    """
    bare = _words(name).strip("_")[:MAX_NAME].rstrip("_")
    if not bare or bare[0].isdigit():
        bare = f"tool_{bare}" if bare else "tool"
    return f"{bare}_" if bare in _RESERVED else bare


def parameter_identifier(name: str) -> str:
    """Return an identifier for a parameter: `max-results` gives `max_results`, `class` `class_`."""
    bare = _words(name)[:MAX_NAME]
    if not bare.strip("_"):
        bare = "arg"
    if bare[0].isdigit():
        bare = f"arg_{bare}"
    if bare.startswith("__"):
        bare = bare.lstrip("_")
        bare = f"arg_{bare}" if bare[0].isdigit() else bare
    return f"{bare}_" if keyword.iskeyword(bare) else bare


def skill_name(server: str) -> str:
    """Return an Agent Skills name for a server: the last part of its package name without `mcp` and `server`.

    `@modelcontextprotocol/server-filesystem` gives `filesystem`, `mcp-server-git` `git`.
    """
    last = server.rstrip("/").rpartition("/")[2] or server
    bare = re.sub(r"[^a-z0-9]+", "-", _ascii(last).lower()).strip("-")
    bare = _SUFFIX.sub("", _PREFIX.sub("", bare))
    return bare[:MAX_NAME].strip("-") or "server"


def free(name: str, taken: Container[str], joint: str) -> str:
    """Return `name`, or when it is taken `name` with the first free number after `joint`; at most 64 characters."""
    if name not in taken:
        return name
    number = 2
    while True:
        tail = f"{joint}{number}"
        candidate = name[: MAX_NAME - len(tail)].rstrip("_-") + tail
        if candidate not in taken:
            return candidate
        number += 1


def _words(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "_", _ascii(name))


def _ascii(name: str) -> str:
    return unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
