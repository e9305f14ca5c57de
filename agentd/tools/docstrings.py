"""Docstrings of any common style, read into a description and one description a parameter."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field

# `name: text`, `name (type): text`, `- name: text`, `name - text`, with the name in backticks or not.
_LINE = re.compile(
    r"^(?P<indent>\s*)(?:[-*•]\s+)?"
    r"`{0,2}(?P<name>\w+)`{0,2}\s*(?:\([^()]*\))?\s*(?::| [-\u2013\u2014])\s+(?P<text>\S.*)$"
)


@dataclass(frozen=True, slots=True)
class Documentation:
    """What a docstring says: `description` is its prose without the parameters."""

    description: str = ""
    parameters: dict[str, str] = field(default_factory=dict[str, str])


def read_docstring(text: str | None, names: Collection[str]) -> Documentation:
    """Read a docstring in Google, NumPy, reST or Epydoc style, or with plain `name: description` lines.

    Only the parameters in `names` are kept. Text that fits no style is all description; nothing raises.
    """
    if not text or not text.strip():
        return Documentation()
    description, found = _parse(text)
    parameters: dict[str, str] = {}
    for listed, said in found:
        for name in listed.split(","):
            bare = name.strip().strip("`").lstrip("*")
            if bare in names and said:
                parameters.setdefault(bare, _flat(said))
    description, plain = _plain_lines(description, [name for name in names if name not in parameters])
    return Documentation(description, parameters | plain)


def _parse(text: str) -> tuple[str, list[tuple[str, str]]]:
    import inspect

    from docstring_parser import ParseError, parse

    try:
        parsed = parse(text)
    except (ParseError, ValueError, IndexError, KeyError, TypeError, AttributeError):
        return inspect.cleandoc(text), []
    prose = [part for part in (parsed.short_description, parsed.long_description) if part]
    found = [(param.arg_name, param.description or "") for param in parsed.params]
    if not prose and not found:
        return inspect.cleandoc(text), []
    return "\n\n".join(prose), found


def _plain_lines(prose: str, names: Collection[str]) -> tuple[str, dict[str, str]]:
    """Take `name: description` lines, with the deeper lines that follow each, out of `prose`."""
    kept: list[str] = []
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    depth = 0
    for line in prose.splitlines():
        match = _LINE.match(line)
        if match and match["name"] in names and match["name"] not in found:
            current = found.setdefault(match["name"], [match["text"]])
            depth = len(match["indent"])
        elif current is not None and line.strip() and len(line) - len(line.lstrip()) > depth:
            current.append(line)
        else:
            current = None
            kept.append(line)
    return "\n".join(kept).strip(), {name: _flat(" ".join(lines)) for name, lines in found.items()}


def _flat(text: str) -> str:
    return " ".join(text.split())
