"""What is found out of a mesh in which nothing is wrong, and of one in which something is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from meshfed import __version__
from meshfed.api.crds import all_crds
from meshfed.kube import Manifest
from meshfed.model.importers import LastInPlace, RemoteImports
from meshfed.model.probes import Answered, Finding, Way, ways
from meshfed.views.checks import CheckView, Facts, Need, Reviewed, Root, run
from meshfed.views.checks.facts import account, way_of
from meshfed.views.exports import planned
from meshfed.views.importers import ImportersSeen
from meshfed.views.snapshot import Clock, Server, Snapshot
from tests.builders import (
    GATEWAY,
    SYSTEM,
    config_map,
    manifest,
    mesh_federation,
    namespace,
    pod,
    port,
    remote_mesh,
    service,
)
from tests.cli.fakes import NOW, condition, imported, lease, with_status

NEED = Need("", "services", "list")
ROOT = Root("root of all meshes", NOW + timedelta(days=3650))
WEST = "spiffe://cluster.local/ns/istio-system/sa/federation-controller-west"


def controller(*args: str, ready: bool = True, image: str = f"meshfed:{__version__}", sidecar: bool = True) -> Manifest:
    """The controller's Pod."""
    made = pod(
        f"controller-1.{SYSTEM}",
        account="federation-controller-east",
        labels={"app.kubernetes.io/name": "federation-controller"},
        ready=ready,
    )
    containers = [{"name": "controller", "image": image, "args": ["controller", "--leader-elect", *args]}]
    containers += [{"name": "istio-proxy", "image": "istio/proxyv2"}] if sidecar else []
    made["spec"]["containers"] = containers
    made["metadata"]["annotations"] = {"traffic.sidecar.istio.io/excludeOutboundPorts": "15443"}
    return made


def gateway(*, ready: bool = True, view: str | None = "east-network", network: str = "east-network") -> Manifest:
    """The Pod of the ingress gateway."""
    labels = {**GATEWAY, "topology.istio.io/network": network}
    made = pod(f"gateway-1.{SYSTEM}", GATEWAY["app"], labels=labels, ready=ready)
    made["spec"]["containers"][0]["env"] = (
        [{"name": "ISTIO_META_REQUESTED_NETWORK_VIEW", "value": view}] if view is not None else []
    )
    return made


def front(**spec: Any) -> Manifest:
    """The Service of the ingress gateway."""
    plain = {"selector": GATEWAY, "ports": [port(15443, "tls-passthrough")], "externalIPs": ["192.0.2.1"]}
    return service(f"federation-ingress-gateway.{SYSTEM}", **(plain | spec))


def istiod(*, ready: int = 1, shared: str = "") -> Manifest:
    """istiod's Deployment; ``shared`` is the ConfigMap that it merges under its own, if any."""
    labels = {"app": "istiod", "istio.io/rev": "default"}
    env = [{"name": "SHARED_MESH_CONFIG", "value": shared}]
    container = {"name": "discovery", "image": "istio/pilot", "env": env if shared else []}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    made = manifest("Deployment", "istiod", {"selector": {"matchLabels": labels}, "template": template}, labels=labels)
    return made | {"status": {"readyReplicas": ready}}


def configured(mode: str = "ALLOW_ANY", capture: str = '"true"', trust_domain: str = "cluster.local") -> Manifest:
    """Istio's configuration of the mesh."""
    mesh = f"""\
trustDomain: {trust_domain}
outboundTrafficPolicy: {{mode: {mode}}}
defaultConfig: {{proxyMetadata: {{ISTIO_META_DNS_CAPTURE: {capture}}}}}
"""
    return config_map("istio", namespace=SYSTEM, mesh=mesh)


def east(*conditions: dict[str, Any], **spec: Any) -> Manifest:
    """The MeshFederation, of which all is well but for what ``conditions`` say."""
    given = {one["type"]: one for one in conditions}
    plain = {
        "Ready": condition("Ready", True, "Ready", "exports 1 service"),
        "GatewayReady": condition("GatewayReady", True, "Applied", "the gateway's objects are in place"),
        "ExportsReady": condition("ExportsReady", True, "Exporting", "1 service exported"),
    }
    return with_status(mesh_federation("east", **spec), *(plain | given).values())


