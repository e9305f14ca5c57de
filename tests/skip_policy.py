"""A test that does not run says why, and in CI only what cannot be installed there may be missing.

A skip (or an expected failure) without a reason fails everywhere. With `CI=true` one whose reason does not start with
`not installable:` fails too, for then our own set-up has left something out.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

ALLOWED_IN_CI = "not installable:"
NO_REASON = {"", "unconditional skip"}


class SkipPolicy:
    """Turns skips that the policy refuses into failures, in the process that runs the test (xdist's workers too)."""

    def __init__(self, in_ci: bool) -> None:
        self._in_ci = in_ci

    @classmethod
    def of_environment(cls) -> SkipPolicy:
        """Return the policy that the environment asks for."""
        return cls(in_ci=os.environ.get("CI", "").lower() in {"true", "1"})

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        self._judge(report)
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(self) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        report = yield
        self._judge(report)
        return report

    def _judge(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.outcome != "skipped":
            return
        reason = reason_of(report)
        complaint = self._complaint(reason)
        if complaint:
            report.outcome = "failed"
            report.longrepr = f"{complaint}: {reason!r}"
            report.__dict__.pop("wasxfail", None)

    def _complaint(self, reason: str) -> str:
        if reason in NO_REASON:
            return "a test that does not run has to give a reason"
        if self._in_ci and not reason.startswith(ALLOWED_IN_CI):
            return f"in CI a test may be left out only with a reason that starts with {ALLOWED_IN_CI!r}"
        return ""


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return why the test was skipped, or why it was expected to fail."""
    expected = getattr(report, "wasxfail", None)
    if expected is not None:
        return str(expected).removeprefix("reason: ").strip()
    why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr or "")
    return why.removeprefix("Skipped: ").removeprefix("Skipped").strip()
