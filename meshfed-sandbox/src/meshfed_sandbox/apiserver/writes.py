"""Every way an object comes about and changes: create, replace, patch, apply; each is one change of the store, or none.

The steps and their order are those of a real server (``registry/generic/registry.Store`` and the strategies it calls),
because clients can tell: what is validated before what, who owns a defaulted field, which writes are no change at all.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from meshfed_sandbox.apiserver import errors, incoming, managed_fields, metadata, objects, patches
from meshfed_sandbox.apiserver.behaviours import NAMESPACES, Behaviour
from meshfed_sandbox.apiserver.builtin_defaults import complete
from meshfed_sandbox.apiserver.causes import Cause, invalid
from meshfed_sandbox.apiserver.deletes import is_done
from meshfed_sandbox.apiserver.errors import InvalidError, StatusError
from meshfed_sandbox.apiserver.resources import Resource
from meshfed_sandbox.apiserver.store import Collection, Key, Store, Stored, timestamp

JSONObject = dict[str, Any]

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH: Final = "application/strategic-merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"

_SUFFIX_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
_KEPT_ON_UPDATE: Final = (
    "name",
    "namespace",
    "generateName",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
)


class WriteOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says besides the object; ``validation`` is ``Strict``, ``Warn`` or ``Ignore``."""

    manager: str = "unknown"
    dry_run: bool = False
    validation: str = "Warn"
    force: bool = False


class Outcome(NamedTuple):
    """What a write left: the object, whether it is new, and warnings for the client."""

    stored: Stored
    created: bool = False
    warnings: tuple[str, ...] = ()


