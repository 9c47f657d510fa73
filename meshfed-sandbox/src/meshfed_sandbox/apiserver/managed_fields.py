"""Field ownership: who set which field, kept in `metadata.managedFields`, and server-side apply on top of it.

Two ways to write: an *update* (PUT, POST or another patch) takes ownership of whatever it changed; an *apply* states
what its manager wants, keeps owning just that, and is refused where another manager owns a field it would change.
Neither function changes its arguments.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from meshfed_sandbox.apiserver.causes import go_quote
from meshfed_sandbox.apiserver.field_sets import FieldSet, difference, intersection, paths, sorted_set, union
from meshfed_sandbox.apiserver.field_types import type_faults
from meshfed_sandbox.apiserver.field_walk import Difference, compare, merge, remove, said, with_named_fields
from meshfed_sandbox.apiserver.patch_errors import PatchNotMergeableError
from meshfed_sandbox.apiserver.schema import Schema
from meshfed_sandbox.apiserver.schema_node import JsonObject, Node

__all__ = ["ApplyConflict", "Conflict", "apply", "update"]

_BEFORE_APPLY: Final = "before-first-apply"
_ANCIENT: Final = "ancient-changes"
_MAX_UPDATERS: Final = 10
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"

_UNTRACKED: Final = frozenset(
    {
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    }
)
_STRIPPED: Final[FieldSet] = {
    "f:apiVersion": {},
    "f:kind": {},
    "f:metadata": {".": {}, **{f"f:{name}": {} for name in _UNTRACKED}},
}


class Conflict(NamedTuple):
    """A field that an apply would change and that another manager owns."""

    manager: str
    field: str


class ApplyConflict(Exception):
    """An apply was refused because other managers own fields it would change; the object is as it was.

    Attributes:
        conflicts: by manager and then path. `str()` of the error is the API server's message.
        managers: for each conflict, its manager as the causes of the API server's answer show it.
    """

    def __init__(self, found: list[tuple[_Manager, str]]) -> None:
        self.conflicts = tuple(Conflict(manager.name, field) for manager, field in found)
        self.managers = tuple(str(manager) for manager, _ in found)
        super().__init__(_conflict_message(found))


@dataclass(frozen=True, slots=True)
class _Manager:
    """What tells one entry of managedFields from another. An applier is the same in all versions."""

    name: str
    operation: str
    api_version: str
    subresource: str

    @classmethod
    def of(cls, entry: JsonObject) -> _Manager:
        operation = entry.get("operation", "")
        version = "" if operation == "Apply" else entry.get("apiVersion", "")
        return cls(entry.get("manager", ""), operation, version, entry.get("subresource", ""))

    def __str__(self) -> str:
        text = go_quote(self.name)
        if self.subresource:
            text += f" with subresource {go_quote(self.subresource)}"
        return f"{text} using {self.api_version}" if self.operation == "Update" else text


@dataclass(frozen=True, slots=True)
class _Owned:
    fields: FieldSet
    api_version: str
    time: str | None


_Ownership = dict[_Manager, _Owned]


def update(
    live: JsonObject | None,
    new: JsonObject,
    *,
    manager: str,
    schema: Schema,
    api_version: str,
    subresource: str = "",
    now: str,
) -> JsonObject:
    """`new` with managedFields that say what it changes against `live` (None: it is created).

    Args:
        live: the stored object.
        new: the object to store; where it is to keep its status, or all but its status, it does so already.
            Its own managedFields count, as in the API server: `[{}]` (and `[]`, for kinds of
            Kubernetes itself) ends tracking.
        manager: who writes.
        schema: of the kind.
        api_version: the version `new` is in.
        subresource: what was written to, e.g. `status`.
        now: the time, RFC 3339 in seconds.
    """
    ownership = _claimed(live, new, schema, subresource)
    if not ownership and live is not None:
        return _with_entries(new, [])
    changed, removed = _compare(live, new, schema)
    if live is None and schema.builtin and not subresource:
        changed.pop("f:status", None)  # what creates an object of these kinds has no say in its status
    if not changed and not removed and live is not None and "managedFields" not in new.get("metadata", {}):
        return _with_entries(new, live["metadata"]["managedFields"])
    me = _Manager(manager, "Update", api_version, subresource)
    ownership = {m: kept for m, owned in ownership.items() if (kept := _less(owned, changed, removed))}
    mine = sorted_set(difference(changed, _STRIPPED))
    if mine:
        before = ownership.get(me)
        ownership[me] = _Owned(union(mine, before.fields) if before else mine, api_version, now)
    return _with_entries(new, _encoded(_capped(ownership)))


def apply(
    live: JsonObject | None,
    applied: JsonObject,
    *,
    manager: str,
    force: bool,
    schema: Schema,
    api_version: str,
    subresource: str = "",
    now: str,
) -> JsonObject:
    """The object that results where `manager` wants just what `applied` says, with its managedFields.

    Fields that the manager applied before and does not now are removed, unless another manager owns them too. The
    result is to be defaulted and validated like any other write; equal to `live`, nothing happened. It shares unchanged
    parts with the arguments.

    Args:
        live: the stored object; None: it is created.
        applied: what the manager states; without status where that is written through a subresource.
        manager: who applies.
        force: take over fields that others own, instead of raising.
        schema: of the kind.
        api_version: the version `applied` is in.
        subresource: what is applied to, e.g. `status`.
        now: the time, RFC 3339 in seconds.

    Raises:
        ApplyConflict: without `force`, others own fields it would change.
        PatchNotMergeableError: `applied` does not fit the schema: an unknown field, a wrong type, a duplicate key.
    """
    _refuse_misfit(schema, applied, api_version)
    base = live if live is not None else _empty(schema, applied)
    ownership = _entries(base)
    if not ownership and live is not None:
        first = _Manager(_BEFORE_APPLY, "Update", api_version, subresource)
        everything = sorted_set(difference(_compare(None, live, schema)[0], _STRIPPED))
        ownership = {first: _Owned(everything, api_version, now)} if everything else {}
    me = _Manager(manager, "Apply", "", subresource)
    last = ownership.pop(me, None)
    fields = sorted_set(difference(said(schema.node, applied), _STRIPPED))
    mine = _Owned(fields, api_version, last.time if last else None)
    merged = merge(schema.node, _without_entries(base), _without_entries(applied))
    if last and difference(last.fields, mine.fields):
        merged = _pruned(merged, last.fields, [mine, *ownership.values()], schema.node)
    changed, removed = _compare(base, merged, schema)
    if not force:
        own = _last_applied_fields(live, schema, api_version) if manager == "kubectl" and live is not None else {}
        _refuse_conflicts(ownership, difference(changed, own))
    ownership = {m: kept for m, owned in ownership.items() if (kept := _less(owned, changed, removed))}
    if changed or removed or live is None:
        mine = replace(mine, time=now)
    if mine.fields:
        ownership[me] = mine
    if manager == "kubectl":
        merged = _with_last_applied(merged, applied)
    return _with_entries(merged, _encoded(_capped(ownership)))


def _compare(live: JsonObject | None, new: JsonObject, schema: Schema) -> Difference:
    """What was added or changed, and what was removed, but for what is never tracked."""
    return compare(schema.node, _tracked(live or schema.empty()), _tracked(new))


def _tracked(obj: JsonObject) -> JsonObject:
    metadata = obj.get("metadata") or {}
    return obj | {
        "apiVersion": "",
        "kind": "",
        "metadata": {key: value for key, value in metadata.items() if key not in _UNTRACKED},
    }


def _less(owned: _Owned, changed: FieldSet, removed: FieldSet) -> _Owned | None:
    """What a manager still owns after another changed and removed fields."""
    fields = difference(difference(owned.fields, changed), removed)
    if not fields:
        return None
    return owned if fields == owned.fields else replace(owned, fields=fields)


def _pruned(merged: JsonObject, last: FieldSet, owners: list[_Owned], node: Node) -> JsonObject:
    """Without what the manager applied last time and nobody owns now."""
    last = with_named_fields(node, last)
    managed: FieldSet = {}
    for owned in owners:
        managed = union(managed, owned.fields)
    everything = with_named_fields(node, said(node, merged))
    rest = with_named_fields(node, said(node, remove(node, merged, last) or {}))
    rest = remove(node, merged, difference(everything, union(rest, with_named_fields(node, managed)))) or {}
    gone = difference(everything, with_named_fields(node, said(node, rest)))
    return remove(node, merged, intersection(gone, last)) or {}


def _refuse_misfit(schema: Schema, applied: JsonObject, api_version: str) -> None:
    faults = list(type_faults(schema.node, applied))
    if faults:
        metadata = applied.get("metadata")
        name = metadata.get("name", "") if isinstance(metadata, dict) else ""
        version = api_version if "/" in api_version else f"/{api_version}"
        text = faults[0] if len(faults) == 1 else "errors:\n  " + "\n  ".join(faults)
        kind = f"/{name}; {version}, Kind={applied.get('kind', '')}"
        raise PatchNotMergeableError(f"failed to create typed patch object ({kind}): {text}")


def _refuse_conflicts(ownership: _Ownership, changed: FieldSet) -> None:
    found = [(m, path) for m, owned in ownership.items() for path in paths(intersection(owned.fields, changed))]
    if found:
        found.sort(key=lambda entry: entry[0].name)
        raise ApplyConflict(found)


def _conflict_message(found: list[tuple[_Manager, str]]) -> str:
    if len(found) == 1:
        manager, path = found[0]
        return f"Apply failed with 1 conflict: conflict with {manager}: {path}"
    lines: list[str] = []
    for manager in dict.fromkeys(m for m, _ in found):
        lines.append(f"conflicts with {manager}:")
        lines += [f"- {path}" for m, path in found if m == manager]
    return f"Apply failed with {len(found)} conflicts: " + "\n".join(lines)


def _last_applied_fields(live: JsonObject, schema: Schema, api_version: str) -> FieldSet:
    """What client-side apply last set, and nobody changed since: kubectl's own, whoever is recorded."""
    text = (live["metadata"].get("annotations") or {}).get(_LAST_APPLIED)
    try:
        last = json.loads(text) if text else None
    except ValueError:
        return {}
    if not isinstance(last, dict) or last.get("apiVersion") != api_version:
        return {}
    changed, removed = compare(schema.node, last, live)
    return difference(difference(said(schema.node, last), changed), removed)


