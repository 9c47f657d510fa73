"""Who changed an object that people write, and when: its managed fields (`metadata.managedFields`), made short.

They have one entry for each manager: when it last changed the object, and which fields are its own. Which of these it
changed then, and what it did before, nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from meshfed.model.installation import WRITER
from meshfed.views.snapshot import Document

EDITED: Final = ("MeshFederation", "RemoteMesh")
"""The kinds by which people say what is to be federated: there are few of these, and all else follows from them."""
_PARTS: Final = ("f:metadata", "f:spec")


class Edit(msgspec.Struct, frozen=True):
    """The last change by one manager, at a time as RFC 3339 has it. ``fields`` are its own, such as ``spec.addresses``.

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
    """Return managed fields without those of a status, and without what is below the fields of a spec."""
    found = [one for one in _decoded(entries) if not one.subresource]
    for one in found:
        one.fields = {
            part: {name: {} for name in names if name.startswith("f:")}
            for part, names in one.fields.items()
            if part in _PARTS and isinstance(names, dict)
        }
    return [msgspec.to_builtins(one) for one in found]


def edits(document: Document) -> Iterator[Edit]:
    """Yield who changed an object, but for the controller."""
    metadata = document.get("metadata") or {}
    for one in _decoded(metadata.get("managedFields")):
        if one.subresource or not one.time or one.manager == WRITER:
            continue
        own = {part: [name[2:] for name in names] for part, names in one.fields.items() if isinstance(names, dict)}
        # What a tool notes in the metadata beside the rest is no news.
        part = "spec" if own.get("f:spec") else "metadata"
        fields = tuple(f"{part}.{name}" for name in own.get(f"f:{part}", ()))
        yield Edit(one.time, one.manager, fields, made=one.time == metadata.get("creationTimestamp"))


def _decoded(entries: Any) -> Iterator[_Entry]:
    for entry in entries if isinstance(entries, list) else ():
        try:
            yield msgspec.convert(entry, _Entry)
        except msgspec.ValidationError:
            continue  # a report may say anything
