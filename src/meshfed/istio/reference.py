"""What the reference's controller leaves in a cluster, and what of ours does the same work.

Its Gateway, its PeerAuthentication and its discovery ServiceEntries are called as ours are. Its other names join their
parts with dashes, and so cannot be taken apart by themselves: what an object is for is read from its spec, and from
its name only which of the remotes that are known it is of.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import msgspec

from meshfed.api.v1alpha1 import GROUP
from meshfed.istio.names import discovery_rule_name, filter_name, route_name
from meshfed.model.meshes import FDS_SERVICE_PREFIX, LocalMesh, Remote
from meshfed.model.names import ServiceHost

LABEL: Final = f"{GROUP}/peer"
VALUE: Final = "todo"
"""The label that the reference puts on everything, whatever the mesh and the remote."""
SOURCE_LABEL: Final = f"{GROUP}/source-mesh"
"""On the FederatedServices of its later versions, which are of another schema than ours."""

_SNI: Final = re.compile(r"outbound_\.([0-9]{1,5})_\._\.(.+)")
_ROUTE_HOST: Final = re.compile(r"(.+)-([0-9]{1,5})\.([^.]+)\.svc\.(.+)")


class ReferenceImport(msgspec.Struct, frozen=True, order=True):
    """A host that a remote serves here."""

    remote: str
    host: str


class Remnant(msgspec.Struct, frozen=True):
    """One object of the reference.

    It carries one of ``imports``; or ``successor`` is the name of our object of the same kind and namespace that does
    its work. Where it has neither, nobody knows what it is for.
    """

    imports: tuple[ReferenceImport, ...] = ()
    successor: str = ""


def is_reference(manifest: Mapping[str, Any]) -> bool:
    """Whether an object is the reference's."""
    labels = manifest["metadata"].get("labels") or {}
    return bool(labels.get(LABEL) == VALUE)


def without_owner(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """``manifest`` without references to the federation's own objects as its owners.

    Later versions of the reference set the MeshFederation as owner: it would take the object with it, whoever keeps it.
    """
    metadata = dict(manifest["metadata"])
    owners = [
        owner
        for owner in metadata.pop("ownerReferences", None) or ()
        if owner.get("apiVersion", "").partition("/")[0] != GROUP
    ]
    if owners:
        metadata["ownerReferences"] = owners
    return {**manifest, "metadata": metadata}


def remnant(manifest: Mapping[str, Any], mesh: LocalMesh, remotes: Mapping[str, Remote]) -> Remnant:
    """What an object of the reference is for; ``remotes`` are those that are configured, by name.

    An object that is not as the reference writes them is for nothing that is known.
    """
    try:
        return _remnant(manifest, mesh, remotes)
    except (AttributeError, TypeError, KeyError):
        return Remnant()


def _remnant(manifest: Mapping[str, Any], mesh: LocalMesh, remotes: Mapping[str, Remote]) -> Remnant:
    name, spec = manifest["metadata"]["name"], manifest.get("spec") or {}
    match manifest["kind"]:
        case "ServiceEntry":
            return _service_entry(name, spec, remotes)
        case "WorkloadEntry":
            return Remnant(imports=tuple(_joined(name, manifest["metadata"]["namespace"], mesh, remotes)))
        case "DestinationRule":
            return _destination_rule(spec, remotes)
        case "EnvoyFilter":
            return Remnant(successor=_filter(spec, mesh))
        case "Route":
            return Remnant(successor=_route(spec, mesh))
        case _:
            return Remnant(successor=name)


def _service_entry(name: str, spec: Mapping[str, Any], remotes: Collection[str]) -> Remnant:
    if name.startswith(FDS_SERVICE_PREFIX):
        return Remnant(successor=name if name.removeprefix(FDS_SERVICE_PREFIX) in remotes else "")
    host = next(iter(spec.get("hosts") or ()), "")
    stem = f"import-{host.replace('.', '-')}-"
    return Remnant(imports=tuple(ReferenceImport(remote, host) for remote in sorted(remotes) if name == stem + remote))


def _joined(name: str, namespace: str, mesh: LocalMesh, remotes: Collection[str]) -> Iterator[ReferenceImport]:
    """The imports that a WorkloadEntry ``import-<remote>-<service>-<number>`` may be of."""
    for remote in sorted(remotes):
        service = re.fullmatch(rf"import-{re.escape(remote)}-(.+)-[0-9]+", name)
        if service:
            yield ReferenceImport(remote, f"{service[1]}.{namespace}.svc.{mesh.cluster_domain}")


def _destination_rule(spec: Mapping[str, Any], remotes: Mapping[str, Remote]) -> Remnant:
    host = spec.get("host") or ""
    if host.startswith(FDS_SERVICE_PREFIX):
        remote = remotes.get(host.partition(".")[0].removeprefix(FDS_SERVICE_PREFIX))
        return Remnant(successor=discovery_rule_name(remote) if remote is not None else "")
    return Remnant(imports=tuple(ReferenceImport(remote, host) for remote in sorted(remotes)))


def _filter(spec: Mapping[str, Any], mesh: LocalMesh) -> str:
    """Our EnvoyFilter for the same server name."""
    for patch in spec.get("configPatches") or ():
        listener = (patch.get("match") or {}).get("listener") or {}
        sni = _SNI.fullmatch((listener.get("filterChain") or {}).get("sni") or "")
        host = ServiceHost.parse(sni[2], mesh.cluster_domain) if sni else None
        if sni and host is not None:
            return filter_name(host, int(sni[1]))
    return ""


def _route(spec: Mapping[str, Any], mesh: LocalMesh) -> str:
    """Our Route for the same host."""
    parts = _ROUTE_HOST.fullmatch(spec.get("host") or "")
    if parts is None:
        return ""
    name, port, namespace, domain = parts.groups()
    return route_name(ServiceHost(name=name, namespace=namespace, domain=domain), int(port))
