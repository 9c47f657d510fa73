"""A controller's term of office: inputs to planner, planner to engine, discovery and statuses.

Who does not lead works out the same from the same inputs, and tells subscribers; it neither writes nor listens to
remotes. What remotes offer is in the FederatedServices, so there is nothing that listening twice would add, and a
remote is asked by one controller only. Each term begins with nothing in memory, as a process does: who comes to lead
lists everything anew, after its predecessor's last write, so that no watch that lags shows something as not wanted.

The order in which a leading term starts is what makes a restart harmless, and a change of leaders. First every watch is
in sync, and what cannot be understood is known to be unknown; then the FederatedServices that exist are wanted again,
remote by remote; then every key is worked out once. Only now are remotes listened to, and may anything be deleted
(`meshfed.plan.deletion_rule`), and are subscribers told anything, unless something that is exported is unknown. A term
whose inputs cannot be taken in ends, and the next one begins without what was at fault.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from meshfed.controller.changes import Changes
from meshfed.controller.environment import Environment
from meshfed.controller.feed import Feed
from meshfed.controller.mesh_config_map import MeshConfigMap
from meshfed.controller.migration import adoption
from meshfed.controller.migration.adoption import Adoption
from meshfed.controller.not_understood import NotUnderstood
from meshfed.controller.propagation import Propagation
from meshfed.controller.reconciler import Reconciler
from meshfed.controller.remotes.confirming import Placement
from meshfed.controller.remotes.damping import said_before
from meshfed.controller.remotes.lost_records import LostRecords
from meshfed.controller.remotes.prober import Prober
from meshfed.controller.remotes.remote_sessions import RemoteSessions
from meshfed.controller.remotes.resolver import Resolver
from meshfed.controller.remotes.trust_bundle import TrustBundle
from meshfed.controller.replicas.leases import ReplicaLeases
from meshfed.controller.startup.history import not_reached, outlived, recall
from meshfed.controller.watches import NOT_OURS, Served, Watches
from meshfed.controller.writing.lifecycle import Finalizers, Leftovers
from meshfed.controller.writing.writing import Writing
from meshfed.kube import Client
from meshfed.plan import ExportKey, Key, OfferKey, Outputs, Planner, Settings
from meshfed.plan.values import THIS

_log = logging.getLogger(__name__)


class Term:
    """One term, ``leading`` or not: everything that runs once the cluster is known to serve what is needed."""

    def __init__(self, environment: Environment, client: Client, served: Served, *, leading: bool) -> None:
        options, faults = environment.options, environment.faults
        self._environment = environment
        self._client = client
        self._served = served
        self._leading = leading
        self._settled = False
        self._told_mesh: str | None = ""
        dirty = asyncio.Event()
        planner = self._planner = Planner(
            Settings(
                namespace=options.namespace,
                metrics_port=options.metrics.port,
                health_port=options.health.port,
                probing=options.probe,
                account=options.account,
            ),
            on_dirty=dirty.set,
            on_failed=lambda subject, error: faults.derived(subject, error, partial(planner.again, subject)),
        )
        inputs = self._inputs = Watches(
            client,
            served,
            namespace=options.namespace,
            fixed=options.fixed is not None,
            read_pods=options.read_pods,
            faults=faults,
            others=f"{NOT_OURS},{adoption.NOT_THEIRS}" if options.adopt_reference else NOT_OURS,
        )
        self._mesh_config = MeshConfigMap(client, options.mesh_config, planner)
        self._feed = Feed(faults, inputs)
        self._not_understood = NotUnderstood(
            client, served, inputs, planner, faults=faults, stamp=environment.stamp, says=leading
        )
        self._prober = Prober(
            TrustBundle(client, options.namespace, options.trust_bundle),
            lambda key, condition, lasting: planner.reached(key, condition, lasting=lasting),
            metrics=environment.metrics,
            faults=faults.by_key("proving the way to"),
            connected=planner.is_connected,
            handled=planner.inputs.request_handled,
            shake=environment.shake,
        )
        propagation = self._propagation = Propagation(environment.metrics, planner.imports)
        writing = self._writing = Writing(
            environment,
            client,
            served,
            planner=planner,
            inputs=inputs,
            feed=self._feed,
            propagation=propagation,
            leading=leading,
            prove=self._prober.want,
        )
        self._work = Reconciler(
            planner,
            self._send,
            failing=writing.failing,
            feed=self._feed,
            dirty=dirty,
            faults=faults,
            metrics=environment.metrics,
        )
        self._resolver = Resolver(planner.names_to_resolve, planner.resolution_changed, lookup=environment.lookup)
        self._listener = RemoteSessions(
            planner=planner,
            engine=writing.engine,
            offers=inputs.offers,
            metrics=environment.metrics,
            propagation=propagation,
            stamp=environment.stamp,
            faults=faults,
            standing=Placement(planner, writing.engine, failing=writing.failing, is_done=lambda: self._work.is_done),
        )
        self._lost_records = LostRecords(planner, self._listener, inputs.offers)
        self._replicas = ReplicaLeases(
            client,
            namespace=options.namespace,
            identity=environment.identity,
            planner=planner,
            faults=faults,
            withdrawn=writing.delivery.still_imported,
            came=self._listener.came,
        )
        leftovers = Leftovers(writing.engine, inputs.offers, planner, self._work)
        self._finalizers = Finalizers(
            client, served.ours, inputs.find, leftovers.of, told=faults.by_key("the finalizer of")
        )
        self._changes = Changes(
            planner,
            inputs,
            self._feed,
            listener=self._listener,
            statuses=writing.statuses,
            leftovers=leftovers,
            finalizers=self._finalizers,
            propagation=propagation,
            prober=self._prober,
            recorder=writing.recorder,
            importing=environment.publisher.importing,
            on_mesh=self._on_mesh,
        )

    async def run(self) -> None:
        """Federate until cancelled."""
        options, not_ready = self._environment.options, self._environment.not_ready
        self._environment.publisher.begin(self._planner)
        self._changes.follow()
        if options.fixed is not None:
            self._changes.take(options.fixed)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._feed.run())
            tasks.create_task(self._inputs.run())
            await self._inputs.wait_synced(not_ready)
            self._planner.inputs.pods_listed.put(THIS, self._inputs.pods.synced)
            if options.read_pods:
                tasks.create_task(self._when_pods_are_listed())
                self._say_what_is_not_read()
            await self._not_understood.begin(not_ready)
            tasks.create_task(self._not_understood.run())
            not_ready("reading the mesh's configuration")
            await self._mesh_config.begin()
            tasks.create_task(self._mesh_config.run())
            if self._leading:
                await self._lead(tasks)
            else:
                await self._work.all()
            # A task of its own, since whatever comes wakes up each coroutine that waits for one.
            await tasks.create_task(self._work.keep_up(self._on_done))

    def _say_what_is_not_read(self) -> None:
        if not self._inputs.pods.synced:
            _log.warning(
                "Pods may not be read, so remotes are not told which identities serve an export, and exports "
                "without a sidecar are not noticed: grant list and watch on pods, or start with --no-read-pods"
            )
        elif not self._inputs.slices.synced:
            _log.warning(
                "EndpointSlices may not be read, so nobody knows who serves a Service without a selector: grant list "
                "and watch on endpointslices of discovery.k8s.io, or start with --no-read-pods"
            )

    async def _when_pods_are_listed(self) -> None:
        """Nobody waits for Pods where they may not be read; it may be allowed later."""
        await self._inputs.pods.wait_synced()
        self._planner.inputs.pods_listed.put(THIS, value=True)

    async def _lead(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to listen and to write; everything up to here only reads."""
        owner, not_ready = self._environment.owner, self._environment.not_ready
        self._writing.follow_up()
        adopts = self._environment.options.adopt_reference
        for labels in (owner, adoption.LABELS) if adopts else (owner,):
            await recall(self._client, self._served, labels, planner=self._planner, not_ready=not_ready)
        self._writing.start(tasks)
        not_ready("working out what should exist")
        for name in self._listener.recall():
            ref = ("RemoteMesh", self._environment.options.namespace, name)
            self._feed.take(ref, self._inputs.find(ref), partial(self._listener.arrange, name))
        self._recall_what_was_seen()
        await self._lost_records.begin(lambda: outlived(self._client, self._served, owner, not_ready=not_ready))
        await self._work.all()
        self._environment.metrics.imports_took.begin(asyncio.get_running_loop().time())
        for part in (self._listener, self._resolver, self._finalizers, self._replicas):
            tasks.create_task(part.run())
        if self._environment.options.probe:
            tasks.create_task(self._prober.run())
        if adopts:
            tasks.create_task(self._adoption().run())

    def _recall_what_was_seen(self) -> None:
        """Go on from what was said of the ways into remotes, so that a restart neither forgets it nor says it again."""
        if not self._environment.options.probe:
            return
        now = asyncio.get_running_loop().time()
        for key, condition, seconds in not_reached(self._inputs, self._environment.stamp()):
            said = said_before(condition, seconds, now)
            self._prober.recall(key, said)
            self._planner.reached(key, condition, lasting=said.lasting)

    def _adoption(self) -> Adoption:
        return Adoption(
            self._client,
            self._served.written,
            planner=self._planner,
            engine=self._writing.engine,
            listener=self._listener,
            offers=self._inputs.offers,
            settled=lambda: self._settled and self._work.is_done,
        )

    def _send(self, key: Key, outputs: Outputs, flow: str) -> None:
        """Pass on what a key wants; what becomes of an offer is told to its remote too."""
        self._writing.delivery.send(key, outputs, flow)
        offer = self._planner.imports.offer(key.name) if self._leading and isinstance(key, OfferKey) else None
        if offer is not None:
            self._listener.turned(offer.spec.remote, offer.spec.host)

    # --- once everything was worked out

    def _on_done(self) -> None:
        if self._feed.is_over:
            return
        self._propagation.done()
        self._listener.settle()
        if self._lost_records.lost:
            self._lost_records.look()
        recovered, learned = self._work.recovered(), self._planner.learned()
        if not self._settled:
            self._settled = recovered = True
            self._writing.begin()
            self._environment.not_ready(None)
        if recovered or learned or self._writing.deletions.passes:
            self._writing.deletions.passes = False
            self._writing.engine.look_again()
        if recovered or learned:
            # No watch says that a MeshFederation goes which could never be understood.
            self._listener.federation_changed()
            self._tell_mesh()
            self._publish_all()
        self._resolver.poke()

    def _on_mesh(self) -> None:
        mesh = self._planner.mesh
        if mesh is not None and mesh.control_plane_namespace != self._mesh_config.namespace:
            self._mesh_config.look_again()
        self._tell_mesh()

    def _tell_mesh(self) -> None:
        """Log which mesh this is, or what is waited for; at the start once all is known that there is."""
        mesh = self._planner.mesh
        name = None if mesh is None else mesh.name
        if name == self._told_mesh or not self._settled:
            return
        self._told_mesh = name
        if mesh is None:
            _log.info(
                "there is no MeshFederation in namespace %s: nothing is exported or imported until there is one",
                self._environment.options.namespace,
            )
        else:
            _log.info("this mesh is %s, in network %s", mesh.name, mesh.network or "(none)")

    def _publish_all(self) -> None:
        """Tell subscribers what is exported, unless something is missing from it that is exported too."""
        failing = (key for key in self._writing.failing if isinstance(key, ExportKey))
        places = sorted({(key.namespace, key.name) for key in (*self._planner.unknown_exports(), *failing)})
        # Who does not lead has not looked at what the Gateways list: there, whatever is unknown may be exported.
        missing = ["/".join(place) for place in places if not self._leading or self._planner.is_listed(place)]
        if missing:
            _log.error("subscribers are told nothing until it is known what is exported of %s", ", ".join(missing))
        else:
            self._environment.publisher.ready(self._planner)
