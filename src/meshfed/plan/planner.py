"""The planner: from the current Kubernetes objects to what should exist, key by key.

It holds the inputs, knows which keys each of them touches, and works keys out on request. No I/O, no clock, no
randomness: `meshfed plan` and the controller call the same code, and the same inputs give the same outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from meshfed.api.core import Namespace, Service
from meshfed.api.v1alpha1 import FederatedService, MeshFederation, RemoteMesh
from meshfed.model.identity import SpiffeID
from meshfed.plan.keys import Key, batch
from meshfed.plan.values import Applied, Connection, Outputs, Settings


class Planner:
    """Says what should exist in one cluster. Not for several threads; every call returns at once.

    ``on_dirty`` is called with every key that may have changed, as soon as that is known; the same keys are also
    kept for ``take_dirty``.
    """

    def __init__(self, settings: Settings, *, on_dirty: Callable[[Key], None] | None = None) -> None:
        self._settings = settings
        self._on_dirty = on_dirty
        self._dirty: set[Key] = set()

    # --- inputs: each takes the object as it stands now, or None where it is gone -----------------

    def federation_changed(self, name: str, federation: MeshFederation | None) -> None:
        """Take in a MeshFederation; the oldest one of the namespace is in force."""
        raise NotImplementedError

    def remote_changed(self, name: str, remote: RemoteMesh | None) -> None:
        """Take in a RemoteMesh."""
        raise NotImplementedError

    def namespace_changed(self, name: str, namespace: Namespace | None) -> None:
        """Take in a Namespace."""
        raise NotImplementedError

    def service_changed(self, namespace: str, name: str, service: Service | None) -> None:
        """Take in a Service."""
        raise NotImplementedError

    def service_export_changed(self, namespace: str, name: str, generation: int | None) -> None:
        """Take in a ServiceExport of the multi-cluster services API, by its generation; ``None``: it is gone."""
        raise NotImplementedError

    def offer_changed(self, name: str, offer: FederatedService | None) -> None:
        """Take in a FederatedService, by its object name."""
        raise NotImplementedError

    def resolution_changed(self, host_name: str, addresses: tuple[str, ...]) -> None:
        """Take in what DNS says of a remote's address; an empty answer keeps the last one."""
        raise NotImplementedError

    def gateway_observed(self, index: int, hosts: Sequence[str]) -> None:
        """Take in the hosts of a Gateway object that exists already: history, given before the first key is taken."""
        raise NotImplementedError

    def connection_changed(self, remote: str, connection: Connection | None) -> None:
        """Take in how the discovery of ``remote`` stands."""
        raise NotImplementedError

    def applied_changed(self, key: Key, applied: Applied | None) -> None:
        """Take in the engine's verdict on the objects of ``key``."""
        raise NotImplementedError

    # --- outputs ----------------------------------------------------------------------------------

    def take_dirty(self) -> list[Key]:
        """Return the keys to work out again, each once, in the order in which that is best done; forgets them."""
        dirty, self._dirty = self._dirty, set()
        return batch(dirty)

    def reconcile(self, key: Key) -> Outputs:
        """Work one key out from current state. May mark other keys dirty."""
        raise NotImplementedError

    def names_to_resolve(self) -> frozenset[str]:
        """Return the remote addresses that are host names and whose IPs some WorkloadEntry needs."""
        raise NotImplementedError

    def remotes_with_identity(self, identity: SpiffeID) -> tuple[str, ...]:
        """Return the names of the RemoteMeshes whose controller has this identity, sorted."""
        raise NotImplementedError