class Writer:
    """Writes to ``store``; ``now`` is the time that is written into objects."""

    def __init__(
        self, store: Store, behaviours: Mapping[tuple[str, str], Behaviour], now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._behaviours = behaviours
        self._time = now
        self._namespaces = store.collection(*NAMESPACES)
        self._default_behaviour = Behaviour()

    def create(self, resource: Resource, namespace: str, obj: JSONObject, options: WriteOptions) -> Outcome:
        """Store a new object; ``StatusError`` where it is refused or exists."""
        warnings = incoming.accepted(resource, namespace, obj, options.validation)
        meta = obj["metadata"]
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"][:58] + "".join(random.choices(_SUFFIX_ALPHABET, k=5))  # noqa: S311  # a name, not a secret
        if resource.has_status:
            obj.pop("status", None)
        if meta.get("resourceVersion"):
            raise StatusError(500, "", "resourceVersion should not be set on objects to be created")
        for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
            meta.pop(field, None)
        self._stamp(resource, meta)
        self._conform(resource, obj, None)
        obj = managed_fields.update(
            None,
            obj,
            manager=options.manager,
            schema=resource.schema,
            api_version=resource.api_version,
            subresource="",
            now=self._now(),
        )
        return self._insert(resource, namespace, obj, options, warnings)

    def replace(
        self, resource: Resource, key: Key, obj: JSONObject, options: WriteOptions, *, subresource: str = ""
    ) -> Outcome:
        """Put ``obj`` in the place of what is there."""
        warnings = incoming.accepted(resource, key.namespace, obj, options.validation)
        stored = self._collection(resource).get(key)
        incoming.check_name(key, obj["metadata"])
        if stored is None:
            if resource.create_on_update and not subresource:
                obj["metadata"].pop("resourceVersion", None)
                return self.create(resource, key.namespace, obj, options)
            raise errors.not_found(resource.group, resource.plural, key.name)
        if not obj["metadata"].get("resourceVersion") and not resource.unconditional_update:
            cause = invalid("metadata.resourceVersion", 0, "must be specified for an update")
            # A real server names the resource here, where it names the kind elsewhere.
            raise InvalidError(resource.group, resource.plural, key.name, [cause])
        return self._update(resource, stored, obj, options, subresource=subresource, warnings=warnings)

    def patch(
        self, resource: Resource, key: Key, media: str, patch: Any, options: WriteOptions, *, subresource: str = ""
    ) -> Outcome:
        """Change what is there by a JSON, merge or strategic merge patch (``media`` says which)."""
        stored = self._collection(resource).get(key)
        if stored is None:
            raise errors.not_found(resource.group, resource.plural, key.name)
        live = objects.from_stored(resource, stored.copy())
        try:
            if media == JSON_PATCH:
                patched = patches.json_patch(live, patch)
            elif media == MERGE_PATCH:
                patched = patches.merge_patch(live, patch)
            else:
                patched = patches.strategic_merge_patch(live, patch, resource.schema)
        except patches.PatchError as error:
            raise errors.refused_patch(error) from error
        warnings = incoming.accepted(resource, key.namespace, patched, options.validation)
        incoming.check_name(key, patched["metadata"])
        return self._update(resource, stored, patched, options, subresource=subresource, warnings=warnings)

    def apply(
        self, resource: Resource, key: Key, applied: JSONObject, options: WriteOptions, *, subresource: str = ""
    ) -> Outcome:
        """Server-side apply: merge ``applied`` by field ownership, creating the object where it is absent."""
        warnings = incoming.accepted(resource, key.namespace, applied, options.validation)
        meta = applied["metadata"]
        if meta.get("managedFields"):
            raise errors.bad_request("metadata.managedFields must be nil")
        if not meta.get("name"):
            raise errors.bad_request(
                f"the name of the object ({key.name} based on URL) was undeterminable: name must be provided"
            )
        incoming.check_name(key, meta)
        stored = self._collection(resource).get(key)
        if stored is None and subresource:
            raise errors.not_found(resource.group, resource.plural, key.name)
        live = objects.from_stored(resource, stored.copy()) if stored else None
        if meta.get("uid") and live is None:
            raise errors.conflict(
                resource.group,
                resource.plural,
                key.name,
                f"uid mismatch: the provided object specified uid {meta['uid']}, and no existing object was found",
            )
        version = meta.pop("resourceVersion", "")
        try:
            merged = managed_fields.apply(
                live,
                applied,
                manager=options.manager,
                force=options.force,
                schema=resource.schema,
                api_version=resource.api_version,
                subresource=subresource,
                now=self._now(),
            )
        except patches.PatchError as error:
            raise errors.refused_patch(error) from error
        except managed_fields.ApplyConflict as error:
            raise errors.apply_conflict(error) from error
        if stored is None:
            if resource.has_status:
                merged.pop("status", None)
            self._stamp(resource, merged["metadata"])
            self._conform(resource, merged, None)
            return self._insert(resource, key.namespace, merged, options, warnings)
        merged["metadata"]["resourceVersion"] = version
        return self._update(resource, stored, merged, options, subresource=subresource, warnings=warnings, tracked=True)

    def _stamp(self, resource: Resource, meta: JSONObject) -> None:
        meta["uid"] = str(uuid.uuid4())
        meta["creationTimestamp"] = self._now()
        if resource.has_generation or resource.custom:
            meta["generation"] = 1
        else:
            meta.pop("generation", None)

    def _conform(self, resource: Resource, obj: JSONObject, old: JSONObject | None) -> None:
        """Bring ``obj`` into its full form, in place; ``InvalidError`` where it breaks its schema."""
        resource.schema.default(obj)
        causes = resource.schema.validate(obj, old)
        if causes:
            causes = _metadata_causes(resource, obj, old) + causes
            raise InvalidError(resource.group, resource.kind, obj["metadata"].get("name", ""), causes)
        complete(resource.key, obj)

    def _insert(
        self, resource: Resource, namespace: str, obj: JSONObject, options: WriteOptions, warnings: tuple[str, ...]
    ) -> Outcome:
        name = obj["metadata"].get("name", "")
        self._admit(resource, namespace, name)
        behaviour = self._behaviours.get((resource.group, resource.kind), self._default_behaviour)
        behaviour.prepare(obj, None)
        causes = _metadata_causes(resource, obj, None) + behaviour.check(obj, None)
        if causes:
            raise InvalidError(resource.group, resource.kind, name, causes)
        key, collection = Key(namespace, name), self._collection(resource)
        if collection.get(key) is not None:
            raise errors.already_exists(resource.group, resource.plural, name)
        new = objects.to_stored(resource, obj)
        if options.dry_run:
            return Outcome(Stored(key, new, 0), created=True, warnings=warnings)
        return Outcome(collection.put(key, new), created=True, warnings=warnings)

    def _admit(self, resource: Resource, namespace: str, name: str) -> None:
        if not namespace:
            return
        parent = self._namespaces.get(Key("", namespace))
        if parent is None:
            raise errors.not_found("", "namespaces", namespace)
        if parent.metadata.get("deletionTimestamp"):
            error = errors.forbidden(
                resource.group,
                resource.plural,
                name,
                f"unable to create new content in namespace {namespace} because it is being terminated",
            )
            message = f"namespace {namespace} is being terminated"
            (error.details or {})["causes"] = [
                {"reason": "NamespaceTerminating", "message": message, "field": "metadata.namespace"}
            ]
            raise error

    def _update(
        self,
        resource: Resource,
        stored: Stored,
        new: JSONObject,
        options: WriteOptions,
        *,
        subresource: str,
        warnings: tuple[str, ...],
        tracked: bool = False,
    ) -> Outcome:
        old = objects.from_stored(resource, stored.copy())
        self._check_basis(resource, stored, new["metadata"])
        self._carry_over(resource, old, new, subresource=subresource)
        self._conform(resource, new, old)
        if not tracked:
            new = managed_fields.update(
                old,
                new,
                manager=options.manager,
                schema=resource.schema,
                api_version=resource.api_version,
                subresource=subresource,
                now=self._now(),
            )
        behaviour = self._behaviours.get((resource.group, resource.kind), self._default_behaviour)
        behaviour.prepare(new, old)
        if (resource.has_generation or resource.custom) and _desire(resource, new) != _desire(resource, old):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        causes = _metadata_causes(resource, new, old) + behaviour.check(new, old)
        if causes:
            raise InvalidError(resource.group, resource.kind, stored.key.name, causes)
        if _unchanged(new, old):
            return Outcome(stored, warnings=warnings)
        return self._store_update(resource, stored, new, options, warnings)

    def _store_update(
        self, resource: Resource, stored: Stored, new: JSONObject, options: WriteOptions, warnings: tuple[str, ...]
    ) -> Outcome:
        obj = objects.to_stored(resource, new)
        if options.dry_run:
            return Outcome(Stored(stored.key, obj, stored.version), warnings=warnings)
        collection = self._collection(resource)
        if is_done(resource.storage, obj):
            collection.remove(stored.key)
            return Outcome(Stored(stored.key, obj, self._store.version), warnings=warnings)
        return Outcome(collection.put(stored.key, obj), warnings=warnings)

    def _check_basis(self, resource: Resource, stored: Stored, meta: JSONObject) -> None:
        if meta.get("uid") and meta["uid"] != stored.uid:
            why = f"Precondition failed: UID in precondition: {meta['uid']}, UID in object meta: {stored.uid}"
            raise errors.conflict(resource.group, resource.plural, stored.key.name, why)
        version = meta.get("resourceVersion")
        if version and version != str(stored.version):
            raise errors.stale(resource.group, resource.plural, stored.key.name)
        meta["resourceVersion"] = str(stored.version)

    def _carry_over(self, resource: Resource, old: JSONObject, new: JSONObject, *, subresource: str) -> None:
        """Restore in ``new`` what this kind of update may not change."""
        if subresource:
            kept = {key: value for key, value in old.items() if key not in {"status", "metadata"}}
            meta = dict(old["metadata"])
            if "managedFields" in new["metadata"]:
                meta["managedFields"] = new["metadata"]["managedFields"]
            status = new.get("status")
            new.clear()
            new.update(kept)
            new["metadata"] = meta
            if status is not None:
                new["status"] = status
            return
        if resource.has_status:
            if "status" in old:
                new["status"] = old["status"]
            else:
                new.pop("status", None)
        before, after = old["metadata"], new["metadata"]
        for field in _KEPT_ON_UPDATE:
            if field in before:
                after[field] = before[field]
            else:
                after.pop(field, None)

    def _collection(self, resource: Resource) -> Collection:
        return self._store.collection(*resource.storage)

    def _now(self) -> str:
        return timestamp(self._time())


def _metadata_causes(resource: Resource, new: JSONObject, old: JSONObject | None) -> list[Cause]:
    if old is None:
        return metadata.causes_on_create(resource.group, resource.kind, new["metadata"])
    return metadata.causes_on_update(new["metadata"], old["metadata"])


def _desire(resource: Resource, obj: JSONObject) -> JSONObject:
    """What a change of counts as a new generation."""
    ignored = {"metadata", "status"} if resource.has_status or not resource.custom else {"metadata"}
    return {key: value for key, value in obj.items() if key not in ignored}


def _unchanged(new: JSONObject, old: JSONObject) -> bool:
    """Whether storing ``new`` would change nothing but when a manager is said to have written."""
    if new == old:
        return True
    if {**new, "metadata": None} != {**old, "metadata": None}:
        return False
    return _without_times(new["metadata"]) == _without_times(old["metadata"])


def _without_times(meta: JSONObject) -> JSONObject:
    entries = meta.get("managedFields") or ()
    return {**meta, "managedFields": [{k: v for k, v in entry.items() if k != "time"} for entry in entries]}
