"""A Kubernetes client that knows nothing of federation.

Where and as whom (``config``, ``kubeconfig``), requests by verb (``client``, ``discovery``) and how they go
(``connection``), list and watch into memory (``store``, ``reflector``), a work queue by key (``queue``), the engine
that makes what exists equal to what is wanted (``engine``), leader election (``lease``), and Events (``events``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshfed.kube.backoff import Backoff, retry_on_error
    from meshfed.kube.client import Client, PatchType, WatchEvent
    from meshfed.kube.config import ClusterConfig, in_cluster, pod_service_account
    from meshfed.kube.discovery import ServedAPIs, discover
    from meshfed.kube.engine import Engine, EngineStatistics
    from meshfed.kube.errors import (
        AlreadyExists,
        APIError,
        BadRequest,
        ConfigError,
        Conflict,
        Forbidden,
        Gone,
        Invalid,
        KubeError,
        MalformedAnswer,
        NotFound,
        NotLeading,
        ServerFailure,
        Silent,
        TooManyRequests,
        TransportError,
        Unauthorized,
    )
    from meshfed.kube.events import Recorder, Subject
    from meshfed.kube.exec import Ran, execute
    from meshfed.kube.kubeconfig import contexts, detect, load_kubeconfig
    from meshfed.kube.lease import LEASES, Elector, LeaseTiming, process_identity
    from meshfed.kube.ownership import Ownership
    from meshfed.kube.queue import QueueStatistics, WorkQueue
    from meshfed.kube.reflector import Reflector, ReflectorState, ReflectorStatistics
    from meshfed.kube.resources import Manifest, ObjectKey, Resource
    from meshfed.kube.sources import ObjectState, Outcome, SourceState
    from meshfed.kube.store import Key, Store
    from meshfed.kube.times import micro_time_now, time_now
else:
    from meshfed._faces import face

    __getattr__ = face(
        __name__,
        {
            "backoff": ("Backoff", "retry_on_error"),
            "client": ("Client", "PatchType", "WatchEvent"),
            "config": ("ClusterConfig", "in_cluster", "pod_service_account"),
            "discovery": ("ServedAPIs", "discover"),
            "engine": ("Engine", "EngineStatistics"),
            "errors": (
                "AlreadyExists",
                "APIError",
                "BadRequest",
                "ConfigError",
                "Conflict",
                "Forbidden",
                "Gone",
                "Invalid",
                "KubeError",
                "MalformedAnswer",
                "NotFound",
                "NotLeading",
                "ServerFailure",
                "Silent",
                "TooManyRequests",
                "TransportError",
                "Unauthorized",
            ),
            "events": ("Recorder", "Subject"),
            "exec": ("Ran", "execute"),
            "kubeconfig": ("contexts", "detect", "load_kubeconfig"),
            "lease": ("LEASES", "Elector", "LeaseTiming", "process_identity"),
            "ownership": ("Ownership",),
            "queue": ("QueueStatistics", "WorkQueue"),
            "reflector": ("Reflector", "ReflectorState", "ReflectorStatistics"),
            "resources": ("Manifest", "ObjectKey", "Resource"),
            "sources": ("ObjectState", "Outcome", "SourceState"),
            "store": ("Key", "Store"),
            "times": ("micro_time_now", "time_now"),
        },
    )

__all__ = [
    "LEASES",
    "APIError",
    "AlreadyExists",
    "Backoff",
    "BadRequest",
    "Client",
    "ClusterConfig",
    "ConfigError",
    "Conflict",
    "Elector",
    "Engine",
    "EngineStatistics",
    "Forbidden",
    "Gone",
    "Invalid",
    "Key",
    "KubeError",
    "LeaseTiming",
    "MalformedAnswer",
    "Manifest",
    "NotFound",
    "NotLeading",
    "ObjectKey",
    "ObjectState",
    "Outcome",
    "Ownership",
    "PatchType",
    "QueueStatistics",
    "Ran",
    "Recorder",
    "Reflector",
    "ReflectorState",
    "ReflectorStatistics",
    "Resource",
    "ServedAPIs",
    "ServerFailure",
    "Silent",
    "SourceState",
    "Store",
    "Subject",
    "TooManyRequests",
    "TransportError",
    "Unauthorized",
    "WatchEvent",
    "WorkQueue",
    "contexts",
    "detect",
    "discover",
    "execute",
    "in_cluster",
    "load_kubeconfig",
    "micro_time_now",
    "pod_service_account",
    "process_identity",
    "retry_on_error",
    "time_now",
]
