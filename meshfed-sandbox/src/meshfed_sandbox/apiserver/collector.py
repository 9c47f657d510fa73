"""What a cluster's controllers do about deletion: follow owners, finish the deletion of Namespaces.

It works through a queue that every change of the store feeds, in a task of its own, so that a deletion is answered
before what depends on it goes, as in a real cluster. Its steps follow Kubernetes' garbage collector: an owner that is
gone takes its dependents along (background); one that waits with ``foregroundDeletion`` goes after those that block
it; one with ``orphan`` first lets go of them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from meshfed_sandbox.apiserver import crds
from meshfed_sandbox.apiserver.behaviours import NAMESPACES
from meshfed_sandbox.apiserver.deletes import FOREGROUND, ORPHAN, DeleteOptions, Deleter
from meshfed_sandbox.apiserver.resources import Registry
from meshfed_sandbox.apiserver.store import Collection, Event, Key, Store, Stored

JSONObject = dict[str, Any]
Storage = tuple[str, str]
Place = tuple[Storage, Key]


class Collector:
    """Collects what ``store`` should no longer hold; ``run`` is its task."""

    def __init__(self, store: Store, registry: Registry, deleter: Deleter) -> None:
        self._store = store
        self._registry = registry
        self._deleter = deleter
        self._dependents: dict[str, set[Place]] = {}
        self._places: dict[str, Place] = {}
        self._queue: deque[Place] = deque()
        self._wake = asyncio.Event()

    def follow(self, storage: Storage, event: Event) -> None:
        """Take note of a change, and queue what has to be looked at because of it."""
        place = (storage, event.key)
        if event.before is not None:
            self._forget(place, event.before)
        if event.after is not None:
            self._places[event.after.uid] = place
            for owner in event.after.metadata.get("ownerReferences") or ():
                self._dependents.setdefault(owner["uid"], set()).add(place)
        self._consider(place, event)

    def _forget(self, place: Place, before: Stored) -> None:
        self._places.pop(before.uid, None)
        for owner in before.metadata.get("ownerReferences") or ():
            dependents = self._dependents.get(owner["uid"])
            if dependents is not None:
                dependents.discard(place)
                if not dependents:
                    del self._dependents[owner["uid"]]

    def _consider(self, place: Place, event: Event) -> None:
        changed = event.after or event.before
        assert changed is not None  # noqa: S101  # an event is about something
        meta = changed.metadata
        due: list[Place] = []
        if event.after is None:
            due += self._dependents.get(changed.uid, ())
            due += [self._places[o["uid"]] for o in meta.get("ownerReferences") or () if o["uid"] in self._places]
            namespace = self._store.collection(*NAMESPACES).get(Key("", place[1].namespace))
            if namespace is not None and namespace.metadata.get("deletionTimestamp"):
                due.append((NAMESPACES, namespace.key))
            group, plural = place[0]
            definition = self._store.collection(crds.GROUP, crds.PLURAL).get(Key("", f"{plural}.{group}"))
            if definition is not None and definition.metadata.get("deletionTimestamp"):
                due.append(((crds.GROUP, crds.PLURAL), definition.key))
        elif meta.get("ownerReferences") or meta.get("deletionTimestamp"):
            due.append(place)
            due += [self._places[o["uid"]] for o in meta.get("ownerReferences") or () if o["uid"] in self._places]
        if due:
            self._queue.extend(due)
            self._wake.set()

    async def run(self) -> None:
        """Work through the queue for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                self._collect(*self._queue.popleft())
                await asyncio.sleep(0)

    def _collect(self, storage: Storage, key: Key) -> None:
        collection = self._store.collection(*storage)
        stored = collection.get(key)
        if stored is None:
            return
        if stored.metadata.get("deletionTimestamp"):
            self._finish(storage, collection, stored)
        elif self._is_orphaned(stored):
            self._delete(storage, key)

    def _is_orphaned(self, stored: Stored) -> bool:
        """Whether every owner is gone, or waits for this dependent to go."""
        owners = stored.metadata.get("ownerReferences") or ()
        return bool(owners) and not any(self._is_held_by(stored, owner) for owner in owners)

    def _is_held_by(self, stored: Stored, owner: JSONObject) -> bool:
        found = self._find(owner["uid"])
        if found is None or found.key.namespace not in {"", stored.key.namespace}:
            return False
        waits = FOREGROUND in (found.metadata.get("finalizers") or ())
        return not (waits and found.metadata.get("deletionTimestamp"))

    def _find(self, uid: str) -> Stored | None:
        place = self._places.get(uid)
        return self._store.collection(*place[0]).get(place[1]) if place else None

    def _finish(self, storage: Storage, collection: Collection, stored: Stored) -> None:
        """Take a deletion that waits one step further."""
        finalizers = stored.metadata.get("finalizers") or []
        dependents = [(place, found) for place in self._dependents.get(stored.uid, ()) if (found := self._at(place))]
        if FOREGROUND in finalizers:
            self._queue.extend(place for place, found in dependents if not found.metadata.get("deletionTimestamp"))
            if not any(_blocks(found, stored.uid) for _, found in dependents):
                self._release(collection, stored, FOREGROUND)
        elif ORPHAN in finalizers:
            for place, found in dependents:
                owners = [o for o in found.metadata["ownerReferences"] if o["uid"] != stored.uid]
                self._deleter.release(self._store.collection(*place[0]), found, {"ownerReferences": owners})
            self._release(collection, stored, ORPHAN)
        elif storage == NAMESPACES:
            self._empty(collection, stored)
        elif storage == (crds.GROUP, crds.PLURAL) and crds.CLEANUP in finalizers:
            spec = stored.object["spec"]
            if self._delete_all((spec["group"], spec["names"]["plural"]), ""):
                self._release(collection, stored, crds.CLEANUP)

    def _at(self, place: Place) -> Stored | None:
        return self._store.collection(*place[0]).get(place[1])

    def _release(self, collection: Collection, stored: Stored, finalizer: str) -> None:
        finalizers = [f for f in stored.metadata["finalizers"] if f != finalizer]
        self._deleter.release(collection, stored, {"finalizers": finalizers})

    def _empty(self, collection: Collection, namespace: Stored) -> None:
        """Delete everything in ``namespace``, and then itself."""
        emptied = [self._delete_all(storage, namespace.key.name) for storage in self._registry.namespaced()]
        if all(emptied) and not namespace.metadata.get("finalizers"):
            collection.remove(namespace.key)

    def _delete_all(self, storage: Storage, namespace: str) -> bool:
        """Delete all objects of a collection, or those in ``namespace``; whether none of them is left waiting."""
        collection = self._store.collection(*storage)
        for stored in collection.items(namespace):
            if not stored.metadata.get("deletionTimestamp"):
                self._delete(storage, stored.key)
        return not collection.items(namespace)

    def _delete(self, storage: Storage, key: Key) -> None:
        resource = self._registry.stored().get(storage)
        if resource is not None:
            self._deleter.delete(resource, key, DeleteOptions())


def _blocks(dependent: Stored, uid: str) -> bool:
    owners = dependent.metadata.get("ownerReferences") or ()
    return any(owner["uid"] == uid and owner.get("blockOwnerDeletion") for owner in owners)
