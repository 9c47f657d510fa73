"""A mesh in memory with one or several replicas of its controller, and what walks do to it; all in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import pytest

from meshfed.api.v1alpha1 import ORIGIN_ANNOTATION, OWNER_LABEL, RemoteMesh
from meshfed.controller.config_maps import CONFIG_MAPS
from meshfed.controller.controller import Controller
from meshfed.controller.options import Options
from meshfed.controller.remotes import session as sessions
from meshfed.controller.remotes.dialling import target
from meshfed.controller.remotes.publisher import Publisher
from meshfed.controller.watches import CRDS, ENDPOINT_SLICES, NAMESPACES, PODS, ROUTE, SERVICE_EXPORTS, SERVICES, Served
from meshfed.kube import Elector, LeaseTiming, Manifest
from meshfed.kube.events import EVENTS
from meshfed.kube.lease import LEASES
from meshfed.plan import ExportKey
from meshfed.plan.keys import origin
from meshfed.telemetry.metrics import Metrics
from tests.builders import GROUP, RESOURCES, SYSTEM
from tests.controller.in_memory import ISTIO, OFF, OURS, Listening, Objects, PatchingClient, Remote
from tests.controller.meshes import istio_config
from tests.controller.plans import Name, contents, planned
from tests.controller.traps import RUNNING
from tests.controller.walks import DNS, REMOTES, Announce, Blink, Delete, Meddle, Put, Restart, Step, Withdraw
from tests.controller.walks import NAMESPACES as LABELS

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
TIMING = LeaseTiming(lease=15, renew=12, retry=8)
NOWHERE = "127.0.0.1:1"
"""Where every remote is said to answer: nobody calls."""
SETTLED = 8.0
"""Seconds after which all that follows from a change was done."""
SETTLED_ANEW = 40.0
"""The same of a start, or of a change of leaders."""


Item = tuple[str, ...]
"""An object that is written, by kind, namespace and name, or a part of one."""


class Part(NamedTuple):
    """A part of what is written, and the key that it follows from."""

    origin: str
    content: Any


def parts(written: dict[Name, Manifest]) -> dict[Item, Part]:
    """Objects as parts, each of which follows from one key; a Gateway is made of the exports that it lists."""
    found: dict[Item, Part] = {}
    for name, manifest in written.items():
        content, source = manifest, manifest["annotations"].get(ORIGIN_ANNOTATION, "")
        if name[0] == "Gateway":
            servers = content["spec"]["servers"]
            hosts = [host.split(".", 2) for server in servers for host in server["hosts"]]
            for service, namespace, _ in hosts:
                found["listed in a Gateway", namespace, service] = Part(origin(ExportKey(namespace, service)), "listed")
            domains = sorted({domain for _, _, domain in hosts})
            bare = [{**server, "hosts": domains} for server in servers]
            content = content | {"spec": content["spec"] | {"servers": bare}}
        if name[0] == "FederatedService":
            said = {key: content[key] for key in ("accepted", "importedAs", "objects")}
            found[(*name, "status")] = Part(source, said)
            # Since when it is offered is forgotten with a record that cannot be read, and is planned from the records.
            spec = {key: value for key, value in content["spec"].items() if key != "firstOffered"}
            content = {key: value for key, value in content.items() if key not in said} | {"spec": spec}
        found[name] = Part(source, content)
    return found


def new_cluster() -> Objects:
    """A cluster with all that is needed, and nothing in it."""
    served = {
        *OURS.values(),
        *ISTIO,
        ROUTE,
        SERVICES,
        NAMESPACES,
        PODS,
        ENDPOINT_SLICES,
        SERVICE_EXPORTS,
        EVENTS,
        CRDS,
        LEASES,
        CONFIG_MAPS,
    }
    cluster = Objects(served=served, latency=0)  # so that what is written does not wait for all to be worked out
    cluster.put(CRDS, {"metadata": {"name": f"federatedservices.{GROUP}"}})
    for name in (SYSTEM, "mesh-system"):
        cluster.put(CONFIG_MAPS, istio_config(name))
    return cluster


async def resolve(name: str) -> tuple[str, ...]:
    """DNS."""
    return DNS[name]


def stamp() -> str:
    """The virtual time."""
    return f"{BEGINNING + timedelta(seconds=asyncio.get_running_loop().time()):%Y-%m-%dT%H:%M:%SZ}"


class Replica:
    """One controller."""

    def __init__(self, cluster: Objects) -> None:
        self.metrics = Metrics()
        self._client = PatchingClient(cluster)
        self._client._metrics = self.metrics
        options = Options(namespace=SYSTEM, discovery=OFF, metrics=OFF, health=OFF)
        self._elector = Elector(
            PatchingClient(cluster),
            namespace=SYSTEM,
            name="meshfed",
            identity=f"replica {id(self)}",
            timing=TIMING,
            clock=asyncio.get_running_loop().time,
        )
        self.controller = Controller(
            self._client, options, self.metrics, stamp=stamp, lookup=resolve, elector=self._elector
        )
        self.publisher = Publisher(options, self.metrics)
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        RUNNING.set(self)
        found = Served(ours=OURS, written=(*ISTIO, ROUTE))
        await self.controller._terms(self._elector, found, self.publisher)

    @property
    def leads(self) -> bool:
        """Whether it is the one that writes."""
        return self._elector.leading

    async def kill(self) -> None:
        """End it at once; it does not let go of the lease."""
        assert not self._task.done(), self._task
        self._elector._leads_until = -math.inf
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    @property
    def faults(self) -> list[str]:
        """What ``meshfed_faults`` names."""
        return [sample.labels["what"] for one in self.metrics.faults.collect() for sample in one.samples]

    @property
    def undecodable(self) -> float:
        """How many objects it cannot decode."""
        return sum(sample.value for one in self.metrics.store_undecodable.collect() for sample in one.samples)


class Shown(msgspec.Struct):
    """A cluster as `tests.controller.plans` looks at one; what is ``instead`` stands in the place of what is there."""

    cluster: Objects
    instead: Mapping[Name, Manifest | None] = {}
    namespace: str = SYSTEM
    dns: dict[str, tuple[str, ...]] = msgspec.field(default_factory=lambda: DNS)

    @property
    def server(self) -> Shown:
        """What has the objects."""
        return self

    def snapshot(self, *plurals: str) -> list[Manifest]:
        """The objects of some kinds."""
        wanted = {plural.partition(".")[0] for plural in plurals}
        found = (
            self.instead.get((resource.kind, namespace, name), one)
            for (resource, namespace, name), one in sorted(self.cluster.objects.items(), key=lambda item: item[0][1:])
            if resource.plural in wanted
        )
        return [one for one in found if one is not None]


def _adapted(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec of a RemoteMesh, with an address where it has one, and without a limit that one might come up against.

    Of an offer that is unknown nobody knows whether it counts, so another may be imported in its place meanwhile.
    """
    found = dict(spec)
    if "address" in spec.get("discovery", {}):
        found["discovery"] = spec["discovery"] | {"address": NOWHERE}
    if "limit" in spec.get("import", {}):
        found["import"] = spec["import"] | {"limit": 50}
    return found


