"""Removes an installation: everything that carries its owner label, and what it was configured by.

While a controller lives, it does the work: the RemoteMeshes and MeshFederations are deleted, and its finalizers let
them go once what they caused is gone. Where none lives, nothing moves for a while; then the objects are deleted from
here, and only when none is left are the finalizers taken off. Nothing is remembered: whoever starts again, after a
kill at any moment, finds by label what is left.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from meshfed.api.meta import ObjectMeta
from meshfed.api.v1alpha1 import FINALIZER, GROUP, OWNER_NAMESPACE_LABEL
from meshfed.controller.watches import ISTIO_KINDS, ROUTE
from meshfed.kube import (
    LEASES,
    Backoff,
    Client,
    Conflict,
    Forbidden,
    KubeError,
    NotFound,
    Resource,
    ServedAPIs,
    discover,
)
from meshfed.model.installation import LEASE
from meshfed.plan.replicas import replica_selector

CONFIGURED: Final = ((GROUP, "RemoteMesh"), (GROUP, "MeshFederation"))
"""What people wrote, in the order in which it is let go."""
WRITTEN: Final = (*ISTIO_KINDS, (ROUTE.group, ROUTE.kind), (GROUP, "FederatedService"))
"""What the controller writes."""

PATIENCE: Final = 5.0
"""Seconds without any progress after which no controller is taken to be at work."""
PUT_BACK: Final = 3
"""Times that an object may come back before that is taken for somebody's doing."""
_LOOK_SECONDS: Final = (0.1, 2.0)
_SURE_SECONDS: Final = 0.5
_REPORT_SECONDS: Final = 5.0


class Found(msgspec.Struct, frozen=True):
    """One object of the installation."""

    resource: Resource
    meta: ObjectMeta

    def __str__(self) -> str:
        return f"{self.resource.kind} {self.meta.namespace}/{self.meta.name}"

    @property
    def terminating(self) -> bool:
        """Whether it is being deleted."""
        return bool(self.meta.deletion_timestamp)


class Holdings(msgspec.Struct, frozen=True):
    """What there is of an installation: what configured it, what it wrote, and, in words, what could not be seen."""

    configured: tuple[Found, ...] = ()
    written: tuple[Found, ...] = ()
    unseen: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[Found, ...]:
        """Every object."""
        return (*self.configured, *self.written)

    @property
    def is_gone(self) -> bool:
        """Whether nothing is left, as far as everything could be seen."""
        return not (self.all or self.unseen)

    def counts(self) -> dict[str, int]:
        """How many there are of each kind, by the resource's full name."""
        return dict(Counter(str(found.resource) for found in self.all))


class Left(msgspec.Struct, frozen=True):
    """How a removal ended: what remains, and what stood in the way, in words."""

    holdings: Holdings
    obstacles: tuple[str, ...] = ()


class _Listed(msgspec.Struct, frozen=True):
    metadata: ObjectMeta


async def holdings(client: Client, namespace: str) -> Holdings:
    """What there is of the installation in ``namespace``, in every kind that the cluster serves.

    Raises what the client raises, but for permissions that are lacking: those are told in ``unseen``.
    """
    served = await discover(client)
    label = f"{OWNER_NAMESPACE_LABEL}={namespace}"
    configured = [await _list(client, served, kind, namespace=namespace) for kind in CONFIGURED]
    written = [await _list(client, served, kind, label_selector=label) for kind in WRITTEN]
    return Holdings(
        configured=tuple(one for part in configured if not isinstance(part, str) for one in part),
        written=tuple(one for part in written if not isinstance(part, str) for one in part),
        unseen=tuple(part for part in (*configured, *written) if isinstance(part, str)),
    )


async def _list(
    client: Client,
    served: ServedAPIs,
    kind: tuple[str, str],
    *,
    namespace: str | None = None,
    label_selector: str | None = None,
) -> Sequence[Found] | str:
    """All objects of a kind; in words, why they cannot be seen."""
    resource = served.find(*kind)
    if resource is None:
        down = [version for version in served.failed if version.startswith(f"{kind[0]}/")]
        return f"{kind[1]} objects: the API {down[0]} gives no answer; mend it, and run this again" if down else ()
    try:
        found = await client.list(resource, into=_Listed, namespace=namespace, label_selector=label_selector)
    except Forbidden as error:
        return f"{kind[1]} objects: {_refusal('list', resource, namespace, error)}"
    except NotFound:
        return ()  # its CRD went at this moment
    return [Found(resource, one.metadata) for one in found]


