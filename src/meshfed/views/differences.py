"""What it takes to make what exists equal to what is wanted, object by object, as the engine that writes compares them.

Shown is what is compared: the content, and those labels and annotations that are ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import unified_diff
from enum import StrEnum
from typing import Any, Final

import msgspec

from meshfed.api.documents import encode_document
from meshfed.istio.metadata import MANAGED_BY
from meshfed.kube.desired import desire, observe, same_metadata
from meshfed.kube.ownership import Ownership
from meshfed.kube.resources import ObjectKey
from meshfed.views.snapshot import Document

_NOT_CONTENT: Final = frozenset({"apiVersion", "kind", "metadata", "status"})


class ObjectAction(StrEnum):
    """What is done with an object."""

    CREATE = "Create"
    CHANGE = "Change"
    DELETE = "Delete"


class ObjectChange(msgspec.Struct, frozen=True, rename="camel"):
    """One object, and what is done with it. ``diff`` is unified, of the two as YAML, without the lines of its head."""

    action: ObjectAction
    kind: str
    namespace: str
    name: str
    diff: str


class LeftAlone(msgspec.Struct, frozen=True):
    """An object that is not as it is wanted and stays as it is, and why, in words."""

    kind: str
    namespace: str
    name: str
    why: str


class Differences(msgspec.Struct, frozen=True):
    """What is to be done, and what is left alone, each by kind, namespace and name."""

    changes: tuple[ObjectChange, ...]
    left: tuple[LeftAlone, ...]


def differences(
    existing: Iterable[Document],
    wanted: Iterable[Document],
    ownership: Ownership,
    *,
    others: Iterable[Document] = (),
    wanted_before: Iterable[Document] = (),
) -> Differences:
    """Return what it takes for what exists of ours to be as is wanted; ``others`` are objects that are not ours.

    What an object says beyond what is wanted of it, now as ``wanted_before``, the API server filled in.
    """
    found, wants, before = (_by_key(objects) for objects in (existing, wanted, wanted_before))
    taken = _by_key(others)
    changes: list[ObjectChange] = []
    left: list[LeftAlone] = []
    for key in sorted(found.keys() | wants.keys(), key=lambda key: (key.kind, key.namespace, key.name)):
        live, target = found.get(key), wants.get(key)
        if live is not None and "deletionTimestamp" in live["metadata"]:
            live = None  # it is going already
        if _same(live, target, before.get(key), ownership):
            continue
        if why := _why_left(live, key, taken, ownership):
            left.append(LeftAlone(key.kind, key.namespace, key.name, why))
        else:
            changes.append(_change(key, live, target, ownership))
    return Differences(tuple(changes), tuple(left))


def _by_key(objects: Iterable[Document]) -> dict[ObjectKey, Document]:
    return {ObjectKey.of(one): one for one in objects}


def _same(live: Document | None, target: Document | None, before: Document | None, ownership: Ownership) -> bool:
    """Whether there is nothing to write."""
    if live is None or target is None:
        return live is target
    desired = desire(target, ownership.labels)
    observed = observe(live, ownership.paused, ownership.refused)
    if not same_metadata(desired, observed, ownership.is_ours, unless_absent=ownership.origin):
        return False
    if desired.digest == observed.digest:
        return True
    unchanged = before is not None and desire(before, ownership.labels).digest == desired.digest
    return unchanged and _says(_content(live), _content(target))


def _says(found: Any, wanted: Any) -> bool:
    """Whether what is found says all that is wanted, and perhaps more."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return all(key in found and _says(found[key], value) for key, value in wanted.items())
    if isinstance(found, list) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(_says, found, wanted))
    return bool(found == wanted)


def _why_left(live: Document | None, key: ObjectKey, taken: Mapping[ObjectKey, Document], ownership: Ownership) -> str:
    """Return why an object that is not as it is wanted is left as it is; empty where it is not."""
    if live is None:
        return "an object of that name is there, and it is not Meshfed's" if key in taken else ""
    return "an annotation on it says to leave it alone" if ownership.paused(live["metadata"]) else ""


def _change(key: ObjectKey, live: Document | None, target: Document | None, ownership: Ownership) -> ObjectChange:
    action = ObjectAction.CREATE if live is None else ObjectAction.DELETE if target is None else ObjectAction.CHANGE
    version = (target or live or {}).get("apiVersion", "")
    lines = unified_diff(_lines(live, version, ownership), _lines(target, version, ownership), lineterm="")
    return ObjectChange(action, key.kind, key.namespace, key.name, "\n".join(lines).partition("+++ \n")[2])


def _lines(one: Document | None, version: str, ownership: Ownership) -> list[str]:
    """Return an object as YAML, as far as it is compared; the version in which it is spoken of is not."""
    if one is None:
        return []
    metadata = one["metadata"]
    shown: dict[str, Any] = {"name": metadata["name"]}
    if metadata.get("namespace"):
        shown["namespace"] = metadata["namespace"]
    for field in ("labels", "annotations"):
        ours = {key: value for key, value in (metadata.get(field) or {}).items() if _is_compared(key, ownership)}
        if ours:
            shown[field] = ours
    whole = {"apiVersion": version, "kind": one["kind"], "metadata": shown, **_content(one)}
    return encode_document(whole, sort_keys=True).splitlines()


def _is_compared(key: str, ownership: Ownership) -> bool:
    return key == MANAGED_BY or ownership.is_ours(key)


def _content(one: Document) -> Document:
    plain: Document = msgspec.to_builtins({key: value for key, value in one.items() if key not in _NOT_CONTENT})
    return plain
