"""What depends on an object that cannot be understood stays as it is, and nothing else waits for it.

An object that was never understood since the controller started, as after a downgrade or where another schema was in
force when it was stored, is not an object that is gone. A RemoteMesh holds all that is imported from it, a
FederatedService its host, a Service its export and what is imported beside it. While a controller runs there is nothing
to hold: it goes by the object's last good state.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from meshfed.api.v1alpha1 import FederatedService
from meshfed.controller.cluster import Inputs, Ref, Served
from meshfed.istio.names import INGRESS_GATEWAY, import_name, import_rule_name
from meshfed.kube import Client, KubeError, NotFound, ObjectKey
from meshfed.model.meshes import FDS_SERVICE_PREFIX
from meshfed.model.names import ServiceHost
from meshfed.plan import ExportKey, ImportKey, Key, MeshKey, OfferKey, Planner, RemoteKey, RemoteStatusKey

_log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 5.0
"""Between two looks at whether what could not be understood can be, or is gone; only while there is any."""


class Held(msgspec.Struct, frozen=True):
    """What stays as it is. ``objects`` are ``Kind namespace/name``; ``prefixes`` are of such."""

    remotes: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    services: frozenset[tuple[str, str]] = frozenset()
    records: frozenset[str] = frozenset()
    objects: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()

    def holds(self, key: Key) -> bool:
        """Whether a key is not to be worked out."""
        match key:
            case ImportKey(host=host):
                return host in self.hosts
            case ExportKey(namespace=namespace, name=name):
                return (namespace, name) in self.services
            case RemoteKey(name=name) | RemoteStatusKey(name=name):
                return name in self.remotes
            case OfferKey(name=name):
                return name in self.records
            case MeshKey():
                return bool(self.remotes)
            case _:
                return False

    def keeps(self, key: ObjectKey) -> bool:
        """Whether an object that nobody wants is not to be deleted."""
        shown = str(key)
        return shown in self.objects or (bool(self.prefixes) and shown.startswith(self.prefixes))


class Holding:
    """Knows what is held. ``released`` is called when that becomes less."""

    def __init__(
        self, client: Client, served: Served, inputs: Inputs, planner: Planner, released: Callable[[], None]
    ) -> None:
        self._client = client
        self._served = served
        self._inputs = inputs
        self._planner = planner
        self._released = released
        self._raw: dict[Ref, dict[str, Any]] = {}
        self._unknown: dict[Ref, str] = {}
        self.held = Held()

    def holds(self, key: Key) -> bool:
        """Whether a key is not to be worked out for now."""
        return self.held.holds(key)

    def keeps(self, key: ObjectKey) -> bool:
        """Whether an object that nobody wants is not to be deleted for now."""
        return self.held.keeps(key)

    async def begin(self) -> None:
        """Find out what has to be held, once all inputs are listed."""
        self._unknown = dict(self._inputs.not_understood())
        for kind, namespace, name in self._unknown:
            if kind == "FederatedService":
                self._raw[kind, namespace, name] = await self._read(namespace, name)
        self.held = self._work_out()
        for (kind, namespace, name), error in self._unknown.items():
            _log.error(
                "%s %s/%s cannot be understood: %s. What depends on it stays as it is until it is repaired or deleted",
                kind,
                namespace,
                name,
                error,
            )

    async def run(self) -> None:
        """See what is repaired or gone, until nothing is held any more."""
        while self._unknown:
            await asyncio.sleep(LOOK_SECONDS)
            now = dict(self._inputs.not_understood())
            left = {ref: error for ref, error in self._unknown.items() if ref in now}
            if left != self._unknown:
                for kind, namespace, name in self._unknown.keys() - left.keys():
                    _log.info("%s %s/%s is repaired, or gone: what depends on it follows again", kind, namespace, name)
                self._unknown = left
                self.held = self._work_out()
                self._released()

    async def _read(self, namespace: str, name: str) -> dict[str, Any]:
        """Return a FederatedService as it stands; empty where it went meanwhile."""
        resource = self._served.ours["FederatedService"]
        found: dict[str, Any] = {}
        while not found:
            try:
                found = await self._client.get(resource, name, namespace=namespace)
            except NotFound:
                break
            except KubeError as error:
                _log.warning("cannot read FederatedService %s/%s, again in 2 s: %s", namespace, name, error)
                await asyncio.sleep(2.0)
        return found

    def _work_out(self) -> Held:
        mesh = self._planner.mesh
        domain = mesh.cluster_domain if mesh is not None else "cluster.local"
        remotes = {name for kind, _, name in self._unknown if kind == "RemoteMesh"}
        services = {(namespace, name) for kind, namespace, name in self._unknown if kind == "Service"}
        hosts = {ServiceHost(name=name, namespace=namespace, domain=domain).fqdn for namespace, name in services}
        records = {name for kind, _, name in self._unknown if kind == "FederatedService"}
        objects: set[str] = set()
        for raw in (raw for ref, raw in self._raw.items() if ref in self._unknown):
            hosts.update(_texts(raw, "status", "importedAs") or _texts(raw, "spec", "host"))
            objects.update(_texts(raw, "status", "objects"))
        offers = self._inputs.offers.items()
        hosts |= {_host(offer) for _, offer in offers if offer.spec.remote in remotes} - {""}
        for key, offer in offers:
            if offer.spec.remote in remotes or _host(offer) in hosts:
                records.add(key.name)
                objects.update(offer.status.objects)
        if mesh is not None:
            objects |= {f"FederatedService {mesh.namespace}/{record}" for record in records}
            for host in hosts:
                objects.add(f"ServiceEntry {mesh.control_plane_namespace}/{import_name(host)}")
                objects.add(f"DestinationRule {mesh.control_plane_namespace}/{import_rule_name(host)}")
            for name in remotes:
                discovery = f"{FDS_SERVICE_PREFIX}{name}"
                objects.add(f"ServiceEntry {mesh.control_plane_namespace}/{discovery}")
                objects.add(f"DestinationRule {mesh.control_plane_namespace}/mtls-sni.{discovery}")
        return Held(
            remotes=frozenset(remotes),
            hosts=frozenset(hosts),
            services=frozenset(services),
            records=frozenset(records),
            objects=frozenset(objects),
            prefixes=tuple(self._prefixes(remotes, services, hosts, domain)),
        )

    def _prefixes(
        self, remotes: set[str], services: set[tuple[str, str]], imported: set[str], domain: str
    ) -> Iterator[str]:
        """Yield how objects are called that no status lists."""
        mesh = self._planner.mesh
        if mesh is None:
            return
        for place in (ServiceHost.parse(host, domain) for host in imported):
            if place is not None:
                yield f"WorkloadEntry {place.namespace}/{place.fqdn}."
        hosts = [ServiceHost(name=name, namespace=namespace, domain=domain).fqdn for namespace, name in services]
        if remotes:
            hosts.append(mesh.fds_host)
            yield from (f"{kind} {mesh.namespace}/" for kind in ("AuthorizationPolicy", "PeerAuthentication"))
        for host in hosts:
            yield f"EnvoyFilter {mesh.control_plane_namespace}/sni.{host}."
            yield f"Route {mesh.control_plane_namespace}/{INGRESS_GATEWAY}.{host}."


def _host(offer: FederatedService) -> str:
    """Return the host that an offer is imported as, or would be where nothing is said of it yet; else nothing."""
    return offer.status.imported_as or ("" if offer.status.conditions else offer.spec.host)


def _texts(raw: dict[str, Any], part: str, field: str) -> list[str]:
    """Return what stands in a field, as far as it is text or a list of texts."""
    section = raw.get(part)
    found = section.get(field) if isinstance(section, dict) else None
    return [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, str) and one]
