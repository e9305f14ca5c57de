"""What became of each attempt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from agentd.executors.battery.inside.harness import TITLES

CONTROL = "works-"


class Outcome(StrEnum):
    """How an attempt ended; `ABSENT` when there was nothing that it could be tried on."""

    REFUSED = "refused"
    ALLOWED = "allowed"
    ABSENT = "absent"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One attempt: what it was, how it ended, and what is known of that."""

    case: str
    outcome: Outcome
    detail: str = ""

    @property
    def title(self) -> str:
        """Say in plain words what was attempted."""
        return TITLES.get(self.case, self.case)

    @property
    def good(self) -> bool:
        """Whether a sandbox is to be like that: what must work works, and all else is refused."""
        wanted = Outcome.ALLOWED if self.case.startswith(CONTROL) else Outcome.REFUSED
        return self.outcome in (wanted, Outcome.ABSENT)


@dataclass(frozen=True, slots=True)
class Report:
    """What a battery has found, by case."""

    findings: Mapping[str, Finding]

    @property
    def holes(self) -> list[Finding]:
        """What was allowed or could not be judged, and what has to work and does not."""
        return [finding for finding in self.findings.values() if not finding.good]

    def __str__(self) -> str:
        if not self.holes:
            tried = sum(finding.outcome is Outcome.REFUSED for finding in self.findings.values())
            return f"{tried} ways out were tried and refused"
        return "; ".join(_told(finding) for finding in self.holes)


def _told(finding: Finding) -> str:
    verdict = "failed" if finding.case.startswith(CONTROL) and finding.outcome is Outcome.REFUSED else finding.outcome
    return f"{finding.title}: {verdict} ({finding.detail})"
