"""One object as it is wanted, as it was seen, and what it takes to make the two equal. Pure.

An object is ours in part: everything but ``metadata`` and ``status`` ("the content"), and those labels and
annotations that we set or that lie in our domains. The rest of its metadata and its status are others', and a
replacement carries them over.

Of what is seen, a digest of the content is kept, not the content: ten thousand objects are watched for the sake of
the few that differ.
"""

from __future__ import annotations

import hashlib
import sys
import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from meshfed.kube.resources import Manifest, ObjectKey, Resource

Pairs = tuple[tuple[str, str], ...]
"""Labels or annotations, sorted."""

_WINDOW: Final = -12
"""As zlib has it: no header, and what is alike is found within four kilobytes."""
_first: Final[dict[tuple[str, str], bytes]] = {}
"""By group and kind, what the first said that was wanted."""
_NOT_CONTENT: Final = ("apiVersion", "kind", "metadata", "status")
_OUR_METADATA: Final = frozenset({"name", "namespace", "labels", "annotations"})
_METADATA_TO_SEND: Final = _OUR_METADATA | {"uid", "resourceVersion", "finalizers", "ownerReferences"}


class Desired(msgspec.Struct, frozen=True, gc=False):
    """An object that should exist: ``content`` is canonical JSON, deflated as what follows on ``like``."""

    key: ObjectKey
    content: bytes
    like: bytes
    digest: bytes
    labels: Pairs
    annotations: Pairs


class Observed(msgspec.Struct, frozen=True, gc=False):
    """An object as last seen. ``plain``: it has no status and no metadata that a replacement would have to carry."""

    uid: str
    resource_version: str
    digest: bytes
    labels: Pairs
    annotations: Pairs
    deleting: bool
    paused: bool
    plain: bool
    refused: str = ""
    """Why whoever is to act on it does not, as its status says."""


def desire(manifest: Mapping[str, Any], owner_labels: Mapping[str, str]) -> Desired:
    """``manifest`` with the owner's labels; its status, if any, is left out.

    Thousands of a kind say nearly the same: what they say is kept as a difference to the first of them.

    ``ValueError`` where it is no object, or sets metadata that is not ours to set.
    """
    try:
        key = ObjectKey.of(manifest)
        metadata = manifest["metadata"]
    except KeyError as error:
        raise ValueError(f"a wanted object has no {error}") from None
    if not_ours := metadata.keys() - _OUR_METADATA:
        raise ValueError(f"{key}: metadata.{min(not_ours)} cannot be wanted, only name, namespace, labels, annotations")
    content = _content(manifest)
    like = _first.setdefault((key.group, key.kind), content)
    deflate = zlib.compressobj(1, wbits=_WINDOW, memLevel=1, zdict=like)
    labels = dict(metadata.get("labels") or {}) | dict(owner_labels)
    kept = deflate.compress(content) + deflate.flush()
    return Desired(key, kept, like, _digest(content), _shared(_pairs(labels)), _pairs(metadata.get("annotations")))


def in_place(desired: Desired, observed: Observed) -> Desired:
    """``desired``, once it is in place: what is seen of it just so is kept once."""
    if (desired.digest, desired.annotations) != (observed.digest, observed.annotations):
        return desired
    return msgspec.structs.replace(desired, digest=observed.digest, annotations=observed.annotations)


def observe(
    live: Mapping[str, Any], paused: Callable[[Mapping[str, Any]], bool], refused: Callable[[Mapping[str, Any]], str]
) -> Observed:
    """What is kept of a live object."""
    metadata = live["metadata"]
    return Observed(
        uid=metadata.get("uid", ""),
        resource_version=metadata.get("resourceVersion", ""),
        digest=_digest(_content(live)),
        labels=_shared(_pairs(metadata.get("labels"))),
        annotations=_pairs(metadata.get("annotations")),
        deleting="deletionTimestamp" in metadata,
        paused=paused(metadata),
        plain=not (metadata.get("finalizers") or metadata.get("ownerReferences") or live.get("status")),
        refused=refused(live),
    )


def same_metadata(desired: Desired, observed: Observed, ours: Callable[[str], bool], *, unless_absent: str) -> bool:
    """Whether our labels and annotations are as wanted, none of ours too many.

    The annotation ``unless_absent`` may be missing: no object is written for that alone.
    """
    annotations = desired.annotations
    if annotations != observed.annotations and all(name != unless_absent for name, _ in observed.annotations):
        annotations = tuple(pair for pair in annotations if pair[0] != unless_absent)
    return _same_pairs(desired.labels, observed.labels, ours) and _same_pairs(annotations, observed.annotations, ours)


def new(desired: Desired, resource: Resource) -> Manifest:
    """What to create."""
    return _manifest(desired, resource, {"labels": dict(desired.labels), "annotations": dict(desired.annotations)})


def replacement_of_plain(
    desired: Desired, resource: Resource, observed: Observed, ours: Callable[[str], bool]
) -> Manifest:
    """What to put in place of a plain object, from what was kept of it."""
    return _manifest(
        desired,
        resource,
        {
            "uid": observed.uid,
            "resourceVersion": observed.resource_version,
            "labels": _merged(desired.labels, dict(observed.labels), ours),
            "annotations": _merged(desired.annotations, dict(observed.annotations), ours),
        },
    )


def replacement(desired: Desired, resource: Resource, live: Mapping[str, Any], ours: Callable[[str], bool]) -> Manifest:
    """What to put in place of ``live``: with others' metadata and its status carried over."""
    metadata = {key: value for key, value in live["metadata"].items() if key in _METADATA_TO_SEND}
    metadata["labels"] = _merged(desired.labels, metadata.get("labels") or {}, ours)
    metadata["annotations"] = _merged(desired.annotations, metadata.get("annotations") or {}, ours)
    manifest = _manifest(desired, resource, metadata)
    if "status" in live:
        manifest["status"] = live["status"]
    return manifest


def _manifest(desired: Desired, resource: Resource, metadata: Mapping[str, Any]) -> Manifest:
    named = {"name": desired.key.name} | ({"namespace": desired.key.namespace} if desired.key.namespace else {})
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": named | {key: value for key, value in metadata.items() if value},
        **msgspec.json.decode(zlib.decompressobj(_WINDOW, zdict=desired.like).decompress(desired.content)),
    }


def _content(manifest: Mapping[str, Any]) -> bytes:
    content = {key: value for key, value in manifest.items() if key not in _NOT_CONTENT}
    return msgspec.json.encode(content, order="sorted")


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _pairs(values: Mapping[str, str] | None) -> Pairs:
    # The same few keys stand on thousands of objects.
    return tuple(sorted(zip(map(sys.intern, values), values.values(), strict=True))) if values else ()


@lru_cache(maxsize=8)
def _shared(labels: Pairs) -> Pairs:
    """Return the one that is kept of equal ones: thousands of objects in a row have the same labels."""
    return labels


def _same_pairs(desired: Pairs, observed: Pairs, ours: Callable[[str], bool]) -> bool:
    if desired == observed:
        return True
    wanted = dict(desired)
    return wanted == {key: value for key, value in observed if key in wanted or ours(key)}


def _merged(desired: Pairs, live: Mapping[str, str], ours: Callable[[str], bool]) -> dict[str, str]:
    return {key: value for key, value in live.items() if not ours(key)} | dict(desired)
