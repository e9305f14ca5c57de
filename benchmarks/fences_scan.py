"""How fast a message is scanned, and that the time grows with its length and nothing else.

    python benchmarks/fences_scan.py

First the long messages with their limits, then hostile ones at two lengths: twice the text may take about twice the
time. Leaves with 1 when a limit is missed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from agentd.fences import Scanner

PROSE = "Some *words* of the answer, with `code` in them, and more.\n"
LINES = PROSE * 17_000
LONG = "x = 'a long line'; " * 526_316
OPENING = "```bash:execute\n"
CLOSING = "\n```\n"
TAG = '<invoke name="bash:execute"><parameter name="command">'
TIMED = [
    ("1 MB of lines, 8 characters a chunk", LINES, 8, 0.5),
    ("  inside a fence", OPENING + LINES + CLOSING, 8, 0.5),
    ("  inside an invoke", TAG + LINES + "</parameter></invoke>", 8, 0.5),
    ("a line of 10 MB, 20 characters a chunk", LONG, 20, 1.0),
    ("  inside a fence", OPENING + LONG + CLOSING, 20, 1.0),
    ("  inside an invoke", TAG + LONG + "</parameter></invoke>", 20, 1.0),
]
HOSTILE = {
    "openers": "```\n~~~~\n````x\n",
    "openers of actions": "```bash:execute\n",
    "openers of actions, closed": "```bash:execute\n```\n",
    "openers on one line": "```bash:execute ",
    "openers with backticks": "```bash:execute`\n",
    "backticks": "`",
    "backticks and spaces": "`` ` ",
    "tildes, indented": "   ~~~~~~~~~\n",
    "<": "<",
    "< on lines": "<\n",
    "<invoke": "<invoke ",
    "<invoke on lines": "<invoke\n",
    "<invoke name=": '<invoke name="',
    "<function_calls>": "<function_calls>\n",
    "comments": "<!--\n",
    "attributes": "<a b='c' ",
    "list markers": "- ",
    "list markers on lines": "- \n",
    "numbers": "1. ",
    "quote markers": "> ",
    "quote markers on lines": "> > > > > x\n",
    "quotes with fences": "> ```bash:execute\n",
    "definitions": "[a]: b 'c\n",
    "definitions in lists": "- [a]: b\n",
    "titles without an end": '[a]: b\n"c\n',
    "a title over all lines": "[a]: b\n(c\n" + "d\n" * 100,
    "brackets": "[",
    "labels": "[a\\\n",
    "backslashes": "\\",
    "blanks": " ",
    "blank lines": "\n",
    "tabs": "\t",
    "carriage returns": "\r",
    "underlines": "=\n",
    "entities": "&lt;",
}
INSIDE = {"in an action": OPENING, "in an invoke": TAG, "in CDATA": TAG + "<![CDATA["}
LENGTH = 280_000
CHUNKS = (8, LENGTH * 4)
MOST_TIMES = 3.0


def timed(text: str, size: int) -> float:
    """Return the CPU seconds it takes: other programs on the machine do not count."""
    scanner = Scanner()
    chunks = [text[at : at + size] for at in range(0, len(text), size)]
    begun = time.process_time()
    for chunk in chunks:
        scanner.feed(chunk)
    scanner.close()
    return time.process_time() - begun


def hostile(length: int) -> Iterator[tuple[str, str]]:
    for name, unit in HOSTILE.items():
        yield name, unit * (length // len(unit))
    yield "deeper and deeper lists", staircase(length)
    for name, before in INSIDE.items():
        for unit in ("```", "``` ", "<", "</param", "&", "]]", "`\n", " "):
            yield f"{unit!r} {name}", before + unit * (length // len(unit))


def staircase(length: int) -> str:
    """Return list items, each one level below the last, in rounds of forty."""
    unit = "".join("  " * level + "- x\n" for level in range(40))
    return unit * (length // len(unit))


def show_limits() -> bool:
    print("long messages                             seconds   limit")
    good = True
    for name, text, size, limit in TIMED:
        seconds = min(timed(text, size) for _ in range(3))
        good = good and seconds <= limit
        print(f"{name:40} {seconds:8.3f} {limit:7.1f}{'' if seconds <= limit else '  MISSED'}")
    return good


def show_growth() -> bool:
    print(
        f"\nhostile messages of {LENGTH // 1000} kB, in chunks of {CHUNKS[0]} and whole   seconds   doubled     times"
    )
    good = True
    for (name, once), (_, twice) in zip(hostile(LENGTH), hostile(2 * LENGTH), strict=True):
        for size in CHUNKS:
            first, second = (min(timed(text, size) for _ in range(3)) for text in (once, twice))
            times = second / first
            # Where it takes next to no time the clock decides, not the code.
            linear = times <= MOST_TIMES or second < 0.05
            good = good and linear
            how = "whole" if size > LENGTH else "chunks"
            print(f"{name:40} {how:10} {first:8.3f} {second:9.3f} {times:9.1f}{'' if linear else '  NOT LINEAR'}")
    return good


if __name__ == "__main__":
    within = show_limits()
    linear = show_growth()
    sys.exit(0 if within and linear else 1)
