"""All that a mesh's objects say, read once: what each proxy is told is worked out from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from meshfed_sandbox.dataplane.translate import (
    reading,
    registry_entries,
    registry_kubernetes,
    schema,
    schema_destination_rules,
)
from meshfed_sandbox.dataplane.translate.names import selects
from meshfed_sandbox.dataplane.translate.reading import Object
from meshfed_sandbox.dataplane.translate.registry import Registry, one_for_each_host
from meshfed_sandbox.dataplane.translate.schema_envoy_filters import EnvoyFilterSpec
from meshfed_sandbox.dataplane.values import JSONObject, MeshSettings, ProxyFiles, ProxyIdentity

_HEALTH_CHECKED = "proxy.istio.io/health-checks-enabled"
REGION, ZONE, SUBZONE = "topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"


class Mesh(msgspec.Struct, frozen=True, kw_only=True):
    """A mesh's settings and objects; the lists are oldest first, as istiod lets conflicting objects win."""

    settings: MeshSettings
    registry: Registry
    destination_rules: Sequence[Object[schema_destination_rules.DestinationRuleSpec]]
    gateways: Sequence[Object[schema.GatewaySpec]]
    envoy_filters: Sequence[Object[EnvoyFilterSpec]]
    peer_authentications: Sequence[Object[schema.PeerAuthenticationSpec]]
    authorization_policies: Sequence[Object[schema.AuthorizationPolicySpec]]
    localities: Mapping[str, str]
    without_effect: Sequence[str]

    def applies(self, owner: str, selector: Mapping[str, str], namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether an object of namespace ``owner`` with a selector is for a workload: root namespace, or its own."""
        return owner in {self.settings.root_namespace, namespace} and selects(selector, labels)


class View(msgspec.Struct, frozen=True):
    """A mesh as one proxy is to be told of it, and where that proxy finds its files."""

    mesh: Mesh
    proxy: ProxyIdentity
    files: ProxyFiles

    @property
    def dns_capture(self) -> bool:
        """Whether the proxy answers its application's DNS."""
        return bool(self.proxy.dns_port)


def read_mesh(settings: MeshSettings, objects: Mapping[str, Sequence[JSONObject]]) -> Mesh:
    """Read all objects.

    Raises ``Untranslatable`` for the first that says something which is not known.
    """
    reading.refuse_unknown_kinds(objects)
    nodes = {reading.meta_of("Node", raw).name: _locality(reading.meta_of("Node", raw)) for raw in _of(objects, "Node")}
    pods = registry_kubernetes.workloads(
        settings,
        [
            (each, reading.part("Pod", raw, "status", schema.PodStatus))
            for raw in _of(objects, "Pod")
            for each in reading.read("Pod", [raw], schema.PodSpec)
        ],
    )
    entries = [
        _labelled(each)
        for each in reading.read(
            "WorkloadEntry", filter(_is_healthy, _of(objects, "WorkloadEntry")), schema.WorkloadEntrySpec
        )
    ]
    slices: dict[tuple[str, str], list[schema.EndpointSliceObject]] = {}
    for raw in _of(objects, "EndpointSlice"):
        each_slice = reading.whole("EndpointSlice", raw, schema.EndpointSliceObject)
        meta = each_slice.metadata
        if registry_kubernetes.MULTICLUSTER_NAME in meta.labels:
            continue  # ``endpointSliceSelector``
        slices.setdefault((meta.namespace, meta.labels.get(registry_kubernetes.SERVICE_NAME, "")), []).append(
            each_slice
        )
    sources = registry_kubernetes.Sources(
        settings=settings, slices=slices, pods=pods, entries=entries, localities=nodes
    )
    local = registry_kubernetes.services(sources, reading.read("Service", _of(objects, "Service"), schema.ServiceSpec))
    imported = registry_entries.services(
        sources, reading.read("ServiceEntry", _of(objects, "ServiceEntry"), schema.ServiceEntrySpec)
    )
    services, warnings = one_for_each_host([*local, *imported])
    return Mesh(
        settings=settings,
        registry=Registry(services=services, workloads=pods, warnings=warnings),
        destination_rules=reading.read(
            "DestinationRule", _of(objects, "DestinationRule"), schema_destination_rules.DestinationRuleSpec
        ),
        gateways=reading.read("Gateway", _of(objects, "Gateway"), schema.GatewaySpec),
        envoy_filters=reading.read("EnvoyFilter", _of(objects, "EnvoyFilter"), EnvoyFilterSpec),
        peer_authentications=reading.read(
            "PeerAuthentication", _of(objects, "PeerAuthentication"), schema.PeerAuthenticationSpec
        ),
        authorization_policies=reading.read(
            "AuthorizationPolicy", _of(objects, "AuthorizationPolicy"), schema.AuthorizationPolicySpec
        ),
        localities=nodes,
        without_effect=reading.without_effect(objects),
    )


def _of(objects: Mapping[str, Sequence[JSONObject]], kind: str) -> Sequence[JSONObject]:
    return objects.get(kind, ())


def _is_healthy(raw: JSONObject) -> bool:
    """Whether a WorkloadEntry counts: where its health is checked, by its condition (``isHealthy``)."""
    annotations = (raw.get("metadata") or {}).get("annotations") or {}
    if annotations.get(_HEALTH_CHECKED) != "true":
        return True
    conditions = (raw.get("status") or {}).get("conditions") or ()
    return any(one.get("type") == "Healthy" and one.get("status") == "True" for one in conditions)


def _labelled(entry: Object[schema.WorkloadEntrySpec]) -> Object[schema.WorkloadEntrySpec]:
    """With the labels of its metadata laid over those of its spec (``ConvertWorkloadEntry``)."""
    spec = msgspec.structs.replace(entry.spec, labels={**entry.spec.labels, **entry.meta.labels})
    return msgspec.structs.replace(entry, spec=spec)


def _locality(meta: schema.Meta) -> str:
    parts = [meta.labels.get(name, "") for name in (REGION, ZONE, SUBZONE)]
    return "/".join(parts).rstrip("/")
