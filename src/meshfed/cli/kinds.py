"""Which kinds of objects commands look at."""

from __future__ import annotations

from typing import Final, NamedTuple

from meshfed.model.installation import API_GROUP, CONTROLLER_APP

_NETWORKING: Final = "networking.istio.io"


class Wanted(NamedTuple):
    """A kind whose objects are looked at: of the installation's namespace, or of the whole cluster.

    ``optional``: a cluster may well not serve it.
    """

    group: str
    kind: str
    everywhere: bool = False
    selector: str | None = None
    optional: bool = False


OURS: Final = (
    Wanted(API_GROUP, "MeshFederation"),
    Wanted(API_GROUP, "RemoteMesh"),
    Wanted(API_GROUP, "FederatedService"),
)
"""What says how an installation stands."""
CONTROLLERS: Final = Wanted("apps", "Deployment", selector=f"app.kubernetes.io/name={CONTROLLER_APP}")
"""What says as which account the controller runs."""
EVENTS: Final = Wanted("", "Event")
"""What says what became of that which is gone."""
LEASES: Final = Wanted("coordination.k8s.io", "Lease")
"""What says who controls it."""
SURROUNDINGS: Final = (
    Wanted("", "Namespace", everywhere=True),
    Wanted("", "Service", everywhere=True),
    Wanted("", "Pod", everywhere=True),
    Wanted("discovery.k8s.io", "EndpointSlice", everywhere=True),
    Wanted("multicluster.x-k8s.io", "ServiceExport", everywhere=True, optional=True),
    Wanted(_NETWORKING, "Gateway", everywhere=True),
    Wanted(_NETWORKING, "ServiceEntry", everywhere=True),
    Wanted(_NETWORKING, "WorkloadEntry", everywhere=True),
    Wanted(_NETWORKING, "DestinationRule", everywhere=True),
    Wanted(_NETWORKING, "EnvoyFilter", everywhere=True),
    Wanted("security.istio.io", "PeerAuthentication", everywhere=True),
    Wanted("security.istio.io", "AuthorizationPolicy", everywhere=True),
    Wanted("route.openshift.io", "Route", everywhere=True, optional=True),
)
"""What else decides what is exported and imported, or carries it."""
