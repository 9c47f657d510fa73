"""What a controller has written into a status, and whether that can be believed now.

A status is what a controller wrote last. One that is gone cannot take it back: so what is True counts only while a
controller lives, and has looked at the object as it is now.
"""

from __future__ import annotations

from typing import Final

import msgspec

from meshfed.api.meta import ObjectMeta, StatusCondition
from meshfed.api.v1alpha1 import FederatedService, MeshFederation, RemoteMesh
from meshfed.model.reasons import BROKEN, RESERVED, Condition, ConditionType, Reason
from meshfed.views.ages import age
from meshfed.views.checks.facts import Facts, controllers, is_ready, place
from meshfed.views.checks.results import CheckOutcome, Evidence, Result, unknown
from meshfed.views.controllers import controller
from meshfed.views.snapshot import find, named

Ours = MeshFederation | RemoteMesh | FederatedService

_DOCS: Final[dict[str, str]] = {
    **dict.fromkeys(BROKEN, "troubleshooting.md#a-way-is-broken"),
    Reason.ROOT_NOT_TRUSTED: "troubleshooting.md#a-certificate-is-not-accepted",
    Reason.GATEWAY_NOT_REACHED: "troubleshooting.md#the-gateway-is-not-reached",
    Reason.NOT_PASSED_ON: "troubleshooting.md#the-gateway-does-not-pass-it-on",
    Reason.MTLS_DISABLED: "troubleshooting.md#mtls-is-turned-off",
    Reason.NOT_UNDERSTOOD: "operations.md#an-object-cannot-be-understood",
    Reason.NOT_OWNED: "troubleshooting.md#an-object-is-not-written",
    Reason.DRIFT_CONFLICT: "troubleshooting.md#an-object-is-not-written",
    Reason.WRITE_FAILED: "troubleshooting.md#an-object-is-not-written",
    Reason.WITHDRAWAL_HELD: "operations.md#a-mass-withdrawal-is-held",
    Reason.TRUST_DOMAIN_MISMATCH: "operations.md#what-istio-is-configured-to",
}
"""Where to read on about a reason, where that is elsewhere than about the check."""


def docs_of(reason: str) -> str:
    """Return where to read on about a reason; empty where the check's own place is right."""
    return _DOCS.get(reason, "")


_DECIDABLE: Final = frozenset(
    {
        ("MeshFederation", ConditionType.READY),
        ("MeshFederation", ConditionType.GATEWAY_READY),
        ("MeshFederation", ConditionType.EXPORTS_READY),
        ("RemoteMesh", ConditionType.IDENTITY_UNIQUE),
    }
)
"""Conditions that follow from objects alone, so that what was written last need not be believed."""


class Alive(msgspec.Struct, frozen=True):
    """Whether a controller lives, ``None`` where nobody can say; in words, and what there is to do about it."""

    alive: bool | None
    words: str
    remedy: str = ""


def alive(facts: Facts) -> Alive:
    """Return whether a controller lives: by the Lease of who leads, else of a replica, else by its Pods."""
    snapshot = facts.snapshot
    why = facts.unread("Lease")
    seen = controller(snapshot)
    held = seen.leader
    if held is not None:
        if held.alive:
            return Alive(
                alive=True,
                words=f"{held.name} leads, heard {age(held.renewed, snapshot.taken)} ago",
            )
        words = f"{held.name} led, and was last heard {age(held.renewed, snapshot.taken)} ago" if held.name else ""
        return Alive(alive=False, words=f"nobody leads{': ' if words else ''}{words}", remedy=_LOOK)
    replica = next((one for one in seen.replicas if one.alive), None)
    if replica is not None:
        return Alive(alive=True, words=f"{replica.name} is at work, heard {age(replica.renewed, snapshot.taken)} ago")
    if facts.unread("Pod"):
        return Alive(alive=None, words=why or f"there is no Lease, and {facts.unread('Pod')}")
    pods = controllers(snapshot)
    ready = [place(pod)[1] for pod in pods if is_ready(pod)]
    if ready:
        return Alive(alive=True, words=f"Pod {ready[0]} is ready")
    if pods:
        return Alive(alive=False, words=f"Pod {place(pods[0])[1]} is not ready", remedy=_LOOK)
    if why:
        return Alive(alive=None, words=f"there is no Pod of a controller, and {why}")
    return Alive(
        alive=False,
        words=f"there is no Lease and no Pod of a controller in namespace {snapshot.namespace}",
        remedy="install one, or look in another namespace with --namespace; one that runs outside of the cluster is "
        "seen where it is started with --leader-elect",
    )


_LOOK: Final = "see its Pods, their logs, and /readyz"


def condition(facts: Facts, kind: str, one: Ours, type_: str) -> Result:
    """Return what a condition of an object of ours says; if it can be decided anew, what that says counts too."""
    about = named(one.metadata) if kind == "MeshFederation" else one.metadata.name
    found = find(one.status.conditions, type_)
    anew = facts.decided(kind, one.metadata.name, type_) if (kind, type_) in _DECIDABLE else None
    if found is not None and found.status == "False":
        return _of(found, about)
    if anew is not None and anew.status == "False" and anew.reason != Reason.PENDING:
        return _of_decision(anew, about)
    doubt = doubted(alive(facts), one.metadata, found)
    if doubt or found is None:
        return unknown(f"{type_}: {doubt}", about=about)
    return _of(found, about)


def doubted(living: Alive, metadata: ObjectMeta, found: StatusCondition | None) -> str:
    """Return why what a status says cannot be believed; empty where it can."""
    if living.alive is not True:
        then = f" (its status said {found.status})" if found is not None else ""
        return f"nobody keeps it up to date, as the check `controller` says{then}"
    if found is None:
        return "it is not said, and a controller lives: it has not looked yet, or was told not to look"
    if found.observed_generation < metadata.generation:
        return "the object was changed, and the controller has not looked at it since"
    return ""


def _of(found: StatusCondition, about: str) -> Result:
    outcome = {"True": CheckOutcome.OK, "False": CheckOutcome.FAILED}.get(found.status, CheckOutcome.UNKNOWN)
    if outcome is CheckOutcome.OK and found.reason in RESERVED:
        outcome = CheckOutcome.WARNING
    return Result(
        outcome,
        found.message or found.reason,
        found.reason,
        evidence=Evidence.STATUS,
        since=found.last_transition_time,
        about=about,
        docs=docs_of(found.reason) if outcome is not CheckOutcome.OK else "",
    )


def _of_decision(anew: Condition, about: str) -> Result:
    return Result(
        CheckOutcome.FAILED,
        anew.message,
        anew.reason,
        evidence=Evidence.DECIDED,
        about=about,
        docs=docs_of(anew.reason),
    )
