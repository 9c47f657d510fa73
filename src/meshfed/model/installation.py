"""What the parts of an installation are called where nobody says otherwise: what runs it and what looks at it agree."""

from __future__ import annotations

from typing import Final

API_GROUP: Final = "federation.openshift-service-mesh.io"
"""The group of Meshfed's own kinds."""
NAMESPACE: Final = "istio-system"
"""Of Istio's control plane, and of the controller with its MeshFederation and RemoteMeshes."""
LEASE: Final = "meshfed-controller"
"""The Lease by which a mesh's controllers elect their leader, in the controllers' namespace."""
CONTROLLER_APP: Final = "federation-controller"
"""The controller's Pods and Deployment have it as their label ``app.kubernetes.io/name``."""
WRITER: Final = "meshfed"
"""The controller's name where it writes: as field manager of objects, and as ``reportingComponent`` of Events."""
TRUST_BUNDLE: Final = "istio-ca-root-cert"
"""The ConfigMap, in the controllers' namespace, with the roots that a mesh trusts."""
MESH_CONFIG: Final = "istio"
"""The ConfigMap, in the control plane's namespace, with Istio's configuration of the mesh."""
