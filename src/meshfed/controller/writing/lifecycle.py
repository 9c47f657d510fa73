"""Finalizers: a MeshFederation or RemoteMesh that is deleted goes once what it caused is gone.

Both carry our finalizer while a controller is in charge. When one is being deleted the plan treats it as gone, so
that everything it caused is deleted by the ordinary path; what is left to do here is to see that through, and to let
go. A finalizer that no controller is there to release is taken off by hand; the operations guide says how.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

from meshfed.api.v1alpha1 import FINALIZER, FederatedService, RemoteMesh
from meshfed.controller.reconciler import Reconciler
from meshfed.controller.watches import Ours
from meshfed.kube import Client, Conflict, Engine, KubeError, NotFound, Resource, Store, WorkQueue
from meshfed.plan import ImportKey, Planner, Ref, RemoteKey

_log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.25
"""Between two looks at whether what a terminating object caused is gone; only while one is terminating."""


class Finalizers:
    """Puts our finalizer on, and takes it off. ``left`` says what an object caused that is still there, in words."""

    def __init__(
        self,
        client: Client,
        resources: Mapping[str, Resource],
        current: Callable[[Ref], Ours | None],
        left: Callable[[Ref], str],
        *,
        told: Callable[[Ref, Exception | None], None] | None = None,
    ) -> None:
        self._client = client
        self._resources = resources
        self._current = current
        self._left = left
        self._said: dict[Ref, str] = {}
        self.queue: WorkQueue[Ref] = WorkQueue(told=told)

    def look(self, ref: Ref) -> None:
        """The object changed: it may need the finalizer, or be rid of it."""
        self.queue.add(ref)

    async def run(self) -> None:
        """Work until cancelled."""
        await self.queue.run(self._settle, workers=2)

    async def _settle(self, ref: Ref) -> None:
        found = self._current(ref)
        if found is None:
            self._said.pop(ref, None)
            return
        held = FINALIZER in found.metadata.finalizers
        terminating = bool(found.metadata.deletion_timestamp)
        if held != terminating:
            return
        if terminating:
            left = self._left(ref)
            if left:
                if self._said.get(ref) != left:
                    self._said[ref] = left
                    _log.info("%s %s/%s is being deleted: %s", *ref, left)
                self.queue.add_after(ref, LOOK_SECONDS)
                return
        kept = tuple(one for one in found.metadata.finalizers if one != FINALIZER)
        await self._write(ref, kept if terminating else (*kept, FINALIZER), version=found.metadata.resource_version)

    async def _write(self, ref: Ref, finalizers: tuple[str, ...], *, version: str) -> None:
        kind, namespace, name = ref
        # With the resourceVersion, so that a finalizer that somebody else changes at this moment is not lost.
        patch = {"metadata": {"finalizers": finalizers or None, "resourceVersion": version}}
        try:
            await self._client.patch(self._resources[kind], name, patch, namespace=namespace)
        except NotFound:
            return
        except Conflict:
            self.queue.retry(ref)
        except KubeError as error:
            delay = self.queue.retry(ref)
            _log.warning("cannot write the finalizer of %s %s/%s, again in %.1f s: %s", *ref, delay, error)


class Leftovers:
    """What MeshFederations and RemoteMeshes that are being deleted caused, and what of it is still there."""

    def __init__(self, engine: Engine, offers: Store[FederatedService], planner: Planner, work: Reconciler) -> None:
        self._engine = engine
        self._offers = offers
        self._planner = planner
        self._work = work
        self._imported: dict[str, set[str]] = {}

    def remote_changed(self, name: str, mesh: RemoteMesh | None) -> None:
        """A RemoteMesh is as given now: where it is being deleted, remember the hosts that were imported from it."""
        if mesh is None:
            self._imported.pop(name, None)
        elif mesh.metadata.deletion_timestamp:
            offers = self._offers.by_index("remote", name)
            self._imported.setdefault(name, set()).update(offer.status.imported_as for offer in offers)

    def of(self, ref: Ref) -> str:
        """Return what an object that is being deleted caused and that is still there, in words; empty where nothing."""
        if not self._work.is_done:
            return "what follows from it is being worked out"
        kind, _, name = ref
        if kind == "MeshFederation":
            observed = self._engine.statistics().observed if self._planner.mesh is None else 0
            return f"{observed} objects that it caused are still there" if observed else ""
        if offers := len(self._offers.by_index("remote", name)):
            return f"{offers} FederatedServices of it are still there"
        keys = [RemoteKey(name), *(ImportKey(host) for host in self._imported.get(name, ()))]
        deleting = [one for key in keys for one in self._engine.source_state(key).deleting]
        return f"{len(deleting)} objects that it caused are still there, {deleting[0]} among them" if deleting else ""
