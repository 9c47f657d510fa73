"""Istio, as it is installed and configured here: what federation needs of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from meshfed.api.documents import decode_documents
from meshfed.api.errors import InvalidInput
from meshfed.model.wording import listed
from meshfed.views.ages import duration
from meshfed.views.checks.facts import (
    Facts,
    annotated,
    containers,
    controllers,
    flag,
    is_ready,
    labels,
    place,
    way_of,
)
from meshfed.views.checks.results import Check, Result, failed, ok, skipped, unknown, warning
from meshfed.views.snapshot import Document

NETWORK: Final = "topology.istio.io/network"
"""The label by which istiod knows the network of its cluster, on its namespace (``setNetworkFromNamespace``), and of a
pod.
"""
_REVISION: Final = "istio.io/rev"
_DNS_CAPTURE: Final = "ISTIO_META_DNS_CAPTURE"
_EXCLUDED: Final = "traffic.sidecar.istio.io/excludeOutboundPorts"
_SOON: Final = timedelta(days=30)
"""Before a root ends, which takes weeks to replace everywhere."""


def revisions(deployments: Iterable[Document]) -> tuple[str, ...]:
    """Return the revisions of the istiods among Deployments, ``default`` for none."""
    return tuple(sorted({labels(one).get(_REVISION) or "default" for one in deployments}))


def _istiod(facts: Facts) -> Iterator[Result]:
    why = facts.unread("Deployment")
    found = list(facts.snapshot.of_kind("Deployment"))
    if why:
        yield unknown(why)
        return
    if not found:
        yield unknown(
            f"there is no Deployment with the label app=istiod in namespace {facts.control_plane}: either istiod runs "
            "outside of this cluster, or it is in another namespace (`controlPlaneNamespace` of the MeshFederation)"
        )
        return
    down = [one for one in found if not (one.get("status") or {}).get("readyReplicas")]
    for one in down:
        yield failed(
            f"Deployment {'/'.join(place(one))} has no pod that is ready, so proxies hear of no change",
            "see its pods and their logs",
        )
    if not down:
        names = ", ".join(f"{place(one)[1]} (revision {labels(one).get(_REVISION) or 'default'})" for one in found)
        yield ok(f"{names} in namespace {facts.control_plane}")


# --- its configuration


def _configured(facts: Facts) -> tuple[Mapping[str, Any], str, str]:
    """Return Istio's configuration of the mesh, of which object it is, and why it is not known."""
    why = facts.unread("ConfigMap")
    found = [
        one
        for one in facts.snapshot.of_kind("ConfigMap")
        if place(one)[0] == facts.control_plane and "mesh" in (one.get("data") or {})
    ]
    stated = flag(facts.snapshot, "--mesh-config", "")
    chosen = next((one for one in found if place(one)[1] == stated), None) or next(iter(found), None)
    if chosen is None:
        return {}, "", why or f"there is no ConfigMap with Istio's configuration in namespace {facts.control_plane}"
    source = f"ConfigMap {'/'.join(place(chosen))}"
    try:
        documents = decode_documents(str(chosen["data"]["mesh"]), source)
    except InvalidInput as error:
        return {}, source, str(error)
    return (documents[0] if documents else {}), source, ""


