"""Whether the cluster serves what is needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from meshfed import __version__
from meshfed.api.crds import APPLY_COMMAND, KINDS, VERSION_LABEL, differences
from meshfed.api.v1alpha1 import GROUP
from meshfed.model.names import listed
from meshfed.views.checks.facts import Facts, labels, place
from meshfed.views.checks.results import Check, Result, failed, ok, unknown
from meshfed.views.snapshot import Document

CRD_NAMES: Final = tuple(f"{kind.plural}.{GROUP}" for kind in KINDS)
"""The CustomResourceDefinitions of Meshfed."""
ISTIO: Final = (
    ("networking.istio.io", "Gateway"),
    ("networking.istio.io", "ServiceEntry"),
    ("networking.istio.io", "WorkloadEntry"),
    ("networking.istio.io", "DestinationRule"),
    ("networking.istio.io", "EnvoyFilter"),
    ("security.istio.io", "PeerAuthentication"),
    ("security.istio.io", "AuthorizationPolicy"),
)
"""Istio's kinds that Meshfed writes or reads: group and kind."""
_OLDEST: Final = (1, 27)


def _kubernetes(facts: Facts) -> Iterator[Result]:
    try:
        major, minor = (int(part.rstrip("+")) for part in facts.snapshot.server.version.lstrip("v").split(".")[:2])
    except ValueError:
        yield unknown(f"the API server does not say its version: {facts.snapshot.server.version or 'nothing'}")
        return
    if (major, minor) < _OLDEST:
        yield failed(f"Kubernetes is {facts.snapshot.server.version}", "1.27 or newer is needed: upgrade the cluster")
        return
    yield ok(f"Kubernetes {facts.snapshot.server.version}")


def _crds(facts: Facts) -> Iterator[Result]:
    found = {place(one)[1]: one for one in facts.snapshot.of_kind("CustomResourceDefinition")}
    missing = [name for name in CRD_NAMES if name not in found]
    if missing and facts.unread("CustomResourceDefinition"):
        yield unknown(facts.unread("CustomResourceDefinition"))
        return
    if facts.before and not found:
        yield ok("there are no CRDs of these names yet; an installation brings them")
        return
    if missing:
        yield failed(f"the cluster does not have {listed(missing)}", f"run `{APPLY_COMMAND}`")
    differing = {name: lacks for name, one in found.items() if (lacks := differences(one))}
    for name, lacks in differing.items():
        words = f"the CRD {name} is not Meshfed's ({'; '.join(lacks[:3])}), so objects could be stored without their "
        yield failed(f"{words}contents", f"run `{APPLY_COMMAND}`")
    if not missing and not differing:
        yield ok(f"{len(CRD_NAMES)} CRDs hold all that Meshfed {__version__} writes{_of_other_versions(found)}")


def _of_other_versions(found: dict[str, Document]) -> str:
    others = sorted({labels(one).get(VERSION_LABEL, "") for one in found.values()} - {"", __version__})
    return f"; they are of {listed(others)}" if others else ""


def _istio_kinds(facts: Facts) -> Iterator[Result]:
    unread = facts.snapshot.unread
    unserved = sorted(kind for _, kind in ISTIO if "does not serve" in unread.get(kind, ""))
    if unserved:
        yield failed(f"the cluster does not serve Istio's {listed(unserved)}", "install Istio, or its base chart")
        return
    yield ok(f"all {len(ISTIO)} kinds of Istio are served")


CHECKS: Final = (
    Check(
        "cluster",
        "kubernetes",
        "Whether the API server is of a version that Meshfed works with.",
        "install.md#before",
        _kubernetes,
        before=True,
    ),
    Check(
        "cluster",
        "istio-kinds",
        "Whether Istio's kinds are served.",
        "install.md#before",
        _istio_kinds,
        before=True,
    ),
    Check(
        "cluster",
        "crds",
        "Whether Meshfed's CRDs hold all that this version writes. Before an installation there may be none.",
        "install.md#the-crds",
        _crds,
        before=True,
    ),
)
