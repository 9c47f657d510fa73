"""Objects that cannot be understood: what follows from them is unknown, and nothing else waits for it.

An object that was never understood since the controller started, as after a downgrade or where another schema was in
force when it was stored, is not an object that is gone. So the planner is told that nobody can say what it is; all that
follows from it stays as it is (`meshfed.plan.deletion_rule`), until it is repaired or deleted. The MeshFederation in
force is behind everything, so for that one the start waits: a roll-out of a version that does not know its form stops
there, and its predecessor stays in charge. While a controller runs it goes by the object's last good state.

The same holds of an object on which our own code fails (`meshfed.controller.faults`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from meshfed.controller.faults import Faults, named
from meshfed.controller.watches import Served, Watches
from meshfed.controller.writing.statuses import merged
from meshfed.kube import Client, KubeError, NotFound, retry_on_error
from meshfed.model.reasons import Condition, ConditionType, Reason
from meshfed.plan import Planner, Ref

_log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 5.0
"""Between two looks at what cannot be understood by now, or can be again, or is gone."""

_SAID_AS: Final = {
    "MeshFederation": ConditionType.READY,
    "RemoteMesh": ConditionType.READY,
    "FederatedService": ConditionType.ACCEPTED,
}
"""The condition of the kinds that are ours which says so."""


class NotUnderstood:
    """Knows which objects cannot be understood; ``says`` whether to write it on the object."""

    def __init__(
        self,
        client: Client,
        served: Served,
        inputs: Watches,
        planner: Planner,
        *,
        faults: Faults,
        stamp: Callable[[], str],
        says: bool,
    ) -> None:
        self._client = client
        self._served = served
        self._inputs = inputs
        self._planner = planner
        self._faults = faults
        self._stamp = stamp
        self._says = says
        self._raw: dict[Ref, dict[str, Any]] = {}
        self._unknown: dict[Ref, str] = {}

    async def begin(self, not_ready: Callable[[str], None]) -> None:
        """Find out what cannot be understood, once all inputs are listed; while that is what all follows from, wait."""
        while True:
            await self._look()
            in_force = [ref for ref in self._unknown if self._is_in_force(ref)]
            if not in_force:
                break
            not_ready("; ".join(f"{named(ref)} cannot be understood: {self._unknown[ref]}" for ref in in_force))
            await asyncio.sleep(LOOK_SECONDS)

    async def run(self) -> None:
        """See what is repaired or gone, and on what else our code fails, until cancelled."""
        while True:
            # Not wait_for: before Python 3.12 it loses a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._faults.came.wait()
            await self._look()

    async def _look(self) -> None:
        """Tell the planner of what cannot be understood by now, and of what can be again, or is gone."""
        self._faults.came.clear()
        found = {**dict(self._inputs.not_understood()), **dict(self._faults.unknown())}
        # Where there is a last good state, everything goes by that.
        before, self._unknown = self._unknown, {ref: why for ref, why in found.items() if not self._inputs.has(ref)}
        for ref in before.keys() - self._unknown.keys():
            _log.info("%s is repaired, or gone: what depends on it follows again", named(ref))
            self._raw.pop(ref, None)
            self._planner.known(ref)
        new = sorted(self._unknown.keys() - before.keys())
        for ref in new:
            problem = f"cannot read {named(ref)}"
            self._raw[ref] = (
                await retry_on_error(partial(self._read, ref), problem=problem) if ref[0] in _SAID_AS else {}
            )
            reason = f"{named(ref)} cannot be understood: {self._unknown[ref]}"
            self._planner.unknown(ref, reason, _hosts(self._raw[ref]))
        for ref in new:
            await self._say(ref, self._unknown[ref])

    def _is_in_force(self, ref: Ref) -> bool:
        """Whether it is a MeshFederation that is older than all that can be understood."""
        kind, _, name = ref
        if kind != "MeshFederation" or not self._raw[ref]:
            return False
        age = (str(self._raw[ref]["metadata"].get("creationTimestamp", "")), name)
        known = [one.metadata for _, one in self._inputs.federations.items() if not one.metadata.deletion_timestamp]
        return all(age < (other.creation_timestamp, other.name) for other in known)

    async def _say(self, ref: Ref, error: str) -> None:
        kind, namespace, name = ref
        _log.error(
            "%s cannot be understood: %s. What depends on it stays as it is until it is repaired or deleted",
            named(ref),
            error,
        )
        if not (self._says and self._raw[ref]):
            return
        condition = Condition(
            type=_SAID_AS[kind],
            status="Unknown",
            reason=Reason.NOT_UNDERSTOOD,
            message=f"{error}; what depends on it stays as it is until it is repaired or deleted",
        )
        generation = self._raw[ref]["metadata"].get("generation", 0)
        try:
            present = (self._raw[ref].get("status") or {}).get("conditions") or ()
            conditions = merged(present, [condition], generation=generation, now=self._stamp())
            if list(conditions) != list(present):
                await self._client.patch_status(
                    self._served.ours[kind], name, {"conditions": conditions}, namespace=namespace
                )
        except (KubeError, TypeError, AttributeError) as failure:
            # Its status may be what cannot be understood, or the API server refuses what its schema does not admit.
            _log.warning("that %s cannot be understood cannot be said in its status: %s", named(ref), failure)

    async def _read(self, ref: Ref) -> dict[str, Any]:
        """Return an object of ours as it stands; empty where it went meanwhile."""
        kind, namespace, name = ref
        try:
            return await self._client.get(self._served.ours[kind], name, namespace=namespace)
        except NotFound:
            return {}


def _hosts(raw: dict[str, Any]) -> tuple[str, ...]:
    """Return the hosts that a FederatedService may be imported as, as far as that can be read."""
    return tuple(dict.fromkeys((*_texts(raw, "status", "importedAs"), *_texts(raw, "spec", "host"))))


def _texts(raw: dict[str, Any], part: str, field: str) -> list[str]:
    """Return what stands in a field, as far as it is text."""
    section = raw.get(part)
    found = section.get(field) if isinstance(section, dict) else None
    return [found] if isinstance(found, str) and found else []
