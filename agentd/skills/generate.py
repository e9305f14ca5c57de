"""The files of `skills/`: one Agent Skills folder a server, and the Python package `lib` with all tools."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from agentd.core.actions import Bindings
from agentd.skills.catalogue import LOCAL, Catalogue, Entry
from agentd.skills.examples import example_name, example_script
from agentd.skills.signature import python_signature
from agentd.skills.stubs import HEADER, source_of
from agentd.skills.text import first_sentence, one_line

FOLDER = "skills"
STAMP = ".generated.json"
GENERATOR = 'generator: "agentd"'
BIN_DIR = Path(__file__).with_name("bin")
_BRIDGE_CLIENT = Path(__file__).parent.parent / "bridge" / "client.py"
_MAX_LISTED = 200
_PACKAGE = (
    HEADER
    + '''"""The tools of this session; other packages called `lib` on the path stay importable beside it."""

import os
import sys

for _folder in sys.path:
    _other = os.path.join(_folder or ".", "lib")
    if _other not in __path__ and os.path.isfile(os.path.join(_other, "__init__.py")):
        __path__.append(_other)
'''
)


@lru_cache(maxsize=4)
def generate(catalogue: Catalogue) -> Mapping[str, str]:
    """Return the text of every file, by its path in `skills/`."""
    files = {
        "lib/__init__.py": _PACKAGE,
        "lib/tools.py": source_of(catalogue),
        "lib/_bridge.py": HEADER + _BRIDGE_CLIENT.read_text(encoding="utf-8"),
    }
    servers = {skill: server for server, skill in catalogue.skills.items()}
    for skill, entries in catalogue.by_skill().items():
        files[f"{skill}/SKILL.md"] = skill_text(skill, servers[skill], entries)
        for entry in entries:
            files[f"{skill}/scripts/{example_name(entry)}"] = example_script(entry)
    folders = sorted({path.partition("/")[0] for path in files})
    files[".gitignore"] = "".join(f"/{name}\n" for name in (".gitignore", STAMP, *folders))
    return MappingProxyType(files)


def bindings(catalogue: Catalogue, workspace_dir: Path) -> Bindings:
    """Return what an executor has to put in scope: the module's source, the `skills` command, the package `lib`."""
    source = generate(catalogue)["lib/tools.py"]
    digest = hashlib.sha256(source.encode()).hexdigest()
    return Bindings(source, digest, (str(BIN_DIR),), (str(workspace_dir / FOLDER),))


def skill_text(skill: str, server: str, entries: Sequence[Entry]) -> str:
    """Return a `SKILL.md` that `agentskills validate` accepts."""
    what = "Functions of this application" if skill == LOCAL else f"Tools of the MCP server {one_line(server, 100)}"
    first = entries[0]
    names = ", ".join(entry.name for entry in entries)
    description = one_line(f"{what}, as Python functions: {names}", 1_000)
    return f"""---
name: {_quoted(skill)}
description: {_quoted(description)}
metadata:
  {GENERATOR}
---
# {skill}

{_escaped(what)}. In a Python block they are in scope as they are; elsewhere `from lib.tools import {first.name}`.
`help({first.name})` prints its documentation, `skills run {skill} {example_name(first)}` runs its example.
A call that fails raises `ToolError`.

## Functions

{_listing(entries)}"""


def _listing(entries: Sequence[Entry]) -> str:
    listed: list[str] = []
    for entry in entries[:_MAX_LISTED]:
        listed.append(f"- `{python_signature(entry).replace('`', ' ')}`")
        said = first_sentence(entry.spec.description, 160)
        if said:
            listed.append(f"  {_escaped(said)}")
    if len(entries) > _MAX_LISTED:
        listed.append(f"- and {len(entries) - _MAX_LISTED} more, in `lib/tools.py`")
    return "\n".join(listed) + "\n"


def _quoted(text: str) -> str:
    """Return a YAML double-quoted string; validators cut a frontmatter at `---` wherever it stands."""
    while "---" in text:
        text = text.replace("---", "--")
    return json.dumps(text, ensure_ascii=False)


def _escaped(text: str) -> str:
    """Return `text` so that Markdown shows it as it is, as far as that could mislead."""
    for char in "\\`<[":
        text = text.replace(char, f"\\{char}")
    return text
