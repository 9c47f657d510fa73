"""Everything the server remembers: objects, one resourceVersion counter, and per resource a ring of past events.

The ring is what makes the rest true to life: a watch resumes from it, a chunked list and an exact read are
reconstructed from it, and when it has forgotten too much the answer is a real 410. Objects are kept without
``apiVersion`` and ``kind``, which depend on who asks, and are never modified once stored, so that one encoding
of them serves every reader. All of it is synchronous: a write is atomic because nothing else runs meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from meshfed_sandbox.apiserver import errors

JSONObject = dict[str, Any]
RING_SIZE: Final = 8192
"""How many past events each resource remembers."""

_encode = msgspec.json.Encoder().encode


def timestamp(moment: datetime) -> str:
    """``moment`` (UTC) as objects have it: RFC 3339, in seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class Key(NamedTuple):
    """Where an object lives inside its collection; ``namespace`` is empty where the resource has none."""

    namespace: str
    name: str


class Stored:
    """One version of one object, immutable, with its encoding made once.

    Its ``managedFields`` are kept encoded: most of an object's containers are in there, few look at them, and what the
    garbage collector has to visit decides how fast a full store takes writes. ``copy`` has them as they were.
    """

    __slots__ = ("_body", "key", "object", "version")

    def __init__(self, key: Key, obj: JSONObject, version: int) -> None:
        metadata = obj["metadata"]
        if "managedFields" in metadata:
            metadata = {**metadata, "managedFields": msgspec.Raw(_encode(metadata["managedFields"]))}
        self.key = key
        self.object = {**obj, "metadata": metadata}
        self.version = version
        self._body: bytes | None = None

    @property
    def metadata(self) -> JSONObject:
        """The object's metadata, not to be modified."""
        metadata: JSONObject = self.object["metadata"]
        return metadata

    @property
    def uid(self) -> str:
        """The object's uid."""
        uid: str = self.object["metadata"]["uid"]
        return uid

    def body(self) -> bytes:
        """The object as JSON, without ``apiVersion`` and ``kind``."""
        if self._body is None:
            self._body = _encode(self.object)
        return self._body

    def full(self, api_version: str, kind: str) -> bytes:
        """The object as JSON, as a reader of ``api_version`` sees it."""
        return b'{"kind":"%b","apiVersion":"%b",%b' % (kind.encode(), api_version.encode(), self.body()[1:])

    def copy(self) -> JSONObject:
        """A copy that may be modified."""
        copied: JSONObject = msgspec.json.decode(self.body())
        return copied


class Event:
    """One change: the object before (``None``: created) and after it (``None``: deleted), and the version it made."""

    __slots__ = ("_rendered", "after", "before", "version")

    def __init__(self, before: Stored | None, after: Stored | None, version: int) -> None:
        self.before = before
        self.after = after
        self.version = version
        self._rendered: dict[object, bytes] = {}

    @property
    def key(self) -> Key:
        """Whose change this is."""
        subject = self.after or self.before
        assert subject is not None  # noqa: S101  # an event is about something
        return subject.key

    def final(self) -> Stored:
        """What was deleted or left a selector, carrying the version of this event."""
        assert self.before is not None  # noqa: S101  # only changes and deletions end something
        metadata = {**self.before.metadata, "resourceVersion": str(self.version)}
        return Stored(self.key, {**self.before.object, "metadata": metadata}, self.version)

    def rendered(self, form: object, render: Callable[[], bytes]) -> bytes:
        """The bytes of this event in ``form``, made by ``render`` the first time anyone asks for that form."""
        line = self._rendered.get(form)
        if line is None:
            line = self._rendered[form] = render()
        return line


Listener = Callable[[Event], None]
StoreListener = Callable[[tuple[str, str], Event], None]


