"""What a cluster would hold with the objects of files laid over what it holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from meshfed.api.times import timestamp
from meshfed.api.v1alpha1 import GROUP
from meshfed.views.snapshot import Document, Snapshot

_PRUNED: Final = frozenset({"MeshFederation", "RemoteMesh"})
_FROM_THE_SERVER: Final = ("creationTimestamp", "uid", "resourceVersion", "generation")
_Name = tuple[str, str, str, str]
"""API group, kind, namespace, name."""


def laid_over(
    snapshot: Snapshot, objects: Iterable[tuple[str, Document]], *, prune: bool = False
) -> list[tuple[str, Document]]:
    """Return the objects of a cluster once ``objects`` are applied; one of the same kind and name takes its place.

    Each comes with where it is from. What the API server says of an object stays, and a new one is as old as the
    snapshot. With ``prune`` the MeshFederations and RemoteMeshes that are not among ``objects`` are gone; nothing else
    ever is.
    """
    held = {_name(one, snapshot.namespace): (snapshot.source, one) for one in snapshot.objects}
    given = {_name(one, snapshot.namespace): (source, one) for source, one in objects}
    gone = {name for name in held.keys() - given.keys() if prune and name[0] == GROUP and name[1] in _PRUNED}
    made = timestamp(snapshot.taken)
    applied = {
        name: (source, _applied(one, held[name][1] if name in held else None, name[2], made))
        for name, (source, one) in given.items()
    }
    return list(({name: one for name, one in held.items() if name not in gone} | applied).values())


def _name(one: Document, namespace: str) -> _Name:
    metadata = _metadata(one)
    group, kind = str(one.get("apiVersion", "")).rpartition("/")[0], str(one.get("kind", ""))
    default = "" if (group, kind) == ("", "Namespace") else namespace if group == GROUP else "default"
    return group, kind, str(metadata.get("namespace") or default), str(metadata.get("name", ""))


def _applied(one: Document, held: Document | None, namespace: str, made: str) -> Document:
    """Return an object as the API server would have it, with the one that it takes the place of, if there is one."""
    metadata = _metadata(one) | ({"namespace": namespace} if namespace else {})
    if held is None:
        return one | {"metadata": {"creationTimestamp": made} | metadata}
    metadata |= {field: held["metadata"][field] for field in _FROM_THE_SERVER if field in held["metadata"]}
    return one | {"metadata": metadata} | ({"status": held["status"]} if "status" in held else {})


def _metadata(one: Document) -> Document:
    metadata = one.get("metadata")
    return metadata if isinstance(metadata, dict) else {}
