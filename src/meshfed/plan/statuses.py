"""What the statuses say, in words for a person: which of the facts decides, and what to do about it.

Facts come in as plain values; conditions come out without times, which belong to whoever writes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from meshfed.model.meshes import LocalMesh
from meshfed.model.names import counted, listed
from meshfed.model.reasons import Condition, ConditionType, Decision, Reason
from meshfed.plan.meshes import root_elsewhere
from meshfed.plan.values import Applied, FailedWrites, Reached, RemoteConnection

_SHOWN_OBJECTS = 10
_PENDING = Applied(state="pending", reason=Reason.PENDING, message="the objects are being written")


def condition(kind: ConditionType, *, holds: bool, reason: Reason, message: str) -> Condition:
    """Return a condition that holds or does not."""
    return Condition(type=kind, status="True" if holds else "False", reason=reason, message=message)


# --- FederatedService -----------------------------------------------------------------------------


def offer_conditions(
    decision: Decision, *, problem: str, objects: Sequence[str], applied: Applied | None, unresolved: str
) -> tuple[Condition, ...]:
    """Say whether an offer is accepted, and whether what carries it is in place."""
    message = decision.message
    if problem and decision.accepted:
        message += f"; as it was before the last announcement, which cannot be used: {problem}"
    accepted = condition(ConditionType.ACCEPTED, holds=decision.accepted, reason=decision.reason, message=message)
    if not decision.accepted:
        carried = condition(
            ConditionType.APPLIED, holds=False, reason=decision.reason, message="there are no objects for it"
        )
    elif unresolved:
        carried = condition(ConditionType.APPLIED, holds=False, reason=Reason.UNRESOLVED, message=unresolved)
    else:
        carried = _applied(ConditionType.APPLIED, applied, message=listed(objects, _SHOWN_OBJECTS))
    return accepted, carried


def _applied(kind: ConditionType, applied: Applied | None, *, message: str) -> Condition:
    verdict = applied or _PENDING
    if verdict.state == "applied":
        return condition(kind, holds=True, reason=Reason.APPLIED, message=message)
    return condition(kind, holds=False, reason=verdict.reason, message=verdict.message)


# --- RemoteMesh -----------------------------------------------------------------------------------

_NOT_ASKED = RemoteConnection(
    reason=Reason.PUBLISH_ONLY,
    message="it may hear what this mesh exports; it is not asked what it offers, since the RemoteMesh has no `import`",
    sync_reason=Reason.PUBLISH_ONLY,
    sync_message="nothing is imported from it",
)


class RemoteFacts(msgspec.Struct, frozen=True):
    """What the status of a RemoteMesh is made of."""

    name: str
    connection: RemoteConnection
    conflict: Decision | None
    identity: str
    shares_identity_with: tuple[str, ...]
    shadowed_by: str
    """This mesh's trust domain, where Istio takes the remote's identity for one of that; else empty."""
    reachable: bool
    publish_only: bool
    plaintext: str
    """Who turns mTLS off on the way to its discovery service, in words; else empty."""
    offered: int
    imported: int
    refused: Mapping[Reason, int]
    """Why the others are not imported, and how many for each reason."""
    applied: Applied | None
    failed: FailedWrites | None
    """Imported hosts whose objects could not be written."""
    unrecorded: FailedWrites | None
    """Offered hosts whose FederatedServices could not be written."""
    cut_off: FailedWrites | None
    """FederatedServices of which the way has ended at the address of the remote's gateway for some time."""
    unreached: FailedWrites | None
    """FederatedServices to which the way has been broken behind that for some time."""
    way: Reached | None
    """What was seen of the way to the remote's discovery service; ``None`` where nothing was yet."""


def remote_conditions(facts: RemoteFacts) -> tuple[Condition, ...]:
    """Say how a remote mesh stands."""
    connection = _NOT_ASKED if facts.publish_only else facts.connection
    return (
        _remote_ready(facts),
        condition(
            ConditionType.CONNECTED,
            holds=connection.connected,
            reason=connection.reason,
            message=connection.message,
        ),
        condition(
            ConditionType.SYNCED,
            holds=connection.synced,
            reason=connection.sync_reason,
            message=connection.sync_message,
        ),
        _identity_unique(facts),
        *([facts.way.condition] if facts.way is not None else ()),
    )


