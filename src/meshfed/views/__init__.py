"""What people are shown: pure functions from what a cluster holds to what a command, or a page, prints.

A view has no opinion of its own: what it says was decided by the controller, and stands in a status, or is decided
here by the same functions (`meshfed.plan`). Each is a ``msgspec.Struct``, which is also its JSON.
"""

from __future__ import annotations

from typing import Final

API_VERSION: Final = "cli.federation.openshift-service-mesh.io/v1alpha1"
"""Of every document that a command prints. A later version may add a field; none is taken away, and none changes its
meaning."""
