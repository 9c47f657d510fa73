"""The MeshFederations of the namespace, of which one is in force, and the mesh that it describes."""

from __future__ import annotations

from meshfed.api.v1alpha1 import Export, MeshFederation
from meshfed.derive import Graph, Input
from meshfed.model.meshes import LocalMesh, MeshConfig
from meshfed.plan import meshes
from meshfed.plan.inputs import ClusterInputs
from meshfed.plan.values import THIS, Settings


class Federations:
    """The oldest is in force; one that is being deleted is there no more.

    Where those that are left are all unknown, the one that was in force stays so. Which one that is, and which mesh it
    describes, is known as soon as one changes: who is dialled goes by that.
    """

    def __init__(self, graph: Graph, settings: Settings, inputs: ClusterInputs) -> None:
        self._settings = settings
        self._meshes = inputs.meshes
        self.objects = Input[str, MeshFederation](graph, "MeshFederation")
        self.in_force = Input[str, MeshFederation](graph, "the MeshFederation in force")
        self.exports = Input[str, Export](graph, "what is exported by")
        """The `export` of the one in force."""
        self.mesh: LocalMesh | None = None
        """This mesh as the one in force describes it."""
        self._config = MeshConfig()

    def change(self, name: str, federation: MeshFederation | None) -> None:
        """Take in a MeshFederation; its status, which we write ourselves, changes nothing."""
        before = self.objects.get(name)
        if federation is not None and federation.metadata.deletion_timestamp:
            federation = None
        if isinstance(before, MeshFederation) and federation is not None and _head(before) == _head(federation):
            return
        self.objects.put(name, federation)
        self._choose()

    def mesh_config_changed(self, config: MeshConfig) -> None:
        """Take in what the mesh's own configuration states."""
        self._config = config
        self._choose()

    def unknown(self, name: str, reason: str) -> None:
        """Take note of a MeshFederation of which nobody can say what it is."""
        self.objects.unknown(name, reason)

    def known(self, name: str) -> None:
        """Take note that a MeshFederation is what was given since, or gone."""
        self.objects.clear(name)
        self._choose()

    def _choose(self) -> None:
        found = [self.objects.get(name) for name in self.objects.known_keys()]
        known = [one for one in found if isinstance(one, MeshFederation)]
        if found and not known:
            return
        in_force = min(known, key=_age, default=None)
        self.mesh = meshes.local_mesh(in_force, self._settings, self._config) if in_force is not None else None
        self.in_force.put(THIS, in_force)
        self.exports.put(THIS, in_force.spec.export if in_force is not None else None)
        self._meshes.put(THIS, self.mesh)


def _age(federation: MeshFederation) -> tuple[str, str]:
    return federation.metadata.creation_timestamp, federation.metadata.name


def _head(federation: MeshFederation) -> tuple[object, ...]:
    """What of a MeshFederation decides anything; its status, which we write ourselves, is not part of it."""
    meta = federation.metadata
    return (meta.uid, meta.generation, meta.creation_timestamp, federation.spec)
