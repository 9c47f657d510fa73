"""What the API server holds, in memory: kept current by a reflector, read by everybody else.

A store only ever shows what the server said. It emits differences: a subscriber hears of an object when its record
changed, and of nothing when a list repeats what is known. An object whose new state cannot be decoded keeps its
last good record, and is named in ``undecodable`` until a good state comes or it is deleted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeVar

_log = logging.getLogger(__name__)

T = TypeVar("T")


class Key(NamedTuple):
    """An object within a store; ``namespace`` is empty for a cluster's."""

    namespace: str
    name: str


Subscriber = Callable[[Key, T | None, T | None], None]
"""Called with key, old and new record (``None``: was not, is not there). Runs inside the store: be quick."""
IndexFunction = Callable[[T], Iterable[Hashable]]


class Store(Generic[T]):
    """Records by key, with secondary indexes. Changed by its reflector alone.

    ``refuses`` may say of a record why it is not to be used: it then counts as one that could not be decoded.
    """

    def __init__(self, *, refuses: Callable[[Key, T], str] | None = None) -> None:
        self._refuses = refuses
        self._objects: dict[Key, T] = {}
        self._undecodable: dict[Key, str] = {}
        self._indexes: dict[str, tuple[IndexFunction[T], dict[Hashable, dict[Key, None]]]] = {}
        self._subscribers: list[Subscriber[T]] = []
        self._synced = asyncio.Event()

    def __len__(self) -> int:
        return len(self._objects)

    def __contains__(self, key: object) -> bool:
        return key in self._objects

    def __iter__(self) -> Iterator[Key]:
        return iter(self._objects)

    def get(self, key: tuple[str, str]) -> T | None:
        """The record of (namespace, name)."""
        return self._objects.get(Key(*key))

    def items(self) -> Iterable[tuple[Key, T]]:
        """Every key with its record, as of now."""
        return tuple(self._objects.items())

    @property
    def undecodable(self) -> Mapping[Key, str]:
        """Objects whose latest state could not be decoded, with the error."""
        return MappingProxyType(self._undecodable)

    @property
    def synced(self) -> bool:
        """Whether the whole of what the server holds was seen once."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Wait until the first list is in."""
        await self._synced.wait()

    def add_index(self, name: str, function: IndexFunction[T]) -> None:
        """Let ``by_index(name, ...)`` find records by any of the keys that ``function``, a pure one, gives for them."""
        if name in self._indexes:
            raise ValueError(f"there is an index {name!r} already")
        self._indexes[name] = (function, {})
        for key, record in self._objects.items():
            self._enter(name, key, record)

    def by_index(self, name: str, value: Hashable) -> tuple[T, ...]:
        """The records that the index ``name`` has under ``value``, in the order they came in."""
        return tuple(self._objects[key] for key in self._indexes[name][1].get(value, ()))

    def subscribe(self, subscriber: Subscriber[T]) -> Callable[[], None]:
        """Have ``subscriber`` called with every later change; returns what ends that.

        An exception it raises is logged and goes no further.
        """
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    # --- for the reflector

    def put(self, key: Key, record: T) -> None:
        """``record`` is the state of ``key`` now."""
        if self._refuses is not None and (why := self._refuses(key, record)):
            self.put_undecodable(key, why)
            return
        self._undecodable.pop(key, None)
        old = self._objects.get(key)
        if old == record:
            return
        if old is not None:
            self._leave(key, old)
        self._objects[key] = record
        for name in self._indexes:
            self._enter(name, key, record)
        self._notify(key, old, record)

    def put_undecodable(self, key: Key, error: str) -> bool:
        """The state of ``key`` now cannot be decoded: keep the last one; whether that is news."""
        news = self._undecodable.get(key) != error
        self._undecodable[key] = error
        return news

    def delete(self, key: Key) -> None:
        """``key`` is gone."""
        self._undecodable.pop(key, None)
        old = self._objects.pop(key, None)
        if old is not None:
            self._leave(key, old)
            self._notify(key, old, None)

    def replace_all(self, objects: Mapping[Key, T], undecodable: Mapping[Key, str]) -> None:
        """A whole list came in: emit what differs, deletions that were missed among it."""
        for key in [key for key in self._objects if key not in objects and key not in undecodable]:
            self.delete(key)
        self._undecodable = dict(undecodable)
        for key, record in objects.items():
            self.put(key, record)
        self._synced.set()

    def _enter(self, name: str, key: Key, record: T) -> None:
        function, entries = self._indexes[name]
        for value in function(record):
            entries.setdefault(value, {})[key] = None

    def _leave(self, key: Key, record: T) -> None:
        for function, entries in self._indexes.values():
            for value in function(record):
                keys = entries.get(value)
                if keys is not None:
                    keys.pop(key, None)
                    if not keys:
                        del entries[value]

    def _notify(self, key: Key, old: T | None, new: T | None) -> None:
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(key, old, new)
            except Exception:  # noqa: BLE001 - one subscriber's bug must not stop the store that all depend on
                _log.exception("a subscriber failed", extra={"object": "/".join(key)})
