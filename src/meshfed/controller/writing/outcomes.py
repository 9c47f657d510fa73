"""What the engine made of a key's objects, as one verdict for the conditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from meshfed.api.core import Route
from meshfed.controller.watches import ROUTE
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
_APPLIED: Final = Applied("applied")


def verdict(state: SourceState) -> Applied:
    """The first failure where there is one, else whether everything is in place."""
    for key, outcome in sorted(state.objects.items()):
        reason = _REASONS.get(outcome.outcome)
        if reason is not None:
            return Applied("failed", reason, f"{key}: {outcome.message}")
        if outcome.refused:
            return Applied("failed", Reason.ROUTE_NOT_ADMITTED, f"{key}: {outcome.refused}")
    if any(one.outcome is Outcome.PENDING for one in state.objects.values()):
        return Applied("pending", Reason.PENDING, "being written")
    return Applied("applied", terminating=True) if state.deleting else _APPLIED


def refusal(live: Mapping[str, Any]) -> str:
    """Return what routers say against a Route, in words; empty where one serves it, none has spoken, or it is none.

    Of several routers each admits the Routes of its shard, so what one of them leaves to another is not refused.
    """
    if live.get("kind") != ROUTE.kind:
        return ""
    try:
        status = msgspec.convert(live, Route).status
    except msgspec.ValidationError:
        return ""
    verdicts = [(one.router_name, said) for one in status.ingress for said in one.conditions if said.type == "Admitted"]
    if any(said.status == "True" for _, said in verdicts):
        return ""
    return "; ".join(
        f"router {name} does not admit it: {said.reason}: {said.message}"
        for name, said in verdicts
        if said.status == "False"
    )
