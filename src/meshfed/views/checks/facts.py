"""What checks go by: everything that was read, asked and tried, before anything is judged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from meshfed.api.v1alpha1 import RemoteMesh
from meshfed.model.installation import NAMESPACE
from meshfed.model.probes import Finding, Probe, Way
from meshfed.model.reasons import Condition
from meshfed.plan import Plan, Settings
from meshfed.plan.meshes import remote as remote_of
from meshfed.plan.values import Place
from meshfed.plan.ways import of_discovery
from meshfed.views.importers import ImportersSeen
from meshfed.views.snapshot import Document, Snapshot


class Need(msgspec.Struct, frozen=True, order=True):
    """A permission. Without a ``namespace`` it is for all of the cluster; ``resource`` may have a subresource."""

    group: str
    resource: str
    verb: str
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        resource = f"{self.resource}.{self.group}" if self.group else self.resource
        what = f"{self.verb} {resource}" + (f" {self.name}" if self.name else "")
        return f"{what} in {self.namespace}" if self.namespace else what


class Reviewed(msgspec.Struct, frozen=True):
    """What the API server said to an access review; ``allowed`` is ``None`` where it could not be asked, and why."""

    allowed: bool | None
    why: str = ""


class Root(msgspec.Struct, frozen=True):
    """A certificate authority that this mesh trusts, and when its certificate ends."""

    subject: str
    ends: datetime
    sha256: str = ""


class Proof(msgspec.Struct, frozen=True):
    """What became of asking a controller for a proof: it has handled it, or ``why`` not."""

    handled: bool
    why: str = ""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What was found out of one mesh.

    ``plan`` is what a controller would make of the snapshot; ``None`` where something of that could not be read.
    ``access`` answers for the controller's ServiceAccount, ``own`` for who runs the command. ``findings`` are
    handshakes made from here, ``None`` where nobody asked for any.
    """

    snapshot: Snapshot
    plan: Plan | None = None
    access: Mapping[Need, Reviewed] = {}
    own: Mapping[Need, Reviewed] = {}
    roots: tuple[Root, ...] = ()
    no_roots: str = ""
    findings: Mapping[Way, Finding] | None = None
    proofs: Mapping[str, Proof] = {}
    others: tuple[Facts, ...] = ()
    """All meshes that were looked at together, this one included, as they were found one by one; none of one alone."""
    importers: ImportersSeen | None = None
    """What the replicas of the controller know of who imports from this mesh; ``None`` where they were not asked."""
    before: bool = False
    """Whether there is to be an installation, and is none yet."""
    remote: str = ""
    """The one RemoteMesh that is asked about; empty: all."""

    @property
    def control_plane(self) -> str:
        """The namespace of istiod."""
        return control_plane(self.snapshot)

    @property
    def remotes(self) -> tuple[RemoteMesh, ...]:
        """The RemoteMeshes that are asked about."""
        return tuple(one for one in self.snapshot.remotes if self.remote in ("", one.metadata.name))

    def unread(self, *kinds: str) -> str:
        """Return why objects of one of ``kinds`` are not known; empty where they are."""
        return next((self.snapshot.unread[kind] for kind in kinds if kind in self.snapshot.unread), "")

    def decided(self, kind: str, name: str, type_: str) -> Condition | None:
        """Return the condition that a controller would give an object now; ``None`` where that is not known."""
        updates = self.plan.statuses if self.plan is not None else ()
        found = next((one for one in updates if (one.kind, one.name) == (kind, name)), None)
        conditions = found.conditions if found is not None else ()
        return next((one for one in conditions if one.type == type_), None)


def control_plane(snapshot: Snapshot) -> str:
    """Return the namespace of istiod, as the MeshFederation in force has it."""
    return next((one.spec.control_plane_namespace for one in snapshot.federations), NAMESPACE)


# --- objects as they come


def labels(document: Document) -> Mapping[str, str]:
    """Return the labels of an object."""
    return (document.get("metadata") or {}).get("labels") or {}


def annotated(document: Document) -> Mapping[str, str]:
    """Return the annotations of an object."""
    return (document.get("metadata") or {}).get("annotations") or {}


def place(document: Document) -> Place:
    """Return namespace and name of an object."""
    metadata = document.get("metadata") or {}
    return str(metadata.get("namespace") or ""), str(metadata.get("name") or "")


def selected(documents: Iterable[Document], selector: Mapping[str, str]) -> Iterator[Document]:
    """Yield the objects whose labels have all of ``selector``."""
    return (one for one in documents if selector.items() <= labels(one).items())


def is_ready(pod: Document) -> bool:
    """Whether a Pod is ready, and is to stay."""
    if (pod.get("metadata") or {}).get("deletionTimestamp"):
        return False
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def containers(pod: Document) -> Iterator[Mapping[str, Any]]:
    """Yield the containers of a Pod, those that are started first too."""
    spec = pod.get("spec") or {}
    yield from spec.get("initContainers") or ()
    yield from spec.get("containers") or ()


# --- the controller


def controllers(snapshot: Snapshot) -> tuple[Document, ...]:
    """Return the Pods of the controller."""
    pods = (pod for pod in snapshot.of_kind("Pod") if place(pod)[0] == snapshot.namespace)
    return tuple(selected(pods, Settings().controller_selector))


def arguments(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the arguments that the controller was started with; none where no Pod of it is known."""
    found = (one.get("args") or () for pod in controllers(snapshot) for one in containers(pod))
    return next((tuple(map(str, args)) for args in found if "controller" in args), ())


def flag(snapshot: Snapshot, name: str, default: str) -> str:
    """Return what the controller was told by a flag such as ``--trust-bundle``."""
    given = arguments(snapshot)
    for position, argument in enumerate(given):
        if argument.startswith(f"{name}="):
            return argument.partition("=")[2]
        if argument == name and position + 1 < len(given):
            return given[position + 1]
    return default


def account(snapshot: Snapshot) -> Place | None:
    """Return namespace and name of the ServiceAccount that the controller runs as; ``None`` where it is not known."""
    found = ((pod.get("spec") or {}).get("serviceAccountName") for pod in controllers(snapshot))
    return next(((snapshot.namespace, name) for name in found if name), None)


# --- what is tried from here


def way_of(remote: RemoteMesh) -> Probe | None:
    """Return how a remote's discovery service is reached through its gateway, as the controller proves it."""
    return of_discovery(remote_of(remote))
