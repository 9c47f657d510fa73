"""Limits: which of a remote's offers fit under `import.limit`.

The longest-standing offers fit, so a new offer never pushes a running import out.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

from meshfed.api.times import LATEST, parse_time
from meshfed.model.reasons import Decision, Reason

Standing = tuple[bool, datetime, str]
"""An offer's place in the queue: not yet recorded, first offered, name of its FederatedService."""


def standing(first_offered: str, name: str) -> Standing:
    """Return an offer's place: who was recorded first comes first, what is not recorded yet comes last."""
    return (not first_offered, _moment(first_offered), name)


@lru_cache(maxsize=64)  # what was offered at once has the same moment
def _moment(first_offered: str) -> datetime:
    """Return when that was; where nobody can tell, nobody was after it."""
    try:
        return parse_time(first_offered)
    except ValueError:
        return LATEST


def over_limit(remote: str, limit: int) -> Decision:
    """Return why an offer of ``remote`` that its quota does not admit is not imported."""
    return Decision(
        accepted=False,
        reason=Reason.LIMIT_EXCEEDED,
        message=f"RemoteMesh {remote} has as many hosts as its `import.limit` of {limit} allows; raise it, or deny "
        "others by a rule",
    )
