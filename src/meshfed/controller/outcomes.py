"""What the engine made of a key's objects, as one verdict for the conditions."""

from __future__ import annotations

from typing import Final

from meshfed.kube import Outcome, SourceState
from meshfed.model.reasons import Reason
from meshfed.plan import Applied

_REASONS: Final = {
    Outcome.NOT_OWNED: Reason.NOT_OWNED,
    Outcome.DRIFT_CONFLICT: Reason.DRIFT_CONFLICT,
    Outcome.INVALID: Reason.WRITE_FAILED,
    Outcome.FAILED: Reason.WRITE_FAILED,
    Outcome.PAUSED: Reason.PAUSED,
}


def verdict(state: SourceState) -> Applied:
    """The first failure where there is one, else whether everything is in place."""
    for key, outcome in sorted(state.objects.items()):
        reason = _REASONS.get(outcome.outcome)
        if reason is not None:
            return Applied("failed", reason, f"{key}: {outcome.message}")
    if any(one.outcome is Outcome.PENDING for one in state.objects.values()):
        return Applied("pending", Reason.PENDING, "being written")
    return Applied("applied", leaving=bool(state.deleting))
