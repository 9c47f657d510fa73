"""This mesh: its MeshFederation, its controller, its gateway and what it exports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from meshfed import __version__
from meshfed.api.v1alpha1 import MeshFederation
from meshfed.model.names import listed
from meshfed.model.reasons import ConditionType, Reason
from meshfed.plan import Remarks
from meshfed.plan.values import Place
from meshfed.views.checks.facts import Facts, arguments, containers, controllers, place
from meshfed.views.checks.results import Check, CheckOutcome, Result, failed, ok, skipped, unknown, warning
from meshfed.views.checks.stored import alive, condition
from meshfed.views.controllers import controller
from meshfed.views.remotes import LINK, NOBODY_YET
from meshfed.views.snapshot import named
from meshfed.views.workloads import workloads

_TOLD: Final = frozenset({ConditionType.GATEWAY_READY, ConditionType.EXPORTS_READY})
"""Conditions of a MeshFederation that have a check of their own."""


def _in_force(facts: Facts) -> tuple[MeshFederation | None, Result | None]:
    """Return the MeshFederation in force, or what there is to say where there is none."""
    found = facts.snapshot.federations
    if found:
        return found[0], None
    why = facts.unread("MeshFederation") or next(iter(facts.snapshot.not_understood()), "")
    if why:
        return None, unknown(why)
    if any(argument.startswith("--meshPeers") for argument in arguments(facts.snapshot)):
        return None, skipped("the controller is configured by --meshPeers, and writes no status of the mesh")
    return None, failed(
        f"there is no MeshFederation in namespace {facts.snapshot.namespace}",
        "name another with --namespace, or create one",
        reason=Reason.NO_MESH_FEDERATION,
    )


def _federation(facts: Facts) -> Iterator[Result]:
    """Ask for what no other check speaks of: that there is one, that it can be understood, and its trust domain."""
    federation, without = _in_force(facts)
    if federation is None:
        yield without or unknown("it is not known")
        return
    for problem in facts.snapshot.not_understood():
        yield failed(problem, "correct it, or see whether this command is of the controller's version")
    others = [named(one.metadata) for one in facts.snapshot.federations[1:]]
    if others:
        yield failed(
            f"{named(federation.metadata)} is in force, and besides there is {listed(others)}, which do nothing",
            "there is one in a namespace: delete the others",
            reason=Reason.DUPLICATE,
        )
    found = condition(facts, "MeshFederation", federation, ConditionType.READY)
    others_say = {condition(facts, "MeshFederation", federation, type_).reason for type_ in _TOLD}
    if found.outcome is CheckOutcome.FAILED and found.reason in others_say:
        yield skipped(f"it is not ready for {found.reason}, which another check says", about=found.about)
    else:
        yield found


def _of_mesh(facts: Facts, type_: ConditionType) -> Iterator[Result]:
    federation, without = _in_force(facts)
    if federation is None:
        yield (
            skipped("there is no MeshFederation")
            if without is None or without.outcome is CheckOutcome.FAILED
            else without
        )
        return
    yield condition(facts, "MeshFederation", federation, type_)


def _gateway(facts: Facts) -> Iterator[Result]:
    yield from _of_mesh(facts, ConditionType.GATEWAY_READY)


def _exports(facts: Facts) -> Iterator[Result]:
    """Ask for pods too: an export without any is in order, and whoever calls it from another mesh has no answer."""
    names = [f"{namespace}/{name}" for namespace, name in _unserved(facts)]
    yield from (
        one for one in _of_mesh(facts, ConditionType.EXPORTS_READY) if not names or one.outcome is not CheckOutcome.OK
    )
    if names:
        words = f"{listed(names)} {'is' if len(names) == 1 else 'are'} exported, and no pod with a sidecar is ready"
        remedy = "see the pods that `selector` of the Service selects, or do not export it"
        yield failed(f"{words} behind", remedy, reason=Reason.NO_MESH_ENDPOINTS)


def _unserved(facts: Facts) -> Iterator[Place]:
    """Yield the exported Services that select nobody with a sidecar that is ready, but for what a status says."""
    if facts.plan is None or facts.unread("Pod"):
        return
    ready: dict[str, set[frozenset[tuple[str, str]]]] = {}
    """By namespace, the labels of those who are."""
    for at, one in workloads(facts.snapshot):
        if one.in_mesh and one.ready:
            ready.setdefault(at, set()).add(frozenset(one.labels))
    exported = {at for at, _, published in facts.plan.exports if published is not None}
    for document in facts.snapshot.of_kind("Service"):
        where, selector = place(document), ((document.get("spec") or {}).get("selector") or {}).items()
        said = Reason.NO_MESH_ENDPOINTS in facts.plan.remarks.get(where, Remarks()).flaws
        if where in exported and selector and not said and not any(selector <= one for one in ready.get(where[0], ())):
            yield where


def _linked(facts: Facts) -> Iterator[Result]:
    why = facts.unread("RemoteMesh")
    names = [one.metadata.name for one in facts.snapshot.remotes]
    if why:
        yield unknown(why)
    elif names:
        yield ok(f"it federates with {listed(names)}")
    elif any(argument.startswith("--meshPeers") for argument in arguments(facts.snapshot)):
        yield skipped("the controller is configured by --meshPeers")
    else:
        yield warning(NOBODY_YET, LINK)


def _controller(facts: Facts) -> Iterator[Result]:
    found = alive(facts)
    if found.alive is None:
        yield unknown(found.words)
    elif found.alive:
        yield ok(found.words)
    else:
        yield failed(f"{found.words}; statuses are as they were when it went", found.remedy)


def _version(facts: Facts) -> Iterator[Result]:
    """Ask the replicas, each of which says its version in its Lease, and of a controller without one the image."""
    found = versions(facts)
    why = facts.unread("Lease") or facts.unread("Pod")
    if not found:
        yield unknown(why or "no Lease and no image of a controller says its version")
    elif len(found) > 1:
        yield warning(f"controllers run of several versions: {listed(sorted(found))}", "let the rollout end")
    elif found == {__version__}:
        yield ok(f"controller and command are {__version__}")
    elif found == {"latest"}:
        yield unknown("the controller's image has the tag latest, which says no version")
    else:
        yield warning(
            f"the controller is {min(found)}, and this command {__version__}: they may decide otherwise",
            "use the command of the controller's version",
        )


def versions(facts: Facts) -> set[str]:
    """Return the versions of the controllers that are at work, as far as they say."""
    replicas = {one.version for one in controller(facts.snapshot).replicas if one.alive}
    return (replicas or _tags(facts)) - {""}


def _tags(facts: Facts) -> set[str]:
    """Return the tags of the images of controllers."""
    return {
        str(one.get("image") or "").rpartition("/")[2].partition(":")[2].partition("@")[0]
        for pod in controllers(facts.snapshot)
        for one in containers(pod)
        if one.get("name") == "controller"
    }


CHECKS: Final = (
    Check(
        "mesh",
        "mesh-federation",
        "Whether there is one MeshFederation, which can be used, with the trust domain of Istio.",
        "troubleshooting.md#the-mesh-is-not-ready",
        _federation,
    ),
    Check(
        "mesh",
        "controller",
        "Whether a controller leads. Where none does, no status is believed.",
        "troubleshooting.md#the-mesh-is-not-ready",
        _controller,
    ),
    Check(
        "mesh",
        "linked",
        "Whether there is a RemoteMesh, without which this mesh federates with nobody.",
        "install.md#two-owners",
        _linked,
    ),
    Check(
        "mesh",
        "version",
        "Whether command and controller are of one version.",
        "troubleshooting.md#installing-upgrading-removing",
        _version,
    ),
    Check(
        "mesh",
        "gateway",
        "Whether the gateway has pods that are ready, a Service, the port and an address.",
        "troubleshooting.md#the-mesh-is-not-ready",
        _gateway,
    ),
    Check(
        "mesh",
        "exports",
        "Whether what is exported is written, and has pods that are ready and that the gateway reaches.",
        "troubleshooting.md#nothing-is-imported",
        _exports,
    ),
)
