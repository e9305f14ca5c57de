"""Text that comes from outside, made fit to be shown."""

from __future__ import annotations


def one_line(text: str, limit: int) -> str:
    """Return `text` as one line of printable characters, of at most `limit`, cut at a word with `…`."""
    flat = " ".join("".join(char if char.isprintable() else " " for char in text[: limit * 4]).split())
    if len(flat) <= limit:
        return flat
    cut = flat[: limit - 1]
    return (cut.rpartition(" ")[0] or cut).rstrip() + "…"


def lines(text: str, limit: int) -> list[str]:
    """Return the lines of `text`, each printable, without outer blank ones, of at most `limit` characters in all."""
    kept: list[str] = []
    size = 0
    for line in text.strip()[: limit * 2].splitlines():
        clean = "".join(char if char.isprintable() else " " for char in line.expandtabs(4)).rstrip()
        size += len(clean) + 1
        if size > limit:
            kept.append("…")
            break
        kept.append(clean)
    return kept


def first_sentence(text: str, limit: int) -> str:
    """Return the first sentence or line of `text` as one line."""
    head = (text.strip().splitlines() or [""])[0]
    sentence, dot, _ = head.partition(". ")
    return one_line(sentence + dot, limit)