class Heard(msgspec.Struct):
    """What a remote offers that was heard."""

    name: str
    offers: dict[str, Any]


class Federation:
    """The mesh, its remotes, and its replicas: the first was started first."""

    def __init__(self, cluster: Objects, remotes: Mapping[str, Remote]) -> None:
        self.cluster = cluster
        self.remotes = remotes
        self.replicas = [Replica(cluster)]

    @classmethod
    def begin(cls, monkeypatch: pytest.MonkeyPatch) -> Federation:
        """A mesh of nothing but its namespaces, and remotes that offer nothing yet."""
        remotes = {name: Remote() for name in REMOTES}
        monkeypatch.setattr(
            sessions, "DiscoveryClient", lambda name, _target, sink, **_: Listening(remotes, name, sink)
        )
        cluster = new_cluster()
        for name, labels in LABELS.items():
            cluster.put(NAMESPACES, {"metadata": {"name": name, "labels": labels}})
        return cls(cluster, remotes)

    def copied(self) -> Federation:
        """The same mesh, with a controller that begins; nobody holds the lease."""
        cluster = new_cluster()
        for place, one in self.cluster.objects.items():
            if place[0] not in {LEASES, EVENTS}:
                cluster.put(place[0], one)
        return Federation(cluster, self.remotes)

    @property
    def leader(self) -> Replica:
        """Who writes."""
        (leader,) = (one for one in self.replicas if one.leads)
        return leader

    # --- what happens

    async def settle(self, seconds: float) -> None:
        """Let time pass, and forget what every watch has seen."""
        await asyncio.sleep(seconds)
        self.cluster.history.clear()

    async def restart(self, away: Iterable[str] = ()) -> None:
        """Kill every replica, and start one; the remotes in ``away`` are gone then, and all others are there."""
        for one in self.replicas:
            await one.kill()
        for name in self.remotes:
            self.go(name, away=name in away)
        self.replicas = [Replica(self.cluster)]

    async def join(self) -> None:
        """Start one more replica, which follows."""
        self.replicas.append(Replica(self.cluster))

    async def hand_over(self) -> None:
        """Kill the leader, and leave it to another to lead."""
        leader = self.leader
        self.replicas.remove(leader)
        await leader.kill()

    async def end(self) -> None:
        """Kill all."""
        for one in self.replicas:
            await one.kill()
        self.replicas = []

    def go(self, name: str, *, away: bool) -> None:
        """A remote goes away, or comes back."""
        remote = self.remotes[name]
        if remote.away != away:
            remote.away = away
            remote.tell()

    def carry_out(self, step: Step) -> None:
        """Have a step of a walk happen; a restart is not for here."""
        match step:
            case Put(manifest):
                self.put(manifest)
            case Delete(kind, in_namespace, name):
                if (place := (RESOURCES[kind], in_namespace, name)) in self.cluster.objects:
                    self.cluster.remove(*place)
            case Announce(remote, offer):
                self.remotes[remote].offer(offer)
            case Withdraw(remote, host):
                if host in self.remotes[remote].offers:
                    self.remotes[remote].withdraw(host)
            case Meddle(number, delete):
                self._meddle(number, delete=delete)
            case Blink() | Restart():
                pass

    def put(self, manifest: Manifest) -> None:
        """Apply an object; one that is being deleted is left to that."""
        kind, meta = manifest["kind"], dict(manifest["metadata"])
        place = (RESOURCES[kind], meta.get("namespace", ""), meta["name"])
        there = self.cluster.objects.get(place, {"metadata": {}})
        if "deletionTimestamp" in there["metadata"]:
            return
        if kind == "RemoteMesh":
            manifest = manifest | {"spec": _adapted(manifest["spec"])}
        kept = {key: there["metadata"][key] for key in ("finalizers", "creationTimestamp") if key in there["metadata"]}
        status = {"status": there["status"]} if "status" in there else {}
        self.cluster.put(place[0], manifest | {"metadata": meta | kept} | status)

    def _meddle(self, number: int, *, delete: bool) -> None:
        written = sorted(self.written())
        if written:
            kind, namespace, name = written[number % len(written)]
            if delete:
                self.cluster.remove(RESOURCES[kind], namespace, name)
            elif kind != "FederatedService":
                theirs = {OWNER_LABEL: "me"}
                self.cluster.edit(
                    RESOURCES[kind], namespace, name, lambda one: one["metadata"]["labels"].update(theirs)
                )

    # --- what is to be seen

    def written(self) -> dict[Name, Manifest]:
        """What the controller wrote."""
        shown: Any = Shown(self.cluster)
        return contents(shown)

    def planned(
        self, instead: Mapping[Name, Manifest | None] = {}, offers: Mapping[str, Mapping[str, Any]] | None = None
    ) -> dict[Name, Manifest]:
        """What it should have written; or would have, were some objects, or what remotes offer, others."""
        shown: Any = Shown(self.cluster, instead)
        given = offers or {name: remote.offers for name, remote in self.remotes.items()}
        return planned(shown, *(Heard(name, dict(given[name])) for name in self._heard()))  # type: ignore[arg-type]

    def _heard(self) -> list[str]:
        meshes = [msgspec.convert(one, RemoteMesh) for one in Shown(self.cluster).snapshot("remotemeshes")]
        return [
            one.metadata.name for one in meshes if not self.remotes[one.metadata.name].away and target(one) is not None
        ]

    def said(self) -> dict[str, list[tuple[str, str, str]]]:
        """Type, status and reason of each condition of our objects, but for remotes that are away."""
        return {
            f"{resource.kind} {name}": [
                (one["type"], one["status"], one["reason"]) for one in manifest.get("status", {}).get("conditions", [])
            ]
            for (resource, _, name), manifest in self.cluster.objects.items()
            if resource.group == GROUP and not (resource.kind == "RemoteMesh" and self.remotes[name].away)
        }

    def offered_as(self) -> dict[str, str]:
        """What subscribers are told, by Service."""
        return {f"{key.namespace}/{key.name}": host for key, host in self.leader.publisher._hosts.items()}
