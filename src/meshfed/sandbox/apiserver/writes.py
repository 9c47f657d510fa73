"""Every way an object changes: create, replace, patch, apply, delete; each ends in one change of the store, or none.

The steps and their order are those of a real server (``registry/generic/registry.Store`` and the strategies it calls),
because clients can tell: what is validated before what, who owns a defaulted field, which writes are no change at all.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec

from meshfed.sandbox.apiserver import errors, managed_fields, metadata, objects, patches
from meshfed.sandbox.apiserver.builtins import complete
from meshfed.sandbox.apiserver.causes import Cause, invalid
from meshfed.sandbox.apiserver.errors import InvalidError, StatusError
from meshfed.sandbox.apiserver.kinds import IMMORTAL, Behaviour
from meshfed.sandbox.apiserver.resources import Resource
from meshfed.sandbox.apiserver.store import Collection, Key, Store, Stored

JSONObject = dict[str, Any]

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH: Final = "application/strategic-merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"

FOREGROUND: Final = "foregroundDeletion"
ORPHAN: Final = "orphan"

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


class DeleteOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to delete; ``propagation`` is ``Background``, ``Foreground`` or ``Orphan``."""

    propagation: str = "Background"
    uid: str = ""
    version: str = ""
    dry_run: bool = False


class Outcome(NamedTuple):
    """What a write left: the object, whether it is new, and warnings for the client."""

    stored: Stored
    created: bool = False
    warnings: tuple[str, ...] = ()


class Deletion(NamedTuple):
    """What a deletion left: the object as last seen, and whether it is gone rather than waiting for finalizers."""

    stored: Stored
    gone: bool


