"""What depends on an object that cannot be understood stays as it is, and nothing else waits for it.

An object that was never understood since the controller started, as after a downgrade or where another schema was in
force when it was stored, is not an object that is gone. A RemoteMesh holds all that is imported from it, a
FederatedService its host, a Service its export and what is imported beside it, a ServiceExport its Service's export, a
Namespace the exports of its Services. The MeshFederation in force holds everything, so for that one the start waits:
a roll-out of a version that does not know its form stops there, and its predecessor stays in charge. While a controller
runs it goes by the object's last good state.

The same holds of an object on which our own code fails (`meshfed.controller.faults`). Such a Pod or WorkloadEntry holds
the exports of its namespace, since it may be behind any of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from meshfed.api.v1alpha1 import FederatedService
from meshfed.controller.cluster import Inputs, Served
from meshfed.controller.faults import Faults, named
from meshfed.controller.statuses import merged
from meshfed.istio.names import INGRESS_GATEWAY, import_name, import_rule_name
from meshfed.kube import Client, KubeError, NotFound, ObjectKey
from meshfed.model.meshes import FDS_SERVICE_PREFIX
from meshfed.model.names import ServiceHost
from meshfed.model.reasons import Condition, ConditionType, Reason
from meshfed.plan import ExportKey, ImportKey, Key, MeshKey, OfferKey, Planner, Ref, RemoteKey, RemoteStatusKey

_log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 5.0
"""Between two looks at whether what could not be understood can be, or is gone; only while there is any."""

_SAID_AS: Final = {
    "MeshFederation": ConditionType.READY,
    "RemoteMesh": ConditionType.READY,
    "FederatedService": ConditionType.ACCEPTED,
}
"""The condition of the kinds that are ours which says so."""

Place = tuple[str, str]
"""The namespace and name of a Service."""


class Held(msgspec.Struct, frozen=True):
    """What stays as it is. ``objects`` are ``Kind namespace/name``; ``prefixes`` are of such."""

    remotes: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    exports: frozenset[Place] = frozenset()
    namespaces: frozenset[str] = frozenset()
    """Whose Services' exports stay, also of those that come."""
    records: frozenset[str] = frozenset()
    objects: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()

    def holds(self, key: Key) -> bool:
        """Whether a key is not to be worked out."""
        match key:
            case ImportKey(host=host):
                return host in self.hosts
            case ExportKey(namespace=namespace, name=name):
                return namespace in self.namespaces or (namespace, name) in self.exports
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
    """Knows what is held. ``released`` is called when that becomes less; ``says`` whether to write it on the object."""

    def __init__(
        self,
        client: Client,
        served: Served,
        inputs: Inputs,
        planner: Planner,
        *,
        faults: Faults,
        stamp: Callable[[], str],
        says: bool,
        released: Callable[[], None],
    ) -> None:
        self._client = client
        self._served = served
        self._inputs = inputs
        self._planner = planner
        self._faults = faults
        self._stamp = stamp
        self._says = says
        self._released = released
        self._raw: dict[Ref, dict[str, Any]] = {}
        self._unknown: dict[Ref, str] = {}
        self.held = Held()
        """What is held now."""
        self._kept = Held()
        """What was held until what was released is worked out, and so wanted where it still is."""

    def holds(self, key: Key) -> bool:
        """Whether a key is not to be worked out for now."""
        return self.held.holds(key)

    def keeps(self, key: ObjectKey) -> bool:
        """Whether an object that nobody wants is not to be deleted for now."""
        return self._kept.keeps(key)

    def let_go(self) -> bool:
        """Everything that waited was worked out: say whether objects may be deleted now that were kept so far."""
        before, self._kept = self._kept, self.held
        return before is not self._kept

    async def begin(self, complain: Callable[[str], None]) -> None:
        """Find out what has to be held, once all inputs are listed; while that is everything, wait."""
        while True:
            await self._say_all(await self._look())
            in_force = [ref for ref in self._unknown if self._is_in_force(ref)]
            if not in_force:
                break
            complain("; ".join(f"{named(ref)} cannot be understood: {self._unknown[ref]}" for ref in in_force))
            await asyncio.sleep(LOOK_SECONDS)
        self.held = self._kept = self._work_out()

    async def run(self) -> None:
        """See what is repaired or gone, and on what else our code fails, until cancelled."""
        while True:
            # Not wait_for: before Python 3.12 it loses a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS if self._unknown else None):
                    await self._faults.came.wait()
            before = self._unknown
            new = await self._look()
            if self._unknown == before:
                continue
            for ref in before.keys() - self._unknown.keys():
                _log.info("%s is repaired, or gone: what depends on it follows again", named(ref))
            self.held = self._work_out()
            self._released()
            await self._say_all(new)

    async def _look(self) -> list[Ref]:
        """Take in what cannot be understood by now, and return what of that is new."""
        self._faults.came.clear()
        before, self._unknown = self._unknown, {**dict(self._inputs.not_understood()), **dict(self._faults.unknown())}
        new = sorted(self._unknown.keys() - before.keys())
        for ref in new:
            self._raw[ref] = await self._read(ref) if ref[0] in _SAID_AS else {}
        return new

    async def _say_all(self, refs: list[Ref]) -> None:
        for ref in refs:
            await self._say(ref, self._unknown[ref])

    def _is_in_force(self, ref: Ref) -> bool:
        """Whether it is a MeshFederation that is older than all that can be understood."""
        kind, _, name = ref
        if kind != "MeshFederation" or not self._raw[ref]:
            return False
        age = (str(self._raw[ref]["metadata"].get("creationTimestamp", "")), name)
        known = [one.metadata for _, one in self._inputs.federations.items() if not one.metadata.deletion_timestamp]
        return all(age < (other.creation_timestamp, other.name) for other in known)

    async def _say(self, ref: Ref, error: str) -> None:
        kind, namespace, name = ref
        _log.error(
            "%s cannot be understood: %s. What depends on it stays as it is until it is repaired or deleted",
            named(ref),
            error,
        )
        if not (self._says and self._raw[ref]):
            return
        condition = Condition(
            type=_SAID_AS[kind],
            status="Unknown",
            reason=Reason.NOT_UNDERSTOOD,
            message=f"{error}; what depends on it stays as it is until it is repaired or deleted",
        )
        generation = self._raw[ref]["metadata"].get("generation", 0)
        try:
            present = (self._raw[ref].get("status") or {}).get("conditions") or ()
            conditions = merged(present, [condition], generation=generation, now=self._stamp())
            if list(conditions) != list(present):
                await self._client.patch_status(
                    self._served.ours[kind], name, {"conditions": conditions}, namespace=namespace
                )
        except (KubeError, TypeError, AttributeError) as failure:
            # Its status may be what cannot be understood, or the API server refuses what its schema does not admit.
            _log.warning("that %s cannot be understood cannot be said in its status: %s", named(ref), failure)

    async def _read(self, ref: Ref) -> dict[str, Any]:
        """Return an object of ours as it stands; empty where it went meanwhile."""
        kind, namespace, name = ref
        decoded = self._inputs.find(ref)
        found: dict[str, Any] = {} if decoded is None else msgspec.to_builtins(decoded)
        while not found:
            try:
                found = await self._client.get(self._served.ours[kind], name, namespace=namespace)
            except NotFound:
                break
            except KubeError as error:
                _log.warning("cannot read %s, again in 2 s: %s", named(ref), error)
                await asyncio.sleep(2.0)
        return found

    def _of_kind(self, kind: str) -> set[Place]:
        return {(namespace, name) for one, namespace, name in self._unknown if one == kind}

    def _work_out(self) -> Held:
        mesh = self._planner.mesh
        domain = mesh.cluster_domain if mesh is not None else "cluster.local"
        remotes = {name for _, name in self._of_kind("RemoteMesh")}
        services = self._of_kind("Service")
        workloads = self._of_kind("Pod") | self._of_kind("WorkloadEntry")
        namespaces = {name for _, name in self._of_kind("Namespace")} | {namespace for namespace, _ in workloads}
        there = {(key.namespace, key.name) for key in self._inputs.services if key.namespace in namespaces}
        exports = services | self._of_kind("ServiceExport") | there
        hosts = {ServiceHost(name=name, namespace=namespace, domain=domain).fqdn for namespace, name in services}
        records = {name for _, name in self._of_kind("FederatedService")}
        objects: set[str] = set()
        for ref, raw in self._raw.items():
            if ref[0] == "FederatedService" and ref in self._unknown:
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
            exports=frozenset(exports),
            namespaces=frozenset(namespaces),
            records=frozenset(records),
            objects=frozenset(objects),
            prefixes=tuple(self._prefixes(remotes, exports, hosts, domain)),
        )

    def _prefixes(self, remotes: set[str], exports: set[Place], imported: set[str], domain: str) -> Iterator[str]:
        """Yield how objects are called that no status lists."""
        mesh = self._planner.mesh
        if mesh is None:
            return
        for place in (ServiceHost.parse(host, domain) for host in imported):
            if place is not None:
                yield f"WorkloadEntry {place.namespace}/{place.fqdn}."
        hosts = [ServiceHost(name=name, namespace=namespace, domain=domain).fqdn for namespace, name in exports]
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
