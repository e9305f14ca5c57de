"""Runs the snippets of one page, in order and in one namespace, as a reader would who types them in.

Reads a JSON list of [line, code] from standard input; writes one JSON line a snippet, with what it printed, to the file
that is named on the command line.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import traceback
from collections.abc import Generator
from pathlib import Path

ADDRESS = "OPENAI_BASE_URL"
OF_A_PROVIDER = re.compile(r'model="(?:[\w-]+/|claude-|gemini-)')


def main() -> int:
    page, answers = sys.argv[1:]
    namespace: dict[str, object] = {"__name__": "__main__"}
    with Path(answers).open("w", encoding="utf-8") as out:
        for line, code in json.load(sys.stdin):
            printed, problem = io.StringIO(), ""
            try:
                with contextlib.redirect_stdout(printed), address_for(code):
                    exec(compile("\n" * line + code, page, "exec"), namespace)
            except Exception:  # noqa: BLE001 - a snippet may raise anything, and the test shows it
                problem = traceback.format_exc()
            out.write(json.dumps([line, printed.getvalue(), problem]) + "\n")
            if problem:
                return 1
    return 0


@contextlib.contextmanager
def address_for(code: str) -> Generator[None]:
    """Ask the scripted model, as if it were OpenAI's, but not where another provider is named."""
    held = os.environ.pop(ADDRESS, None) if OF_A_PROVIDER.search(code) else None
    try:
        yield
    finally:
        if held is not None:
            os.environ[ADDRESS] = held


if __name__ == "__main__":
    sys.exit(main())
