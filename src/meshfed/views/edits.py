"""Who changed an object that people write, and when: its managed fields (`metadata.managedFields`), made short.

They have one entry for each manager that owns a field: when it last changed the object, and which fields are its own.
Which of these it changed then, and what it did before, nobody knows. Who takes a field away, or the object, leaves no
trace in them; nor does an apply that changes nothing, whose entry has no time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from meshfed.api.times import parse_time, timestamp
from meshfed.model.installation import WRITER
from meshfed.views.snapshot import Document

EDITED: Final = ("MeshFederation", "RemoteMesh")
"""The kinds by which people say what is to be federated: there are few of these, and all else follows from them."""
_PARTS: Final = ("f:metadata", "f:spec")
_NOBODY: Final = frozenset({"before-first-apply", "ancient-changes"})
"""Managers that Kubernetes makes up for what was changed before it took note of who did."""
_LONGEST: Final = 80
"""Characters of a manager's name that are shown."""


class Edit(msgspec.Struct, frozen=True):
    """The last change by one manager, at a time as an API server writes it. ``fields`` are its own, as `spec.network`.

    ``made``: the object came to be by it.
    """

    at: str
    manager: str
    fields: tuple[str, ...]
    made: bool


class _Entry(msgspec.Struct, rename="camel", omit_defaults=True):
    manager: str = ""
    operation: str = ""
    time: str = ""
    subresource: str = ""
    fields: dict[str, Any] = msgspec.field(default_factory=dict, name="fieldsV1")


def shortened(entries: Any) -> list[Document]:
    """Return the managed fields that say who changed an object, without what is below the fields of its spec."""
    return [msgspec.to_builtins(one) for one in _telling(entries)]


def edits(document: Document) -> Iterator[Edit]:
    """Yield who changed an object, but for the controller."""
    metadata = document.get("metadata") or {}
    made = str(metadata.get("creationTimestamp") or "")
    for number, one in enumerate(sorted(_telling(metadata.get("managedFields")), key=lambda one: one.time)):
        # What a tool notes in the metadata beside the rest is no news.
        part = "spec" if one.fields.get("f:spec") else "metadata"
        fields = tuple(f"{part}.{name[2:]}" for name in one.fields.get(f"f:{part}", ()))
        name = one.manager or "somebody unnamed"
        shown = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
        yield Edit(one.time, shown, fields, made=number == 0 and one.time <= made)


def _telling(entries: Any) -> Iterator[_Entry]:
    for one in _decoded(entries):
        at = moment(one.time)
        own: dict[str, dict[str, Any]] = {
            part: {name: {} for name in names if name.startswith("f:")}
            for part, names in one.fields.items()
            if part in _PARTS and isinstance(names, dict)
        }
        # The controller has finalizers; whoever else takes its name is somebody all the same.
        ours = one.manager == WRITER and not own.get("f:spec")
        if at and not one.subresource and not ours and one.manager not in _NOBODY:
            yield _Entry(one.manager, one.operation, at, "", own)


def moment(text: str) -> str:
    """Return a time as an API server writes it, in whole seconds and UTC; empty where it is none."""
    try:
        return timestamp(parse_time(text).replace(microsecond=0))
    except ValueError:
        return ""


def _decoded(entries: Any) -> Iterator[_Entry]:
    for entry in entries if isinstance(entries, list) else ():
        try:
            yield msgspec.convert(entry, _Entry)
        except msgspec.ValidationError:
            continue  # a report may say anything
