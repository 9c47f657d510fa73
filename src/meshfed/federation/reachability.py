"""What handshakes by every way of a probe say together: that it is reachable, or which link is broken.

True is only what was seen: every way answered, as somebody who may. One way that is broken is enough for False, since
callers are spread over all of them. A path that is broken removes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from meshfed.model.probes import LINKS, Answered, Broken, Finding, Link, Probe, Way, ways
from meshfed.model.reasons import Condition, ConditionStatus, ConditionType, Reason

_REASONS: Final = {
    Link.NAME: Reason.NAME_NOT_RESOLVED,
    Link.ADDRESS: Reason.GATEWAY_NOT_REACHED,
    Link.SNI: Reason.NOT_PASSED_ON,
    Link.WORKLOAD: Reason.NO_CERTIFICATE,
    Link.TLS: Reason.NO_MUTUAL_TLS,
    Link.VERSION: Reason.NOT_PROBED,
    Link.ROOT: Reason.ROOT_NOT_TRUSTED,
    Link.VALIDITY: Reason.CERTIFICATE_NOT_VALID,
}
_SHOWN: Final = 3
_LONGEST: Final = 4096
"""The most characters of a message: an identity alone may have 2,048."""


def reachable(probe: Probe, findings: Mapping[Way, Finding]) -> Condition | None:
    """Return what holds of a probe after ``findings``; ways of which nothing is known yet are not among them.

    ``None`` where nothing is broken as far as is known, and not every way was tried.
    """
    if probe.unnamed:
        return _condition(
            "False",
            Reason.NAME_TOO_LONG,
            f"port {_listed(dict.fromkeys(map(str, probe.unnamed)))} has no SNI that the remote's router could serve, "
            "so nobody reaches it: have it exported under a shorter name",
        )
    all_ways = ways(probe)
    found = [(way, findings[way]) for way in all_ways if way in findings]
    failed = [(way, finding) for way, finding in found if not answers(probe, finding)]
    if failed:
        way, finding = min(failed, key=lambda one: _is_unseen(one[1]))  # the first that is seen to be broken
        status: ConditionStatus = "Unknown" if _is_unseen(finding) else "False"
        reason, message = _trouble(probe, way, finding)
        return _condition(status, reason, message + _beside(way, finding, [one for one, _ in failed], found))
    if not found or len(found) < len(all_ways):
        return None
    gateways = _listed(dict.fromkeys(str(way.gateway) for way, _ in found))
    who = _listed(dict.fromkeys(one.identity for _, one in found if isinstance(one, Answered)))
    total = len(probe.addresses) * len(probe.names)
    some = f"; {len(all_ways)} of {total} ways are tried" if len(all_ways) < total else ""
    return _condition("True", Reason.ANSWERED, f"answered through {gateways} as {who}{some}")


def answers(probe: Probe, finding: Finding) -> bool:
    """Whether somebody answered who may."""
    if isinstance(finding, Broken):
        return False
    return bool(finding.identity) and (not probe.identities or finding.identity in probe.identities)


def _is_unseen(finding: Finding) -> bool:
    """Whether somebody answered in a way that does not show who it is."""
    return isinstance(finding, Broken) and finding.link is Link.VERSION


def unproven(why: str) -> Condition:
    """Return what holds of a probe that cannot be tried."""
    return _condition("Unknown", Reason.NOT_PROBED, why)


def _trouble(probe: Probe, way: Way, finding: Finding) -> tuple[Reason, str]:
    """Return what is wrong with one way, and what to do about it."""
    if isinstance(finding, Broken):
        detail = f" ({finding.detail})" if finding.detail else ""
        return _REASONS[finding.link], f"{way.gateway}: {LINKS[finding.link]}{detail}; {_remedy(probe, way, finding)}"
    who = finding.identity or "somebody without a SPIFFE ID"
    expected = f", not {_listed(dict.fromkeys(probe.identities))}" if probe.identities else ""
    remedy = (
        f"correct `identity` of RemoteMesh {probe.remote}"
        if probe.is_discovery
        else f"have RemoteMesh {probe.remote} announce or state who serves it"
    )
    return Reason.UNEXPECTED_IDENTITY, (
        f"{way.gateway}: {who} answers for {way.name}{expected}; callers here refuse it: {remedy}, or find out who "
        "took its place"
    )


def _remedy(probe: Probe, way: Way, broken: Broken) -> str:
    remote = f"RemoteMesh {probe.remote}"
    match broken.link:
        case Link.NAME:
            return f"mend {way.gateway.host} in DNS, or `addresses` of {remote}"
        case Link.ADDRESS:
            return (
                f"compare `addresses` and `port` of {remote} with where its ingress gateway answers, and look for a "
                "firewall between"
            )
        case Link.SNI:
            why = (
                f"no controller with a sidecar is ready there, or that mesh is not called {probe.remote} or has its "
                f"controller in another namespace than `discovery.namespace` of {remote} says"
                if probe.is_discovery
                else "the remote does not export that, or its gateway knows no ready pod with a sidecar behind it"
            )
            return (
                f"it was {way.name}: {why}, or `addresses` and `port` of {remote} do not lead to its gateway, or a "
                "proxy on the way, such as this controller's own sidecar, lets nothing through"
            )
        case Link.WORKLOAD:
            return f"the pods behind {way.name} do not answer the remote's gateway"
        case Link.TLS:
            return f"`addresses` and `port` of {remote} have to lead to a gateway that passes TLS on as it is"
        case Link.VERSION:
            return (
                "by TLS 1.2 a handshake without a client certificate does not end, so who answers cannot be seen; with "
                f"FIPS that is to be expected, and else `addresses` and `port` of {remote} have to lead to a gateway "
                "that passes TLS on as it is"
            )
        case Link.ROOT:
            return "both meshes need a common root, or each other's trust bundles"
        case Link.VALIDITY:
            return "the remote's workload has to renew its certificate; compare the clocks of both meshes too"


def _beside(way: Way, finding: Finding, failed: Sequence[Way], found: Sequence[tuple[Way, Finding]]) -> str:
    """Return in words what of the other ways is known.

    Where a gateway is not reached, what other ports of it answered was before that.
    """
    is_gateway = isinstance(finding, Broken) and finding.link in {Link.NAME, Link.ADDRESS}
    answering = [
        other for other, _ in found if other not in failed and not (is_gateway and other.gateway == way.gateway)
    ]
    gateways = dict.fromkeys(str(other.gateway) for other in answering if other.gateway != way.gateway)
    more = len(failed) - 1
    return (f"; {more} other {'way' if more == 1 else 'ways'} fail{'s' if more == 1 else ''} too" if more else "") + (
        f"; {_listed(gateways)} answers" if gateways else "; other ports answer" if answering else ""
    )


def _listed(names: Mapping[str, object]) -> str:
    shown = list(names)
    more = len(shown) - _SHOWN
    return ", ".join(shown[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _condition(status: ConditionStatus, reason: Reason, message: str) -> Condition:
    return Condition(type=ConditionType.REACHABLE, status=status, reason=reason, message=message[:_LONGEST])