def _inside(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _dns_capture(facts: Facts) -> Iterator[Result]:
    config, source, why = _configured(facts)
    if why:
        yield unknown(why)
        return
    stated = _inside(config, "defaultConfig", "proxyMetadata", _DNS_CAPTURE)
    if str(stated).lower() in {"true", "1", "t"}:
        yield ok(f"{source} has {_DNS_CAPTURE}; pods may still say otherwise")
        return
    yield warning(
        f"{source} does not have {_DNS_CAPTURE}, so in pods that do not set it themselves an imported host without a "
        "local Service does not resolve",
        f'set `{_DNS_CAPTURE}: "true"` in `defaultConfig.proxyMetadata`, and restart the pods',
    )


def _outbound_policy(facts: Facts) -> Iterator[Result]:
    config, source, why = _configured(facts)
    if why:
        yield unknown(why)
        return
    mode = _inside(config, "outboundTrafficPolicy", "mode") or "ALLOW_ANY"
    if mode != "REGISTRY_ONLY":
        yield ok(f"{source} has {mode}: unknown destinations are let through")
        return
    if facts.before:
        yield ok(
            f"{source} has REGISTRY_ONLY; the chart has the controller's sidecar leave controller.probe.ports alone"
        )
        return
    why = facts.unread("Pod") or ("" if controllers(facts.snapshot) else "there is no Pod of a controller")
    if why:
        yield unknown(
            f"{source} has REGISTRY_ONLY, and whether handshakes pass the controller's sidecar is unknown: {why}"
        )
        return
    needed = {address.port for remote in facts.remotes if (probe := way_of(remote)) for address in probe.addresses}
    closed = [f"{port} of Pod {place(pod)[1]}" for pod in controllers(facts.snapshot) for port in _closed(pod, needed)]
    if closed:
        yield warning(
            f"{source} has REGISTRY_ONLY, and the controller's sidecar lets no handshake through at port "
            f"{listed(sorted(set(closed)))}, so `Reachable` may stay unknown",
            f"name the port in annotation {_EXCLUDED} (the chart's controller.probe.ports)",
            docs="operations.md#what-is-proven",
        )
        return
    yield ok(f"{source} has REGISTRY_ONLY, and the controller's handshakes pass its sidecar")


def _closed(pod: Document, ports: set[int]) -> list[int]:
    if not any(one.get("name") == "istio-proxy" for one in containers(pod)):
        return []
    excluded = {part.strip() for part in annotated(pod).get(_EXCLUDED, "").split(",")}
    return [port for port in sorted(ports) if str(port) not in excluded]


# --- networks


def _network(facts: Facts) -> Iterator[Result]:
    why = facts.unread("Namespace")
    if why:
        yield unknown(why)
        return
    namespace = next((one for one in facts.snapshot.of_kind("Namespace") if place(one)[1] == facts.control_plane), None)
    if namespace is None:
        yield failed(
            f"there is no namespace {facts.control_plane}",
            "install Istio, or correct `controlPlaneNamespace` of the MeshFederation",
        )
        return
    stated = labels(namespace).get(NETWORK, "")
    wanted = next((one.spec.network for one in facts.snapshot.federations), "")
    if not stated:
        yield warning(
            f"namespace {facts.control_plane} has no label {NETWORK}, so istiod counts this mesh's pods to no network, "
            "unless they or its meshNetworks say otherwise",
            f"label it {NETWORK}={wanted or '<network>'}",
        )
    elif wanted and stated != wanted:
        yield failed(
            f"namespace {facts.control_plane} has {NETWORK}={stated}, and `spec.network` of the MeshFederation is "
            f"{wanted}: one mesh would have two networks",
            "make them alike",
        )
    else:
        yield ok(f"namespace {facts.control_plane} is of network {stated}")


def _gateway_view(facts: Facts) -> Iterator[Result]:
    """Ask of the gateway's pods what they are told of (``RequestedNetworkView`` of NodeMetadata)."""
    federation = next(iter(facts.snapshot.federations), None)
    why = facts.unread("Pod")
    if federation is None or why:
        yield unknown(why or "there is no MeshFederation that would say which pods these are")
        return
    selector, network = federation.spec.ingress.gateway.selector, federation.spec.network
    pods = [pod for pod in facts.snapshot.of_kind("Pod") if selector.items() <= labels(pod).items() and is_ready(pod)]
    if not pods:
        yield skipped("there is no gateway pod that is ready, of which the check `gateway` speaks")
        return
    for pod in pods:
        wrong = _wrong_network(pod, network)
        if wrong is not None:
            yield wrong
            return
    yield ok(f"{len(pods)} gateway {'pod sees' if len(pods) == 1 else 'pods see'} network {network} alone")


def _wrong_network(pod: Document, network: str) -> Result | None:
    """Return what is wrong with the network of a gateway's pod."""
    name, own, view = "/".join(place(pod)), labels(pod).get(NETWORK), _view(pod)
    if own and own != network:
        return failed(f"Pod {name} has {NETWORK}={own}, and the mesh's network is {network}", "make them alike")
    if view is None or view != [network]:
        has = f"has {_VIEW}={','.join(view)}" if view is not None else f"does not have {_VIEW}"
        words = f"Pod {name} {has}, so it may send what comes in from one mesh on to another"
        return warning(words, f"set {_VIEW}={network} in its environment")
    return None


_VIEW: Final = "ISTIO_META_REQUESTED_NETWORK_VIEW"


def _view(pod: Document) -> list[str] | None:
    found = [one for container in containers(pod) for one in container.get("env") or () if one.get("name") == _VIEW]
    return [part.strip() for part in str(found[0].get("value", "")).split(",")] if found else None


# --- roots


def _roots(facts: Facts) -> Iterator[Result]:
    if not facts.roots:
        yield unknown(facts.no_roots or "nobody has looked")
        return
    now = facts.snapshot.taken
    ended = [root for root in facts.roots if root.ends <= now]
    soon = [root for root in facts.roots if now < root.ends <= now + _SOON]
    names = listed([root.subject for root in ended or soon or facts.roots])
    if len(ended) == len(facts.roots):
        yield failed(f"all roots that this mesh trusts have expired: {names}", "give Istio a root that is valid")
    elif ended:
        yield warning(f"expired: {names}", "take it out of the bundle, once nobody has a certificate of it")
    elif soon:
        left = duration(int((min(root.ends for root in soon) - now).total_seconds()))
        yield warning(
            f"{names} ends in {left}",
            "add its successor to the bundles of all meshes first, then have Istio sign with that",
        )
    else:
        left = duration(int((min(root.ends for root in facts.roots) - now).total_seconds()))
        yield ok(f"{names}, valid for {left} more")


CHECKS: Final = (
    Check(
        "istio",
        "istiod",
        "Whether an istiod runs in the control plane namespace.",
        "install.md#before",
        _istiod,
        before=True,
    ),
    Check(
        "istio",
        "dns-capture",
        "Whether imported hosts without a local Service resolve, as the mesh's configuration has it.",
        "troubleshooting.md#the-name-does-not-resolve",
        _dns_capture,
        before=True,
    ),
    Check(
        "istio",
        "outbound-policy",
        "Whether the mesh lets the controller's own handshakes through.",
        "guides/meshes.md#istio",
        _outbound_policy,
        before=True,
    ),
    Check(
        "istio",
        "network",
        "Whether istiod's network is that of the MeshFederation.",
        "install.md#before",
        _network,
        before=True,
    ),
    Check(
        "istio",
        "gateway-view",
        "Whether the gateway's pods are told of this mesh's own network alone.",
        "install.md#the-gateway",
        _gateway_view,
    ),
    Check(
        "istio",
        "roots",
        "Whether the roots that this mesh trusts are there, and valid for a while.",
        "troubleshooting.md#a-certificate-is-not-accepted",
        _roots,
        before=True,
    ),
)
