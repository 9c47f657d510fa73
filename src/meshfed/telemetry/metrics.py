"""Metrics: every series Meshfed exposes, in one place, so that the documentation's table can be generated.

One ``Metrics`` is made per process and handed down; there is no global registry, so tests and several
controllers in one process do not share counters. Label values that come from a remote are never used raw.
"""

from __future__ import annotations

import platform

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from meshfed import __version__
from meshfed.model.last_hour import LastHours

_FAST = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_PROPAGATION = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """The process's metrics, as attributes."""

    def __init__(self) -> None:
        registry = CollectorRegistry(auto_describe=True)
        self.registry = registry
        self.build_info = Gauge(
            "meshfed_build_info",
            "1, with the version of Meshfed and of Python as labels; one series for each process.",
            ["version", "python"],
            registry=registry,
        )
        self.build_info.labels(version=__version__, python=platform.python_version()).set(1)
        self.api_requests = Counter(
            "meshfed_kube_requests",
            "Requests to the Kubernetes API, by verb, resource and HTTP status (0: no answer).",
            ["verb", "resource", "status"],
            registry=registry,
        )
        self.api_writes = Counter(
            "meshfed_kube_writes",
            "Writes that reached the Kubernetes API, by verb and resource; but for Leases, still in the steady state.",
            ["verb", "resource"],
            registry=registry,
        )
        self.watch_events = Counter(
            "meshfed_kube_watch_events",
            "Watch events received, by resource and type.",
            ["resource", "type"],
            registry=registry,
        )
        self.watch_restarts = Counter(
            "meshfed_kube_watch_restarts",
            "Watches that broke off and were opened again, by resource and cause (silent: not even its end came).",
            ["resource", "cause"],
            registry=registry,
        )
        self.watch_last_heard = Gauge(
            "meshfed_kube_watch_last_heard_timestamp_seconds",
            "When the API last said anything about a resource, in Unix seconds; in a quiet one, at least each 45 s.",
            ["resource"],
            registry=registry,
        )
        self.store_objects = Gauge(
            "meshfed_kube_store_objects",
            "Objects held in memory, by resource.",
            ["resource"],
            registry=registry,
        )
        self.store_undecodable = Gauge(
            "meshfed_kube_store_undecodable",
            "Objects whose present state cannot be understood, by resource; the last good one, if any, stays in use.",
            ["resource"],
            registry=registry,
        )
        self.dropped = Counter(
            "meshfed_offers_dropped",
            "Labels and identities that were left out of a remote's offers, by remote and which of the two.",
            ["remote", "what"],
            registry=registry,
        )
        self.leader = Gauge(
            "meshfed_leader",
            "1 while this process writes: it holds the lease, or there is no election.",
            registry=registry,
        )
        self.faults = Gauge(
            "meshfed_faults",
            "Faults of Meshfed's own that stand, by what they concern: what that led to stays as it is.",
            ["what"],
            registry=registry,
        )
        self.engine_pending = Gauge(
            "meshfed_engine_pending", "Objects whose desired and observed states differ.", registry=registry
        )
        self.engine_failures = Counter(
            "meshfed_engine_failures",
            "Writes of desired objects that failed, by resource and cause.",
            ["resource", "cause"],
            registry=registry,
        )
        self.events = Counter(
            "meshfed_events",
            "Kubernetes Events, by what became of them (written, dropped as too many, refused, failed).",
            ["outcome"],
            registry=registry,
        )
        self.reconcile_seconds = Histogram(
            "meshfed_reconcile_seconds",
            "Time to work out one key, by kind of key.",
            ["kind"],
            buckets=_FAST,
            registry=registry,
        )
        self.queue_depth = Gauge("meshfed_queue_depth", "Keys waiting to be worked out.", registry=registry)
        self.fds_subscribers = Gauge(
            "meshfed_fds_subscribers",
            "Streams that subscribe to this mesh's exports, by dialect.",
            ["dialect"],
            registry=registry,
        )
        self.fds_pushes = Counter(
            "meshfed_fds_pushes",
            "Responses with content sent to subscribers, by dialect.",
            ["dialect"],
            registry=registry,
        )
        self.fds_heartbeats_sent = Counter(
            "meshfed_fds_heartbeats_sent", "Empty heartbeats sent to subscribers.", registry=registry
        )
        self.fds_refused = Counter(
            "meshfed_fds_refused", "Callers and streams refused, by reason.", ["reason"], registry=registry
        )
        self.fds_confirmations = Counter(
            "meshfed_fds_confirmations",
            "Hosts of which subscribers said whether they are in place, by what it was: in_place, gone, or dropped, of "
            "what is not offered to who said it.",
            ["outcome"],
            registry=registry,
        )
        self.export_propagation = Histogram(
            "meshfed_export_propagation_seconds",
            "Time from the event of a Service until a subscriber acknowledged what follows from it, by subscriber.",
            ["subscriber"],
            buckets=_PROPAGATION,
            registry=registry,
        )
        self.export_in_place = Histogram(
            "meshfed_export_in_place_seconds",
            "Time from the event of a Service until a subscriber says that what follows from it is in place there, by "
            "subscriber.",
            ["subscriber"],
            buckets=_PROPAGATION,
            registry=registry,
        )
        self.import_propagation = Histogram(
            "meshfed_import_propagation_seconds",
            "Time from when a remote's change was received until the objects of its import were in place, by remote.",
            ["remote"],
            buckets=_PROPAGATION,
            registry=registry,
        )
        self.imports_took, self.exports_took = LastHours(), LastHours()
        """What the last two metrics measure, minute by minute, for who asks without a Prometheus."""
        self.fds_connected = Gauge(
            "meshfed_fds_connected",
            "1 while the remote's discovery stream is up and synced, by remote.",
            ["remote"],
            registry=registry,
        )
        self.fds_connects = Counter(
            "meshfed_fds_connects",
            "Attempts to reach a remote's discovery service, by remote and outcome.",
            ["remote", "outcome"],
            registry=registry,
        )
        self.fds_received = Counter(
            "meshfed_fds_received",
            "Services received from a remote, by remote and what became of them.",
            ["remote", "outcome"],
            registry=registry,
        )
        self.fds_last_message = Gauge(
            "meshfed_fds_last_message_timestamp_seconds",
            "When the remote was last heard, in Unix seconds.",
            ["remote"],
            registry=registry,
        )
        self.fds_divergences = Counter(
            "meshfed_fds_divergences",
            "Times a remote's set and ours differed and were resynchronised.",
            ["remote"],
            registry=registry,
        )
        self.exported_services = Gauge("meshfed_exported_services", "Services this mesh exports.", registry=registry)
        self.imported_services = Gauge(
            "meshfed_imported_services", "Offers accepted from a remote.", ["remote"], registry=registry
        )
        self.denied_services = Gauge(
            "meshfed_denied_services",
            "Offers of a remote that the import rules deny.",
            ["remote"],
            registry=registry,
        )
        self.refused_services = Gauge(
            "meshfed_refused_services",
            "Offers of a remote that are not imported though no rule denies them, by reason.",
            ["remote", "reason"],
            registry=registry,
        )
        self.withdrawals_held = Gauge(
            "meshfed_withdrawals_held",
            "Withdrawals of a remote that the guard holds back.",
            ["remote"],
            registry=registry,
        )

        self.probes = Counter(
            "meshfed_probes",
            "Handshakes by way of a remote's gateway, by remote and outcome: answered, or the link that was broken.",
            ["remote", "outcome"],
            registry=registry,
        )
        self.probe_seconds = Histogram(
            "meshfed_probe_seconds",
            "Time until a handshake by way of a remote's gateway was answered, by remote.",
            ["remote"],
            buckets=_FAST,
            registry=registry,
        )
        self.probe_last_answered = Gauge(
            "meshfed_probe_last_answered_timestamp_seconds",
            "When a handshake by way of a remote's gateway was last answered, in Unix seconds.",
            ["remote"],
            registry=registry,
        )
        self.unreachable_services = Gauge(
            "meshfed_unreachable_services",
            "Imports from a remote whose condition Reachable is False.",
            ["remote"],
            registry=registry,
        )
        self.certificate_expiry = Gauge(
            "meshfed_remote_certificate_expiry_timestamp_seconds",
            "When the certificate ends that a remote's discovery service showed last, in Unix seconds.",
            ["remote"],
            registry=registry,
        )

        self._of_remotes = [
            metric
            for metric in vars(self).values()
            if "remote" in getattr(metric, "_labelnames", ())  # there is no other way to ask
        ]
        self._of_statuses = (self.imported_services, self.denied_services, self.refused_services)
        """What is read off the status of a RemoteMesh, and there as long as that is; all others speak of discovery."""
        self._of_probes = (
            self.probes,
            self.probe_seconds,
            self.probe_last_answered,
            self.unreachable_services,
            self.certificate_expiry,
        )

    def import_took(self, remote: str, seconds: float, now: float) -> None:
        """Measure a change of a remote that took so long until it is in place here; ``now`` by the loop's clock."""
        self.import_propagation.labels(remote=remote).observe(seconds)
        self.imports_took.add(remote, seconds, now)

    def export_took(self, remote: str, seconds: float, now: float) -> None:
        """Measure a change of ours that took so long until a remote says that it is in place there."""
        self.export_in_place.labels(subscriber=remote).observe(seconds)
        self.exports_took.add(remote, seconds, now)

    def forget_remote(self, name: str) -> None:
        """Drop every series of a remote: its RemoteMesh is gone, and nobody reports of it any more."""
        for metric in self._of_remotes:
            metric.remove_by_labels({"remote": name})
        for metric in (self.export_propagation, self.export_in_place):
            metric.remove_by_labels({"subscriber": name})
        self.imports_took.forget(name)
        self.exports_took.forget(name)

    def forget_discovery(self, name: str) -> None:
        """Drop the series that speak of the discovery of a remote, from which nothing is imported any more."""
        for metric in self._of_remotes:
            if metric not in self._of_statuses:
                metric.remove_by_labels({"remote": name})
        self.imports_took.forget(name)

    def forget_probes(self, name: str) -> None:
        """Drop the series that speak of ways into a remote, of which none is proven any more."""
        for metric in self._of_probes:
            metric.remove_by_labels({"remote": name})

    def forget_remotes(self) -> None:
        """Drop every series of every remote: whoever comes next begins to follow them anew."""
        for metric in self._of_remotes:
            metric.clear()
        self.imports_took.end()

    def exposition(self) -> bytes:
        """Everything, in the Prometheus text format."""
        return generate_latest(self.registry)
