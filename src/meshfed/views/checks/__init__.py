"""Named checks: each is a function from what was found out (`Facts`) to what it says (`Result`).

No check stops another, and none has an opinion of its own: what a controller says in a status is shown as such, and
what is decided here is decided by what the controller decides it by. Nothing is ok that was not seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from meshfed.views.checks import access, across, clocks, cluster, istio, mesh, remotes
from meshfed.views.checks.across import beside_each_other
from meshfed.views.checks.facts import Facts, Need, Proof, Reviewed, Root
from meshfed.views.checks.results import EVIDENCE, OUTCOMES, Check, CheckOutcome, CheckView, Evidence, Result

CHECKS: Final = (
    *cluster.CHECKS,
    *clocks.CHECKS,
    *access.CHECKS,
    *istio.CHECKS,
    *mesh.CHECKS,
    *remotes.CHECKS,
    *across.CHECKS,
)
"""Every check that is made of an installation, in order."""
BEFORE: Final = (
    *(one for one in CHECKS if one.before and one.group != "istio"),
    *access.BEFORE,
    *(one for one in CHECKS if one.before and one.group == "istio"),
)
"""Every check that is made before one."""
OF_REMOTE: Final = (*(one for one in mesh.CHECKS if one.name == "controller"), *remotes.CHECKS)
"""What is asked where one remote is meant: whether somebody keeps its status up to date, and all of the remote."""
OF_REPORT: Final = (
    *mesh.CHECKS,
    *remotes.CHECKS,
    *(one for one in across.CHECKS if one.name in {"unique", "described", "versions"}),
)
"""What is asked of a report, which has neither all of Pods nor Istio's configuration."""


def run(facts: Facts, checks: tuple[Check, ...] = CHECKS) -> Iterator[CheckView]:
    """Yield what each check says."""
    for check in checks:
        for result in check.run(facts):
            yield CheckView(
                mesh=facts.snapshot.mesh,
                group=check.group,
                check=check.name,
                about=result.about,
                outcome=result.outcome,
                reason=result.reason,
                message=result.message,
                remedy=result.remedy,
                evidence=str(result.evidence or ""),
                since=result.since,
                docs=result.docs or check.docs,
            )


__all__ = [
    "BEFORE",
    "CHECKS",
    "EVIDENCE",
    "OF_REMOTE",
    "OF_REPORT",
    "OUTCOMES",
    "Check",
    "CheckOutcome",
    "CheckView",
    "Clock",
    "Evidence",
    "Facts",
    "Need",
    "Proof",
    "Result",
    "Reviewed",
    "Root",
    "beside_each_other",
    "run",
]
