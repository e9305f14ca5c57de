"""Writes docs/enforced.md: `.venv/bin/python scripts/enforced.py`, after `--run` has tried every back end here anew.

What the tries came to is kept in docs/enforced.json. They are made as root and as an ordinary user: `--run` wants root.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypedDict

from agentd.executors.battery.inside.harness import GROUPS, TITLES
from agentd.executors.battery.run import ALL

DOCS = Path(__file__).parents[1] / "docs"
PAGE, RECORD = DOCS / "enforced.md", DOCS / "enforced.json"
HEAD = """# What is enforced where

Made by `scripts/enforced.py` from a run of the conformance suite. Every line was tried from inside, in each back end,
as root and as an ordinary user; where the host can see whether something has happened, that is what counts. The tests
fail when this page is not what they find.

- `refused`: it failed.
- `allowed`: it succeeded. For `local` that is as it should be: code runs with your rights there.
- `your rights`: `local` adds nothing and takes nothing away; it succeeds if you may do it yourself.
- `—`: there is no such thing in this back end.

`bwrap` and `srt` were asked for a policy with one allowed domain, one readable folder, one hidden file, and `.env`
protected besides the usual files. `docker` and `microsandbox` have no columns, because neither runs on the machine that
these tests run on. `executor.verify()` tries a short list of this in any back end, where you are.
"""
TITLE = {
    "controls": "What has to work",
    "reading": "Reading",
    "writing": "Writing",
    "protected": "What the policy protects inside of the workspace",
    "network": "The network",
    "processes": "Other processes",
    "kernel": "The kernel",
}
CLAUSES = """## Who keeps the policy

`—`: that back end has no means for the clause. Asked for it, it refuses to start, unless the policy says
`best_effort: true`.
"""
# These hang on the machine: a control group can be made by root, mostly.
BY_MACHINE = {
    "processes": ({"cgroup", "rlimit", "watched"}, "cgroup, else rlimit (bwrap) or counted by the runner"),
    "memory": ({"cgroup", "rlimit"}, "cgroup, else rlimit of each process"),
}
NOBODY = "not enforced"

Outcomes = dict[str, dict[str, dict[str, str]]]


class Record(TypedDict):
    """What was found: outcomes by case, back end and kind of user; who keeps which clause, by clause and back end."""

    outcomes: Outcomes
    clauses: dict[str, dict[str, str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", action="store_true", help="try every back end here first")
    if parser.parse_args().run:
        sys.path.insert(0, str(DOCS.parent))
        from tests.contract.executor.battery import recorded

        RECORD.write_text(text_of(recorded()), "utf-8")
    PAGE.write_text(page(read()), "utf-8")


def read() -> Record:
    """Return the record that is kept."""
    return json.loads(RECORD.read_text("utf-8"))


def text_of(record: Record) -> str:
    """Return the record as JSON, a line for each case."""
    lines = [f'    "{case}": {json.dumps(found)}' for case, found in record["outcomes"].items()]
    clauses = [
        f'    "{clause}": {json.dumps(found, ensure_ascii=False)}' for clause, found in record["clauses"].items()
    ]
    outcomes, kept = ",\n".join(lines), ",\n".join(clauses)
    return f'{{\n  "outcomes": {{\n{outcomes}\n  }},\n  "clauses": {{\n{kept}\n  }}\n}}\n'


def keeper(clause: str, told: str) -> str:
    """Return who keeps a clause, in words that do not hang on the machine."""
    if told.startswith(NOBODY):
        return "—"
    anyone, words = BY_MACHINE.get(clause, (set[str](), ""))
    return words if told in anyone else told


def page(record: Record) -> str:
    """Return the page."""
    names = list(next(iter(record["outcomes"].values())))
    parts = [HEAD]
    for group, title in TITLE.items():
        cases = [case for case in ALL if GROUPS[case] == group]
        rows = ((TITLES[case], *(cell(record["outcomes"][case][name]) for name in names)) for case in cases)
        parts.append(f"## {title}\n\n{table(['', *names], rows)}")
    rows = ((f"`{clause}`", *(told[name] for name in names)) for clause, told in record["clauses"].items())
    parts.append(f"{CLAUSES}\n{table(['clause', *names], rows)}")
    return "\n".join(parts).rstrip() + "\n"


def cell(outcomes: Mapping[str, str]) -> str:
    """Return what the outcomes of the two kinds of user come to."""
    told = {identity: outcome for identity, outcome in outcomes.items() if outcome != "absent"}
    if len(set(told.values())) > 1:
        return " ".join(f"{outcome} to {identity}" for identity, outcome in told.items() if outcome != "refused")
    return next(iter(told.values()), "—")


def table(head: list[str], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ["---"] * len(head), *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    main()
