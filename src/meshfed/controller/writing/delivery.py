"""Where a key's outputs go: its objects to the engine, its export to the subscribers, its statuses to our objects.

And what comes back: the engine's verdict on the objects, which the statuses speak of.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any

from meshfed.api.core import Service
from meshfed.api.v1alpha1 import API_VERSION
from meshfed.controller.propagation import Propagation
from meshfed.controller.remotes.publisher import Publisher
from meshfed.controller.remotes.remote_sessions import OfferSource
from meshfed.controller.watches import SERVICES, Ours
from meshfed.controller.writing.outcomes import verdict
from meshfed.controller.writing.statuses import StatusWriter
from meshfed.kube import Engine, Recorder, Store, Subject
from meshfed.kube.events import EventType
from meshfed.model.probes import Probe
from meshfed.model.reasons import Decision, EventRecord, Reason
from meshfed.plan import (
    Applied,
    ExportKey,
    GatewayKey,
    ImportKey,
    Key,
    MeshKey,
    OfferKey,
    Outputs,
    Planner,
    Published,
    RemoteKey,
    RemoteStatusKey,
    StatusUpdate,
)
from meshfed.plan.events import export_turned, still_imported
from meshfed.plan.values import Place, Ref
from meshfed.telemetry.metrics import Metrics


class Delivery:
    """Delivers outputs; where others lead, to the subscribers alone."""

    def __init__(
        self,
        planner: Planner,
        *,
        engine: Engine,
        publisher: Publisher,
        statuses: StatusWriter,
        recorder: Recorder,
        find: Callable[[Ref], Ours | None],
        services: Store[Service],
        metrics: Metrics,
        propagation: Propagation,
        leading: bool,
        prove: Callable[[OfferKey | RemoteKey, Probe | None], None],
    ) -> None:
        """``prove`` hears what is to be proven of the way to what; ``find`` returns an object of ours."""
        self._planner = planner
        self._engine = engine
        self._publisher = publisher
        self._statuses = statuses
        self._recorder = recorder
        self._find = find
        self._services = services
        self._metrics = metrics
        self._propagation = propagation
        self._leading = leading
        self._prove = prove
        self._is_news = False
        self._exports: dict[ExportKey, Published | Decision] = {}
        self._refused: dict[str, frozenset[str]] = {}
        """By remote, the reasons under which something is measured."""

    def begin(self) -> None:
        """All there is was worked out once, so that what comes is news."""
        self._is_news = True

    def send(self, key: Key, outputs: Outputs, flow: str) -> None:
        """Pass on what a key wants now; it was worked out in the turn of ``flow``, and is written in its turn."""
        if isinstance(key, ExportKey):
            self._publisher.publish(key, outputs.export, since=self._propagation.began(key))
        if isinstance(key, MeshKey | RemoteKey):
            self._publisher.reevaluate()
        if isinstance(key, RemoteStatusKey):
            self._measure(key.name, outputs.statuses)
        if not self._leading:
            if isinstance(key, GatewayKey):
                # Who leads has written it, or will; else what left it would be remembered for ever. Only news count.
                self._planner.applied_changed(key, Applied("pending"))
                self._planner.applied_changed(key, Applied("applied"))
            return
        if isinstance(key, ExportKey):
            self._tell_export(key, outputs.export or outputs.export_decision)
        self._engine.want(key, outputs.objects, after=outputs.after, flow=flow)
        if isinstance(key, ImportKey):
            self._propagation.import_wanted(key, in_place=self._in_place)
        for status in outputs.statuses:
            self._statuses.want(status)
        if isinstance(key, OfferKey | RemoteKey):
            self._prove(key, outputs.probe)

    def written(self, source: Hashable) -> None:
        """Take in that the engine has something to say of a source."""
        state = self._engine.source_state(source)
        now = verdict(state)
        if isinstance(source, OfferSource):
            self._planner.record_changed(source.remote, source.host, now)
        elif isinstance(source, Key):
            if isinstance(source, ImportKey) and now == Applied("applied"):
                self._propagation.import_in_place(source)
            # Gateways are few, and the planner waits to hear that what one has left is in place.
            is_there = state.objects or state.deleting or isinstance(source, GatewayKey)
            self._planner.applied_changed(source, now if is_there else None)

    def _in_place(self, key: ImportKey) -> bool:
        return verdict(self._engine.source_state(key)) == Applied("applied")

    def _tell_export(self, key: ExportKey, now: Published | Decision | None) -> None:
        """Record on a Service that its export begins or ends; what was found at the start is no news."""
        before = self._exports.pop(key, None)
        if now is not None and (isinstance(now, Published) or now.reason is not Reason.NOT_SELECTED):
            self._exports[key] = now
        event = export_turned(before, now) if self._is_news else None
        service = self._services.get((key.namespace, key.name))
        if event is not None and service is not None:
            uid = service.metadata.uid
            tell(self._recorder, Subject(SERVICES.api_version, SERVICES.kind, key.namespace, key.name, uid), event)

    def still_imported(self, place: Place, host: str, remotes: Collection[str]) -> None:
        """Warn that ``remotes`` have a host in place that was withdrawn from them, if it still is."""
        now, mesh = self._exports.get(ExportKey(*place)), self._planner.mesh
        if isinstance(now, Published) and now.offer.host == host:
            remotes = [one for one in remotes if now.audience is not None and one not in now.audience]
        if not remotes or mesh is None:
            return
        service = self._services.get(place)
        if service is not None:
            subject = Subject(SERVICES.api_version, SERVICES.kind, *place, service.metadata.uid)
            tell(self._recorder, subject, still_imported(host, remotes))
            return
        federation = self._find(("MeshFederation", mesh.namespace, mesh.name))
        if federation is not None:
            subject = Subject(API_VERSION, "MeshFederation", mesh.namespace, mesh.name, federation.metadata.uid)
            tell(self._recorder, subject, still_imported(host, remotes, service="/".join(place)))

    def _measure(self, remote: str, statuses: Sequence[StatusUpdate]) -> None:
        """Measure what the status of a RemoteMesh counts; of one that is gone nothing is said, nor remembered."""
        before, metrics = self._refused.pop(remote, frozenset()), self._metrics
        for status in statuses:
            counts: dict[str, Any] = dict(status.fields)
            metrics.imported_services.labels(remote=remote).set(counts["importedServices"])
            metrics.denied_services.labels(remote=remote).set(counts["deniedServices"])
            for one in counts["refused"]:
                metrics.refused_services.labels(remote=remote, reason=one.reason).set(one.count)
            self._refused[remote] = frozenset(one.reason for one in counts["refused"])
        if not statuses:
            metrics.forget_remote(remote)
            return
        for reason in before - self._refused.get(remote, frozenset()):
            metrics.refused_services.remove(remote, reason)


def tell(recorder: Recorder, subject: Subject, event: EventRecord, flow: str = "") -> None:
    """Record an Event on an object, as far as it is known which one that is, in the turn of ``flow``."""
    if subject.uid:
        kind: EventType = "Warning" if event.warns else "Normal"
        recorder.record(subject, kind, event.reason, event.message, flow=flow)
