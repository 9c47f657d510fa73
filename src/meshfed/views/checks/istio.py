"""Istio, as it is installed and configured here: what federation needs of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple

from meshfed.model.installation import NAMESPACE
from meshfed.model.names import listed
from meshfed.views.ages import duration
from meshfed.views.checks.configuration import configured, mesh_config
from meshfed.views.checks.facts import (
    Facts,
    annotated,
    containers,
    controllers,
    labels,
    place,
    way_of,
)
from meshfed.views.checks.results import Check, Result, failed, ok, skipped, unknown, warning
from meshfed.views.gateways import VIEW, gateway_pods, network_view
from meshfed.views.snapshot import Document

NETWORK: Final = "topology.istio.io/network"
"""The label by which istiod knows the network of its cluster, on its namespace (``setNetworkFromNamespace``), and of a
pod.
"""
_REVISION: Final = "istio.io/rev"
_DNS_CAPTURE: Final = "ISTIO_META_DNS_CAPTURE"
_REGISTRY_ONLY: Final = "REGISTRY_ONLY"
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


def _inside(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _dns_capture(facts: Facts) -> Iterator[Result]:
    found = configured(facts)
    if found.why:
        yield unknown(found.why)
        return
    source, stated = found.sources, _inside(found.whole, "defaultConfig", "proxyMetadata", _DNS_CAPTURE)
    if str(stated).lower() in {"true", "1", "t"}:
        yield ok(f"{source} has {_DNS_CAPTURE}; pods may still say otherwise")
        return
    yield warning(
        f"{source} does not have {_DNS_CAPTURE}, so in pods that do not set it themselves an imported host without a "
        "local Service does not resolve",
        f'set `{_DNS_CAPTURE}: "true"` in `defaultConfig.proxyMetadata`, and restart the pods',
    )


def _outbound_policy(facts: Facts) -> Iterator[Result]:
    found, pods = configured(facts), controllers(facts.snapshot)
    if found.why:
        yield unknown(found.why)
        return
    of_mesh = _Policy(_mode(found.whole) or "ALLOW_ANY", found.sources)
    if facts.before:
        leaves = "the chart has the controller's sidecar leave controller.probe.ports alone"
        yield ok(f"{of_mesh.source} has {_REGISTRY_ONLY}; {leaves}" if of_mesh.is_strict else _lets_through(of_mesh))
        return
    why = facts.unread("Sidecar") or (of_mesh.is_strict and facts.unread("Pod"))
    why = why or (of_mesh.is_strict and not pods and "there is no Pod of a controller")
    if why:
        words = f"{of_mesh.source} has {of_mesh.mode}, and whether handshakes pass the controller's sidecar is unknown"
        yield unknown(f"{words}: {why}")
        return
    root = str(found.whole.get("rootNamespace") or NAMESPACE)
    policies = {place(pod): _policy_of(facts, pod, root) or of_mesh for pod in pods}
    strict = next((one for one in policies.values() if one.is_strict), None)
    if strict is None:
        yield ok(_lets_through(next(iter(policies.values()), of_mesh)))
        return
    needed = {address.port for remote in facts.remotes if (probe := way_of(remote)) for address in probe.addresses}
    affected = [pod for pod in pods if policies[place(pod)].is_strict]
    closed = {f"{port} of Pod {place(pod)[1]}" for pod in affected for port in _closed(pod, needed)}
    if closed:
        yield warning(
            f"{strict.source} has {_REGISTRY_ONLY}, and the controller's sidecar lets no handshake through at port "
            f"{listed(sorted(closed))}, so `Reachable` may stay unknown",
            f"name the port in annotation {_EXCLUDED} (the chart's controller.probe.ports)",
            docs="operations.md#what-is-proven",
        )
        return
    yield ok(f"{strict.source} has {_REGISTRY_ONLY}, and the controller's handshakes pass its sidecar")


class _Policy(NamedTuple):
    """What becomes of connections to whom the mesh does not know, and which object says so."""

    mode: str
    source: str

    @property
    def is_strict(self) -> bool:
        """Whether they are closed."""
        return self.mode == _REGISTRY_ONLY


def _lets_through(policy: _Policy) -> str:
    return f"{policy.source} has {policy.mode}: unknown destinations are let through"


def _mode(spec: Mapping[str, Any]) -> str:
    """Return the mode of an ``outboundTrafficPolicy``; empty where there is none.

    One that states no mode has the first value of the enum.
    """
    policy = spec.get("outboundTrafficPolicy")
    return str(policy.get("mode") or _REGISTRY_ONLY) if isinstance(policy, dict) else ""


def _policy_of(facts: Facts, pod: Document, root: str) -> _Policy | None:
    """Return what the Sidecar that counts for a Pod says; ``None`` where it leaves that to the mesh, or there is none.

    As ``doGetSidecarScope``: of those in the Pod's namespace the oldest that selects it, else the oldest that selects
    nobody, else one such of the root namespace.
    """
    ranked: list[tuple[int, str, str, Document]] = []
    for sidecar in facts.snapshot.of_kind("Sidecar"):
        at, spec = place(sidecar), sidecar.get("spec") or {}
        selector = _inside(spec, "workloadSelector", "labels")
        here = at[0] == place(pod)[0]
        if (here and selector and selector.items() <= labels(pod).items()) or (
            not selector and (here or at[0] == root)
        ):
            rank = 0 if selector else 1 if here else 2
            ranked.append((rank, str(sidecar["metadata"].get("creationTimestamp") or ""), at[1], sidecar))
    if not ranked:
        return None
    counting = min(ranked, key=lambda one: one[:3])[3]
    mode = _mode(counting.get("spec") or {})
    return _Policy(mode, f"Sidecar {'/'.join(place(counting))}") if mode else None


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
    network, pods = federation.spec.network, gateway_pods(facts.snapshot, federation)
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
    name, own, view = "/".join(place(pod)), labels(pod).get(NETWORK), network_view(pod)
    if own and own != network:
        return failed(f"Pod {name} has {NETWORK}={own}, and the mesh's network is {network}", "make them alike")
    if view is None or view != (network,):
        has = f"has {VIEW}={','.join(view)}" if view is not None else f"does not have {VIEW}"
        words = f"Pod {name} {has}, so it may send what comes in from one mesh on to another"
        return warning(words, f"set {VIEW}={network} in its environment")
    return None


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
        "mesh-config",
        "Whether the ConfigMap that the controller reads says all that Istio is configured to.",
        "operations.md#what-istio-is-configured-to",
        mesh_config,
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
        "Whether the mesh, or a Sidecar that counts for the controller, lets the controller's own handshakes through.",
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
