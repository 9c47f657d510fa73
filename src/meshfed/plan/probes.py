"""What is to be proven of the ways into remote meshes, for each import and discovery service, and what was seen."""

from __future__ import annotations

from meshfed.derive import Graph, Input
from meshfed.model.meshes import LocalMesh
from meshfed.model.probes import Probe
from meshfed.model.reasons import Condition, ConditionType
from meshfed.plan.failures import Failures
from meshfed.plan.federations import Federations
from meshfed.plan.imports import Fate, Imports
from meshfed.plan.keys import OfferKey, RemoteKey
from meshfed.plan.remotes import Peer, Remotes, ourselves
from meshfed.plan.values import Applied, Reached, Settings
from meshfed.plan.ways import of_discovery


class Probes:
    """The ways that are proven. Nothing that should exist depends on what comes of it."""

    def __init__(
        self,
        graph: Graph,
        settings: Settings,
        *,
        federations: Federations,
        remotes: Remotes,
        imports: Imports,
        failures: Failures,
    ) -> None:
        self._settings = settings
        self._federations = federations
        self._remotes = remotes
        self._imports = imports
        self._failures = failures
        self._seen: dict[str, Condition] = {}
        """Of each import, by its FederatedService."""
        self.discovery = Input[str, Reached](graph, "the way to RemoteMesh")

    def changed(self, key: OfferKey | RemoteKey, condition: Condition, *, lasting: bool) -> bool:
        """Take in what was seen, and say whether it is another of an import."""
        if isinstance(key, RemoteKey):
            self.discovery.put(key.name, Reached(condition, lasting), key.name)
            return False
        self._failures.change(key, Applied("failed", condition.reason, condition.message) if lasting else None)
        if self._seen.get(key.name) == condition:
            return False
        self._seen[key.name] = condition
        return True

    def of(self, key: OfferKey | RemoteKey) -> Probe | None:
        """Return what is to be proven; ``None`` where there is no way, of which what was seen is forgotten."""
        found = self._import(key.name) if isinstance(key, OfferKey) else self._discovery(key.name)
        if found is None and isinstance(key, OfferKey):
            self._seen.pop(key.name, None)
            self._failures.change(key, None)
        elif found is None and self.discovery.has(key.name):
            self.discovery.put(key.name, None, key.name)
        return found

    def import_conditions(self, record: str, fate: Fate) -> tuple[tuple[Condition, ...], tuple[ConditionType, ...]]:
        """Return what is known of the way to an import, and which conditions it has no more.

        What was seen before a restart stands until it is seen anew; where there is nothing to see, nothing stands.
        """
        if fate.probe is None or not self._settings.probing:
            return (), (ConditionType.REACHABLE,)
        seen = self._seen.get(record)
        return ((seen,) if seen is not None else ()), ()

    def ended(self, mesh: LocalMesh | None, peer: Peer) -> tuple[ConditionType, ...]:
        """Return which conditions a RemoteMesh has no more."""
        return () if self._of_peer(mesh, peer) is not None else (ConditionType.REACHABLE,)

    def _import(self, record: str) -> Probe | None:
        fate = self._imports.fate(record)
        return fate.probe if self._settings.probing and fate is not None else None

    def _discovery(self, name: str) -> Probe | None:
        peer = self._remotes.peers.get(name)
        return self._of_peer(self._federations.mesh, peer) if isinstance(peer, Peer) else None

    def _of_peer(self, mesh: LocalMesh | None, peer: Peer) -> Probe | None:
        """Return what is to be proven of a remote that is asked what it offers."""
        if not self._settings.probing or mesh is None or peer.rules is None or ourselves(mesh, peer.remote) is not None:
            return None
        return of_discovery(peer.remote)
