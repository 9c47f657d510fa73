"""How long a change takes through this process, measured by its own clock: what is exported, and what is imported.

An export begins with the event of a Service, and ends with the ACK of each subscriber (`meshfed.fds._streams`).
An import begins when it is received, and ends when the objects of its host are in place. In between it goes by way of
its FederatedService and the watch on it, so it is followed from one to the next: wanted, seen, and its host written.
What turns out to change nothing is measured nowhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from operator import attrgetter

import msgspec

from meshfed.api.v1alpha1 import FederatedServiceSpec
from meshfed.plan import ExportKey, ImportKey
from meshfed.plan.imports import Imports
from meshfed.telemetry.metrics import Metrics


class _Change(msgspec.Struct, frozen=True, gc=False):
    """What a remote said, when that was received, and the FederatedService that follows; ``None``: none."""

    remote: str
    received: float
    spec: FederatedServiceSpec | None


class Propagation:
    """Follows the changes that are under way. A change costs the same however many there are."""

    def __init__(self, metrics: Metrics, imports: Imports) -> None:
        self._metrics = metrics
        self._imports = imports
        self._services: dict[tuple[str, str], float] = {}
        self._wanted: dict[str, _Change] = {}
        """By FederatedService, what the watch has not shown yet."""
        self._seen: dict[str, _Change] = {}
        """By FederatedService, what the watch has shown, and what follows from it is not worked out yet."""
        self._imported: dict[str, list[str]] = {}
        """By host, those of them that are imported as it until that is worked out."""
        self._writing: dict[str, _Change] = {}
        """By imported host, what is not in place yet."""

    def done(self) -> None:
        """All that changed was worked out: what has led to nothing by now never will."""
        self._services.clear()
        self._seen.clear()
        self._imported.clear()

    # --- exports: begun

    def service_changed(self, namespace: str, name: str) -> None:
        """A watch showed a Service that is another than before, or gone."""
        self._services.setdefault((namespace, name), _now())

    def began(self, key: ExportKey) -> float | None:
        """Return when the change of a Service began that has its export worked out; ``None`` where none did."""
        return self._services.pop((key.namespace, key.name), None)

    # --- imports: wanted, seen, written

    def record_wanted(
        self,
        record: str,
        stands: FederatedServiceSpec | None,
        spec: FederatedServiceSpec | None,
        *,
        received: float | None,
    ) -> None:
        """A FederatedService that ``stands`` is wanted as ``spec`` says.

        ``received``: when the remote said so; ``None`` where something else is why, which is not measured.
        """
        before = self._wanted.pop(record, None)
        known = spec or stands
        if received is not None and stands != spec and known is not None:
            self._wanted[record] = _Change(known.remote, received if before is None else before.received, spec)

    def record_seen(self, record: str, spec: FederatedServiceSpec | None) -> None:
        """A watch showed a FederatedService, of which the planner does not know yet; ``None``: it is gone."""
        change = self._wanted.get(record)
        if change is None or change.spec != spec:
            return
        del self._wanted[record]
        self._seen.setdefault(record, change)
        fate = self._imports.fate(record)
        if fate is not None and fate.host:
            self._imported.setdefault(fate.host, []).append(record)

    def import_wanted(self, key: ImportKey, *, in_place: Callable[[ImportKey], bool]) -> None:
        """An import was worked out, and its objects are wanted."""
        if not self._seen:
            return
        records = {*self._imported.pop(key.host, ()), *self._imports.records(key.host)}
        changes = [self._seen.pop(record) for record in records if record in self._seen]
        if changes and not in_place(key):
            self._writing.setdefault(key.host, min(changes, key=attrgetter("received")))

    def import_in_place(self, key: ImportKey) -> None:
        """The objects of an import are what they should be, or gone."""
        change = self._writing.pop(key.host, None)
        if change is not None:
            now = _now()
            self._metrics.import_took(change.remote, now - change.received, now)

    def forget(self, remote: str) -> None:
        """Nothing is measured of a remote any more."""
        for changes in (self._wanted, self._seen, self._writing):
            for key in [key for key, change in changes.items() if change.remote == remote]:
                del changes[key]


def _now() -> float:
    return asyncio.get_running_loop().time()
