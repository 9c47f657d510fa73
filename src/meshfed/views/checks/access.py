"""Who may do what: whoever asks, and the controller."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from meshfed.model.installation import MESH_CONFIG, TRUST_BUNDLE
from meshfed.model.names import counted, listed
from meshfed.views.checks.facts import (
    Facts,
    Need,
    account,
    arguments,
    flag,
    place,
)
from meshfed.views.checks.results import Check, CheckOutcome, Evidence, Result, ok, unknown
from meshfed.views.snapshot import Document, Snapshot


def _reading(facts: Facts) -> Iterator[Result]:
    unseen = [why for why in facts.snapshot.unread.values() if why.startswith("you may not")]
    yield (
        unknown(f"{listed(unseen)}; what depends on that is unknown")
        if unseen
        else ok("you may read all that is looked at")
    )


def _installing(facts: Facts) -> Iterator[Result]:
    refused = [str(need) for need, answer in facts.own.items() if answer.allowed is False]
    unasked = [answer.why for answer in facts.own.values() if answer.allowed is None]
    if refused:
        words = f"you may not {listed(refused)}"
        remedy = "whoever installs needs that: ask for it, or have somebody else install"
        yield Result(CheckOutcome.WARNING, words, "", remedy, Evidence.REVIEW)
    elif unasked or not facts.own:
        yield unknown(unasked[0] if unasked else "nobody was asked")
    else:
        yield ok("you may create all that an installation has", Evidence.REVIEW)


def _controller(facts: Facts) -> Iterator[Result]:
    if facts.unread("Pod"):
        yield unknown(f"which ServiceAccount the controller has is not known: {facts.unread('Pod')}")
        return
    who = account(facts.snapshot)
    if who is None:
        yield unknown("there is no Pod of a controller that would say which ServiceAccount it has")
        return
    name = "/".join(who)
    refused = [need for need, answer in facts.access.items() if answer.allowed is False]
    unasked = [answer.why for answer in facts.access.values() if answer.allowed is None]
    if refused:
        outcome = CheckOutcome.WARNING if all(map(_is_for_saying, refused)) else CheckOutcome.FAILED
        words = f"ServiceAccount {name} may not {listed([str(need) for need in refused])}"
        remedy = "grant what `meshfed manifests` grants, or upgrade the release"
        yield Result(outcome, words, "", remedy, Evidence.REVIEW)
    elif unasked or not facts.access:
        yield unknown(unasked[0] if unasked else f"nobody was asked what ServiceAccount {name} may do")
    else:
        yield ok(
            f"ServiceAccount {name} has the {counted(len(facts.access), 'permission')} that it needs", Evidence.REVIEW
        )


def _is_for_saying(need: Need) -> bool:
    """Whether a controller does all the same without a permission, and says less."""
    return need.resource == "events" or (need.resource == "leases" and need.verb in {"list", "watch", "delete"})


# --- what has to be asked


def needs(manifests: Iterable[Document]) -> tuple[Need, ...]:
    """Return what the Roles among ``manifests`` allow: of an installation by this version, what a controller needs."""
    found: dict[Need, None] = {}
    for role in manifests:
        if role.get("kind") in {"Role", "ClusterRole"}:
            where = place(role)[0] if role["kind"] == "Role" else ""
            found |= {need: None for rule in role.get("rules") or () for need in _allowed(rule, where)}
    return tuple(found)


def _allowed(rule: Document, namespace: str) -> Iterator[Need]:
    for group in rule["apiGroups"]:
        for resource in rule["resources"]:
            for verb in rule["verbs"]:
                for name in rule.get("resourceNames") or ("",):
                    yield Need(group, resource, verb, namespace, name)


def of_controller(snapshot: Snapshot, manifests: Iterable[Document]) -> tuple[Need, ...]:
    """Return what the controller of a snapshot needs, as it was started."""
    args = arguments(snapshot)
    names = {
        TRUST_BUNDLE: flag(snapshot, "--trust-bundle", TRUST_BUNDLE),
        MESH_CONFIG: flag(snapshot, "--mesh-config", MESH_CONFIG),
    }
    return tuple(
        msgspec.structs.replace(need, name=names.get(need.name, need.name))
        for need in needs(manifests)
        if not _is_idle(need, args)
    )


def _is_idle(need: Need, args: tuple[str, ...]) -> bool:
    """Whether a controller with these arguments does not use a permission."""
    match need.resource:
        case "pods" | "endpointslices":
            return "--no-read-pods" in args
        case "serviceexports/status":
            return True  # it is used only where the MeshFederation asks for ServiceExports
        case "configmaps" if need.name == TRUST_BUNDLE:
            return "--no-probe" in args
        case "meshfederations" | "meshfederations/status" | "remotemeshes" | "remotemeshes/status":
            return any(argument.startswith("--meshPeers") for argument in args)
        case _:
            return False


_INSTALLED: Final[dict[str, tuple[str, str, bool]]] = {
    "CustomResourceDefinition": ("apiextensions.k8s.io", "customresourcedefinitions", False),
    "ClusterRole": ("rbac.authorization.k8s.io", "clusterroles", False),
    "ClusterRoleBinding": ("rbac.authorization.k8s.io", "clusterrolebindings", False),
    "Role": ("rbac.authorization.k8s.io", "roles", True),
    "RoleBinding": ("rbac.authorization.k8s.io", "rolebindings", True),
    "ServiceAccount": ("", "serviceaccounts", True),
    "Service": ("", "services", True),
    "Deployment": ("apps", "deployments", True),
    "PodDisruptionBudget": ("policy", "poddisruptionbudgets", True),
}
"""The kinds that an installation has: group, resource, and whether they are in a namespace."""


def of_installer(manifests: Iterable[Document]) -> tuple[Need, ...]:
    """Return what whoever creates ``manifests`` needs, and the CRDs before them."""
    kinds = [("CustomResourceDefinition", ""), *((one["kind"], place(one)[0]) for one in manifests)]
    found: dict[Need, None] = {}
    for kind, namespace in kinds:
        group, resource, namespaced = _INSTALLED[kind]
        found[Need(group, resource, "create", namespace if namespaced else "")] = None
    return tuple(found)


CHECKS: Final = (
    Check(
        "permissions",
        "reading",
        "Whether you may read what the other checks look at.",
        "checks.md#who-may-check",
        _reading,
        before=True,
    ),
    Check(
        "permissions",
        "controller",
        "Whether the controller's ServiceAccount has the permissions that it needs, as it was started.",
        "permissions.md#permissions-of-the-controller",
        _controller,
    ),
)
BEFORE: Final = (
    Check(
        "permissions",
        "installing",
        "Whether you may create what an installation has.",
        "install.md#with-kubectl",
        _installing,
        before=True,
    ),
)
"""What is asked before an installation alone."""
