"""The MeshFederations of the namespace, of which one is in force, and the mesh that it describes."""

from __future__ import annotations

from meshfed.api.v1alpha1 import MeshFederation
from meshfed.model.meshes import LocalMesh
from meshfed.plan import meshes
from meshfed.plan.values import Settings


class Federations:
    """The oldest is in force; one that is being deleted is there no more."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._objects: dict[str, MeshFederation] = {}
        self.in_force: MeshFederation | None = None
        """The one in force."""
        self.mesh: LocalMesh | None = None
        """This mesh as the one in force describes it."""

    def change(self, name: str, federation: MeshFederation | None) -> bool:
        """Take in a MeshFederation; says whether anything about it is another, its status apart."""
        before = self._objects.pop(name, None)
        if federation is not None and not federation.metadata.deletion_timestamp:
            self._objects[name] = federation
        self.in_force = min(self._objects.values(), key=_age, default=None)
        known = self._objects.get(name)
        if before is not None and known is not None and _head(before) == _head(known):
            return False
        self.mesh = meshes.local_mesh(self.in_force, self._settings) if self.in_force is not None else None
        return True

    def all(self) -> list[MeshFederation]:
        """Return all there are, sorted by name."""
        return [federation for _, federation in sorted(self._objects.items())]


def _age(federation: MeshFederation) -> tuple[str, str]:
    return federation.metadata.creation_timestamp, federation.metadata.name


def _head(federation: MeshFederation) -> tuple[object, ...]:
    """What of a MeshFederation decides anything; its status, which we write ourselves, is not part of it."""
    meta = federation.metadata
    return (meta.uid, meta.generation, meta.creation_timestamp, federation.spec)