def _remote_ready(facts: RemoteFacts) -> Condition:
    obstacle = _remote_obstacle(facts)
    if obstacle is not None:
        reason, message = obstacle
        return condition(ConditionType.READY, holds=False, reason=reason, message=message)
    if facts.publish_only:
        return condition(
            ConditionType.READY,
            holds=True,
            reason=Reason.PUBLISH_ONLY,
            message=_NOT_ASKED.message,
        )
    message = f"{facts.imported} of {counted(facts.offered, 'offered service')} imported"
    if facts.refused:
        reasons = sorted(facts.refused.items(), key=lambda item: (-item[1], item[0]))
        told = ", ".join(f"{number} {reason}" for reason, number in reasons)
        message += f", {sum(facts.refused.values())} not ({told}): see `kubectl get federatedservices`"
    if facts.unreached:  # one import's trouble is that import's
        message += f"; {_not_reached(facts.unreached)}"
        return condition(ConditionType.READY, holds=True, reason=Reason.IMPORTS_NOT_REACHED, message=message)
    return condition(ConditionType.READY, holds=True, reason=Reason.READY, message=message)


def _not_reached(failed: FailedWrites) -> str:
    return f"FederatedServices {listed(failed.names)} are not reached: {failed.first.reason}: {failed.first.message}"


def _remote_obstacle(facts: RemoteFacts) -> tuple[Reason, str] | None:
    if facts.conflict is not None:
        return facts.conflict.reason, facts.conflict.message
    if not facts.reachable:
        return (
            Reason.INVALID,
            f"RemoteMesh {facts.name} has neither `addresses` nor `discovery.address`, so there is no way to reach it",
        )
    if facts.applied is not None and facts.applied.state == "failed":
        return facts.applied.reason, facts.applied.message
    connection = facts.connection
    if facts.publish_only:
        return None
    if facts.plaintext:
        message = (
            f"{facts.plaintext}, so this mesh would not speak Istio's mTLS with the ingress of the remote, which takes "
            "nothing else; turn mTLS on there"
        )
        return Reason.MTLS_DISABLED, message
    if not connection.connected:
        return connection.reason, connection.message
    if not connection.synced:
        return connection.sync_reason, connection.sync_message
    if facts.way is not None and facts.way.lasting:
        return facts.way.condition.reason, facts.way.condition.message
    if facts.unrecorded:
        first = facts.unrecorded.first
        return first.reason, f"FederatedServices for {listed(facts.unrecorded.names)} are not in place: {first.message}"
    if facts.failed:
        first = facts.failed.first
        return first.reason, f"objects of {listed(facts.failed.names)} are not in place: {first.message}"
    if facts.cut_off:
        return facts.cut_off.first.reason, _not_reached(facts.cut_off)
    return None


def _identity_unique(facts: RemoteFacts) -> Condition:
    if facts.shadowed_by:
        return condition(
            ConditionType.IDENTITY_UNIQUE,
            holds=False,
            reason=Reason.IDENTITY_SHADOWED,
            message=f"in an AuthorizationPolicy Istio reads the trust domain cluster.local as this mesh's own, "
            f"{facts.shadowed_by}, so {facts.identity} is not let in to hear what this mesh exports. Imports are not "
            "affected. Give the remote mesh a trust domain of its own",
        )
    if not facts.shares_identity_with:
        return condition(
            ConditionType.IDENTITY_UNIQUE,
            holds=True,
            reason=Reason.IDENTITY_UNIQUE,
            message=f"callers with the identity {facts.identity} are this remote",
        )
    return condition(
        ConditionType.IDENTITY_UNIQUE,
        holds=False,
        reason=Reason.IDENTITY_AMBIGUOUS,
        message=f"{facts.identity} is also the identity of {listed(facts.shares_identity_with)}; callers with it are "
        "sent only what all of these may see. Imports are not affected. Give each mesh a trust domain or service "
        "account of its own, and state it in `identity`",
    )


