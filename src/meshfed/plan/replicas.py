"""The replicas of a mesh's controller, as each says of itself in a Lease of its own: who it is, its version, and which
remotes subscribe to this mesh's exports there.

It is for a replica what the identity Lease is for a kube-apiserver (``GenericAPIServer``'s post-start hook): not by
which somebody is elected, but that there is one, and until when that counts. Its holder is the replica's name in leader
election, so that it is known which of them leads. Times on it are for people: whether a replica lives, each reader
judges by a steady clock of its own, from when it saw the Lease change last (`meshfed.plan.subscriptions`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from meshfed.api.v1alpha1 import GROUP, OWNER_NAMESPACE_LABEL
from meshfed.model.names import MAX_LABEL

if TYPE_CHECKING:
    from meshfed.istio.metadata import Manifest

REPLICA_LABEL: Final = f"{GROUP}/replica"
"""On the Lease of a replica: ``true``."""
VERSION_ANNOTATION: Final = f"{GROUP}/version"
"""On the Lease of a replica: Meshfed's version there."""
WITHDRAWN_ANNOTATION: Final = f"{GROUP}/withdrawn"
"""On the Lease of a replica: JSON, what was withdrawn lately from remotes that said there that they import it."""
SUBSCRIBERS_ANNOTATION: Final = f"{GROUP}/subscribers"
"""On the Lease of a replica: JSON, by the name of its RemoteMesh each remote that subscribes there."""
PREFIX: Final = "meshfed-replica-"
DURATION: Final = 40
"""Seconds after its last change for which a Lease says that its replica lives: four renewals."""
_LONGEST: Final = 2**31
"""Seconds; the field has room for fewer."""

_DIGEST: Final = 8


class Subscription(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a remote subscribes: since when (RFC 3339, by the replica's clock), and in which dialect, delta or sotw.

    ``imports``: how many of this mesh's hosts it says that it has in place; ``None`` where it does not say.
    """

    since: str
    dialect: str
    imports: int | None = None


class Withdrawn(msgspec.Struct, frozen=True):
    """A Service that was withdrawn from ``remotes`` which have it in place, as ``host``, and when (RFC 3339)."""

    namespace: str
    name: str
    host: str
    remotes: tuple[str, ...]
    at: str


class Replica(msgspec.Struct, frozen=True):
    """One replica of this mesh's controller.

    ``name`` is its Lease's, ``holder`` what it is called in leader election, ``renewed`` when it last wrote (RFC 3339,
    by its own clock), ``duration`` for how many seconds that counts. ``subscribers`` by the name of their RemoteMesh.
    ``withdrawn``: what was withdrawn lately from those that have it in place.
    """

    name: str
    holder: str = ""
    version: str = ""
    renewed: str = ""
    duration: float = DURATION
    subscribers: dict[str, Subscription] = {}
    withdrawn: tuple[Withdrawn, ...] = ()

    @property
    def host(self) -> str:
        """The pod or host that it runs on, as a label of DNS: what people know it by."""
        return self.name.removeprefix(PREFIX)


_read_subscribers: Final = msgspec.json.Decoder(dict[str, Subscription]).decode
_read_withdrawn: Final = msgspec.json.Decoder(tuple[Withdrawn, ...]).decode


def replica_of(manifest: Mapping[str, Any]) -> Replica:
    """Return the replica that a Lease is of; whatever of the Lease cannot be read counts as not stated."""
    metadata, spec = manifest["metadata"], manifest.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    duration = spec.get("leaseDurationSeconds")
    annotations = metadata.get("annotations") or {}
    try:
        subscribers = _read_subscribers(annotations.get(SUBSCRIBERS_ANNOTATION, "{}"))
    except (msgspec.DecodeError, RecursionError):
        subscribers = {}
    try:
        withdrawn = _read_withdrawn(annotations.get(WITHDRAWN_ANNOTATION, "[]"))
    except (msgspec.DecodeError, RecursionError):
        withdrawn = ()
    return Replica(
        name=metadata["name"],
        holder=str(spec.get("holderIdentity") or ""),
        version=annotations.get(VERSION_ANNOTATION, ""),
        renewed=str(spec.get("renewTime") or ""),
        duration=float(duration) if isinstance(duration, int) and 0 < duration < _LONGEST else DURATION,
        subscribers=subscribers,
        withdrawn=withdrawn,
    )


def replica_lease(before: Manifest | None, replica: Replica, namespace: str) -> Manifest:
    """Return the Lease that says all that ``replica`` is, in the place of ``before``, which may be of somebody else."""
    before = before or {}
    metadata, spec = before.get("metadata") or {}, before.get("spec") or {}
    same = spec.get("holderIdentity") == replica.holder
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": metadata
        | {
            "name": replica.name,
            "namespace": namespace,
            "labels": (metadata.get("labels") or {}) | {REPLICA_LABEL: "true", OWNER_NAMESPACE_LABEL: namespace},
            "annotations": {
                key: value for key, value in (metadata.get("annotations") or {}).items() if key != WITHDRAWN_ANNOTATION
            }
            | {
                VERSION_ANNOTATION: replica.version,
                SUBSCRIBERS_ANNOTATION: msgspec.json.encode(replica.subscribers, order="deterministic").decode(),
            }
            | ({WITHDRAWN_ANNOTATION: msgspec.json.encode(replica.withdrawn).decode()} if replica.withdrawn else {}),
        },
        "spec": {
            "holderIdentity": replica.holder,
            "leaseDurationSeconds": int(replica.duration),
            "acquireTime": spec.get("acquireTime") if same else replica.renewed,
            "renewTime": replica.renewed,
        },
    }


def replica_selector(namespace: str) -> str:
    """Return the label selector of the Leases of all replicas of the installation in ``namespace``."""
    return f"{REPLICA_LABEL}=true,{OWNER_NAMESPACE_LABEL}={namespace}"


def lease_name(identity: str) -> str:
    """Return the name of the Lease of a replica, by what it is called in leader election: ``<host>_<UUID>``."""
    return PREFIX + _label(identity.rpartition("_")[0] or identity)


def lease_name_beside(identity: str) -> str:
    """Return another name for it, which no other process has: for two of them on one host."""
    return PREFIX + _label(f"{identity.rpartition('_')[0]}-{_digest(identity)}")


def _label(text: str) -> str:
    """Make a part of a DNS label of ``text``; one that is too long is told from others by a digest."""
    label, limit = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-"), MAX_LABEL - len(PREFIX)
    if not label or len(label) > limit:
        label = f"{label[: limit - _DIGEST - 1]}-{_digest(text)}".strip("-")
    return label


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
