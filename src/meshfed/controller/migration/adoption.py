"""Takes over what the reference's controller left, so that no import is without an object at any moment.

What is called as ours is replaced in place, by the engine. The rest stands beside ours until ours does its work, and
goes then: istiod serves a host of two ServiceEntries in one namespace with the endpoints of both, keeps the older of
two DestinationRules for a host, and lets a Service have several WorkloadEntries for an address; OpenShift's router
serves the older of two Routes for a host. Two EnvoyFilters for one server name make a listener that Envoy refuses: it
keeps the one that it has, and takes the next, so there too nothing is interrupted. What a remote that was not heard
yet serves here stays as it is.

Nothing is remembered: what is left carries the reference's label, and after a restart is judged anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from meshfed.api.v1alpha1 import OWNER_NAMESPACE_LABEL, FederatedService
from meshfed.controller.remotes.remote_sessions import OfferState, RemoteSessions
from meshfed.controller.watches import Served
from meshfed.istio import reference
from meshfed.istio.reference import ReferenceImport, Remnant
from meshfed.kube import (
    Backoff,
    Client,
    Conflict,
    Engine,
    Forbidden,
    KubeError,
    Manifest,
    NotFound,
    ObjectKey,
    Outcome,
    Resource,
    Store,
    discover,
)
from meshfed.model.meshes import LocalMesh
from meshfed.model.reasons import Reason
from meshfed.plan import Planner
from meshfed.telemetry.logs import LogThrottle

_log = logging.getLogger(__name__)

LABELS: Final = {reference.LABEL: reference.VALUE}
"""What marks an object as the reference's."""
SELECTOR: Final = f"{reference.LABEL}={reference.VALUE}"
NOT_THEIRS: Final = f"{reference.LABEL}!={reference.VALUE}"
_LOOK_SECONDS: Final = (0.1, 5.0)
_EMPTY_LOOKS: Final = 4
"""Looks in a row that find nothing, until that is believed: a reference that still runs writes again."""
_PUT_BACK: Final = 3
_IMPORTING: Final = frozenset({"ServiceEntry", "WorkloadEntry"})


def taken_over(live: Manifest) -> Manifest | None:
    """For the engine: ``live`` as it is taken over, where it is the reference's."""
    return reference.without_owner(live) if reference.is_reference(live) else None


async def drop_records(client: Client, served: Served, namespace: str) -> None:
    """Delete the reference's FederatedServices: in our schema they say nothing, and ours are made from what is heard.

    Raises what the client raises.
    """
    records = served.ours["FederatedService"]
    selector = f"{reference.SOURCE_LABEL},!{OWNER_NAMESPACE_LABEL}"
    for record in await client.list(records, namespace=namespace, label_selector=selector):
        name, uid = record["metadata"]["name"], record["metadata"]["uid"]
        try:
            if record["metadata"].get("finalizers"):
                await client.patch(records, name, {"metadata": {"finalizers": None, "uid": uid}}, namespace=namespace)
            await client.delete(records, name, namespace=namespace, uid=uid)
        except (NotFound, Conflict):
            continue
        _log.info("removed the reference's FederatedService %s", name)


