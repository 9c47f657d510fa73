"""How objects go: at once, or marked and held until their finalizers are released."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from meshfed_sandbox.apiserver import errors
from meshfed_sandbox.apiserver.behaviours import IMMORTAL, NAMESPACES
from meshfed_sandbox.apiserver.resources import Resource
from meshfed_sandbox.apiserver.store import Collection, Key, Store, Stored, timestamp

JSONObject = dict[str, Any]

FOREGROUND: Final = "foregroundDeletion"
ORPHAN: Final = "orphan"


class DeleteOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to delete; ``propagation`` is ``Background``, ``Foreground``, ``Orphan``; empty: as before."""

    propagation: str = ""
    uid: str = ""
    version: str = ""
    dry_run: bool = False


class Deletion(NamedTuple):
    """What a deletion left: the object as last seen, and whether it is gone rather than waiting for finalizers."""

    stored: Stored
    gone: bool


def is_done(storage: tuple[str, str], obj: JSONObject) -> bool:
    """Whether ``obj`` waits for its end and nothing holds it any more; the end of a Namespace is the collector's."""
    meta = obj["metadata"]
    return bool(meta.get("deletionTimestamp")) and not meta.get("finalizers") and storage != NAMESPACES


class Deleter:
    """Deletes from ``store``; ``now`` is the time that is written into objects."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    def delete(self, resource: Resource, key: Key, options: DeleteOptions) -> Deletion:
        """Delete what is there, or mark it where finalizers hold it."""
        collection = self._store.collection(*resource.storage)
        stored = collection.get(key)
        if stored is None:
            raise errors.not_found(resource.group, resource.plural, key.name)
        self._preconditions(resource, stored, options)
        is_namespace = resource.storage == NAMESPACES
        if is_namespace and key.name in IMMORTAL:
            raise errors.forbidden("", resource.plural, key.name, "this namespace may not be deleted")
        finalizers = list(stored.metadata.get("finalizers") or ())
        if options.propagation:
            finalizers = [finalizer for finalizer in finalizers if finalizer not in {FOREGROUND, ORPHAN}]
        if options.propagation == "Foreground":
            finalizers.append(FOREGROUND)
        elif options.propagation == "Orphan":
            finalizers.append(ORPHAN)
        if not finalizers and not is_namespace:
            return Deletion(stored if options.dry_run else collection.remove(key), gone=True)
        return Deletion(self._mark(collection, stored, finalizers, options), gone=False)

    def release(self, collection: Collection, stored: Stored, changes: JSONObject) -> None:
        """Write back ``stored`` with its metadata changed by ``changes``; remove it where nothing holds it any more."""
        obj = stored.copy()
        obj["metadata"] = {key: value for key, value in (obj["metadata"] | changes).items() if value != []}
        if is_done(collection.storage, obj):
            collection.remove(stored.key)
        else:
            collection.put(stored.key, obj)

    def _mark(self, collection: Collection, stored: Stored, finalizers: list[str], options: DeleteOptions) -> Stored:
        obj = stored.copy()
        meta = obj["metadata"]
        if not meta.get("deletionTimestamp"):
            meta["deletionTimestamp"] = timestamp(self._now())
            meta["deletionGracePeriodSeconds"] = 0
            if meta.get("generation"):
                meta["generation"] += 1
        if finalizers:
            meta["finalizers"] = finalizers
        if collection.storage == NAMESPACES:
            obj["status"] = {**obj.get("status", {}), "phase": "Terminating"}
        if obj == stored.copy():
            return stored
        return Stored(stored.key, obj, stored.version) if options.dry_run else collection.put(stored.key, obj)

    def _preconditions(self, resource: Resource, stored: Stored, options: DeleteOptions) -> None:
        for what, wanted, actual, likely in (
            ("UID", options.uid, stored.uid, "deleted and then recreated"),
            ("ResourceVersion", options.version, str(stored.version), "modified"),
        ):
            if wanted and wanted != actual:
                why = (
                    f"the {what} in the precondition ({wanted}) does not match the {what} in record ({actual}). "
                    f"The object might have been {likely}"
                )
                raise errors.conflict(resource.group, resource.kind, stored.key.name, why)
