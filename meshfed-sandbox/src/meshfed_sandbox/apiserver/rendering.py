"""The forms a reader may ask for with ``Accept``: whole objects, their metadata alone, or a table to print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec

from meshfed_sandbox.apiserver import objects, tables
from meshfed_sandbox.apiserver.errors import StatusError
from meshfed_sandbox.apiserver.resources import Resource
from meshfed_sandbox.apiserver.store import Event, Stored

JSONObject = dict[str, Any]

JSON: Final = "application/json"
_encode: Final = msgspec.json.Encoder().encode


class Form(Protocol):
    """How objects are shown; ``key`` tells forms apart whose bytes differ."""

    @property
    def key(self) -> object:
        """Equal for forms that render alike."""

    def one(self, resource: Resource, stored: Stored) -> bytes:
        """One object, as the body of an answer or inside a watch event."""

    def many(self, resource: Resource, items: Sequence[Stored], meta: JSONObject) -> bytes:
        """A list with the list metadata ``meta``."""

    def bookmark(self, resource: Resource, meta: JSONObject) -> bytes:
        """An object that has nothing but the metadata ``meta``."""


class WholeForm:
    """Objects as they are."""

    key: Final = "whole"

    def one(self, resource: Resource, stored: Stored) -> bytes:
        """One object."""
        return objects.encoded(resource, stored)

    def many(self, resource: Resource, items: Sequence[Stored], meta: JSONObject) -> bytes:
        """A list."""
        head = b'{"kind":"%b","apiVersion":"%b","metadata":%b,"items":[' % (
            (resource.list_kind or f"{resource.kind}List").encode(),
            resource.api_version.encode(),
            _encode(meta),
        )
        return head + b",".join([objects.encoded_item(resource, stored) for stored in items]) + b"]}"

    def bookmark(self, resource: Resource, meta: JSONObject) -> bytes:
        """A bookmark."""
        return _encode({"kind": resource.kind, "apiVersion": resource.api_version, "metadata": meta})


class PartialForm:
    """Metadata alone, as PartialObjectMetadata."""

    key: Final = "partial"

    def one(self, resource: Resource, stored: Stored) -> bytes:
        """One object."""
        del resource
        return _encode(objects.partial(stored))

    def many(self, resource: Resource, items: Sequence[Stored], meta: JSONObject) -> bytes:
        """A list."""
        del resource
        return _encode(
            {
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": meta,
                "items": [objects.partial(stored) for stored in items],
            }
        )

    def bookmark(self, resource: Resource, meta: JSONObject) -> bytes:
        """A bookmark."""
        del resource
        return _encode({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": meta})


class TableForm:
    """Rows of cells; ``include`` is ``Metadata``, ``Object`` or ``None``: what else each row carries."""

    def __init__(self, include: str) -> None:
        self._include = include
        self.key = ("table", include)

    def one(self, resource: Resource, stored: Stored) -> bytes:
        """One object."""
        return self.many(resource, [stored], {"resourceVersion": str(stored.version)})

    def many(self, resource: Resource, items: Sequence[Stored], meta: JSONObject) -> bytes:
        """A list."""
        rows = [self._row(resource, stored) for stored in items]
        return _encode(self._table(resource, rows, meta))

    def bookmark(self, resource: Resource, meta: JSONObject) -> bytes:
        """A bookmark."""
        subject = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": meta}
        row = {"cells": ["" for _ in tables.columns(resource)], "object": subject}
        return _encode(self._table(resource, [row], {"resourceVersion": meta["resourceVersion"]}))

    def _table(self, resource: Resource, rows: list[JSONObject], meta: JSONObject) -> JSONObject:
        return {
            "kind": "Table",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": meta,
            "columnDefinitions": [column.definition() for column in tables.columns(resource)],
            "rows": rows,
        }

    def _row(self, resource: Resource, stored: Stored) -> JSONObject:
        row: JSONObject = {"cells": [column.cell(stored.object) for column in tables.columns(resource)]}
        if self._include == "Object":
            row["object"] = objects.from_stored(resource, stored.object)
        elif self._include == "Metadata":
            row["object"] = objects.partial(stored)
        return row


WHOLE: Final = WholeForm()
PARTIAL: Final = PartialForm()


def negotiated(accept: str, include: str) -> Form:
    """The form that ``accept``, an Accept header, asks for first among those known; 406 where it knows none."""
    for part in accept.split(","):
        media, *parameters = (word.strip() for word in part.split(";"))
        if media not in {"", "*/*", "application/*", JSON}:
            continue
        wanted = next((word[3:] for word in parameters if word.startswith("as=")), "")
        if wanted == "Table":
            return TableForm(include or "Metadata")
        if wanted in {"PartialObjectMetadata", "PartialObjectMetadataList"}:
            return PARTIAL
        if not wanted:
            return WHOLE
    message = f"only the following media types are accepted: {JSON}"
    raise StatusError(406, "NotAcceptable", message)


def event_line(resource: Resource, form: Form, event: Event, kind: str) -> bytes:
    """``event`` as a line of a watch of ``kind`` (ADDED, MODIFIED, DELETED), rendered once for all who want it so."""

    def render() -> bytes:
        stored = event.final() if kind == "DELETED" else event.after
        assert stored is not None  # noqa: S101  # only what exists is added or modified
        return watch_line(kind, form.one(resource, stored))

    return event.rendered((kind, resource.api_version, form.key), render)


def watch_line(kind: str, body: bytes) -> bytes:
    """A line of a watch."""
    return b'{"type":"%b","object":%b}\n' % (kind.encode(), body)
