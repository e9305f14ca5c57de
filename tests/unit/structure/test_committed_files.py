"""The repository stands alone: it names no registry, no machine and nothing that lies outside of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.structure.source import ROOT, committed_files

# Written so that none of them matches itself.
FORBIDDEN = {
    "a registry's host": [
        r"pypi\.org|pythonhosted\.org|npmjs\.(org|com)|yarnpkg\.com",
        r"(deb|security)\.debian\.org|crates\.io|proxy\.golang\.org",
    ],
    "the address of an index": [r"--(extra-)?index-url[ =]\S*:/|--find-links[ =]\S*/", r"\"resolved\"\s*:"],
    "a path of one machine": [
        r"/work/(main|shared|\.library)\b",
        r"/(root|home/\w+)/[.](pyenv|cache|local)\b",
        r"/opt/(wheels|pypi)\b",
    ],
    "what lies outside": [
        r"[.][.]/shared\b|\b(DESIGN|STYLE)[.]md\b|\bDESIGN[ ]*§",
        r"\b(durability|neighbours|peers|performance|protocols|sandboxes|setup)[.]md\b",
        r"\b[Ii]ssues? #?\d+\b|/tmp/[b]rief\b",
    ],
}


def texts() -> list[tuple[Path, str]]:
    found: list[tuple[Path, str]] = []
    for path in committed_files():
        data = b"" if path.is_symlink() else path.read_bytes()
        if b"\0" not in data:
            found.append((path, data.decode("utf-8", "replace")))
    return found


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_committed_file_names(what: str) -> None:
    pattern = re.compile("|".join(FORBIDDEN[what]))
    found = [
        f"{path.relative_to(ROOT)}:{number} {match.group()}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if (match := pattern.search(line))
    ]
    assert found == []


def test_no_committed_file_names_this_checkout() -> None:
    assert [str(path.relative_to(ROOT)) for path, text in texts() if f"{ROOT}/" in text] == []


def test_links_stay_inside() -> None:
    links = [path for path in committed_files() if path.is_symlink()]
    assert [str(link) for link in links if not link.resolve().is_relative_to(ROOT)] == []


def test_scripts_can_be_run() -> None:
    scripts = [path for path in committed_files() if path.read_bytes()[:2] == b"#!" and "tests" not in path.parts]
    assert {"run", "uv", "venv", "lock"} <= {path.name for path in scripts}
    assert [str(path.relative_to(ROOT)) for path in scripts if not path.stat().st_mode & 0o100] == []