# --- MeshFederation -------------------------------------------------------------------------------


class ExportFacts(msgspec.Struct, frozen=True):
    """What the status of the MeshFederation in force says of exports is made of."""

    exports_anything: bool
    exported: int
    names: Sequence[str]
    """Services that are exported, sorted, each with whatever is out of the ordinary about that."""
    invalid: str
    """What is wrong with the first Service that is left out as Invalid; else empty."""
    plaintext: str
    """Which ports of the first Service that is served without mTLS are, and why; else empty."""
    left_out: Mapping[Reason, Sequence[str]]
    """Services that are left out though somebody may expect them, by reason."""
    hidden_by: str
    """What keeps Services from the gateway's proxies, where anything does."""
    gateway_in: Sequence[str]
    """The namespaces that the gateway is in, or would be in by default, sorted."""
    failed: FailedWrites | None
    """Exported Services whose objects could not be written."""


def mesh_conditions(
    mesh: LocalMesh, gateway: Condition, exports: Condition, *, exported: int, imported: int, remotes: int
) -> tuple[Condition, ...]:
    """Say how this mesh stands."""
    stated = mesh.config.trust_domain
    if stated and stated != mesh.trust_domain:
        ready = condition(
            ConditionType.READY,
            holds=False,
            reason=Reason.TRUST_DOMAIN_MISMATCH,
            message=f"`spec.trustDomain` is {mesh.trust_domain}, and `trustDomain` in {mesh.config.source}, of which "
            f"istiod makes certificates, is {stated}: remotes are told identities that nobody has; set "
            f"`spec.trustDomain` to {stated}, or, where that is not this mesh's ConfigMap, name the right one with "
            "--mesh-config (in the chart istio.meshConfig)",
        )
        return ready, gateway, exports
    # Unknown is no obstacle: whoever brings traffic to the gateway in a way of their own would never be ready.
    obstacle = next((other for other in (gateway, exports) if other.status == "False"), None)
    if obstacle is not None:
        ready = condition(
            ConditionType.READY, holds=False, reason=obstacle.reason, message=f"{obstacle.type}: {obstacle.message}"
        )
    elif gateway.reason is Reason.GATEWAY_CROWDED:
        ready = condition(ConditionType.READY, holds=True, reason=gateway.reason, message=gateway.message)
    else:
        elsewhere = root_elsewhere(mesh)
        ready = condition(
            ConditionType.READY,
            holds=True,
            reason=Reason.ROOT_NAMESPACE_ELSEWHERE if elsewhere else Reason.READY,
            message=f"exports {counted(exported, 'service')}, imports {counted(imported, 'host')} "
            f"from {counted(remotes, 'remote mesh', 'remote meshes')}{elsewhere}",
        )
    return ready, gateway, exports


def no_mesh_conditions(namespace: str) -> tuple[Condition, ...]:
    """Say of a RemoteMesh that there is no mesh here for it to federate with."""
    message = f"there is no MeshFederation in namespace {namespace}; create one"
    # All of them, or what held before would go on being said.
    return tuple(
        condition(kind, holds=False, reason=Reason.NO_MESH_FEDERATION, message=message)
        for kind in (ConditionType.READY, ConditionType.CONNECTED, ConditionType.SYNCED)
    )


def duplicate_conditions(in_force: str) -> tuple[Condition, ...]:
    """Say of a MeshFederation that an older one is in force."""
    message = f"MeshFederation {in_force} is older and in force; there is one in a namespace: delete either"
    # All of them: it may have been in force for the moment before the other, made in the same second, was seen.
    return tuple(
        condition(kind, holds=False, reason=Reason.DUPLICATE, message=message)
        for kind in (ConditionType.READY, ConditionType.GATEWAY_READY, ConditionType.EXPORTS_READY)
    )


def unknown_conditions(reason: str) -> tuple[Condition, ...]:
    """Say of a FederatedService that nobody can say what becomes of it."""
    message = f"{reason}; what it led to stays as it is"
    return (Condition(type=ConditionType.ACCEPTED, status="Unknown", reason=Reason.NOT_UNDERSTOOD, message=message),)


