"""What is known of this cluster's objects that more than one part of the plan goes by: each kind once."""

from __future__ import annotations

from operator import itemgetter
from typing import Any, ClassVar

from meshfed.api.core import Namespace, Service
from meshfed.derive import ByGroup, Distinct, Graph, Input
from meshfed.istio.peer_authentications import PeerAuthentication
from meshfed.model.meshes import LocalMesh
from meshfed.model.workloads import Located, Workload
from meshfed.plan.endpoint_slices import Backing
from meshfed.plan.foreign_destination_rules import ForeignDestinationRule
from meshfed.plan.foreign_service_entries import ForeignServiceEntry
from meshfed.plan.subscriptions import Subscribers
from meshfed.plan.values import Place, Ref

Sort = tuple[str, Workload]
"""The namespace of workloads that are alike, and what they are like."""


class ClusterInputs:
    """The inputs of the plan. Whoever reads one is worked out again when it is another (`meshfed.derive`)."""

    MESH: ClassVar = "the mesh"

    def __init__(self, graph: Graph) -> None:
        self.meshes = Input[str, LocalMesh](graph, self.MESH, output=True)
        self.namespaces = Input[str, Namespace](graph, "Namespace")
        self.services = Input[Place, Service](graph, "Service")
        self.workloads = Distinct[Ref, Located, Sort](graph, _sort_of)
        """Pods, and WorkloadEntries that are not ours."""
        self.workloads_in = ByGroup[str, Ref, Located](graph, "the workloads in", self.workloads, itemgetter(1))
        self.pods_listed = Input[str, bool](graph, "whether all Pods are known in")
        """False where they may not be read, or are not to be."""
        self.requests_handled = Input[str, str](graph, "upon which request ways were tried to RemoteMesh")
        """By remote, the value of its annotation (`meshfed.api.v1alpha1.PROBE_REQUEST_ANNOTATION`)."""
        self.rules = Input[Place, ForeignDestinationRule](graph, "DestinationRule")
        """Those that are not ours."""
        self.entries = Input[Place, ForeignServiceEntry](graph, "ServiceEntry")
        """Those that are not ours."""
        self.peer_authentications = Input[Place, PeerAuthentication](graph, "PeerAuthentication")
        """Those that are not ours: ours is for the controller's own pods."""
        self.slices = Input[Place, Backing](graph, "EndpointSlice")
        """Those of Services without a selector."""
        self.subscribers = Input[str, Subscribers](graph, "the subscribers that are RemoteMesh")
        """As the Leases of this mesh's replicas say; none of a remote of which it is not known yet."""

    def request_handled(self, remote: str, request: str) -> None:
        """Take in that all ways to a remote were tried upon a request; empty: there is none any more."""
        self.requests_handled.put(remote, request or None, remote)

    def of(self, ref: Ref) -> tuple[Input[Any, Any] | Distinct[Any, Any, Any], Any] | None:
        """Return what an object of the cluster is an input of, and under which key; ``None`` where of none of these."""
        kind, namespace, name = ref
        match kind:
            case "Service":
                return self.services, (namespace, name)
            case "Namespace":
                return self.namespaces, name
            case "Pod" | "WorkloadEntry":
                return self.workloads, ref
            case "DestinationRule":
                return self.rules, (namespace, name)
            case "ServiceEntry":
                return self.entries, (namespace, name)
            case "PeerAuthentication":
                return self.peer_authentications, (namespace, name)
            case "EndpointSlice":
                return self.slices, (namespace, name)
            case _:
                return None


def _sort_of(ref: Ref, located: Located) -> Sort:
    return ref[1], located.workload
