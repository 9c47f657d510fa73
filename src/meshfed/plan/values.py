"""The values that go into and come out of the plan, beside the Kubernetes objects themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from meshfed.api.meta import RefusedCount
from meshfed.istio.metadata import Manifest
from meshfed.model.imports import Import
from meshfed.model.installation import CONTROLLER_APP, NAMESPACE
from meshfed.model.offers import Offer
from meshfed.model.probes import Probe
from meshfed.model.reasons import Condition, ConditionType, Decision, Reason
from meshfed.plan.keys import Key

THIS: Final = "this"
"""The key of what there is one of: this mesh."""
Place = tuple[str, str]
"""Namespace and name of an object, where its kind is known."""
Ref = tuple[str, str, str]
"""Kind, namespace and name of an object of the cluster."""


class Settings(msgspec.Struct, frozen=True):
    """What this installation knows without asking the cluster.

    ``namespace`` is where the controller, its MeshFederation and its RemoteMeshes are; ``controller_selector``
    finds the controller's own pods. ``account`` has namespace and name of the ServiceAccount that these run as; without
    it, that is taken to be what other meshes expect by default.
    """

    namespace: str = NAMESPACE
    controller_selector: dict[str, str] = msgspec.field(
        default_factory=lambda: {"app.kubernetes.io/name": CONTROLLER_APP}
    )
    metrics_port: int = 8080
    health_port: int = 8081
    probing: bool = True
    """Whether the ways into remote meshes are proven."""
    account: Place | None = None


class RemoteConnection(msgspec.Struct, frozen=True):
    """How the discovery of one remote stands. Changes only with a transition, so ``since`` may be a time (RFC 3339).

    ``reason`` and ``message`` speak of the connection (Connected, Connecting, Unreachable, PermissionDenied);
    ``sync_reason`` and ``sync_message`` of what came over it (Synced, NotSynced, WithdrawalHeld, Stale).
    ``unrecorded`` counts offers that got no FederatedService, by reason, ``held`` those whose withdrawal is held.
    """

    connected: bool = False
    synced: bool = False
    reason: Reason = Reason.CONNECTING
    message: str = "the first connection is being made"
    sync_reason: Reason = Reason.NOT_SYNCED
    sync_message: str = "its whole offer has not been received yet"
    dialect: str = ""
    identity: str = ""
    since: str = ""
    last_connected: str = ""
    last_sync: str = ""
    unrecorded: dict[Reason, int] = {}
    held: int = 0
    held_since: str = ""


class Applied(msgspec.Struct, frozen=True):
    """The engine's verdict on the objects of one key: all in place, being written, or failing.

    ``terminating``: something that the key wanted before is not gone yet.
    """

    state: Literal["applied", "pending", "failed"]
    reason: Reason = Reason.APPLIED
    message: str = ""
    terminating: bool = False


class Reached(msgspec.Struct, frozen=True):
    """What was seen of the way to a remote, and whether it has been broken for so long that it is worth an Event."""

    condition: Condition
    lasting: bool


class FailedWrites(msgspec.Struct, frozen=True):
    """What could not be written of all that one status tells of: the names, sorted, and the verdict on the first."""

    names: Sequence[str]
    first: Applied


class Published(msgspec.Struct, frozen=True):
    """What one Service offers to other meshes, and to which: ``audience`` names remotes, ``None`` is all of them."""

    offer: Offer
    audience: frozenset[str] | None = None


class Remarks(msgspec.Struct, frozen=True):
    """What else there is to say of a Service that is exported.

    ``selected_by`` says in words what selects it, ``flaws`` why it cannot be reached, or not wholly, and ``message``
    the same in words.
    """

    selected_by: str = ""
    flaws: tuple[Reason, ...] = ()
    message: str = ""


class StatusUpdate(msgspec.Struct, frozen=True):
    """What the status of one of our objects should say; conditions are stamped with times by whoever writes them."""

    kind: Literal["MeshFederation", "RemoteMesh", "FederatedService", "ServiceExport"]
    namespace: str
    name: str
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()
    at_first: tuple[Condition, ...] = ()
    """Conditions that it has only where none of that type stands there yet."""
    ended: tuple[ConditionType, ...] = ()
    """Conditions that it has no more; any other that is not among ``conditions`` stays as it is."""
    fields: Mapping[str, str | int | tuple[str, ...] | tuple[RefusedCount, ...]] = {}
    """The other status fields, under their names in the API (``importedServices``, ``importedAs``, ``objects``)."""


class Outputs(msgspec.Struct, frozen=True):
    """Everything that one key wants: equal inputs give equal outputs, and a key without inputs gives none."""

    objects: tuple[Manifest, ...] = ()
    after: frozenset[Key] = frozenset()
    """Keys whose objects, as they should be now, have to be in place before these are written."""
    export: Published | None = None
    export_decision: Decision | None = None
    """For an ExportKey: why the Service is exported or not; ``None`` where there is no Service."""
    remarks: Remarks | None = None
    """For an ExportKey of a Service that is exported."""
    imported: Import | None = None
    """For an ImportKey: what a host is imported as, from those remotes alone that have an address; ``None`` where no
    object carries it.
    """
    statuses: tuple[StatusUpdate, ...] = ()
    probe: Probe | None = None
    """For an OfferKey or a RemoteKey: what is to be proven of the way there; ``None`` where there is none."""
