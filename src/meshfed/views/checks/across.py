"""What only several meshes together show: each beside what the other's RemoteMesh says of it.

Where two meshes are compared that count alike, the one that is named first says it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from meshfed.api.crds import VERSION_LABEL
from meshfed.api.v1alpha1 import RemoteMesh
from meshfed.model.names import listed
from meshfed.model.reasons import ConditionType, Reason
from meshfed.plan.meshes import remote as remote_of
from meshfed.views.ages import duration
from meshfed.views.cards import gateway_ways
from meshfed.views.checks.clocks import ALLOWED
from meshfed.views.checks.facts import Facts, account, labels
from meshfed.views.checks.mesh import versions
from meshfed.views.checks.results import Check, Result, failed, ok, skipped, unknown, warning
from meshfed.views.explain.parts import (
    FIELDS,
    OF_IMPORTER,
    MeshDescription,
    differences,
    is_described_as,
    of_federation,
    of_ips,
    of_remote,
)
from meshfed.views.remotes import LINK
from meshfed.views.snapshot import Clock, find

_Compare = Callable[[Facts, Facts], Iterator[Result]]
_CompareDescribed = Callable[[Facts, Facts, MeshDescription, MeshDescription], Iterator[Result]]


def beside_each_other(found: tuple[Facts, ...]) -> tuple[Facts, ...]:
    """Return what was found out of several meshes, so that each knows of all."""
    return tuple(msgspec.structs.replace(one, others=found) for one in found) if len(found) > 1 else found


def _with_each(compare: _Compare, *, once: bool = False) -> Callable[[Facts], Iterator[Result]]:
    """Compare with each other mesh; ``once``: of two, only the one that is named first does."""

    def run(facts: Facts) -> Iterator[Result]:
        position = next((n for n, one in enumerate(facts.others) if one.snapshot is facts.snapshot), 0)
        others = facts.others[position + 1 :] if once else facts.others
        for other in others:
            if other.snapshot is not facts.snapshot:
                for result in compare(facts, other):
                    yield msgspec.structs.replace(result, about=other.snapshot.mesh)

    return run


def _description(facts: Facts) -> MeshDescription | None:
    """Return a mesh as it describes itself."""
    federation = next(iter(facts.snapshot.federations), None)
    if federation is None:
        return None
    return of_federation(federation, facts.snapshot.namespace, (account(facts.snapshot) or ("", ""))[1])


def _remote(facts: Facts, other: MeshDescription) -> RemoteMesh | None:
    """Return the RemoteMesh that a mesh has for another."""
    described = {one.metadata.name: of_remote(one) for one in facts.snapshot.remotes}
    remotes = facts.snapshot.remotes
    return next(
        (one for one in remotes if is_described_as(described[one.metadata.name], other, described.values())), None
    )


def _both(facts: Facts, other: Facts) -> tuple[MeshDescription, MeshDescription] | Result:
    """Return what both meshes say of themselves, or why nothing is compared."""
    for one in (facts, other):
        if why := one.unread("MeshFederation", "RemoteMesh"):
            return unknown(f"of {one.snapshot.mesh}: {why}")
    ours, theirs = _description(facts), _description(other)
    if ours is None or theirs is None:
        return skipped("one of them has no MeshFederation")
    return ours, theirs


def _as_described(compare: _CompareDescribed) -> _Compare:
    """Have two meshes compared, with what each says of itself, where that is known."""

    def run(facts: Facts, other: Facts) -> Iterator[Result]:
        both = _both(facts, other)
        yield from [both] if isinstance(both, Result) else compare(facts, other, *both)

    return run


@_as_described
def _unique(_facts: Facts, _other: Facts, ours: MeshDescription, theirs: MeshDescription) -> Iterator[Result]:
    same = [
        f"`{field}` {value}"
        for field, value, compared in (
            ("metadata.name", ours.name, theirs.name),
            ("spec.network", ours.network, theirs.network),
            ("the controller's identity", ours.identity, theirs.identity),
        )
        if value and value == compared
    ]
    if same:
        yield failed(
            f"both meshes have {listed(same)}, by which each is to be told from the other",
            "give one of them another: another name or network of its MeshFederation, or a ServiceAccount of its own",
            reason=Reason.NAME_CONFLICT,
        )
        return
    yield ok(f"{ours.name} and {theirs.name} differ in name, network and, as far as it is seen, identity")


@_as_described
def _described(facts: Facts, other: Facts, ours: MeshDescription, theirs: MeshDescription) -> Iterator[Result]:
    known = _remote(facts, theirs)
    if known is None and _remote(other, ours) is None:
        yield skipped(f"neither has a RemoteMesh for the other: {ours.name} and {theirs.name} do not federate")
    elif known is None:
        words = f"{theirs.name} has a RemoteMesh for {ours.name}, and {ours.name} has none for {theirs.name}"
        yield warning(f"{words}, so its controller is refused here", LINK, reason=Reason.REMOTE_MISSING)
    else:
        # Who is told something is known by less than who is called.
        fields = OF_IMPORTER if known.spec.import_ is None else FIELDS
        wrong = list(differences(of_remote(known), ours.name, theirs, fields))
        name = known.metadata.name
        yield (
            failed("; ".join(wrong), f"correct RemoteMesh {name} at {ours.name}: `meshfed link --diff` with its card")
            if wrong
            else ok(f"RemoteMesh {name} says of {theirs.name} what that says of itself")
        )


@_as_described
def _addresses(facts: Facts, other: Facts, ours: MeshDescription, theirs: MeshDescription) -> Iterator[Result]:
    known = _remote(facts, theirs)
    if known is None or known.spec.import_ is None:
        yield skipped(f"nothing is imported from {theirs.name}")
        return
    mesh = other.plan.mesh if other.plan is not None else None
    there, here = gateway_ways(other.snapshot, mesh), remote_of(known).addresses
    if other.unread("Service") or not there:
        yield unknown(
            f"where the gateway of {theirs.name} is reached is not seen there; --address of its card states it"
        )
        return
    elsewhere = sorted({*map(str, here)} - {*map(str, there)})
    name, stated = known.metadata.name, ", ".join(map(str, there))
    if not elsewhere:
        yield ok(f"RemoteMesh {name} leads to {listed(list(map(str, here)))}, where {theirs.name}'s gateway is")
        return
    reached = find(known.status.conditions, ConditionType.REACHABLE)
    words = f"RemoteMesh {name} leads to {listed(elsewhere)}, and the gateway's Service of {theirs.name} has {stated}"
    if reached is not None and reached.status == "True":
        yield ok(f"{words}; it is reached all the same")
    elif not of_ips(here) or not of_ips(there):
        yield unknown(f"{words}: one is a name, which may lead to the other")
    else:
        yield failed(
            words, f"correct `addresses` and `port` of RemoteMesh {name} at {ours.name}, or see what is between"
        )


def _roots(facts: Facts, other: Facts) -> Iterator[Result]:
    for one in (facts, other):
        if not one.roots:
            yield unknown(f"of {one.snapshot.mesh}: {one.no_roots or 'nobody has looked'}")
            return
    common = {one.sha256: one for one in facts.roots}.keys() & {one.sha256 for one in other.roots}
    if common:
        names = sorted({one.subject for one in facts.roots if one.sha256 in common})
        yield ok(f"both trust {listed(names)}")
        return
    theirs, ours = (listed(sorted({root.subject for root in one.roots})) for one in (other, facts))
    yield failed(
        f"no root is common: {facts.snapshot.mesh} trusts {ours}, and {other.snapshot.mesh} trusts {theirs}",
        "sign both meshes by one root, or have each trust the other's bundle",
        reason=Reason.ROOT_NOT_TRUSTED,
    )


def _versions(facts: Facts, other: Facts) -> Iterator[Result]:
    ours, theirs = facts.snapshot.mesh, other.snapshot.mesh
    found = [versions(one) for one in (facts, other)]
    crds = [_crd_versions(one) for one in (facts, other)]
    if not all(found):
        yield unknown(f"no controller of {ours if not found[0] else theirs} says its version")
    elif found[0] != found[1] or crds[0] != crds[1]:
        described = [
            f"{mesh} has controllers of {listed(sorted(controllers))} and CRDs of {listed(sorted(defined)) or 'none'}"
            for mesh, controllers, defined in zip((ours, theirs), found, crds, strict=True)
        ]
        yield warning(
            ", and ".join(described),
            "it may stay so, since each speaks with older ones; what only one of them knows does not come across",
        )
    else:
        yield ok(f"controllers and CRDs of both are of {listed(sorted(found[0]))}")


def _crd_versions(facts: Facts) -> set[str]:
    documents = facts.snapshot.of_kind("CustomResourceDefinition")
    return {labels(one).get(VERSION_LABEL, "") for one in documents} - {""}


def _clocks(facts: Facts, other: Facts) -> Iterator[Result]:
    ours, theirs = facts.snapshot.mesh, other.snapshot.mesh
    clock, others = facts.snapshot.server.clock, other.snapshot.server.clock
    if clock is None or others is None:
        yield unknown(f"the API server of {ours if clock is None else theirs} does not say what time it is")
        return
    between = Clock(clock.ahead - others.ahead, clock.within + others.within)
    sure = f"to within {between.within:.1f} s"
    if abs(between.ahead) - between.within <= ALLOWED.total_seconds():
        yield ok(f"the API servers of {ours} and {theirs} have the same time, {sure}")
        return
    first, second = (ours, theirs) if between.ahead > 0 else (theirs, ours)
    yield warning(
        f"the API server of {first} is {duration(round(abs(between.ahead)))} ahead of that of {second}, {sure}",
        "set the clocks: a certificate that one mesh has just issued is not valid yet in the other",
        reason=Reason.CERTIFICATE_NOT_VALID,
    )


def _check(name: str, says: str, docs: str, compare: _Compare, *, once: bool = False) -> Check:
    return Check("across", name, says, docs, _with_each(compare, once=once))


CHECKS: Final = (
    _check(
        "unique",
        "With several meshes: whether they differ in name, network and the identity of their controllers.",
        "troubleshooting.md#a-remote-is-not-connected",
        _unique,
        once=True,
    ),
    _check(
        "described",
        "With several meshes: whether each mesh's RemoteMesh for another says what that says of itself: name, network, "
        "trust domain, cluster domain, identity, ingress.",
        "install.md#two-owners",
        _described,
    ),
    _check(
        "addresses",
        "With several meshes: whether each mesh's RemoteMesh for another leads to where that one's gateway is.",
        "troubleshooting.md#the-gateway-is-not-reached",
        _addresses,
    ),
    _check(
        "common-root",
        "With several meshes: whether two that federate trust a root in common.",
        "troubleshooting.md#a-certificate-is-not-accepted",
        _roots,
        once=True,
    ),
    _check(
        "versions",
        "With several meshes: whether their controllers and CRDs are of one version.",
        "troubleshooting.md#installing-upgrading-removing",
        _versions,
        once=True,
    ),
    _check(
        "clocks",
        "With several meshes: whether the clocks of their API servers agree to a minute.",
        "checks.md#clocks",
        _clocks,
        once=True,
    ),
)
"""What is asked of each mesh beside each other; of one alone, nothing."""