class Adoption:
    """Removes each object of the reference as soon as ours does its work. ``settled``: all that is wanted was said."""

    def __init__(
        self,
        client: Client,
        resources: Sequence[Resource],
        *,
        planner: Planner,
        engine: Engine,
        listener: RemoteSessions,
        offers: Store[FederatedService],
        settled: Callable[[], bool],
    ) -> None:
        self._client = client
        self._resources = resources
        self._planner = planner
        self._engine = engine
        self._listener = listener
        self._offers = offers
        self._settled = settled
        self._deleted: dict[ObjectKey, set[str]] = {}
        self._said: set[str] = set()
        self._log_throttle = LogThrottle()

    async def run(self) -> None:
        """Work until nothing of the reference is left, and nothing comes back."""
        pause, looks = Backoff(base=_LOOK_SECONDS[0], cap=_LOOK_SECONDS[1]), 0
        while looks < _EMPTY_LOOKS:
            try:
                mesh = self._planner.mesh
                found = await self._find(mesh) if mesh is not None and self._settled() else None
                if found is not None and mesh is not None:
                    looks = 0 if found else looks + 1
                    if await self._judge_all(mesh, found):
                        pause.reset()
            except KubeError as error:
                if self._log_throttle.ready(type(error)):
                    _log.warning("what the reference left cannot be looked at or removed, again soon: %s", error)
            await asyncio.sleep(pause.next())
        _log.info("nothing of the reference's controller is left")

    async def _find(self, mesh: LocalMesh | None) -> list[tuple[Resource, Manifest]]:
        found = []
        served = await discover(self._client)
        for resource in self._resources:
            if served.find(resource.group, resource.kind) is None:
                continue  # Routes, where there is no OpenShift
            try:
                objects = await self._client.list(resource, label_selector=SELECTOR)
            except NotFound:
                continue
            except Forbidden as error:
                self._say(f"what the reference left of {resource} stays, as it cannot be seen: {error}")
                continue
            found += [(resource, one) for one in objects if mesh is not None and _is_in_reach(one, mesh)]
        return found

    async def _judge_all(self, mesh: LocalMesh, found: Sequence[tuple[Resource, Manifest]]) -> bool:
        """Delete what has had its time; returns whether there was any."""
        remotes = self._planner.remotes
        judged = [(resource, one, reference.remnant(one, mesh, remotes)) for resource, one in found]
        # A host's DestinationRule goes last.
        judged.sort(key=lambda each: each[1]["kind"] == "DestinationRule")
        standing: set[str] = set()
        gone = False
        for resource, manifest, remnant in judged:
            key = ObjectKey.of(manifest)
            reason = self._why_it_stays(key, remnant, standing)
            if reason:
                if remnant.successor != key.name:  # else it is about to be taken over, and that is no news
                    self._say(f"{key} of the reference stays: {reason}")
                if key.kind in _IMPORTING:
                    standing.update(one.host for one in remnant.imports)
                continue
            gone |= await self._delete(resource, key, manifest["metadata"]["uid"])
        return gone

    def _why_it_stays(self, key: ObjectKey, remnant: Remnant, standing: set[str]) -> str:
        """Why an object cannot go yet, in words; empty where it can."""
        if remnant.successor:
            return self._why_it_has_no_successor(key, remnant.successor)
        if not remnant.imports:
            return "no RemoteMesh is known that it is of; create that, or delete the object"
        if key.kind not in _IMPORTING and any(one.host in standing for one in remnant.imports):
            return "its host is still served by what the reference left"
        return next((reason for one in remnant.imports if (reason := self._why_it_is_needed(one))), "")

    def _why_it_has_no_successor(self, key: ObjectKey, name: str) -> str:
        ours = ObjectKey(key.group, key.kind, key.namespace, name)
        state = self._engine.state(ours)
        if ours != key and state.outcome is Outcome.APPLIED:
            return ""
        if ours == key and state.outcome is not Outcome.ABSENT:
            return "it is about to be taken over"
        if state.outcome is Outcome.ABSENT and not self._engine.pending:
            return ""  # it has no work any more
        return f"{ours} is not in place ({state.outcome}{': ' if state.message else ''}{state.message})"

    def _why_it_is_needed(self, one: ReferenceImport) -> str:
        """Why an import that the reference wrote cannot go yet."""
        match self._listener.offer_state(one.remote, one.host):
            case OfferState.NOT_HEARD:
                return f"RemoteMesh {one.remote} has not said yet what it offers"
            case OfferState.OFFERS_NOTHING:
                return f"RemoteMesh {one.remote} offers nothing at all, which may be a failure; delete it if it is not"
            case OfferState.NOT_OFFERED:
                return ""
            case OfferState.OFFERED:
                pass
        for offer in self._offers.by_index("remote", one.remote):
            if offer.spec.host == one.host:
                return _obstacle(offer)
        return f"the FederatedService of {one.host} from {one.remote} is not written yet"

    async def _delete(self, resource: Resource, key: ObjectKey, uid: str) -> bool:
        uids = self._deleted.setdefault(key, set())
        if uid not in uids and len(uids) >= _PUT_BACK:
            if self._log_throttle.ready("put back"):
                _log.error(
                    "%s is put back each time it is removed: stop the reference's controller, it still runs", key
                )
            return False
        try:
            await self._client.delete(resource, key.name, namespace=key.namespace, uid=uid)
        except (NotFound, Conflict):
            return True
        except KubeError as error:
            if self._log_throttle.ready(key):
                _log.warning("%s of the reference cannot be removed, again soon: %s", key, error)
            return False
        uids.add(uid)
        _log.info("removed the reference's %s", key)
        return True

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            _log.info("%s", text)


def _is_in_reach(manifest: Manifest, mesh: LocalMesh) -> bool:
    """Whether an object may be of this mesh, and is not terminating already."""
    metadata: Mapping[str, str] = manifest["metadata"]
    places = {mesh.control_plane_namespace, mesh.namespace}
    return "deletionTimestamp" not in metadata and (
        manifest["kind"] == "WorkloadEntry" or metadata["namespace"] in places
    )


def _obstacle(offer: FederatedService) -> str:
    """Why what ``offer`` leads to does not serve its host yet; empty where it does, or a rule says that it must not."""
    conditions = {one.type: one for one in offer.status.conditions}
    accepted, applied = conditions.get("Accepted"), conditions.get("Applied")
    if accepted is None or applied is None or offer.status.observed_generation != offer.metadata.generation:
        return f"FederatedService {offer.metadata.name} is being worked out"
    if accepted.status != "True":
        if accepted.reason == Reason.DENIED_BY_RULE:
            return ""
        why = f"{accepted.reason}: {accepted.message}"
        return f"{offer.metadata.name} is not accepted ({why}); delete it if that is meant"
    return "" if applied.status == "True" else f"{offer.metadata.name}: {applied.reason}: {applied.message}"
