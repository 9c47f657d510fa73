"""Reading: what a list or watch asks for in its query, and which objects that is."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from meshfed_sandbox.apiserver import errors, selectors
from meshfed_sandbox.apiserver.causes import Cause, forbidden, required
from meshfed_sandbox.apiserver.errors import InvalidError, StatusError
from meshfed_sandbox.apiserver.resources import Resource
from meshfed_sandbox.apiserver.store import Collection, Key, Stored

JSONObject = dict[str, Any]

_TOO_OLD: Final = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)
_TRUE: Final = frozenset({"true", "1", "True", "t", "T", "TRUE"})


def flag(query: Mapping[str, str], name: str) -> bool:
    """Whether the query sets ``name`` to true."""
    return query.get(name, "") in _TRUE


class ListOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The query of a list or watch; ``version`` is ``None`` where no resourceVersion is given."""

    selects: selectors.Predicate | None = None
    version: int | None = None
    match: str = ""
    limit: int = 0
    token: str = ""
    watch: bool = False
    bookmarks: bool = False
    initial_events: bool | None = None
    timeout: float = 0.0


def list_options(resource: Resource, query: Mapping[str, str], name: str = "") -> ListOptions:
    """Read the query; ``StatusError`` 400, 422 or 500 where it makes no sense. ``name`` narrows to one object."""
    selects = selectors.both(
        selectors.label_selector(query.get("labelSelector", "")),
        selectors.field_selector(query.get("fieldSelector", ""), resource.selectable_fields),
    )
    if name:
        selects = selectors.both(selects, selectors.field_selector(f"metadata.name={name}", ()))
    options = ListOptions(
        selects=selects,
        version=_version(query.get("resourceVersion", "")),
        match=query.get("resourceVersionMatch", ""),
        limit=_whole(query, "limit"),
        token=query.get("continue", ""),
        watch=flag(query, "watch"),
        bookmarks=flag(query, "allowWatchBookmarks"),
        initial_events=flag(query, "sendInitialEvents") if "sendInitialEvents" in query else None,
        timeout=_whole(query, "timeoutSeconds"),
    )
    causes = _causes(options, query)
    if causes:
        raise InvalidError("meta.k8s.io", "ListOptions", "", causes)
    return options


def _causes(options: ListOptions, query: Mapping[str, str]) -> list[Cause]:
    field = "resourceVersionMatch"
    if options.watch:
        if "sendInitialEvents" in query and options.match != "NotOlderThan":
            why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            return [forbidden(field, why)]
        if options.match and "sendInitialEvents" not in query:
            return [
                forbidden(field, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
            ]
        if options.initial_events and not options.bookmarks:
            return [required("allowWatchBookmarks", "sendInitialEvents requires setting allowWatchBookmarks")]
        return []
    if "sendInitialEvents" in query:
        return [forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")]
    if not options.match:
        return []
    if options.version is None:
        return [forbidden(field, "resourceVersionMatch is forbidden unless resourceVersion is provided")]
    if options.token:
        return [forbidden(field, "resourceVersionMatch is forbidden when continue is provided")]
    if options.match not in {"Exact", "NotOlderThan"}:
        message = f'Unsupported value: "{options.match}": supported values: "Exact", "NotOlderThan"'
        return [Cause("FieldValueNotSupported", message, field)]
    if options.match == "Exact" and options.version == 0:
        return [forbidden(field, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"')]
    return []


def _version(text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit():
        why = f'strconv.ParseUint: parsing "{text}": invalid syntax'
        raise StatusError(500, "", f'resourceVersion: Invalid value: "{text}": {why}')
    return int(text)


def _whole(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "")
    try:
        return int(text) if text else 0
    except ValueError:
        raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax ({name})') from None


class Page(NamedTuple):
    """A list, or a chunk of one, and its list metadata."""

    items: list[Stored]
    meta: JSONObject


def page(collection: Collection, namespace: str, options: ListOptions) -> Page:
    """The objects a list asks for; ``StatusError`` 410 where they are of a forgotten past, 504 of the future."""
    if options.token:
        start, version = _decode_token(options.token)
        version = version if version >= 0 else collection.latest
    else:
        start = None
        exact = options.match == "Exact" or (options.version and options.limit and not options.match)
        version = options.version or 0 if exact else collection.latest
    if (options.version or 0) > collection.latest:
        raise errors.too_large_version(options.version or 0, collection.latest)
    try:
        items = collection.items(namespace) if version == collection.latest else collection.items_at(version, namespace)
    except StatusError as error:
        if error.code == 410 and start is not None:
            raise errors.expired(_TOO_OLD, continue_token=_encode_token(start, -1)) from error
        raise
    if start is not None:
        items = [stored for stored in items if stored.key > start]
    if options.selects is not None:
        items = [stored for stored in items if options.selects(stored.object)]
    meta: JSONObject = {"resourceVersion": str(version)}
    if 0 < options.limit < len(items):
        meta["continue"] = _encode_token(items[options.limit - 1].key, version)
        if options.selects is None:
            meta["remainingItemCount"] = len(items) - options.limit
        items = items[: options.limit]
    return Page(items, meta)


def _encode_token(last: Key, version: int) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode([version, *last])).decode().rstrip("=")


def _decode_token(token: str) -> tuple[Key, int]:
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        version, namespace, name = msgspec.json.decode(raw, type=tuple[int, str, str])
    except (binascii.Error, msgspec.DecodeError, ValueError) as error:
        raise errors.bad_request(f"continue key is not valid: {error}") from error
    return Key(namespace, name), version