class Writer:
    """Writes to ``store``; ``clock`` gives the time of day that is written into objects."""

    def __init__(
        self,
        store: Store,
        behaviours: Mapping[tuple[str, str], Behaviour],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._behaviours = behaviours
        self._clock = clock
        self._namespaces = store.collection("", "namespaces")
        self._default_behaviour = Behaviour()

    def create(self, resource: Resource, namespace: str, obj: JSONObject, options: WriteOptions) -> Outcome:
        """Store a new object; ``StatusError`` where it is refused or exists."""
        warnings = self._decoded(resource, namespace, obj, options)
        meta = obj["metadata"]
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"][:58] + "".join(random.choices(_SUFFIX_ALPHABET, k=5))  # noqa: S311  # a name, not a secret
        if resource.has_status:
            obj.pop("status", None)
        for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"):
            if field == "resourceVersion" and meta.get(field):
                raise StatusError(500, "", "resourceVersion should not be set on objects to be created")
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
        warnings = self._decoded(resource, key.namespace, obj, options)
        stored = self._collection(resource).get(key)
        self._same_name(key, obj["metadata"])
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
            reason = {400: "BadRequest", 422: "Invalid", 500: ""}[error.status]
            raise StatusError(error.status, reason, error.public) from error
        warnings = self._decoded(resource, key.namespace, patched, options)
        self._same_name(key, patched["metadata"])
        return self._update(resource, stored, patched, options, subresource=subresource, warnings=warnings)

    def apply(
        self, resource: Resource, key: Key, applied: JSONObject, options: WriteOptions, *, subresource: str = ""
    ) -> Outcome:
        """Server-side apply: merge ``applied`` by field ownership, creating the object where it is absent."""
        warnings = self._decoded(resource, key.namespace, applied, options)
        meta = applied["metadata"]
        if meta.get("managedFields"):
            raise errors.bad_request("metadata.managedFields must be nil")
        if not meta.get("name"):
            raise errors.bad_request(
                f"the name of the object ({key.name} based on URL) was undeterminable: name must be provided"
            )
        self._same_name(key, meta)
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

    def delete(self, resource: Resource, key: Key, options: DeleteOptions) -> Deletion:
        """Delete what is there, or mark it where finalizers hold it."""
        collection = self._collection(resource)
        stored = collection.get(key)
        if stored is None:
            raise errors.not_found(resource.group, resource.plural, key.name)
        self._preconditions(resource, stored, options)
        is_namespace = resource.storage == ("", "namespaces")
        if is_namespace and key.name in IMMORTAL:
            raise errors.forbidden("", resource.plural, key.name, "this namespace may not be deleted")
        finalizers = [f for f in stored.metadata.get("finalizers") or () if f not in {FOREGROUND, ORPHAN}]
        if options.propagation == "Foreground":
            finalizers.append(FOREGROUND)
        elif options.propagation == "Orphan":
            finalizers.append(ORPHAN)
        if not finalizers and not is_namespace:
            return Deletion(stored if options.dry_run else collection.remove(key), gone=True)
        return Deletion(self._mark(collection, stored, finalizers, options), gone=False)

    def release(self, collection: Collection, stored: Stored, changes: JSONObject) -> None:
        """Write back ``stored`` with its metadata changed by ``changes``; remove it where nothing holds it any more."""
        obj = stored.copy()
        obj["metadata"] = {key: value for key, value in (obj["metadata"] | changes).items() if value != []}
        if self._is_done(obj):
            collection.remove(stored.key)
        else:
            collection.put(stored.key, obj)

    def _mark(self, collection: Collection, stored: Stored, finalizers: list[str], options: DeleteOptions) -> Stored:
        obj = stored.copy()
        meta = obj["metadata"]
        if not meta.get("deletionTimestamp"):
            meta["deletionTimestamp"] = self._now()
            meta["deletionGracePeriodSeconds"] = 0
            if meta.get("generation"):
                meta["generation"] += 1
        if finalizers:
            meta["finalizers"] = finalizers
        if collection is self._namespaces:
            obj["status"] = {**obj.get("status", {}), "phase": "Terminating"}
        if obj == stored.copy():
            return stored
        return Stored(stored.key, obj, stored.version) if options.dry_run else collection.put(stored.key, obj)

    def _preconditions(self, resource: Resource, stored: Stored, options: DeleteOptions) -> None:
        for what, wanted, actual, likely in (
            ("UID", options.uid, stored.uid, "deleted and then recreated"),
            ("ResourceVersion", options.version, str(stored.version), "modified"),
        ):
            if wanted and wanted != actual:
                why = (
                    f"the {what} in the precondition ({wanted}) does not match the {what} in record ({actual}). "
                    f"The object might have been {likely}"
                )
                raise errors.conflict(resource.group, resource.kind, stored.key.name, why)

    def _decoded(self, resource: Resource, namespace: str, obj: Any, options: WriteOptions) -> tuple[str, ...]:
        """Check that ``obj`` is an object of ``resource``, and drop in place what the resource does not know."""
        if not isinstance(obj, dict):
            raise errors.bad_request(f"the object provided is unrecognized (must be of type {resource.kind})")
        self._check_type(resource, obj)
        meta = obj.setdefault("metadata", {})
        if meta is None:
            meta = obj["metadata"] = {}
        cannot = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
        if not isinstance(meta, dict):
            raise errors.bad_request(cannot + "json: cannot unmarshal into Go struct field metadata of type ObjectMeta")
        paths = resource.schema.prune(obj)
        mistyped = metadata.normalise(meta)
        if mistyped:
            raise errors.bad_request(cannot + mistyped)
        given = meta.get("namespace", "")
        if given and given != namespace:
            raise errors.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        if namespace:
            meta["namespace"] = namespace
        problems = tuple(f'unknown field "{path}"' for path in paths)
        if problems and options.validation == "Strict":
            raise errors.bad_request(f"{cannot}strict decoding error: {', '.join(problems)}")
        return () if options.validation == "Ignore" else problems

    def _check_type(self, resource: Resource, obj: JSONObject) -> None:
        kind, api_version = obj.get("kind"), obj.get("apiVersion")
        if resource.custom and not kind:
            raise errors.bad_request("Object 'Kind' is missing in the object provided")
        if kind and kind != resource.kind:
            raise errors.bad_request(
                f'{kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
                f'no kind "{kind}" is registered for version "{resource.api_version}"'
            )
        if api_version and api_version != resource.api_version:
            raise errors.bad_request(
                f"the API version in the data ({api_version}) does not match the expected API version "
                f"({resource.api_version})"
            )
        obj["kind"], obj["apiVersion"] = resource.kind, resource.api_version

    def _same_name(self, key: Key, meta: JSONObject) -> None:
        name = meta.setdefault("name", key.name)
        if name != key.name:
            raise errors.bad_request(f"the name of the object ({name}) does not match the name on the URL ({key.name})")

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
        if self._is_done(obj):
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

    def _is_done(self, obj: JSONObject) -> bool:
        meta = obj["metadata"]
        held = meta.get("finalizers") or (obj.get("spec") or {}).get("finalizers") == ["kubernetes"]
        return bool(meta.get("deletionTimestamp")) and not held

    def _collection(self, resource: Resource) -> Collection:
        return self._store.collection(*resource.storage)

    def _now(self) -> str:
        return self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")


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
