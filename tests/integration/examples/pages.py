"""The Python snippets of a page, each with what the page says that it prints."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ELLIPSIS = "…"


@dataclass(frozen=True)
class Snippet:
    """One block of a page; `printed` is the `text` block that directly follows it, `None` when there is none."""

    line: int
    code: str
    printed: str | None = None

    def is_right(self, printed: str) -> bool:
        """Compare, but for blank space at line ends; `…` stands for anything."""
        if self.printed is None:
            return True
        parts = (re.escape(part) for part in _trimmed(self.printed).split(ELLIPSIS))
        return re.fullmatch(".*".join(parts), _trimmed(printed), re.DOTALL) is not None


def snippets(page: Path) -> list[Snippet]:
    """Return all blocks of a page that are marked `python`, in order."""
    tokens = [token for token in MarkdownIt().parse(page.read_text("utf-8")) if not token.type.endswith("_close")]
    found: list[Snippet] = []
    for index, token in enumerate(tokens):
        if token.type == "fence" and token.info == "python":
            after = [each for each in tokens[index + 1 : index + 2] if each.type == "fence" and each.info == "text"]
            found.append(Snippet((token.map or [0])[0] + 1, token.content, after[0].content if after else None))
    return found


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())