class Removal:
    """One run over one installation. ``say`` hears, in words and not too often, how far it is."""

    def __init__(
        self, client: Client, namespace: str, *, say: Callable[[str], None], patience: float = PATIENCE
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._say = say
        self._patience = patience
        self._denied: dict[tuple[str, Resource, str], str] = {}
        self._deleted: dict[tuple[Resource, str, str], set[str]] = {}
        self._alone = False
        self._sent = 0
        self.left = Left(Holdings())
        """What remained at the last look."""
        self.total = 0
        """The most objects there were at any look."""
        self.trouble = ""
        """Why the last look failed, where it did."""

    async def request(self) -> Left:
        """Have everything deleted that can be, and wait for nothing. Raises what the client raises."""
        found = await self._look()
        await self._delete(found.all)
        return Left(found, tuple(self._denied.values()))

    async def run(self) -> Left:
        """Remove everything; returns once nothing is left, or where nothing more can be done from here.

        Failures of the API are outlasted: how long, is for the caller to say by cancelling.
        """
        loop = asyncio.get_running_loop()
        changed_at = reported_at = loop.time()
        before: object = None
        said = sure = False
        pause = Backoff(base=_LOOK_SECONDS[0], cap=_LOOK_SECONDS[1])
        while True:
            self.trouble = ""
            try:
                found = await self._look()
                state = {(one.meta.uid, one.terminating, one.meta.finalizers) for one in found.all}
                now = loop.time()
                if state != before:
                    before, changed_at = state, now
                    pause.reset()
                if now - reported_at >= _REPORT_SECONDS:
                    reported_at = now
                    self._report(found, waits=now - changed_at)
                if found.is_gone and (sure or not self._sent):
                    await self._delete_leases()
                    return self.left
                sure = found.is_gone  # unless somebody puts it back at this moment
                if await self._advance(found, idle=now - changed_at):
                    return self.left
            except KubeError as error:
                if not error.retryable:
                    raise
                self.trouble = str(error)
            if self.trouble and not said:
                said = True
                self._say(f"the API fails, and is tried again: {self.trouble}")
            await asyncio.sleep(_SURE_SECONDS if sure else pause.next())

    async def _delete_leases(self) -> None:
        """Delete what leaders were elected by, and what replicas said of themselves.

        A controller that still runs makes them anew, which harms nobody.
        """
        try:
            replicas = await self._client.list(
                LEASES, into=_Listed, namespace=self._namespace, label_selector=replica_selector(self._namespace)
            )
            for name in (LEASE, *(one.metadata.name for one in replicas)):
                with contextlib.suppress(NotFound):
                    await self._client.delete(LEASES, name, namespace=self._namespace)
        except KubeError as error:
            self._say(f"Leases of Meshfed may be there still in namespace {self._namespace}: {error}")

    async def _look(self) -> Holdings:
        found = await holdings(self._client, self._namespace)
        self.total = max(self.total, len(found.all))
        self.left = Left(found, (*found.unseen, *self._denied.values()))
        return found

    async def _advance(self, found: Holdings, *, idle: float) -> bool:
        """Do what can be done now; returns whether there is no use in going on."""
        if back := self._put_back(found.written):
            obstacle = (
                f"{back[0]} is put back each time it is deleted: a controller that is configured by flags still runs; "
                "stop it, and run this again"
            )
            self.left = Left(found, (*self.left.obstacles, obstacle))
            return True
        before = self._sent
        await self._delete(found.configured)
        if all(one.terminating for one in found.configured):
            # A controller that comes up now finds itself terminating as well, and does the same.
            self._alone = self._alone or not found.configured or idle >= self._patience
        if self._alone:
            await self._delete(found.written)
            if not found.written and not found.unseen:
                for one in found.configured:  # the MeshFederation last: it is what says that there is an installation
                    await self._release(one)
        self.left = Left(found, (*found.unseen, *self._denied.values()))
        return bool(self.left.obstacles) and idle >= self._patience and self._sent == before

    def _put_back(self, written: Sequence[Found]) -> list[Found]:
        """What we deleted and somebody makes again and again."""
        back = []
        for one in written:
            uids = self._deleted.get((one.resource, one.meta.namespace, one.meta.name), set())
            if one.meta.uid not in uids and len(uids) >= PUT_BACK:
                back.append(one)
        return back

    async def _delete(self, objects: Iterable[Found]) -> None:
        # As many at once as the client allows.
        await asyncio.gather(*(self._delete_one(one) for one in objects if not one.terminating))

    async def _delete_one(self, one: Found) -> None:
        with self._allowed("delete", one) as is_allowed:
            if is_allowed:
                await self._client.delete(one.resource, one.meta.name, namespace=one.meta.namespace, uid=one.meta.uid)
                self._deleted.setdefault((one.resource, one.meta.namespace, one.meta.name), set()).add(one.meta.uid)

    async def _release(self, one: Found) -> None:
        """Take our finalizer off, and leave those of others."""
        if FINALIZER not in one.meta.finalizers:
            return
        kept = [finalizer for finalizer in one.meta.finalizers if finalizer != FINALIZER]
        patch = {"metadata": {"finalizers": kept or None, "resourceVersion": one.meta.resource_version}}
        with self._allowed("patch", one) as is_allowed:
            if is_allowed:
                await self._client.patch(one.resource, one.meta.name, patch, namespace=one.meta.namespace)

    @contextlib.contextmanager
    def _allowed(self, verb: str, one: Found) -> Iterator[bool]:
        """Whether a write was not refused before; what it fails with is remembered, and fails no other."""
        key = (verb, one.resource, one.meta.namespace)
        if key in self._denied:
            yield False
            return
        self._sent += 1
        try:
            yield True
        except (NotFound, Conflict):
            pass  # it is gone, or another one than was seen: the next look says
        except KubeError as error:
            if error.retryable:
                self.trouble = str(error)
            else:
                self._denied[key] = f"{one}: {_refusal(verb, one.resource, one.meta.namespace, error)}"

    def _report(self, found: Holdings, *, waits: float) -> None:
        text = f"{self.total - len(found.all)} of {self.total} objects are gone"
        if waits >= _REPORT_SECONDS:
            text += f"; waiting for {found.all[0]}" if found.all else ""
        self._say(text)


def _refusal(verb: str, resource: Resource, namespace: str | None, error: KubeError) -> str:
    where = f"in namespace {namespace}" if namespace else "in all namespaces"
    what = "the permission is missing to" if isinstance(error, Forbidden) else "the API refuses to"
    return f"{what} {verb} {resource} {where}: {error}"
