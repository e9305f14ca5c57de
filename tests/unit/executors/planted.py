"""Files that a guest leaves in a workspace, and what became of them."""

from __future__ import annotations

from pathlib import Path


def write(path: Path, text: str = "planted") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def refused(workspace: Path) -> list[str]:
    """Return what has been moved away, by the path that it had."""
    found = [path for top in (".agentd/refused", ".") for path in sorted((workspace / top).glob("*look_*"))]
    return sorted(str(path.relative_to(top)) for top in found for path in top.rglob("*") if not path.is_dir())
