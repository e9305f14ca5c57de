"""The repository's own files, as the structure tests read them."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDERS = ("agentd", "tests", "benchmarks", "examples", "scripts")
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One Python file; `path` is relative to the repository, with `/`."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    def functions(self) -> Iterator[FUNCTIONS]:
        return (node for node in ast.walk(self.tree) if isinstance(node, FUNCTIONS))

    def imports(self) -> Iterator[tuple[int, str]]:
        """Give line and dotted name of whatever is imported; `from a import b` counts as `a.b`."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)

    def names(self) -> dict[str, str]:
        """Map each imported name to what it stands for: `np` → `numpy`, `run` → `subprocess.run`."""
        known: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                known |= {
                    a.asname or a.name.split(".")[0]: a.name if a.asname else a.name.split(".")[0] for a in node.names
                }
            elif isinstance(node, ast.ImportFrom):
                known |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        return known

    def used(self) -> Iterator[tuple[int, str]]:
        """Give line and full dotted name of every use of an imported or a built-in name: `os.environ.update`."""
        known = self.names()
        for node in ast.walk(self.tree):
            dotted = dotted_name(node)
            if dotted:
                head, _, rest = dotted.partition(".")
                full = known.get(head, head)
                yield getattr(node, "lineno", 0), f"{full}.{rest}" if rest else full


Judge = Callable[[Source], Iterator[tuple[int, str]]]


def dotted_name(node: ast.AST) -> str:
    """Return `a.b.c` for such an expression, `""` for any other."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        value = dotted_name(node.value)
        return f"{value}.{node.attr}" if value else ""
    return ""


def sources(*folders: str) -> list[Source]:
    """Return all Python files of these folders."""
    found = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return [Source(path.relative_to(ROOT).as_posix(), path.read_text("utf-8")) for path in found]


def offences(files: list[Source], judge: Judge) -> list[str]:
    """Return `path:line what` for all that `judge` finds."""
    return [f"{file.path}:{line} {what}" for file in files for line, what in sorted(set(judge(file)))]


def committed_files() -> list[Path]:
    """Return the files that are, or by `git add` would be, part of a commit."""
    if not (ROOT / ".git").exists():
        pytest.skip("not installable: this is not a git checkout, so there are no committed files to look at")
    command = ["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode()
    return [path for path in (ROOT / name for name in listing.split("\0") if name) if path.is_file()]
