"""Documents, as people write them or an API returns them, as what the plan takes in.

Each is known by its apiVersion and kind. Of one that comes twice, the last counts; other kinds are skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from meshfed.api.core import EndpointSlice, Namespace, Pod, Service
from meshfed.api.errors import InvalidInput, NotAnObject
from meshfed.api.objects import decode_object, type_of
from meshfed.api.v1alpha1 import (
    API_VERSION,
    GROUP,
    OWNER_NAMESPACE_LABEL,
    FederatedService,
    MeshFederation,
    RemoteMesh,
)
from meshfed.istio import gateway_index, last_answers, mesh_config
from meshfed.istio.peer_authentications import PeerAuthentication, of_peer_authentication
from meshfed.model.installation import NAMESPACE
from meshfed.model.meshes import MeshConfig
from meshfed.model.workloads import Located
from meshfed.plan.endpoint_slices import is_by_hand, of_slice
from meshfed.plan.foreign_destination_rules import ForeignDestinationRule, of_destination_rule
from meshfed.plan.foreign_service_entries import ForeignServiceEntry, of_service_entry
from meshfed.plan.offline import PlanInputs
from meshfed.plan.workloads import of_entry, of_pod

Document = dict[str, Any]
"""An object as plain data."""


def namespace_of_mesh(documents: Sequence[tuple[str, Document]]) -> str:
    """Return the namespace of the MeshFederation, where that says which controller is meant."""
    found = {
        _metadata(document).get("namespace") or NAMESPACE
        for _, document in documents
        if document.get("kind") == "MeshFederation"
    }
    if len(found) > 1:
        raise InvalidInput(
            f"there are MeshFederations in the namespaces {', '.join(sorted(map(str, found)))}: say with --namespace "
            "which controller is meant"
        )
    return str(next(iter(found), NAMESPACE))


def read_documents(
    documents: Iterable[tuple[str, Document]],
    namespace: str,
    mesh_config_map: str,
    *,
    stored: Callable[[InvalidInput], None] | None = None,
) -> PlanInputs:
    """Return the objects that the controller of ``namespace`` would look at; of one that comes twice, the last.

    Each comes with where it is from. They are checked as an API server does; raises ``InvalidInput``. Where they are
    ``stored`` in one already, they are only decoded, as the controller does, and of one that cannot be ``stored`` is
    told, and it is left out.
    """
    of_all = {Service, Pod, EndpointSlice}
    found: dict[type[Any], dict[tuple[str, str], Any]] = {
        kind: {} for kind in (MeshFederation, RemoteMesh, FederatedService, Namespace, *of_all)
    }
    others = _Others(namespace)
    for source, document in documents:
        meta = _metadata(document)
        kind = type_of(document)
        if kind is None:
            if stored is None:
                _refuse_strangers(source, document)
            others.take(document, meta)
            continue
        place = "" if kind is Namespace else "default" if kind in of_all else namespace
        given = document | {"metadata": {"namespace": place} | meta} if meta and place else document
        if stored is None:
            decoded: Any = decode_object(given, kind, source=source)
        else:
            try:
                decoded = msgspec.convert(given, kind)
            except msgspec.ValidationError as error:
                stored(InvalidInput(f"{kind.__name__} {meta.get('namespace', '')}/{meta.get('name', '')}: {error}"))
                continue
        if place != namespace or kind in of_all or decoded.metadata.namespace == namespace:
            found[kind][decoded.metadata.namespace, decoded.metadata.name] = decoded
    others.workloads |= {("Pod", *place): of_pod(pod) for place, pod in found[Pod].items()}
    control_planes = {federation.spec.control_plane_namespace for federation in found[MeshFederation].values()}
    try:
        config = others.mesh_config(control_planes, mesh_config_map)
    except InvalidInput as error:
        if stored is None:
            raise
        stored(error)
        config = MeshConfig(unread=f"Istio's configuration of the mesh cannot be read: {error}")
    return PlanInputs(
        mesh_config=config,
        federations=tuple(found[MeshFederation].values()),
        remotes=tuple(found[RemoteMesh].values()),
        namespaces=tuple(found[Namespace].values()),
        services=tuple(found[Service].values()),
        records=tuple(found[FederatedService].values()),
        gateways=tuple(sorted(others.gateways.items())),
        resolved=last_answers(others.answered),
        service_exports=tuple(sorted(others.service_exports)),
        workloads=tuple(sorted(others.workloads.items(), key=lambda one: one[0])),
        slices=tuple(
            (place, of_slice(one))
            for place, one in sorted(found[EndpointSlice].items())
            if is_by_hand(one.metadata.labels)
        ),
        rules=tuple(sorted(others.rules.items(), key=lambda one: one[0])),
        entries=tuple(sorted(others.entries.items(), key=lambda one: one[0])),
        peer_authentications=tuple(sorted(others.peer_authentications.items(), key=lambda one: one[0])),
    )


class _OfOthers(msgspec.Struct):
    """The metadata of an object that is not of our API: an API server lets no other be."""

    name: str = ""
    namespace: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class _Others:
    """What of objects that are not of our API decides anything.

    Of the installation in ``namespace`` that is what its Gateways list and what its WorkloadEntries remember of DNS,
    which is history; and of some kinds, all that no installation has written.
    """

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self.answered: list[tuple[str, dict[str, str]]] = []
        """Address and annotations of each WorkloadEntry of the installation."""
        self.gateways: dict[int, tuple[str, ...]] = {}
        self.service_exports: set[tuple[str, str]] = set()
        self.workloads: dict[tuple[str, str, str], Located] = {}
        self.rules: dict[tuple[str, str], ForeignDestinationRule] = {}
        self.entries: dict[tuple[str, str], ForeignServiceEntry] = {}
        self.peer_authentications: dict[tuple[str, str], PeerAuthentication] = {}
        self._config_maps: dict[tuple[str, str], str] = {}

    def take(self, document: dict[str, Any], metadata: dict[str, Any]) -> None:
        """Take in an object, if it is of a kind that matters."""
        place = (str(metadata.get("namespace") or "default"), str(metadata.get("name", "")))
        owner = (metadata.get("labels") or {}).get(OWNER_NAMESPACE_LABEL)
        ours = owner is not None
        match str(document.get("apiVersion", "")).partition("/")[0], document.get("kind"):
            case "networking.istio.io", "Gateway" if owner in {None, self._namespace}:
                index = gateway_index(place[1])
                if index is not None:
                    self.gateways[index] = _gateway_hosts(document)
            case "multicluster.x-k8s.io", "ServiceExport":
                self.service_exports.add(place)
            case "networking.istio.io", "WorkloadEntry" if not ours:
                self.workloads["WorkloadEntry", *place] = of_entry(document)
            case "networking.istio.io", "WorkloadEntry" if owner == self._namespace:
                address = str(_spec(document).get("address", ""))
                self.answered.append((address, metadata.get("annotations") or {}))
            case "networking.istio.io", "DestinationRule" if not ours:
                self.rules[place] = of_destination_rule(document)
            case "networking.istio.io", "ServiceEntry" if not ours:
                placed = metadata | {"namespace": place[0]}
                self.entries[place] = of_service_entry(document | {"metadata": placed})
            case "security.istio.io", "PeerAuthentication" if not ours:
                self.peer_authentications[place] = of_peer_authentication(document)
            case "v1", "ConfigMap":
                data = document.get("data")
                self._config_maps[place] = str(data.get("mesh", "")) if isinstance(data, dict) else ""
            case _:
                pass

    def mesh_config(self, control_planes: Iterable[str], name: str) -> MeshConfig:
        """Return what the ConfigMap of that name says in a control plane's namespace; nothing where there is none."""
        for place in ((namespace, name) for namespace in control_planes):
            if place in self._config_maps:
                return mesh_config(self._config_maps[place], f"ConfigMap {'/'.join(place)}")
        return MeshConfig()


def _metadata(document: dict[str, Any]) -> dict[str, Any]:
    metadata = document.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _refuse_strangers(source: str, document: dict[str, Any]) -> None:
    """A kind of our own group that we do not know is a slip of the pen, not somebody else's object."""
    version, kind = document.get("apiVersion"), document.get("kind")
    if not version or not kind:
        raise NotAnObject(source, "a document has no apiVersion or no kind, so it is not a Kubernetes object")
    if str(version).partition("/")[0] == GROUP:
        raise InvalidInput(
            f"{source}: {kind} of apiVersion {version} is unknown; {API_VERSION} has MeshFederation, RemoteMesh and "
            "FederatedService"
        )
    try:
        msgspec.convert(document.get("metadata") or {}, _OfOthers)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at `$")
        raise InvalidInput(f"{source}: {kind}: metadata{place.rstrip('`')}: {problem}") from None


def _gateway_hosts(document: dict[str, Any]) -> tuple[str, ...]:
    servers = _list(_spec(document).get("servers"))
    return tuple(str(host) for server in servers if isinstance(server, dict) for host in _list(server.get("hosts")))


def _spec(document: dict[str, Any]) -> dict[str, Any]:
    spec = document.get("spec")
    return spec if isinstance(spec, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
