"""A controller's term of office: inputs to planner, planner to engine, discovery and statuses.

Who does not lead works out the same from the same inputs, and tells subscribers; it neither writes nor listens to
remotes. What remotes offer is in the FederatedServices, so there is nothing that listening twice would add, and a
remote is asked by one controller only. Each term begins with nothing in memory, as a process does: who comes to lead
lists everything anew, after its predecessor's last write, so that no watch that lags shows something as not wanted.

The order in which a leading term starts is what makes a restart harmless, and a change of leaders. First every watch
is in sync, and what cannot be understood holds what depends on it; then the FederatedServices that exist are wanted
again, remote by remote; then every key is worked out once. Only now are remotes listened to, and only where no key
failed may anything be deleted, and are subscribers told anything: what a fault of ours leaves out must not look like
what nobody wants.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Final

from meshfed.api.core import ServiceExport
from meshfed.api.v1alpha1 import OWNER_NAMESPACE_LABEL, FederatedService, MeshFederation, RemoteMesh
from meshfed.controller import adoption
from meshfed.controller.adoption import Adoption
from meshfed.controller.cluster import NOT_OURS, SERVICE_EXPORTS, SERVICES, Inputs, Served
from meshfed.controller.holding import Holding
from meshfed.controller.lifecycle import Finalizers, is_paused
from meshfed.controller.listener import Listener, Record
from meshfed.controller.options import Options
from meshfed.controller.outcomes import verdict
from meshfed.controller.publisher import Publisher
from meshfed.controller.recollection import recall
from meshfed.controller.resolver import Lookup, Resolver
from meshfed.controller.statuses import Ref, StatusWriter, Stored
from meshfed.kube import Client, Engine, ObjectKey, Recorder, Subject
from meshfed.kube import Key as ObjectName
from meshfed.kube.events import EventType
from meshfed.model.reasons import Decision, Happening, Reason
from meshfed.plan import (
    Applied,
    ExportKey,
    GatewayKey,
    ImportKey,
    Key,
    MeshKey,
    MeshStatusKey,
    OfferKey,
    Outputs,
    Planner,
    Published,
    RemoteKey,
    RemoteStatusKey,
    StatusUpdate,
)
from meshfed.plan.events import export_turned
from meshfed.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)

BATCH: Final = 64
"""Keys worked out between two looks at everything else the process has to do."""
RETRY_SECONDS: Final = 30.0
"""After which a key that could not be worked out, which only a fault of ours can cause, is tried again."""

_DECIDING: Final = (ExportKey, ImportKey, MeshKey, RemoteKey, GatewayKey)
"""Keys that decide what exists and what is offered; the others only report."""
_KEYS: Final = (*_DECIDING, OfferKey, RemoteStatusKey, MeshStatusKey)


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
        complain: Callable[[str | None], None],
        leading: bool,
    ) -> None:
        self._client = client
        self._options = options
        self._metrics = metrics
        self._planner = planner
        self._publisher = publisher
        self._found = found
        self._dirty = dirty
        self._complain = complain
        self._leading = leading
        self._inputs = Inputs(
            client,
            found,
            namespace=options.namespace,
            fixed=options.fixed is not None,
            read_pods=options.read_pods,
            others=f"{NOT_OURS},{adoption.NOT_THEIRS}" if options.adopt_reference else NOT_OURS,
        )
        self._owner = {OWNER_NAMESPACE_LABEL: options.namespace}
        self._failing: dict[Key, None] = {}
        self._settled = False
        self._engine = Engine(
            client,
            (*found.written, found.ours["FederatedService"]),
            owner_labels=self._owner,
            adopt=adoption.taken_over if options.adopt_reference else lambda _: None,
            paused=is_paused,
            kept=self._is_kept,
        )
        self._recorder = Recorder(client, component="meshfed", instance=socket.gethostname(), stamp=stamp)
        self._exports: dict[ExportKey, Published | Decision] = {}
        self._holding = Holding(client, found, self._inputs, planner, self._on_released)
        self._skipped: dict[Key, None] = {}
        self._statuses = StatusWriter(
            client, {**found.ours, "ServiceExport": SERVICE_EXPORTS}, self._stored, stamp=stamp, tell=self._tell
        )
        self._resolver = Resolver(planner.names_to_resolve, planner.resolution_changed, lookup=lookup)
        self._listener = Listener(
            planner=planner,
            engine=self._engine,
            offers=self._inputs.offers,
            metrics=metrics,
            stamp=stamp,
        )
        self._finalizers = Finalizers(client, found.ours, self._finalized, self._left)
        self._told_mesh: str | None = ""
        self._caused: dict[str, set[str]] = {}
        self._working = False

    async def run(self) -> None:
        """Federate until cancelled."""
        self._publisher.begin(self._planner)
        self._feed_planner()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._inputs.run())
            await self._inputs.wait_synced(self._complain)
            if self._options.read_pods:
                tasks.create_task(self._when_pods_are_listed())
            if self._options.read_pods and not self._inputs.pods.synced:
                _log.warning(
                    "Pods may not be read, so remotes are not told which identities serve an export, and exports "
                    "without a sidecar are not noticed: grant get, list and watch on pods, or start with --no-read-pods"
                )
            await self._holding.begin()
            tasks.create_task(self._holding.run())
            if self._leading:
                await self._lead(tasks)
            else:
                await self._work_out_all()
            await self._reconcile()

    async def _when_pods_are_listed(self) -> None:
        """Nobody waits for Pods where they may not be read; it may be allowed later."""
        await self._inputs.pods.wait_synced()
        self._planner.pods_listed()

    async def _lead(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to listen and to write; everything up to here only reads."""
        self._engine.subscribe(self._on_engine)
        adopts = self._options.adopt_reference
        for labels in (self._owner, adoption.LABELS) if adopts else (self._owner,):
            await recall(self._client, self._found, labels, planner=self._planner, complain=self._complain)
        tasks.create_task(self._engine.run())
        tasks.create_task(self._statuses.run())
        tasks.create_task(self._recorder.run())
        self._complain("working out what should exist")
        self._listener.recall()
        await self._work_out_all()
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
            settled=lambda: self._settled and not (self._dirty.is_set() or self._working),
        )

    # --- inputs to the planner

    def _feed_planner(self) -> None:
        planner, inputs = self._planner, self._inputs
        inputs.services.subscribe(lambda key, _old, new: planner.service_changed(key.namespace, key.name, new))
        inputs.namespaces.subscribe(lambda key, _old, new: planner.namespace_changed(key.name, new))
        inputs.offers.subscribe(self._on_offer)
        inputs.service_exports.subscribe(
            lambda key, _old, new: planner.service_export_changed(
                key.namespace, key.name, None if new is None else new.metadata.generation
            )
        )
        inputs.pods.subscribe(lambda key, _old, new: planner.workload_changed("Pod", *key, new))
        inputs.workload_entries.subscribe(lambda key, _old, new: planner.workload_changed("WorkloadEntry", *key, new))
        inputs.rules.subscribe(lambda key, _old, new: planner.destination_rule_changed(*key, new or ""))
        inputs.selectors.subscribe(lambda key, _old, new: planner.service_entry_changed(*key, new or {}))
        fixed = self._options.fixed
        if fixed is None:
            inputs.federations.subscribe(self._on_federation)
            inputs.remotes.subscribe(self._on_remote)
            return
        self._on_federation(ObjectName("", fixed.federation.metadata.name), None, fixed.federation)
        for remote in fixed.remotes:
            self._on_remote(ObjectName("", remote.metadata.name), None, remote)

    def _on_federation(self, key: ObjectName, _old: MeshFederation | None, new: MeshFederation | None) -> None:
        self._planner.federation_changed(key.name, new)
        self._listener.federation_changed()
        if self._settled:
            self._tell_mesh()
        self._look_at_status("MeshFederation", key, new)
        self._finalizers.look(("MeshFederation", *key))

    def _on_remote(self, key: ObjectName, _old: RemoteMesh | None, new: RemoteMesh | None) -> None:
        self._planner.remote_changed(key.name, new)
        if new is None:
            self._caused.pop(key.name, None)
        elif new.metadata.deletion_timestamp:
            offers = self._inputs.offers.by_index("remote", key.name)
            self._caused.setdefault(key.name, set()).update(offer.status.imported_as for offer in offers)
        self._listener.remote_changed(key.name, new)
        self._look_at_status("RemoteMesh", key, new)
        self._finalizers.look(("RemoteMesh", *key))

    def _on_offer(self, key: ObjectName, old: FederatedService | None, new: FederatedService | None) -> None:
        self._planner.offer_changed(key.name, new)
        self._look_at_status("FederatedService", key, new)
        if new is None and old is not None:
            self._listener.record_removed(old.spec.remote, old.spec.host)

    def _look_at_status(self, kind: str, key: ObjectName, new: object | None) -> None:
        """Its status may be another one than we wrote, and nothing else may have changed that would say so."""
        ref = (kind, key.namespace, key.name)
        if new is None:
            self._statuses.forget(ref)
        else:
            self._statuses.look(ref)

    # --- keys to outputs

    async def _work_out_all(self) -> None:
        self._working = True
        try:
            await self._work_out_dirty()
        finally:
            self._working = False

    async def _work_out_dirty(self) -> None:
        while keys := self._planner.take_dirty():
            await self._work_out_each(keys)

    async def _work_out_each(self, keys: Sequence[Key]) -> None:
        self._metrics.queue_depth.set(len(keys))
        for number, key in enumerate(keys, start=1):
            self._work_out(key)
            if number % BATCH == 0:
                await asyncio.sleep(0)
        self._metrics.queue_depth.set(0)

    async def _reconcile(self) -> None:
        loop = asyncio.get_running_loop()
        retry_at = loop.time() + RETRY_SECONDS
        while True:
            self._settle()
            # Not wait_for: before Python 3.12 it loses a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(retry_at if self._failing else None):
                    await self._dirty.wait()
            if loop.time() >= retry_at:
                await self._work_out_each(list(self._failing))
                retry_at = loop.time() + RETRY_SECONDS
            self._dirty.clear()
            await self._work_out_all()
            self._resolver.poke()

    def _settle(self) -> None:
        """Everything was worked out once: act on what nobody wants, unless it is only a fault that left it out."""
        if self._settled:
            return
        missing = [key for key in self._failing if isinstance(key, _DECIDING)]
        if missing:
            self._complain(
                f"{len(missing)} keys cannot be worked out, such as {missing[0]}: see the log, and report it"
            )
            return
        self._settled = True
        self._publish_all()
        self._engine.allow_deletes()
        self._complain(None)
        self._tell_mesh()

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
        # Who does not lead has not looked at what the Gateways list: there, whatever is held may be exported.
        exports = sorted(
            "/".join(place)
            for place in self._holding.held.services
            if not self._leading or self._planner.is_listed(place)
        )
        if exports:
            _log.error("subscribers are told nothing until %s can be understood, or is gone", ", ".join(exports))
        else:
            self._publisher.ready(self._planner)

    def _is_kept(self, key: ObjectKey) -> bool:
        return self._holding.held.keeps(key)

    def _on_released(self) -> None:
        skipped, self._skipped = self._skipped, {}
        for key in skipped:
            self._work_out(key)
        self._engine.look_again()
        self._dirty.set()
        if self._settled:
            self._publish_all()

    def _work_out(self, key: Key) -> None:
        if self._holding.held.holds(key):
            self._skipped[key] = None
            return
        started = time.perf_counter()
        try:
            outputs = self._planner.reconcile(key)
            self._send(key, outputs)
        except Exception:  # noqa: BLE001 - one key's fault, which is ours, must not stop the work on all others
            _log.exception("working out %s failed; what it led to stays, and it is tried again", key)
            self._failing[key] = None
        else:
            self._failing.pop(key, None)
        self._metrics.reconcile_seconds.labels(kind=type(key).__name__).observe(time.perf_counter() - started)

    def _send(self, key: Key, outputs: Outputs) -> None:
        if isinstance(key, ExportKey):
            self._publisher.publish(key, outputs.export)
        if isinstance(key, MeshKey | RemoteKey):
            self._publisher.reevaluate()
        for status in outputs.statuses:
            self._measure(status)
        if not self._leading:
            if isinstance(key, GatewayKey):
                # Who leads has written it, or will; else what left it would be remembered for ever.
                self._planner.applied_changed(key, Applied("applied"))
            return
        if isinstance(key, ExportKey):
            self._tell_export(key, outputs.export or outputs.export_decision)
        self._engine.want(key, outputs.objects, after=outputs.after)
        for status in outputs.statuses:
            self._statuses.want(status)

    def _tell_export(self, key: ExportKey, now: Published | Decision | None) -> None:
        """Record on a Service that its export begins or ends; what was found at the start is no news."""
        before = self._exports.pop(key, None)
        if now is not None and (isinstance(now, Published) or now.reason is not Reason.NOT_SELECTED):
            self._exports[key] = now
        happening = export_turned(before, now) if self._settled else None
        service = self._inputs.services.get((key.namespace, key.name))
        if happening is not None and service is not None:
            uid = service.metadata.uid
            self._tell(Subject(SERVICES.api_version, SERVICES.kind, key.namespace, key.name, uid), happening)

    def _tell(self, subject: Subject, happening: Happening) -> None:
        if subject.uid:
            kind: EventType = "Warning" if happening.warns else "Normal"
            self._recorder.record(subject, kind, happening.reason, happening.message)

    def _measure(self, status: StatusUpdate) -> None:
        if status.kind == "RemoteMesh":
            for gauge, field in (
                (self._metrics.imported_services, "importedServices"),
                (self._metrics.denied_services, "deniedServices"),
            ):
                value = status.fields.get(field)
                if isinstance(value, int):
                    gauge.labels(remote=status.name).set(value)

    # --- verdicts and statuses

    def _on_engine(self, source: Hashable) -> None:
        if isinstance(source, _KEYS):
            self._planner.applied_changed(source, verdict(self._engine.source_state(source)))
        elif isinstance(source, Record):
            self._planner.record_changed(source.remote, source.host, verdict(self._engine.source_state(source)))

    # --- what leaves

    def _finalized(self, ref: Ref) -> MeshFederation | RemoteMesh | None:
        kind, namespace, name = ref
        if kind == "MeshFederation":
            return self._inputs.federations.get((namespace, name))
        return self._inputs.remotes.get((namespace, name))

    def _left(self, ref: Ref) -> str:
        """What an object that is being deleted caused and that is still there, in words."""
        if self._dirty.is_set() or self._working:
            return "what follows from it is being worked out"
        kind, _, name = ref
        if kind == "MeshFederation":
            observed = self._engine.statistics().observed if self._planner.mesh is None else 0
            return f"{observed} objects that it caused are still there" if observed else ""
        if offers := len(self._inputs.offers.by_index("remote", name)):
            return f"{offers} FederatedServices of it are still there"
        keys = [RemoteKey(name), *(ImportKey(host) for host in self._caused.get(name, ()))]
        deleting = [one for key in keys for one in self._engine.source_state(key).deleting]
        return f"{len(deleting)} objects that it caused are still there, {deleting[0]} among them" if deleting else ""

    def _stored(self, ref: Ref) -> Stored | None:
        kind, namespace, name = ref
        inputs = self._inputs
        found: MeshFederation | RemoteMesh | FederatedService | ServiceExport | None = None
        match kind:
            case "MeshFederation":
                found = inputs.federations.get((namespace, name))
            case "RemoteMesh":
                found = inputs.remotes.get((namespace, name))
            case "FederatedService":
                found = inputs.offers.get((namespace, name))
            case "ServiceExport":
                found = inputs.service_exports.get((namespace, name))
            case _:
                return None
        return None if found is None else Stored(found.metadata, found.status)
