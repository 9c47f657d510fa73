"""The remote meshes: what each is, and which of them cannot be told apart.

Indexed by identity and by network, so that a change to one RemoteMesh asks only about those that share either.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from meshfed.api.v1alpha1 import ImportPolicy, RemoteMesh
from meshfed.derive import Graph, Input
from meshfed.model.identity import SpiffeID
from meshfed.model.meshes import LocalMesh, Remote
from meshfed.model.reasons import Decision, Reason
from meshfed.plan import meshes
from meshfed.plan.keys import Mark, MeshKey, MeshStatusKey, RemoteKey, RemoteStatusKey

_Shared = TypeVar("_Shared", SpiffeID, str)


class Peer(msgspec.Struct, frozen=True):
    """A RemoteMesh that is in force: the mesh it describes, and what is imported from it."""

    remote: Remote
    rules: ImportPolicy | None
    outlier_detection: dict[str, str | int | bool] | None = None


class Remotes:
    """The RemoteMeshes of the namespace; one that is being deleted is there no more, but for its status."""

    def __init__(self, graph: Graph, mark: Mark) -> None:
        self._mark = mark
        self.peers = Input[str, Peer](graph, "RemoteMesh")
        """Those in force, for what is derived."""
        self._objects: dict[str, RemoteMesh] = {}
        self._peers: dict[str, Peer] = {}
        self._unknown: dict[str, str] = {}
        """Those of which nobody can say what they are, and why."""
        self._by_identity: dict[SpiffeID, set[str]] = {}
        self._by_network: dict[str, set[str]] = {}

    def unknown(self, name: str, reason: str) -> None:
        """Take note of a RemoteMesh of which nobody can say what it is."""
        self.peers.unknown(name, reason, name)
        self._unknown[name] = reason
        self._mark(MeshKey())  # who may call is unknown, too

    def known(self, name: str) -> None:
        """Take note that a RemoteMesh is what was given since it was ``unknown``, or gone."""
        if name in self._unknown:
            self.change(name, None)

    def why_unknown(self, name: str | None = None) -> str:
        """Return why nobody knows what a RemoteMesh is, or one of all; empty where that is known."""
        if name is not None:
            return self._unknown.get(name, "")
        return next(iter(self._unknown.values()), "")

    def change(self, name: str, mesh: RemoteMesh | None) -> bool:
        """Take in a RemoteMesh; says whether anything that its imports depend on has changed."""
        before, known = self._peers.get(name), self._objects.get(name)
        if self._unknown.pop(name, None) is not None:
            self.peers.put(name, None, name)
            self._mark(MeshKey())
            self._mark(RemoteKey(name))
            self._mark(RemoteStatusKey(name))
        after = None
        if mesh is not None and not mesh.metadata.deletion_timestamp:
            after = Peer(
                remote=meshes.remote(mesh),
                rules=mesh.spec.import_,
                outlier_detection=meshes.outlier_detection(mesh),
            )
        if mesh is None:
            self._objects.pop(name, None)
        else:
            self._objects[name] = mesh
        if mesh is None or known is None or _head(mesh) != _head(known):
            self._mark(RemoteStatusKey(name))
        if before == after:
            if after is not None and known is not None and mesh is not None and _age(mesh) != _age(known):
                # It was made anew while no watch was there to see it go: which of two is the older may have changed.
                for other in self._by_network[after.remote.network]:
                    self._mark(RemoteStatusKey(other))
            return False
        self._reindex(name, before, after)
        self.peers.put(name, after, name)
        self._mark(RemoteKey(name))
        self._mark(RemoteStatusKey(name))
        self._mark(MeshStatusKey())
        if before is None or after is None or before.remote.identity != after.remote.identity:
            self._mark(MeshKey())
        return True

    def _reindex(self, name: str, before: Peer | None, after: Peer | None) -> None:
        """Move a remote in the indexes, and mark whoever it shared or now shares an identity or a network with."""
        if before is not None:
            self._leave(self._by_identity, before.remote.identity, name)
            self._leave(self._by_network, before.remote.network, name)
            del self._peers[name]
        if after is not None:
            self._join(self._by_identity, after.remote.identity, name)
            self._join(self._by_network, after.remote.network, name)
            self._peers[name] = after

    def _join(self, index: dict[_Shared, set[str]], value: _Shared, name: str) -> None:
        sharing = index.setdefault(value, set())
        for other in sharing:
            self._mark(RemoteStatusKey(other))
        sharing.add(name)

    def _leave(self, index: dict[_Shared, set[str]], value: _Shared, name: str) -> None:
        sharing = index[value]
        sharing.discard(name)
        for other in sharing:
            self._mark(RemoteStatusKey(other))
        if not sharing:
            del index[value]

    def get(self, name: str) -> Peer | None:
        """Return the remote of that name."""
        return self._peers.get(name)

    def object(self, name: str) -> RemoteMesh | None:
        """Return the RemoteMesh of that name, also while it is being deleted."""
        return self._objects.get(name)

    def names(self) -> list[str]:
        """Return the names of all remotes, sorted."""
        return sorted(self._peers)

    def __len__(self) -> int:
        return len(self._peers)

    def with_identity(self, identity: SpiffeID) -> tuple[str, ...]:
        """Return the remotes whose controller has this identity, sorted."""
        return tuple(sorted(self._by_identity.get(identity, ())))

    def identities(self) -> frozenset[SpiffeID]:
        """Return the identities of all remotes' controllers."""
        return frozenset(self._by_identity)

    def is_ourselves(self, mesh: LocalMesh, name: str) -> Decision | None:
        """Return why nothing may be made of this remote: it has the name or the network of this mesh."""
        return ourselves(mesh, self._peers[name].remote)

    def shares_network_with(self, name: str) -> str | None:
        """Return the oldest other remote with the same network, if it is older than this one."""
        network = self._peers[name].remote.network
        if not network:
            return None
        oldest = min(self._by_network[network], key=lambda other: (_age(self._objects[other]), other))
        return oldest if oldest != name else None

    def shares_identity_with(self, mesh: LocalMesh, name: str) -> list[str]:
        """Return who else has this remote's identity, in words for a person."""
        identity = self._peers[name].remote.identity
        others = [f"RemoteMesh {other}" for other in self.with_identity(identity) if other != name]
        return (["this mesh"] if identity == mesh.identity else []) + others


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


def _age(mesh: RemoteMesh) -> str:
    return mesh.metadata.creation_timestamp


def _head(mesh: RemoteMesh) -> tuple[object, ...]:
    """What of a RemoteMesh its status speaks of; its status itself is not part of it."""
    meta = mesh.metadata
    return (meta.uid, meta.generation, meta.creation_timestamp, meta.deletion_timestamp, mesh.spec)
