"""``meshfed plan``: what the controller would have in a cluster, worked out from files alone.

The decisions and the rendering are the controller's own. Nothing is contacted, so what only a cluster or a remote
knows is given: FederatedServices and Gateways for what depends on history, ``--remote`` for what a remote offers,
``--resolve`` for DNS.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

from cyclopts import Parameter

from meshfed.cli.exits import BadInput, Exit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from meshfed.istio.peer_authentications import PeerAuthentication
    from meshfed.model.meshes import MeshConfig
    from meshfed.model.offers import Offer
    from meshfed.model.workloads import Located
    from meshfed.plan import Plan, PlanInputs
    from meshfed.plan.foreign_destination_rules import ForeignDestinationRule
    from meshfed.plan.foreign_service_entries import ForeignServiceEntry

_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
_DEFAULT_NAMESPACE = "istio-system"


def plan(
    *more: Annotated[str, Parameter(show=False)],
    file: Annotated[list[str], Parameter(name=["--file", "-f"], allow_leading_hyphen=True)],
    remote: Annotated[list[str] | None, Parameter(name="--remote", consume_multiple=True)] = None,
    resolve: Annotated[list[str] | None, Parameter(name="--resolve", consume_multiple=True)] = None,
    namespace: Annotated[str | None, Parameter(name=["--namespace", "-n"])] = None,
    metrics_bind_address: str = ":8080",
    mesh_config: str = "istio",
    report: bool = False,
    output: Annotated[Literal["yaml", "json"], Parameter(name=["--output", "-o"])] = "yaml",
) -> int:
    """Print every object the controller would have in a cluster; nothing is contacted.

    Parameters
    ----------
    more
        What follows the first file, so that a shell's `-f *.yaml` works.
    file
        A file or folder with MeshFederation, RemoteMeshes, Services and Namespaces as YAML or JSON, `-` for standard
        input. FederatedServices and Gateways of the cluster may be among them: they record what depends on history.
        So may Pods, EndpointSlices, and WorkloadEntries, ServiceEntries, DestinationRules and PeerAuthentications of
        others, and the ConfigMap of Istio's configuration, where they decide anything. Other kinds are skipped.
    remote
        NAME=FILE: what the RemoteMesh NAME offers, a YAML list of `{host, ports: [{name, number, protocol,
        targetPort}], labels}`.
    resolve
        NAME=IP: an answer of DNS for a remote's address; may be given several times.
    namespace
        The controller's namespace; by default that of the MeshFederation.
    metrics_bind_address
        As the controller's: the PeerAuthentication of its pods lets that port be scraped in plaintext.
    mesh_config
        As the controller's: the name of the ConfigMap with Istio's configuration of this mesh.
    report
        Print, in place of the objects, what each remote would be told, as what each Service is exported or why it is
        not, and all conditions, as they are once everything is written.
    output
        A YAML stream, or a List in JSON. A report is one document.
    """
    from meshfed.cli.arguments import address
    from meshfed.plan import Settings, plan_all

    metrics = address("--metrics-bind-address", metrics_bind_address)
    inputs, controller_namespace = _read([*file, *more], remote or (), resolve or (), namespace, mesh_config)
    result = plan_all(inputs, Settings(namespace=controller_namespace, metrics_port=metrics.port))
    for warning in _warnings(inputs, result, controller_namespace):
        print(f"warning: {warning}", file=sys.stderr)
    if report:
        _print_report(result, output, sys.stdout)
    else:
        _print(result, output, sys.stdout)
    return Exit.OK


# --- reading --------------------------------------------------------------------------------------


def _read(
    files: Sequence[str], remotes: Sequence[str], answers: Sequence[str], namespace: str | None, mesh_config: str
) -> tuple[PlanInputs, str]:
    import msgspec

    from meshfed.api.errors import InvalidInput

    try:
        documents = [document for source, text in _texts(files) for document in _documents(source, text)]
    except InvalidInput as error:
        raise BadInput(str(error)) from error
    controller_namespace = namespace or _namespace_of_mesh(documents)
    try:
        inputs = _sorted_out(documents, controller_namespace, mesh_config)
    except InvalidInput as error:
        raise BadInput(str(error)) from error
    known = sorted(mesh.metadata.name for mesh in inputs.remotes)
    return (
        msgspec.structs.replace(inputs, offers=_offers(remotes, known), resolved=_resolved(answers)),
        controller_namespace,
    )


def _texts(files: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each file's name and text; of a folder, the YAML and JSON files below it, by name."""
    for name in files:
        if name == "-":
            yield "standard input", sys.stdin.read()
            continue
        path = Path(name)
        try:
            found = sorted(file for file in path.rglob("*") if file.suffix in _SUFFIXES and file.is_file())
        except OSError as error:
            raise BadInput(f"-f {name}: {error.filename}: {error.strerror}") from error
        if path.is_dir() and not found:
            raise BadInput(f"-f {name}: the folder holds no .yaml, .yml or .json file")
        for file in found if path.is_dir() else [path]:
            try:
                yield str(file), file.read_text(encoding="utf-8")
            except OSError as error:
                raise BadInput(f"-f {file}: {error.strerror}") from error
            except UnicodeDecodeError as error:
                raise BadInput(f"-f {file}: not UTF-8 text: {error}") from error


