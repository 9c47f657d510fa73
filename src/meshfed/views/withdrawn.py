"""What remotes withdrew lately, as the controller's Events tell; the API server keeps these for an hour."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from meshfed.api.meta import ObjectMeta
from meshfed.federation.imports import record_name
from meshfed.model.reasons import EventReason
from meshfed.views.snapshot import Snapshot


class _Subject(msgspec.Struct, frozen=True):
    kind: str = ""
    name: str = ""


class _Event(msgspec.Struct, frozen=True, rename="camel"):
    metadata: ObjectMeta
    involved_object: _Subject = _Subject()
    reason: str = ""
    last_timestamp: str | None = ""


def withdrawn(snapshot: Snapshot) -> dict[str, str]:
    """Return when (RFC 3339) what each FederatedService recorded was withdrawn, by name, but for those there are."""
    there = {one.metadata.name for one in snapshot.records}
    found = {}
    for document in snapshot.of_kind("Event"):
        try:
            event = msgspec.convert(document, _Event)
        except msgspec.ValidationError:
            continue  # of somebody who writes them otherwise
        subject = event.involved_object
        if (event.reason, subject.kind) == (EventReason.WITHDRAWN, "FederatedService") and subject.name not in there:
            found[subject.name] = event.last_timestamp or ""
    return found


def withdrawn_hosts(snapshot: Snapshot) -> Iterator[tuple[str, str, str]]:
    """Yield RemoteMesh, host and time of what was withdrawn; a host too long for a record's name is not known."""
    for name, at in withdrawn(snapshot).items():
        for remote in snapshot.remotes:
            host = name.removesuffix(f".{remote.metadata.name}")
            if host != name and record_name(host, remote.metadata.name) == name:
                yield remote.metadata.name, host, at
