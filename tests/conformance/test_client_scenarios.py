"""Our MCP client passes what the conformance suite of MCP asks of a client, at both revisions."""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import json
import os
import sys
from dataclasses import asdict

import pytest
import yaml

from tests.conformance.suite import HERE, PREVIEW, STABLE, Outcome, found_by, is_installed, listed, required, run

if not is_installed():
    pytest.skip("the conformance suite is not installed: run `make setup`", allow_module_level=True)

REVISIONS = ("2025-11-25", "2026-07-28")
NAMED = yaml.safe_load((HERE / "scenarios.yaml").read_text())
ALSO_RUN: dict[str, str] = NAMED["also_run"]
NOT_APPLICABLE = {name for entry in NAMED["not_applicable"] for name in entry["scenarios"]}
WRONG_IN_STABLE = {name for entry in NAMED["wrong_in_stable"] for name in entry["scenarios"]}
# In turns, so that two workers begin with different revisions.
CASES = [
    pytest.param(revision, name, id=f"{revision} {name}")
    for both in itertools.zip_longest(*map(required, REVISIONS))
    for revision, name in zip(REVISIONS, both, strict=True)
    if name
]


@pytest.fixture
def outcomes(revision: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """All that a revision requires, run at once: the suite takes longer to start than a scenario takes.

    What the first worker that comes by has found lies in a file that all of this test run share.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with open(shared / f"conformance-{revision}.json", "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if file.seek(0, os.SEEK_END) == 0:
            found = asyncio.run(run(PREVIEW, "--requirements", revision))
            json.dump({name: asdict(outcome) for name, outcome in found.items()}, file)
            file.flush()
        file.seek(0)
        return {name: Outcome(**outcome) for name, outcome in json.load(file).items()}


def one(name: str, revision: str) -> Outcome:
    return asyncio.run(run(PREVIEW, "--scenario", name, "--spec-version", revision, "--force"))[name]


# The one that comes first runs them all.
@pytest.mark.timeout(180)
@pytest.mark.parametrize(("revision", "name"), CASES)
def test_a_revision_requires(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcomes[name]
    if name in NOT_APPLICABLE:
        assert not outcome.passed, f"{name} passes: take it off the list"
    else:
        assert outcome.passed, str(outcome)


@pytest.mark.parametrize("name", ALSO_RUN)
def test_an_older_revision(name: str) -> None:
    outcome = one(name, ALSO_RUN[name])
    assert outcome.passed, str(outcome)


@pytest.mark.parametrize("name", sorted(NOT_APPLICABLE.difference(*map(required, REVISIONS))))
def test_what_does_not_apply_fails_in_truth(name: str) -> None:
    assert not one(name, REVISIONS[-1]).passed, f"{name} passes: take it off the list"


async def test_the_stable_edition_of_the_suite() -> None:
    found = await run(STABLE, "--suite", "all")
    assert found.keys() == await listed(STABLE)
    failed = {name: str(outcome) for name, outcome in found.items() if not outcome.passed}
    assert failed.keys() == WRONG_IN_STABLE, "\n".join(failed.values())


async def test_every_scenario_of_the_suite_is_accounted_for() -> None:
    named = set().union(*map(required, REVISIONS)) | ALSO_RUN.keys() | NOT_APPLICABLE
    assert named == await listed(PREVIEW)


async def test_the_client_is_a_program_too() -> None:
    found = await found_by(PREVIEW, (sys.executable, str(HERE / "client.py")), "--scenario", "tools_call")
    assert Outcome(found["tools_call"], "").passed


def test_each_exception_has_its_reason() -> None:
    assert all(len(entry["reason"]) > 40 for entry in (*NAMED["not_applicable"], *NAMED["wrong_in_stable"]))
