"""Writes one object so that it is as wanted, without touching what is not ours. Remembers nothing.

Create with POST, replace with PUT: a forced server-side apply would leave in place what others added to the content.
A PUT carries the resourceVersion of what it replaces, so that nobody's change is lost unseen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import msgspec

from meshfed.kube import desired as objects
from meshfed.kube.client import Client
from meshfed.kube.desired import Desired, Observed
from meshfed.kube.errors import AlreadyExists, Conflict, KubeError, NotFound
from meshfed.kube.ownership import Ownership
from meshfed.kube.resources import Manifest, ObjectKey, Resource


class NotOwnedError(KubeError):
    """An object of the wanted name exists that is not ours."""


class Written(msgspec.Struct, frozen=True):
    """The object as it is now, and whether it took a write."""

    observed: Observed
    wrote: bool


class Writer:
    """Writes what one owner wants."""

    def __init__(self, client: Client, ownership: Ownership) -> None:
        self._client = client
        self._ownership = ownership
        self._ours = ownership.is_ours

    def observe(self, live: Mapping[str, Any]) -> Observed:
        """What is kept of a live object."""
        return objects.observe(live, self._ownership.paused, self._ownership.refused)

    def equal(self, desired: Desired, observed: Observed, accepted: tuple[bytes, bytes] | None) -> bool:
        """Whether there is nothing to write; ``accepted`` pairs a digest sent with what the server stored for it."""
        same = observed.digest == desired.digest or accepted == (desired.digest, observed.digest)
        return same and objects.same_metadata(desired, observed, self._ours, unless_absent=self._ownership.origin)

    async def create(self, resource: Resource, desired: Desired, *, uid: str, look_first: bool) -> Written:
        """Create the object, or take over what is there in its name: ours by label, or of the ``uid`` we wrote last.

        ``look_first`` where something is probably there, to ask by reading. Raises ``NotOwnedError`` where it is
        not ours, and what the client raises.
        """
        live = await self._live(resource, desired.key) if look_first else None
        if live is None:
            try:
                stored = await self._client.create(resource, objects.new(desired, resource))
            except AlreadyExists:
                live = await self._live(resource, desired.key)
            else:
                return Written(self.observe(stored), wrote=True)
        return await self._take_over(resource, desired, live, uid)

    async def replace(self, resource: Resource, desired: Desired, observed: Observed) -> Written:
        """Replace the object seen as ``observed``."""
        if observed.plain:
            manifest = objects.replacement_of_plain(desired, resource, observed, self._ours)
            # It changed, or went, and the watch has not said so yet: then read it.
            with contextlib.suppress(Conflict, NotFound):
                return Written(self.observe(await self._client.replace(resource, manifest)), wrote=True)
        live = await self._live(resource, desired.key)
        if live is None:
            return await self.create(resource, desired, uid=observed.uid, look_first=False)
        return await self._take_over(resource, desired, live, observed.uid)

    async def delete(self, resource: Resource, key: ObjectKey, uid: str) -> None:
        """Delete the object of that ``uid``; none is fine."""
        with contextlib.suppress(NotFound):
            await self._client.delete(resource, key.name, namespace=key.namespace or None, uid=uid)

    async def _live(self, resource: Resource, key: ObjectKey) -> Manifest | None:
        try:
            return await self._client.get(resource, key.name, namespace=key.namespace or None)
        except NotFound:
            return None

    async def _take_over(self, resource: Resource, desired: Desired, live: Manifest | None, uid: str) -> Written:
        if live is None:
            raise Conflict(409, "Conflict", "it was deleted while it was looked at")
        metadata = live["metadata"]
        owned = self._ownership.labels.items() <= (metadata.get("labels") or {}).items() or metadata.get("uid") == uid
        if not owned:
            live = self._ownership.adopt(live)
        if live is None:
            missing = ", ".join(f"{key}={value}" for key, value in self._ownership.labels.items())
            raise NotOwnedError(
                f"an object of that name is there and is not ours (it lacks {missing}); rename or remove one of the two"
            )
        observed = self.observe(live)
        if observed.deleting or observed.paused or self.equal(desired, observed, None):
            return Written(observed, wrote=False)
        stored = await self._client.replace(resource, objects.replacement(desired, resource, live, self._ours))
        return Written(self.observe(stored), wrote=True)
