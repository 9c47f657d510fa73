"""A controller's term of office: inputs to planner, planner to engine, discovery and statuses.

Who does not lead works out the same from the same inputs, and tells subscribers; it neither writes nor listens to
remotes. What remotes offer is in the FederatedServices, so there is nothing that listening twice would add, and a
remote is asked by one controller only. Each term begins with nothing in memory, as a process does: who comes to lead
lists everything anew, after its predecessor's last write, so that no watch that lags shows something as not wanted.

The order in which a leading term starts is what makes a restart harmless, and a change of leaders. First every watch
is in sync, and what cannot be understood is known to be unknown; then the FederatedServices that exist are wanted
again, remote by remote; then every key is worked out once. Only now are remotes listened to, and may anything be
deleted (`meshfed.plan.deletion`), and are subscribers told anything, unless something that is exported is unknown. A
term whose inputs cannot be taken in ends, and the next one begins without what was at fault.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Hashable
from functools import partial

from meshfed.api.v1alpha1 import (
    ORIGIN_ANNOTATION,
    OWNER_NAMESPACE_LABEL,
    FederatedService,
    MeshFederation,
    RemoteMesh,
)
from meshfed.controller import adoption
from meshfed.controller.adoption import Adoption
from meshfed.controller.cluster import NOT_OURS, SERVICE_EXPORTS, Inputs, Served
from meshfed.controller.deletions import Deletions
from meshfed.controller.delivery import Delivery, tell
from meshfed.controller.faults import Faults
from meshfed.controller.feed import Feed
from meshfed.controller.lifecycle import Finalizers, Leftovers, is_paused
from meshfed.controller.listener import Listener
from meshfed.controller.lost_records import LostRecords
from meshfed.controller.not_understood import NotUnderstood
from meshfed.controller.options import Options
from meshfed.controller.outcomes import refusal
from meshfed.controller.publisher import Publisher
from meshfed.controller.recollection import outlived, recall
from meshfed.controller.resolver import Lookup, Resolver
from meshfed.controller.statuses import StatusWriter
from meshfed.controller.working import Work
from meshfed.federation.imports import record_name
from meshfed.kube import Client, Engine, Ownership, Recorder
from meshfed.kube import Key as ObjectName
from meshfed.plan import (
    ExportKey,
    GatewayKey,
    ImportKey,
    Key,
    MeshKey,
    Planner,
    RemoteKey,
)
from meshfed.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)


class Federating:
    """One term, ``leading`` or not: everything that runs once the cluster is known to serve what is needed."""

    def __init__(
        self,
        *,
        client: Client,
        options: Options,
        metrics: Metrics,
        planner: Planner,
        publisher: Publisher,
        found: Served,
        dirty: asyncio.Event,
        stamp: Callable[[], str],
        lookup: Lookup,
        faults: Faults,
        complain: Callable[[str | None], None],
        leading: bool,
    ) -> None:
        self._client = client
        self._options = options
        self._metrics = metrics
        self._planner = planner
        self._publisher = publisher
        self._found = found
        self._faults = faults
        self._complain = complain
        self._leading = leading
        self._inputs = Inputs(
            client,
            found,
            namespace=options.namespace,
            fixed=options.fixed is not None,
            read_pods=options.read_pods,
            faults=faults,
            others=f"{NOT_OURS},{adoption.NOT_THEIRS}" if options.adopt_reference else NOT_OURS,
        )
        self._feed = Feed(faults, self._inputs)
        self._owner = {OWNER_NAMESPACE_LABEL: options.namespace}
        self._settled = False
        self._not_understood = NotUnderstood(
            client, found, self._inputs, planner, faults=faults, stamp=stamp, says=leading
        )
        self._failing: dict[Key, str] = {}
        self._deletions = Deletions(planner, failing=self._failing, feed=self._feed)
        self._engine = Engine(
            client,
            (*found.written, found.ours["FederatedService"]),
            ownership=Ownership(
                self._owner,
                ORIGIN_ANNOTATION,
                adopt=adoption.taken_over if options.adopt_reference else lambda _: None,
                paused=is_paused,
                refused=refusal,
            ),
            stays=self._deletions.why_it_stays,
            told=faults.by_key("writing"),
        )
        self._recorder = Recorder(client, component="meshfed", instance=socket.gethostname(), stamp=stamp)
        self._statuses = StatusWriter(
            client,
            {**found.ours, "ServiceExport": SERVICE_EXPORTS},
            self._inputs.find,
            stamp=stamp,
            told=faults.by_key("the status of"),
            tell=partial(tell, self._recorder),
        )
        self._delivery = Delivery(
            planner,
            engine=self._engine,
            publisher=publisher,
            statuses=self._statuses,
            recorder=self._recorder,
            services=self._inputs.services,
            metrics=metrics,
            leading=leading,
            settled=lambda: self._settled,
        )
        self._work = Work(
            planner,
            self._delivery.send,
            failing=self._failing,
            is_over=lambda: self._feed.is_over,
            dirty=dirty,
            faults=faults,
            metrics=metrics,
        )
        self._resolver = Resolver(planner.names_to_resolve, planner.resolution_changed, lookup=lookup)
        self._listener = Listener(
            planner=planner,
            engine=self._engine,
            offers=self._inputs.offers,
            metrics=metrics,
            stamp=stamp,
            faults=faults,
        )
        self._lost_records = LostRecords(planner, self._listener, self._inputs.offers)
        self._leftovers = Leftovers(self._engine, self._inputs.offers, planner, self._work)
        self._finalizers = Finalizers(
            client, found.ours, self._inputs.find, self._leftovers.of, told=faults.by_key("the finalizer of")
        )
        self._told_mesh: str | None = ""

    async def run(self) -> None:
        """Federate until cancelled."""
        self._publisher.begin(self._planner)
        self._follow()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._feed.run())
            tasks.create_task(self._inputs.run())
            await self._inputs.wait_synced(self._complain)
            if self._options.read_pods:
                tasks.create_task(self._when_pods_are_listed())
            if self._options.read_pods and not self._inputs.pods.synced:
                _log.warning(
                    "Pods may not be read, so remotes are not told which identities serve an export, and exports "
                    "without a sidecar are not noticed: grant get, list and watch on pods, or start with --no-read-pods"
                )
            await self._not_understood.begin(self._complain)
            tasks.create_task(self._not_understood.run())
            if self._leading:
                await self._lead(tasks)
            else:
                await self._work.all()
            await self._work.keep_up(self._on_done)

    async def _when_pods_are_listed(self) -> None:
        """Nobody waits for Pods where they may not be read; it may be allowed later."""
        await self._inputs.pods.wait_synced()
        self._planner.pods_listed()

    async def _lead(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to listen and to write; everything up to here only reads."""
        self._engine.subscribe(self._on_written)
        adopts = self._options.adopt_reference
        for labels in (self._owner, adoption.LABELS) if adopts else (self._owner,):
            await recall(self._client, self._found, labels, planner=self._planner, complain=self._complain)
        tasks.create_task(self._engine.run())
        tasks.create_task(self._statuses.run())
        tasks.create_task(self._recorder.run())
        self._complain("working out what should exist")
        for name in self._listener.recall():
            ref = ("RemoteMesh", self._options.namespace, name)
            self._feed.take(ref, self._inputs.find(ref), partial(self._listener.arrange, name))
        await self._lost_records.begin(
            lambda: outlived(self._client, self._found, self._owner, complain=self._complain)
        )
        await self._work.all()
        tasks.create_task(self._listener.run())
        tasks.create_task(self._resolver.run())
        tasks.create_task(self._finalizers.run())
        if adopts:
            tasks.create_task(self._adoption().run())

    def _adoption(self) -> Adoption:
        return Adoption(
            self._client,
            self._found.written,
            planner=self._planner,
            engine=self._engine,
            listener=self._listener,
            offers=self._inputs.offers,
            settled=lambda: self._settled and self._work.is_done,
        )

    # --- inputs

    def _follow(self) -> None:
        planner, inputs, follow = self._planner, self._inputs, self._feed.follow
        follow("Service", inputs.services, lambda key, _old, new: planner.service_changed(*key, new))
        follow("Namespace", inputs.namespaces, lambda key, _old, new: planner.namespace_changed(key.name, new))
        follow("FederatedService", inputs.offers, self._on_offer)
        follow(
            "ServiceExport",
            inputs.service_exports,
            lambda key, _old, new: planner.service_export_changed(
                *key, None if new is None else new.metadata.generation
            ),
        )
        follow("Pod", inputs.pods, lambda key, _old, new: planner.workload_changed("Pod", *key, new))
        follow(
            "WorkloadEntry",
            inputs.workload_entries,
            lambda key, _old, new: planner.workload_changed("WorkloadEntry", *key, new),
        )
        follow(
            "DestinationRule",
            inputs.rules,
            lambda key, _old, new: planner.destination_rule_changed(*key, new or ""),
        )
        follow("ServiceEntry", inputs.entries, lambda key, _old, new: planner.service_entry_changed(*key, new))
        follow("MeshFederation", inputs.federations, self._on_federation)
        follow("RemoteMesh", inputs.remotes, self._on_remote)
        fixed = self._options.fixed
        if fixed is None:
            return
        # What comes from flags cannot be left out: without it everything would go.
        for remote in fixed.remotes:
            key = ObjectName("", remote.metadata.name)
            self._feed.take(("RemoteMesh", *key), None, partial(self._on_remote, key, None, remote))
        key = ObjectName("", fixed.federation.metadata.name)
        self._feed.take(("MeshFederation", *key), None, partial(self._on_federation, key, None, fixed.federation))

    def _on_federation(self, key: ObjectName, _old: MeshFederation | None, new: MeshFederation | None) -> None:
        self._planner.federation_changed(key.name, new)
        self._listener.federation_changed()
        if self._settled:
            self._tell_mesh()
        self._look_at_status("MeshFederation", key, new)
        self._finalizers.look(("MeshFederation", *key))

    def _on_remote(self, key: ObjectName, _old: RemoteMesh | None, new: RemoteMesh | None) -> None:
        self._planner.remote_changed(key.name, new)
        self._leftovers.remote_changed(key.name, new)
        self._listener.remote_changed(key.name, new)
        self._look_at_status("RemoteMesh", key, new)
        self._finalizers.look(("RemoteMesh", *key))

    def _on_offer(self, key: ObjectName, old: FederatedService | None, new: FederatedService | None) -> None:
        self._look_at_status("FederatedService", key, new)
        known = new or old
        if known is not None and (new is None or new.metadata.deletion_timestamp):
            remote, host = known.spec.remote, known.spec.host
            # One that somebody made by hand, under a name of their own, comes and goes as they like.
            if key.name == record_name(host, remote) and not self._listener.record_removed(remote, host):
                return
        self._planner.offer_changed(key.name, new)

    def _on_written(self, source: Hashable) -> None:
        """The engine has something to say of a source."""
        try:
            self._delivery.written(source)
        except Exception as error:  # noqa: BLE001 - a report's fault must not stop the writing
            self._faults.caught(f"taking in what was written for {source}", error, partial(self._tell_again, source))
        else:
            if self._faults:
                self._faults.over(f"taking in what was written for {source}")

    def _tell_again(self, source: Hashable) -> None:
        if isinstance(source, ExportKey | GatewayKey | ImportKey | MeshKey | RemoteKey):
            self._planner.applied_changed(source, None)  # else what was half taken in would be no news
        self._on_written(source)

    def _look_at_status(self, kind: str, key: ObjectName, new: object | None) -> None:
        """Its status may be another one than we wrote, and nothing else may have changed that would say so."""
        ref = (kind, key.namespace, key.name)
        if new is None:
            self._statuses.forget(ref)
        else:
            self._statuses.look(ref)

    # --- once everything was worked out

    def _on_done(self) -> None:
        if self._feed.is_over:
            return
        self._lost_records.look()
        recovered, learned = self._work.recovered(), self._planner.learned()
        if not self._settled:
            self._settled = recovered = True
            self._deletions.begin()
            self._complain(None)
            self._tell_mesh()
        if recovered or learned or self._deletions.passed():
            self._engine.look_again()
        if recovered or learned:
            self._publish_all()
        self._resolver.poke()

    def _tell_mesh(self) -> None:
        """Log which mesh this is, or what is waited for."""
        mesh = self._planner.mesh
        name = None if mesh is None else mesh.name
        if name == self._told_mesh:
            return
        self._told_mesh = name
        if mesh is None:
            _log.info(
                "there is no MeshFederation in namespace %s: nothing is exported or imported until there is one",
                self._options.namespace,
            )
        else:
            _log.info("this mesh is %s, in network %s", mesh.name, mesh.network or "(none)")

    def _publish_all(self) -> None:
        """Tell subscribers what is exported, unless something is missing from it that is exported too."""
        unknown = [*self._planner.unknown_exports(), *(key for key in self._failing if isinstance(key, ExportKey))]
        places = sorted({(key.namespace, key.name) for key in unknown})
        # Who does not lead has not looked at what the Gateways list: there, whatever is unknown may be exported.
        missing = ["/".join(place) for place in places if not self._leading or self._planner.is_listed(place)]
        if missing:
            _log.error("subscribers are told nothing until it is known what is exported of %s", ", ".join(missing))
        else:
            self._publisher.ready(self._planner)
