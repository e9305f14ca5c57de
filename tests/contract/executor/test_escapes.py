"""Ways out of a sandbox: each is tried from inside, as root and as an ordinary user, and looked at from outside."""

from __future__ import annotations

import pytest

from agentd.executors.battery.run import ALL
from scripts import enforced
from tests.contract.executor.battery import BACKENDS, IDENTITIES, kept, outcome, outcome_of
from tests.contract.executor.driver import CLAUSES
from tests.contract.executor.expected import expected, unknown

# The cases of one run share it: they belong to one process.
RUNS = [
    pytest.param(name, identity, marks=pytest.mark.xdist_group(f"escapes-{name}-{identity}"))
    for name in BACKENDS
    for identity in IDENTITIES
]
TOLD = "run `.venv/bin/python scripts/enforced.py --run` as root and commit what it changes"


def test_what_is_expected_is_what_is_tried() -> None:
    assert unknown() == set()


@pytest.mark.parametrize("case", ALL)
@pytest.mark.parametrize(("name", "identity"), RUNS)
def test_escape(name: str, identity: str, case: str) -> None:
    outcome, detail = outcome_of(name, identity)["findings"][case]
    assert outcome in expected(name, case), detail


@pytest.mark.parametrize(("name", "identity"), RUNS)
def test_the_record_says_what_was_found_here(name: str, identity: str) -> None:
    run, record = outcome_of(name, identity), enforced.read()
    found = {case: outcome(name, case, run) for case in ALL}
    told = {case: record["outcomes"].get(case, {}).get(name, {}).get(identity) for case in ALL}
    # What a machine does not have cannot be tried on it.
    assert {case: one for case, one in found.items() if one not in (told[case], "absent")} == {}, TOLD
    keepers = {clause: enforced.keeper(clause, kept(run, clause)) for clause in CLAUSES}
    assert keepers == {clause: record["clauses"][clause][name] for clause in CLAUSES}, TOLD


def test_the_page_says_what_is_recorded() -> None:
    assert enforced.PAGE.read_text("utf-8") == enforced.page(enforced.read()), TOLD


@pytest.mark.parametrize(("name", "identity"), [run for run in RUNS if run.values[0] == "bwrap"])
def test_the_kernel_counts_processes_for_an_ordinary_user_too(name: str, identity: str) -> None:
    assert outcome_of(name, identity)["enforcement"]["processes"] in ("cgroup", "rlimit")
