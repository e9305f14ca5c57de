"""Runs the snippets of one page, in order and in one namespace, as a reader would who types them in.

Reads a JSON list of [line, code] from standard input; writes one JSON line a snippet, with what it printed, to the file
that is named on the command line.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import traceback
from pathlib import Path


def main() -> int:
    page, answers = sys.argv[1:]
    namespace: dict[str, object] = {"__name__": "__main__"}
    with Path(answers).open("w", encoding="utf-8") as out:
        for line, code in json.load(sys.stdin):
            printed, problem = io.StringIO(), ""
            try:
                with contextlib.redirect_stdout(printed):
                    exec(compile("\n" * line + code, page, "exec"), namespace)
            except Exception:  # noqa: BLE001 - a snippet may raise anything, and the test shows it
                problem = traceback.format_exc()
            out.write(json.dumps([line, printed.getvalue(), problem]) + "\n")
            if problem:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