def _with_last_applied(merged: JsonObject, applied: JsonObject) -> JsonObject:
    """Keeps the annotation of client-side apply in step, for those who go back to it."""
    metadata = merged["metadata"]
    annotations = metadata.get("annotations") or {}
    if not annotations.get(_LAST_APPLIED):
        return merged
    own = applied["metadata"]
    if _LAST_APPLIED in own.get("annotations", {}):
        kept = {k: v for k, v in own["annotations"].items() if k != _LAST_APPLIED}
        applied = applied | {"metadata": own | {"annotations": kept}}
    text = json.dumps(applied, ensure_ascii=False, sort_keys=True, separators=(",", ":")) + "\n"
    return merged | {"metadata": metadata | {"annotations": annotations | {_LAST_APPLIED: text}}}


def _claimed(live: JsonObject | None, new: JsonObject, schema: Schema, subresource: str) -> _Ownership:
    """The ownership to start from: what the writer sent, else what is stored; nothing ends tracking."""
    sent = (new.get("metadata") or {}).get("managedFields")
    if not subresource and (sent == [{}] or (sent == [] and schema.builtin)):
        return {}
    if subresource or not sent:
        return _entries(live) if live is not None else {}
    return _entries(new) or (_entries(live) if live is not None else {})


def _entries(obj: JsonObject) -> _Ownership:
    """The entries of an object; none where one of them cannot be read, as in the API server."""
    found: _Ownership = {}
    for entry in (obj.get("metadata") or {}).get("managedFields") or ():
        readable = isinstance(entry, dict) and entry.get("operation") in ("Apply", "Update")
        if not readable or not entry.get("apiVersion") or entry.get("fieldsType") != "FieldsV1":
            return {}
        found[_Manager.of(entry)] = _Owned(entry.get("fieldsV1") or {}, entry["apiVersion"], entry.get("time"))
    return found


