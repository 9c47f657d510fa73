"""Which part of a term hears of a change in the cluster: the planner, and whoever keeps something by itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from meshfed.api.core import Service
from meshfed.api.v1alpha1 import API_VERSION, PROBE_REQUEST_ANNOTATION, FederatedService, MeshFederation, RemoteMesh
from meshfed.controller.feed import Feed
from meshfed.controller.options import Fixed
from meshfed.controller.propagation import Propagation
from meshfed.controller.remotes.importing import Importing
from meshfed.controller.remotes.prober import Prober
from meshfed.controller.remotes.remote_sessions import RemoteSessions
from meshfed.controller.watches import Watches
from meshfed.controller.writing.delivery import tell
from meshfed.controller.writing.lifecycle import Finalizers, Leftovers
from meshfed.controller.writing.statuses import StatusWriter
from meshfed.federation.imports import record_name
from meshfed.kube import Key, Recorder, Subject
from meshfed.plan import Planner
from meshfed.plan.events import withdrawn


class Changes:
    """Passes changes on from the stores, by way of the feed."""

    def __init__(
        self,
        planner: Planner,
        inputs: Watches,
        feed: Feed,
        *,
        listener: RemoteSessions,
        statuses: StatusWriter,
        leftovers: Leftovers,
        finalizers: Finalizers,
        propagation: Propagation,
        prober: Prober,
        recorder: Recorder,
        importing: Importing,
        on_mesh: Callable[[], None],
    ) -> None:
        """``on_mesh`` hears of each change to a MeshFederation, once all others have."""
        self._planner = planner
        self._inputs = inputs
        self._feed = feed
        self._listener = listener
        self._statuses = statuses
        self._leftovers = leftovers
        self._finalizers = finalizers
        self._propagation = propagation
        self._prober = prober
        self._recorder = recorder
        self._importing = importing
        self._on_mesh = on_mesh

    def follow(self) -> None:
        """Pass on what changes from now on."""
        planner, inputs, follow = self._planner, self._inputs, self._feed.follow
        into = planner.inputs
        follow("Service", inputs.services, self._on_service)
        follow("Namespace", inputs.namespaces, lambda key, _old, new: into.namespaces.put(key.name, new))
        follow("FederatedService", inputs.offers, self._on_offer)
        follow(
            "ServiceExport",
            inputs.service_exports,
            lambda key, _old, new: planner.service_export_changed(
                *key, None if new is None else new.metadata.generation
            ),
        )
        follow("Pod", inputs.pods, lambda key, _old, new: into.workloads.put(("Pod", *key), new))
        follow("EndpointSlice", inputs.slices, lambda key, _old, new: into.slices.put(key, new))
        follow(
            "WorkloadEntry",
            inputs.workload_entries,
            lambda key, _old, new: into.workloads.put(("WorkloadEntry", *key), new),
        )
        follow("DestinationRule", inputs.rules, lambda key, _old, new: into.rules.put(key, new))
        follow("ServiceEntry", inputs.entries, lambda key, _old, new: into.entries.put(key, new))
        follow(
            "PeerAuthentication",
            inputs.peer_authentications,
            lambda key, _old, new: into.peer_authentications.put(key, new),
        )
        follow("MeshFederation", inputs.federations, self._on_federation)
        follow("RemoteMesh", inputs.remotes, self._on_remote)

    def take(self, fixed: Fixed) -> None:
        """Take in what comes from flags; it cannot be left out, since without it everything would go."""
        for remote in fixed.remotes:
            key = Key("", remote.metadata.name)
            self._feed.take(("RemoteMesh", *key), None, partial(self._on_remote, key, None, remote))
        key = Key("", fixed.federation.metadata.name)
        self._feed.take(("MeshFederation", *key), None, partial(self._on_federation, key, None, fixed.federation))

    def _on_service(self, key: Key, _old: Service | None, new: Service | None) -> None:
        self._propagation.service_changed(*key)
        self._planner.inputs.services.put(key, new)

    def _on_federation(self, key: Key, _old: MeshFederation | None, new: MeshFederation | None) -> None:
        self._planner.federation_changed(key.name, new)
        self._listener.federation_changed()
        self._look_at_status("MeshFederation", key, new)
        self._finalizers.look(("MeshFederation", *key))
        self._on_mesh()

    def _on_remote(self, key: Key, old: RemoteMesh | None, new: RemoteMesh | None) -> None:
        self._planner.remote_changed(key.name, new)
        self._leftovers.remote_changed(key.name, new)
        self._listener.remote_changed(key.name, new)
        request = new.metadata.annotations.get(PROBE_REQUEST_ANNOTATION, "") if new else ""
        self._prober.ask(key.name, request)
        if old is None or old.metadata.annotations.get(PROBE_REQUEST_ANNOTATION, "") != request:
            self._importing.ask(key.name, request)
        self._look_at_status("RemoteMesh", key, new)
        self._finalizers.look(("RemoteMesh", *key))

    def _on_offer(self, key: Key, old: FederatedService | None, new: FederatedService | None) -> None:
        self._look_at_status("FederatedService", key, new)
        known = new or old
        # One that somebody made by hand, under a name of their own, comes and goes as they like.
        if known is not None and key.name == record_name(known.spec.host, known.spec.remote):
            if new is None or new.metadata.deletion_timestamp:
                if not self._listener.record_removed(known.spec.remote, known.spec.host):
                    return
                if new is None and self._listener.is_withdrawn(known.spec.remote, known.spec.host):
                    self._tell_withdrawn(key, known)
            elif old is None:
                self._listener.record_found(new.spec)
        is_there = new is not None and not new.metadata.deletion_timestamp
        self._propagation.record_seen(key.name, new.spec if new is not None and is_there else None)
        self._planner.offer_changed(key.name, new)

    def _tell_withdrawn(self, key: Key, gone: FederatedService) -> None:
        """Record that a remote took an offer back, or nobody could say later where the host went."""
        subject = Subject(API_VERSION, "FederatedService", key.namespace, key.name, gone.metadata.uid)
        remote = gone.spec.remote
        tell(self._recorder, subject, withdrawn(remote, gone.spec.host), flow=remote)

    def _look_at_status(self, kind: str, key: Key, new: object | None) -> None:
        """Its status may be another one than we wrote, and nothing else may have changed that would say so."""
        ref = (kind, key.namespace, key.name)
        if new is None:
            self._statuses.forget(ref)
        else:
            self._statuses.look(ref)