class Collection:
    """The objects of one resource, whatever the API version they are read in; ``storage`` is its (group, plural)."""

    def __init__(self, store: Store, storage: tuple[str, str]) -> None:
        self._store = store
        self.storage = storage
        self._objects: dict[str, dict[str, Stored]] = {}
        self._ring: deque[Event] = deque()
        self._forgotten = store.version
        self._sorted: list[Stored] | None = None
        self.listeners: set[Listener] = set()

    def __len__(self) -> int:
        return sum(map(len, self._objects.values()))

    @property
    def latest(self) -> int:
        """The newest version there is: a reader who has seen every event so far is up to date with it."""
        return self._store.version

    def get(self, key: Key) -> Stored | None:
        """The object there now."""
        return self._objects.get(key.namespace, {}).get(key.name)

    def items(self, namespace: str = "") -> list[Stored]:
        """All objects, or a namespace's, in the order of namespace and name."""
        if namespace:
            return [stored for _, stored in sorted(self._objects.get(namespace, {}).items())]
        if self._sorted is None:
            everything = (stored for objects in self._objects.values() for stored in objects.values())
            self._sorted = sorted(everything, key=lambda stored: stored.key)
        return self._sorted

    def items_at(self, version: int, namespace: str = "") -> list[Stored]:
        """The objects as they were at ``version``; ``StatusError`` 410 where that is forgotten."""
        if version < self._forgotten:
            raise errors.expired(
                f"The provided resource version {version} is too old: events up to {self._forgotten} were compacted"
            )
        past = {stored.key: stored for stored in self.items(namespace)}
        for event in reversed(self._ring):
            if event.version <= version:
                break
            if event.before is None:
                past.pop(event.key, None)
            elif not namespace or event.key.namespace == namespace:
                past[event.key] = event.before
        return sorted(past.values(), key=lambda stored: stored.key)

    def since(self, version: int) -> Iterator[Event]:
        """The events after ``version``, oldest first; ``StatusError`` 410 where some of them are forgotten."""
        if version < self._forgotten:
            raise errors.expired(f"too old resource version: {version} ({self._forgotten})")
        return iter([event for event in self._ring if event.version > version])

    def put(self, key: Key, obj: JSONObject) -> Stored:
        """Create or replace what is at ``key``; sets ``metadata.resourceVersion``."""
        version = self._store.next_version()
        obj["metadata"]["resourceVersion"] = str(version)
        stored = Stored(key, obj, version)
        objects = self._objects.setdefault(key.namespace, {})
        before = objects.get(key.name)
        objects[key.name] = stored
        self._record(Event(before, stored, version))
        return stored

    def remove(self, key: Key) -> Stored:
        """Delete what is at ``key``; what is returned carries the version of the deletion."""
        objects = self._objects[key.namespace]
        event = Event(objects.pop(key.name), None, self._store.next_version())
        if not objects:
            del self._objects[key.namespace]
        self._record(event)
        return event.final()

    def compact(self) -> None:
        """Forget every past event."""
        self._ring.clear()
        self._forgotten = self._store.version

    def _record(self, event: Event) -> None:
        self._sorted = None
        if len(self._ring) >= RING_SIZE:
            self._forgotten = self._ring.popleft().version
        self._ring.append(event)
        self._store.writes += 1
        for listener in tuple(self.listeners):
            listener(event)
        for store_listener in self._store.listeners:
            store_listener(self.storage, event)


class Store:
    """All collections, by (group, plural), and the one counter they share.

    ``listeners`` hear of every change to anything; a collection's own listeners hear of its changes.
    """

    def __init__(self) -> None:
        self.version = 1
        self.writes = 0
        self.listeners: list[StoreListener] = []
        self._collections: dict[tuple[str, str], Collection] = {}

    def next_version(self) -> int:
        """A version no change has had yet."""
        self.version += 1
        return self.version

    def collection(self, group: str, plural: str) -> Collection:
        """The objects of a resource; empty where it is new."""
        collection = self._collections.get((group, plural))
        if collection is None:
            collection = self._collections[group, plural] = Collection(self, (group, plural))
        return collection

    def compact(self) -> None:
        """Forget every past event of every resource."""
        for collection in self._collections.values():
            collection.compact()