def gateway_ready(gateways: Sequence[Applied | None], ingress: Condition | None) -> Condition:
    """Say whether the gateway is ready, by what the engine says of each Gateway and of the discovery service's objects.

    ``ingress`` is what is wrong with the gateway, or may be.
    """
    verdicts = [verdict or _PENDING for verdict in gateways]
    worst = next((verdict for state in ("failed", "pending") for verdict in verdicts if verdict.state == state), None)
    if worst is None and ingress is not None:
        return ingress
    return _applied(
        ConditionType.GATEWAY_READY,
        worst or Applied(state="applied"),
        message="the gateway's objects are in place",
    )


def no_way_to_discovery(off: str) -> Condition:
    """Say that the gateway cannot pass anybody on to the discovery service; ``off`` says who turns mTLS off for it."""
    return condition(
        ConditionType.GATEWAY_READY,
        holds=False,
        reason=Reason.MTLS_DISABLED,
        message=f"{off}, so the gateway does not reach this mesh's discovery service, and other meshes hear nothing; "
        "turn mTLS on there",
    )


def exports_ready(facts: ExportFacts) -> Condition:
    """Say whether what is exported works, with all that stands in the way of that, and what is left out."""
    problems = list(_export_problems(facts))
    told = {reason for reason, _ in problems}
    left_out = "".join(
        f"; {len(names)} left out as {reason}: {listed(names)}"
        + (f" ({facts.invalid})" if reason is Reason.INVALID else "")
        for reason, names in facts.left_out.items()
        if reason not in told
    )
    if problems:
        return condition(
            ConditionType.EXPORTS_READY,
            holds=False,
            reason=problems[0][0],
            message="; ".join(message for _, message in problems) + left_out,
        )
    if not facts.exported:
        why = "no Service matches `export`" if facts.exports_anything else "the MeshFederation has no `export`"
        return condition(
            ConditionType.EXPORTS_READY,
            holds=True,
            reason=Reason.NOTHING_EXPORTED,
            message=f"nothing is exported: {why}{left_out}",
        )
    return condition(
        ConditionType.EXPORTS_READY,
        holds=True,
        reason=Reason.EXPORTING,
        message=f"{counted(facts.exported, 'service')} exported: {listed(facts.names)}{left_out}",
    )


def _export_problems(facts: ExportFacts) -> Iterator[tuple[Reason, str]]:
    """Yield each kind of thing that keeps an export from being reached, the worst first, and what to do about it."""
    if facts.failed:
        first = facts.failed.first
        yield first.reason, f"objects of {listed(facts.failed.names)} are not in place: {first.message}"
    if names := facts.left_out.get(Reason.NAME_TOO_LONG):
        message = (
            f"the OpenShift router cannot serve {listed(names)}: <name>-<port> has to fit into 63 characters; export "
            "them under a shorter name"
        )
        yield Reason.NAME_TOO_LONG, message
    if names := facts.left_out.get(Reason.NO_MESH_ENDPOINTS):
        message = (
            f"no endpoint of {listed(names)} has a sidecar, so the gateway cannot reach any; have sidecars injected, "
            "or do not export them"
        )
        yield Reason.NO_MESH_ENDPOINTS, message
    if names := facts.left_out.get(Reason.MTLS_DISABLED):
        message = (
            f"ports of {listed(names)} are served without mTLS, so the gateway cannot reach them, and they are not "
            f"offered: turn mTLS on for them, or do not export them ({facts.plaintext})"
        )
        yield Reason.MTLS_DISABLED, message
    if names := facts.left_out.get(Reason.HIDDEN_FROM_GATEWAY):
        message = (
            f"{facts.hidden_by} hides {listed(names)} from the gateway in namespace {listed(facts.gateway_in)}, "
            "which passes no calls on to what it does not see: name that namespace there too, or do not export them"
        )
        yield Reason.HIDDEN_FROM_GATEWAY, message
