"""What is to be proven of the ways into remote meshes, for each import and discovery service, and what was seen."""

from __future__ import annotations

from meshfed import istio
from meshfed.derive import Graph, Input
from meshfed.federation.merging import Candidate
from meshfed.model.meshes import Remote
from meshfed.model.probes import Probe
from meshfed.model.reasons import Condition, ConditionType
from meshfed.plan.failures import Failures
from meshfed.plan.federations import Federations
from meshfed.plan.imports import Fate, Imports
from meshfed.plan.keys import OfferKey, RemoteKey
from meshfed.plan.remotes import Peer, Remotes, ourselves
from meshfed.plan.values import Applied, Reached, Settings


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
        if fate.candidate is None or not self._settings.probing:
            return (), (ConditionType.REACHABLE,)
        seen = self._seen.get(record)
        return ((seen,) if seen is not None else ()), ()

    def ended(self, remote: Remote, *, asked: bool) -> tuple[ConditionType, ...]:
        """Return which conditions a RemoteMesh has no more; ``asked``: whether it is, what it offers."""
        return (
            () if self._settings.probing and asked and of_discovery(remote) is not None else (ConditionType.REACHABLE,)
        )

    def _import(self, record: str) -> Probe | None:
        fate = self._imports.fate(record)
        if not self._settings.probing or fate is None or fate.candidate is None:
            return None
        return of_import(fate.candidate)

    def _discovery(self, name: str) -> Probe | None:
        mesh, peer = self._federations.mesh, self._remotes.peers.get(name)
        if not self._settings.probing or mesh is None or not isinstance(peer, Peer):
            return None
        if peer.rules is None or ourselves(mesh, peer.remote) is not None:
            return None
        return of_discovery(peer.remote)


def of_import(candidate: Candidate) -> Probe | None:
    """Return what is to be proven of an offer that is imported; ``None`` where there is no way yet."""
    remote, offer = candidate.remote, candidate.offer
    host = offer.sni_host or offer.host
    return _probe(remote, [istio.gateway_sni(remote, host, port.number) for port in offer.ports], offer.identities)


def of_discovery(remote: Remote) -> Probe | None:
    """Return what is to be proven of a remote's discovery service; ``None`` where another way leads there, or none."""
    if remote.discovery_address:
        return None
    # As for our sidecar: where nobody is stated, whoever has a certificate may be it.
    identities = (str(remote.identity),) if remote.identity_configured else ()
    return _probe(remote, [istio.gateway_sni(remote, remote.fds_host, remote.discovery_port)], identities)


def _probe(remote: Remote, names: list[str | None], identities: tuple[str, ...]) -> Probe | None:
    known = tuple(name for name in names if name is not None)
    return Probe(remote.name, remote.addresses, known, identities) if known and remote.addresses else None
