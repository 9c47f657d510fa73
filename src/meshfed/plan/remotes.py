"""The remote meshes: what each is, who else has its identity or its network, and how its discovery is reached."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from meshfed import istio
from meshfed.api.v1alpha1 import ImportPolicy, RemoteMesh
from meshfed.derive import Context, Derived, Graph, Index, Input, Tally
from meshfed.model.identity import SpiffeID
from meshfed.model.meshes import LocalMesh, Remote
from meshfed.model.reasons import Decision, Reason
from meshfed.plan import meshes
from meshfed.plan.values import THIS


class Peer(msgspec.Struct, frozen=True):
    """A RemoteMesh that is in force: the mesh it describes, what is imported from it, and since when there is one."""

    remote: Remote
    rules: ImportPolicy | None
    traffic_policy: dict[str, Any] = {}
    created: str = ""


class Described(msgspec.Struct, frozen=True):
    """What of a RemoteMesh matters, its status apart."""

    peer: Peer
    namespace: str
    generation: int


class Remotes:
    """The RemoteMeshes of the namespace; one that is being deleted is there no more."""

    PEERS: ClassVar = "the mesh of RemoteMesh"
    CALLERS: ClassVar = "who may call the discovery service of"

    def __init__(self, graph: Graph) -> None:
        self.objects = Input[str, Described](graph, "RemoteMesh")
        self.peers = Derived[str, Peer](graph, self.PEERS, self._peer, over=[self.objects], output=True)
        self._all = Index(graph, "RemoteMeshes of", self.peers, lambda *_: (THIS,))
        self.identities = Tally(graph, "identities of RemoteMeshes of", self.peers, _counted)
        self.by_identity = Index(graph, "RemoteMeshes with", self.peers, _identity_of, perhaps=lambda _: ())
        self.by_network = Index(
            graph, "RemoteMeshes in", self.peers, _network_of, perhaps=lambda _: (), order=lambda n, p: (p.created, n)
        )
        """The oldest comes first."""
        self.callers = Derived[str, frozenset[SpiffeID]](
            graph, self.CALLERS, self._who_may_call, keys=[THIS], output=True
        )

    def change(self, name: str, mesh: RemoteMesh | None) -> None:
        """Take in a RemoteMesh."""
        described = None
        if mesh is not None and not mesh.metadata.deletion_timestamp:
            peer = Peer(
                remote=meshes.remote(mesh),
                rules=mesh.spec.import_,
                traffic_policy=meshes.traffic_policy(mesh),
                created=mesh.metadata.creation_timestamp,
            )
            described = Described(peer, mesh.metadata.namespace, mesh.metadata.generation)
        self.objects.put(name, described, name)

    # --- what is derived

    def _peer(self, context: Context, name: str) -> Peer | None:
        """Return what decides what is imported, and who may call."""
        described = context.get(self.objects, name)
        return described.peer if described is not None else None

    def _who_may_call(self, context: Context, this: str) -> frozenset[SpiffeID]:
        """Return the identities of all remotes' controllers; unknown where there may be one that nobody can read."""
        context.members(self._all, this)
        return frozenset(context.get(self.identities, this) or ())

    # --- for who asks

    def peer(self, name: str) -> Peer | None:
        """Return a remote as it was given last."""
        described = self.objects.get(name)
        return described.peer if isinstance(described, Described) else None

    def all(self) -> dict[str, Remote]:
        """Return all remotes as they were given last."""
        peers = {name: self.peer(name) for name in self.objects.known_keys()}
        return {name: peer.remote for name, peer in peers.items() if peer is not None}

    def with_identity(self, identity: SpiffeID) -> tuple[str, ...]:
        """Return the remotes whose controller has this identity, sorted."""
        return tuple(self.by_identity.members(identity))

    # --- objects

    def guard(self, mesh: LocalMesh | None) -> tuple[istio.Manifest, ...] | None:
        """Return what lets the remotes' controllers call this mesh's discovery service; ``None`` where unknown."""
        callers = self.callers.get(THIS)
        if mesh is None:
            return ()
        if not isinstance(callers, frozenset):
            return None
        return istio.peer_authentication(mesh), istio.authorization_policy(mesh, callers)

    def discovery(self, mesh: LocalMesh | None, name: str) -> tuple[istio.Manifest, ...] | None:
        """Return how a remote's discovery service is reached, ``None`` where unknown; nothing for this mesh itself."""
        if mesh is None:
            return ()
        if self.peers.why_unknown(name):
            return None
        peer = self.peers.get(name)
        if not isinstance(peer, Peer) or ourselves(mesh, peer.remote) is not None:
            return ()
        objects = (istio.discovery_entry(mesh, peer.remote), istio.discovery_rule(mesh, peer.remote))
        return tuple(manifest for manifest in objects if manifest is not None)


def ourselves(mesh: LocalMesh, remote: Remote) -> Decision | None:
    """Return why nothing may be made of a remote: it has the name or the network of this mesh."""
    if remote.name == mesh.name:
        return Decision(
            accepted=False,
            reason=Reason.NAME_CONFLICT,
            message=f"RemoteMesh {remote.name} has the name of this mesh itself (MeshFederation {mesh.name}); a remote "
            "mesh is named as its own MeshFederation",
        )
    if remote.network and remote.network == mesh.network:
        return Decision(
            accepted=False,
            reason=Reason.NAME_CONFLICT,
            message=f"RemoteMesh {remote.name} has `network: {remote.network}`, which is this mesh's own "
            f"(MeshFederation {mesh.name}); every mesh needs a network of its own",
        )
    return None


def _counted(_name: str, peer: Peer) -> tuple[str, SpiffeID]:
    return THIS, peer.remote.identity


def _identity_of(_name: str, peer: Peer) -> tuple[SpiffeID, ...]:
    return (peer.remote.identity,)


def _network_of(_name: str, peer: Peer) -> tuple[str, ...]:
    return (peer.remote.network,) if peer.remote.network else ()
