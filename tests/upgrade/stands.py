"""What a mesh has that federates, and what the controller of this version makes of it.

`objects/VERSION/NAME.yaml` is what a cluster held of each such mesh once the controller of that version had settled:
its own objects, with statuses and finalizers, and those it wrote. That of the current version follows the code, and

    python -m tests.upgrade

writes it again. Once a version is released, its files stay as they are: with them every later version is tried.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from meshfed.controller.watches import API_KINDS, ISTIO_KINDS
from meshfed.kube import Manifest
from meshfed.model.offers import Offer, Port
from tests.builders import GATEWAY, HTTP, mesh_federation, namespace, offer, pod, port, remote_mesh, service
from tests.controller.in_memory import Remote, World
from tests.kube.memory import clone
from tests.virtual import virtual_loop

OBJECTS: Final = Path(__file__).parent / "objects"
KEPT: Final = {*API_KINDS, *(kind for _, kind in ISTIO_KINDS), "Route"}
"""The kinds of a cluster's objects that say what a controller did."""
MINUTES: Final = 5 * 60.0
"""Seconds until all that waits longest has had its turn."""
_TCP: Final = Port(number=9000, name="tcp", protocol="TCP")
_OFFERED: Final[dict[str, tuple[Offer, ...]]] = {
    "west": (
        offer("ratings.bookinfo", identities=("spiffe://cluster.local/ns/bookinfo/sa/ratings",)),
        offer("reviews.bookinfo", identities=("spiffe://cluster.local/ns/bookinfo/sa/reviews",)),
        offer("stock.warehouse", ports=(HTTP, _TCP)),
        offer("secret.bookinfo"),
        offer("old.bookinfo"),
    ),
    "north": (
        offer("ratings.bookinfo", identities=("spiffe://cluster.local/ns/bookinfo/sa/ratings",)),
        offer("catalog.warehouse", sni_host="catalog-v2.warehouse.svc.cluster.local"),
    ),
    "south": (offer("orders.shop"), offer("reviews.bookinfo")),
}
"""What the remotes offer: alone, two the same, beside a local Service, by another name, and what rules refuse."""


def _own() -> list[Manifest]:
    """The Services of the mesh and whoever is behind them, exported and not."""
    return [
        *(namespace(name) for name in ("istio-system", "bookinfo", "warehouse")),
        service("details.bookinfo", exported=True),
        pod("details-1.bookinfo", "details", account="details"),
        service("shown.bookinfo", exported=True, ports=[port(8080, "http"), port(9464, "metrics")]),
        pod("shown-1.bookinfo", "shown"),
        service("renamed.bookinfo", exported=True),
        service("hidden.bookinfo"),
        service("reviews.bookinfo"),
        pod("reviews-1.bookinfo", "reviews", account="reviews"),
        pod("gateway-1.istio-system", GATEWAY["app"]),
        service(
            "federation-ingress-gateway.istio-system",
            selector=GATEWAY,
            ports=[port(15443, "tls-passthrough")],
            externalIPs=["192.0.2.1"],
        ),
    ]


_EXPORT: Final = {
    "serviceSelectors": {"matchLabels": {"export-service": "true"}},
    "rules": [
        {"action": "Export", "names": ["shown"], "ports": ["http"], "remotes": ["west"]},
        {"action": "Export", "names": ["renamed"], "as": {"name": "offered"}},
        {"action": "Export"},
    ],
}
_IMPORT: Final = {
    "merge": True,
    "allowTCP": True,
    "rules": [
        {"action": "Deny", "hosts": ["secret.*"]},
        {"action": "Import", "hosts": ["old.*"], "as": {"host": "new.legacy.svc.cluster.local"}},
        {"action": "Import"},
    ],
}


def _remotes() -> list[Manifest]:
    """A gateway by its address, one by its name with all that a RemoteMesh may say, and a router."""
    policy = {"connectionPool": {"tcp": {"connectTimeout": "3s"}}, "outlierDetection": {"consecutive5xxErrors": 3}}
    known = {name: f"spiffe://cluster.local/ns/istio-system/sa/controller-{name}" for name in _OFFERED}
    return [
        remote_mesh("west", identity=known["west"], import_=_IMPORT),
        remote_mesh(
            "north",
            addresses=["gateway.north.example"],
            identity=known["north"],
            port=443,
            priority=3,
            locality="eu/eu-1",
            trafficPolicy=policy,
            import_=_IMPORT,
        ),
        remote_mesh(
            "south",
            addresses=["192.0.2.30"],
            identity=known["south"],
            ingressType="openshift-router",
            port=443,
            import_=_IMPORT,
        ),
    ]


def _by_gateway() -> list[Manifest]:
    return [mesh_federation("east", export=_EXPORT)]


def _by_router() -> list[Manifest]:
    ingress = {"type": "openshift-router", "gateway": {"selector": GATEWAY}}
    rules = [one for one in _EXPORT["rules"] if "ports" not in one]  # type: ignore[operator] # they are mappings
    return [mesh_federation("east", ingress=ingress, export={**_EXPORT, "rules": rules})]


MESHES: Final[dict[str, Callable[[], list[Manifest]]]] = {"gateway": _by_gateway, "router": _by_router}
"""How each mesh is reached."""


def mesh(name: str, monkeypatch: pytest.MonkeyPatch, *, left: list[Manifest] | None = None) -> World:
    """Return a mesh with its remotes; ``left`` is what a controller of some version left there."""
    remotes = {one: Remote() for one in _OFFERED}
    found = World(monkeypatch, **remotes)
    found.put(*_own())
    found.put(*(left if left is not None else [*MESHES[name](), *_remotes()]))
    for one, remote in remotes.items():
        remote.offer(*_OFFERED[one])
    return found


def held(found: World) -> list[Manifest]:
    """Return what the cluster holds of it all, in an order that is always the same."""
    kept = [
        clone({"apiVersion": place[0].api_version, "kind": place[0].kind, **one})
        for place, one in found.cluster.objects.items()
        if place[0].kind in KEPT
    ]
    for one in kept:
        for field in ("uid", "resourceVersion", "generation"):
            one["metadata"].pop(field, None)
        if "firstOffered" in one["spec"]:
            one["spec"]["firstOffered"] = "2026-01-01T00:00:00Z"  # a time of the wall's
    return sorted(kept, key=lambda one: (one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]))


def written(name: str) -> list[Manifest]:
    """Return what a mesh holds once the controller of this version has settled."""

    async def run(monkeypatch: pytest.MonkeyPatch) -> list[Manifest]:
        found = mesh(name, monkeypatch)
        await found.start()
        await asyncio.sleep(MINUTES)
        await found.stop()
        return held(found)

    with pytest.MonkeyPatch.context() as monkeypatch, asyncio.Runner(loop_factory=virtual_loop) as runner:
        return runner.run(run(monkeypatch))


def read(version: str, name: str) -> list[Manifest]:
    """Return what a version left."""
    found: list[Any] = list(yaml.safe_load_all((OBJECTS / version / f"{name}.yaml").read_text(encoding="utf-8")))
    return found


def as_yaml(objects: list[Manifest]) -> str:
    """Return objects as one text."""
    return yaml.safe_dump_all(objects, sort_keys=True, allow_unicode=True, width=120)