def west(*conditions: dict[str, Any], without: str = "", **spec: Any) -> Manifest:
    """The RemoteMesh, of which all is well but for what ``conditions`` say."""
    given = {one["type"]: one for one in conditions}
    plain = {
        "Ready": condition("Ready", True, "Ready", "1 of 1 offered services imported"),
        "Connected": condition("Connected", True, "Connected", "connected"),
        "Synced": condition("Synced", True, "Synced", "all that it offers has been received"),
        "IdentityUnique": condition("IdentityUnique", True, "IdentityUnique", f"callers with {WEST} are this remote"),
        "Reachable": condition("Reachable", True, "Answered", f"answered through 192.0.2.10:15443 as {WEST}"),
        "Subscribed": condition("Subscribed", True, "Subscribed", "it subscribes"),
    }
    shown = {key: one for key, one in (plain | given).items() if key != without}
    return with_status(remote_mesh("west", identity=WEST, **spec), *shown.values())


def healthy() -> dict[str, Manifest]:
    """The objects of a mesh in which nothing is wrong, by a word for each."""
    return {
        "mesh": east(),
        "west": west(),
        "ratings": imported("west", "ratings"),
        "lease": lease("controller-1"),
        "system": namespace(SYSTEM, **{"topology.istio.io/network": "east-network"}),
        "default": namespace("default"),
        "reviews": service("reviews", exported=True),
        "reviews-1": pod("reviews-1", "reviews"),
        "controller": controller(),
        "gateway": gateway(),
        "front": front(),
        "istiod": istiod(),
        "config": configured(),
        **{one["metadata"]["name"].partition(".")[0]: one for one in all_crds()},
    }


IMPORTERS = ImportersSeen(
    {"west": RemoteImports(says=True, whole=True, imports=2, last=LastInPlace("ratings.default", 0.31, 40.0))}
)
"""What the controller knows of who imports from it."""


def facts(
    changes: Mapping[str, Manifest | None] | None = None,
    *,
    unread: Mapping[str, str] | None = None,
    finding: Finding | None = None,
    server: Server | None = None,
    **more: Any,
) -> Facts:
    """What is found out where ``changes`` are made to `healthy`; every way that is tried shows ``finding``."""
    objects = {name: one for name, one in {**healthy(), **(changes or {})}.items() if one is not None}
    kept = tuple(one for one in objects.values() if one["kind"] not in (unread or {}))
    found = Snapshot("east", SYSTEM, NOW, kept, unread or {}, server or Server("v1.31.2", Clock(0.1, 0.6)))
    plan = planned(found, account=account(found))[0] if not unread else None
    plain: dict[str, Any] = {
        "snapshot": found,
        "plan": plan,
        "access": {NEED: Reviewed(True)},
        "own": {NEED: Reviewed(True)},
        "roots": (ROOT,),
        "importers": IMPORTERS,
    }
    made = Facts(**(plain | more))
    return msgspec.structs.replace(made, findings=findings(made, finding)) if finding is not None else made


def findings(made: Facts, finding: Finding) -> dict[Way, Finding]:
    """Every way that would be tried, with what is found there."""
    probes = (way_of(remote) for remote in made.remotes)
    return {way: finding for probe in probes if probe is not None for way in ways(probe)}


def answered(identity: str = WEST, valid: timedelta = timedelta(hours=12)) -> Answered:
    """A handshake that ended."""
    return Answered(identity, (NOW + valid).astimezone(UTC).timestamp())


def said(found: Facts, name: str, checks: Any = None) -> list[CheckView]:
    """What the check ``group/name`` says."""
    views = run(found, checks) if checks is not None else run(found)
    return [one for one in views if f"{one.group}/{one.check}" == name]


def at(seconds: int) -> str:
    """That many seconds before now, as it is stored."""
    moment: datetime = NOW - timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