def _documents(source: str, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    from meshfed.api.documents import decode_documents

    for document in decode_documents(text, source):
        yield source, document


def _namespace_of_mesh(documents: Sequence[tuple[str, dict[str, Any]]]) -> str:
    """Return the namespace of the MeshFederation, where that says which controller is meant."""
    found = {
        _metadata(document).get("namespace") or _DEFAULT_NAMESPACE
        for _, document in documents
        if document.get("kind") == "MeshFederation"
    }
    if len(found) > 1:
        raise BadInput(
            f"there are MeshFederations in the namespaces {', '.join(sorted(map(str, found)))}: say with --namespace "
            "which controller is meant"
        )
    return str(next(iter(found), _DEFAULT_NAMESPACE))


def _sorted_out(documents: Sequence[tuple[str, dict[str, Any]]], namespace: str, mesh_config: str) -> PlanInputs:
    """Return the objects that the controller of ``namespace`` would look at; of one that comes twice, the last."""
    from meshfed.api.core import EndpointSlice, Namespace, Pod, Service
    from meshfed.api.objects import decode_object, type_of
    from meshfed.api.v1alpha1 import FederatedService, MeshFederation, RemoteMesh
    from meshfed.plan import PlanInputs
    from meshfed.plan.endpoint_slices import is_by_hand, of_slice
    from meshfed.plan.workloads import of_pod

    of_all = {Service, Pod, EndpointSlice}
    found: dict[type[Any], dict[tuple[str, str], Any]] = {
        kind: {} for kind in (MeshFederation, RemoteMesh, FederatedService, Namespace, *of_all)
    }
    others = _Others()
    for source, document in documents:
        meta = _metadata(document)
        kind = type_of(document)
        if kind is None:
            _refuse_strangers(source, document)
            others.take(document, meta)
            continue
        place = "" if kind is Namespace else "default" if kind in of_all else namespace
        given = document | {"metadata": {"namespace": place} | meta} if meta and place else document
        decoded: Any = decode_object(given, kind, source=source)
        if place != namespace or kind in of_all or decoded.metadata.namespace == namespace:
            found[kind][decoded.metadata.namespace, decoded.metadata.name] = decoded
    others.workloads |= {("Pod", *place): of_pod(pod) for place, pod in found[Pod].items()}
    control_planes = {federation.spec.control_plane_namespace for federation in found[MeshFederation].values()}
    return PlanInputs(
        mesh_config=others.mesh_config(control_planes, mesh_config),
        federations=tuple(found[MeshFederation].values()),
        remotes=tuple(found[RemoteMesh].values()),
        namespaces=tuple(found[Namespace].values()),
        services=tuple(found[Service].values()),
        records=tuple(found[FederatedService].values()),
        gateways=tuple(sorted(others.gateways.items())),
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


class _Others:
    """What of objects that are not of our API decides anything: our Gateways, and what is not ours of some kinds."""

    def __init__(self) -> None:
        self.gateways: dict[int, tuple[str, ...]] = {}
        self.service_exports: set[tuple[str, str]] = set()
        self.workloads: dict[tuple[str, str, str], Located] = {}
        self.rules: dict[tuple[str, str], ForeignDestinationRule] = {}
        self.entries: dict[tuple[str, str], ForeignServiceEntry] = {}
        self.peer_authentications: dict[tuple[str, str], PeerAuthentication] = {}
        self._config_maps: dict[tuple[str, str], str] = {}

    def take(self, document: dict[str, Any], metadata: dict[str, Any]) -> None:
        """Take in an object, if it is of a kind that matters."""
        from meshfed.api.v1alpha1 import OWNER_NAMESPACE_LABEL
        from meshfed.istio import gateway_index
        from meshfed.istio.peer_authentications import of_peer_authentication
        from meshfed.plan.foreign_destination_rules import of_destination_rule
        from meshfed.plan.foreign_service_entries import of_service_entry
        from meshfed.plan.workloads import of_entry

        place = (str(metadata.get("namespace") or "default"), str(metadata.get("name", "")))
        ours = OWNER_NAMESPACE_LABEL in (metadata.get("labels") or {})
        match str(document.get("apiVersion", "")).partition("/")[0], document.get("kind"):
            case "networking.istio.io", "Gateway":
                index = gateway_index(place[1])
                if index is not None:
                    self.gateways[index] = _gateway_hosts(document)
            case "multicluster.x-k8s.io", "ServiceExport":
                self.service_exports.add(place)
            case "networking.istio.io", "WorkloadEntry" if not ours:
                self.workloads["WorkloadEntry", *place] = of_entry(document)
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
        from meshfed.istio import mesh_config
        from meshfed.model.meshes import MeshConfig

        for place in ((namespace, name) for namespace in control_planes):
            if place in self._config_maps:
                return mesh_config(self._config_maps[place], f"ConfigMap {'/'.join(place)}")
        return MeshConfig()


def _metadata(document: dict[str, Any]) -> dict[str, Any]:
    metadata = document.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _refuse_strangers(source: str, document: dict[str, Any]) -> None:
    """A kind of our own group that we do not know is a slip of the pen, not somebody else's object."""
    from meshfed.api.v1alpha1 import API_VERSION, GROUP

    version, kind = document.get("apiVersion"), document.get("kind")
    if not version or not kind:
        raise BadInput(f"{source}: a document has no apiVersion or no kind, so it is not a Kubernetes object")
    if str(version).partition("/")[0] == GROUP:
        raise BadInput(
            f"{source}: {kind} of apiVersion {version} is unknown; {API_VERSION} has MeshFederation, RemoteMesh and "
            "FederatedService"
        )


def _gateway_hosts(document: dict[str, Any]) -> tuple[str, ...]:
    spec = document.get("spec")
    servers = spec.get("servers") if isinstance(spec, dict) else None
    return tuple(
        str(host) for server in servers or () if isinstance(server, dict) for host in server.get("hosts") or ()
    )


def _pairs(option: str, entries: Sequence[str]) -> Iterator[tuple[str, str]]:
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not name or not equals or not value:
            raise BadInput(f"{option} {entry}: it has to be NAME={'FILE' if option == '--remote' else 'IP'}")
        yield name, value


def _offers(entries: Sequence[str], known: Sequence[str]) -> dict[str, tuple[Offer, ...]]:
    from meshfed.cli.fds import read_offers

    offers: dict[str, tuple[Offer, ...]] = {}
    for name, path in _pairs("--remote", entries):
        if name not in known:
            there = f"there are: {', '.join(known)}" if known else "there are none"
            raise BadInput(f"--remote {name}: the input has no RemoteMesh of that name ({there})")
        if name in offers:
            raise BadInput(f"--remote {name}: it is given twice; put all that {name} offers into one file")
        try:
            offers[name] = tuple(read_offers(Path(path)))
        except ValueError as error:
            raise BadInput(f"--remote {name}: {error}") from error
    return offers


def _resolved(entries: Sequence[str]) -> dict[str, tuple[str, ...]]:
    from meshfed.model.meshes import is_ip

    resolved: dict[str, tuple[str, ...]] = {}
    for name, address in _pairs("--resolve", entries):
        if not is_ip(address):
            raise BadInput(f"--resolve {name}: {address} is not an IP address")
        resolved[name] = (*resolved.get(name, ()), address)
    return resolved


# --- writing --------------------------------------------------------------------------------------


def _warnings(inputs: PlanInputs, result: Plan, namespace: str) -> Iterator[str]:
    """Yield what a person should know beside the objects."""
    from meshfed.model.reasons import Reason

    told = {
        *(Reason.DUPLICATE, Reason.NAME_CONFLICT, Reason.INVALID, Reason.NAME_TOO_LONG, Reason.MTLS_DISABLED),
        Reason.TRUST_DOMAIN_MISMATCH,
    }
    if not inputs.federations:
        yield f"there is no MeshFederation in namespace {namespace}, so the controller would write nothing"
    for name in sorted(result.unresolved):
        yield f"no IP of {name} is known, so it gets no WorkloadEntries: give it with --resolve {name}=IP"
    for status in result.statuses:
        for condition in status.conditions:
            if condition.reason in told:
                yield f"{status.kind} {status.namespace}/{status.name}: {condition.reason}: {condition.message}"
                break


def _print(result: Plan, output: str, stream: TextIO) -> None:
    if output == "json":
        document = {"apiVersion": "v1", "kind": "List", "items": list(result.objects)}
        json.dump(document, stream, indent=2, ensure_ascii=False)
        stream.write("\n")
        return
    from meshfed.api.documents import encode_documents

    stream.write(encode_documents(result.objects))


def _print_report(result: Plan, output: str, stream: TextIO) -> None:
    from meshfed.api.documents import encode_document
    from meshfed.plan.report import report

    document = report(result)
    if output == "json":
        json.dump(document, stream, indent=2, ensure_ascii=False)
        stream.write("\n")
    else:
        stream.write(encode_document(document))