def _capped(ownership: _Ownership) -> _Ownership:
    """Merges the oldest updaters of a version into one entry, so that the list does not grow without end."""
    updaters = [m for m in ownership if m.operation == "Update"]
    excess = len(updaters) - _MAX_UPDATERS
    if excess <= 0:
        return ownership
    updaters.sort(key=lambda m: (ownership[m].time or "", str(m)))
    result = dict(ownership)
    first_of_version: dict[str, _Manager] = {}
    for manager in updaters:
        if excess <= 0:
            break
        first = first_of_version.setdefault(manager.api_version, manager)
        if first is manager:
            continue
        bucket = _Manager(_ANCIENT, "Update", manager.api_version, "")
        if bucket not in result:
            result[bucket] = result.pop(first)
        if manager != bucket:
            owned = result.pop(manager)
            result[bucket] = replace(owned, fields=union(owned.fields, result[bucket].fields))
        excess -= 1
    return result


def _encoded(ownership: _Ownership) -> list[JsonObject]:
    def order(item: tuple[_Manager, _Owned]) -> tuple[str, str, str, str, str]:
        manager, owned = item
        return manager.operation, owned.time or "", manager.name, owned.api_version, manager.subresource

    entries: list[JsonObject] = []
    for manager, owned in sorted(ownership.items(), key=order):
        entry: JsonObject = {
            "manager": manager.name,
            "operation": manager.operation,
            "apiVersion": owned.api_version,
            "time": owned.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": owned.fields,
            "subresource": manager.subresource,
        }
        entries.append({key: value for key, value in entry.items() if value not in ("", None)})
    return entries


def _with_entries(obj: JsonObject, entries: list[JsonObject]) -> JsonObject:
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key != "managedFields"}
    if entries:
        metadata["managedFields"] = entries
    return obj | {"metadata": metadata}


def _without_entries(obj: JsonObject) -> JsonObject:
    return _with_entries(obj, [])


def _empty(schema: Schema, applied: JsonObject) -> JsonObject:
    return schema.empty() | {"apiVersion": applied.get("apiVersion"), "kind": applied.get("kind"), "metadata": {}}
