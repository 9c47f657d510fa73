"""How many replicas a workload has, apart from the rest of it: the subresource that ``kubectl scale`` writes."""

from __future__ import annotations

from typing import Any, Final

from meshfed_sandbox.apiserver import objects, patches
from meshfed_sandbox.apiserver.causes import invalid, required
from meshfed_sandbox.apiserver.errors import InvalidError
from meshfed_sandbox.apiserver.errors import refused_patch as refused
from meshfed_sandbox.apiserver.resources import Resource
from meshfed_sandbox.apiserver.store import Stored

JSONObject = dict[str, Any]

_COPIED: Final = ("name", "namespace", "uid", "creationTimestamp")


def scale(resource: Resource, stored: Stored) -> JSONObject:
    """The Scale of a workload."""
    obj = objects.from_stored(resource, stored.copy())
    labels = obj["spec"].get("selector", {}).get("matchLabels") or {}
    replicas = obj["spec"].get("replicas", 1)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            **{key: obj["metadata"][key] for key in _COPIED if key in obj["metadata"]},
            "resourceVersion": str(stored.version),
        },
        "spec": {"replicas": replicas} if replicas else {},
        "status": {
            "replicas": obj.get("status", {}).get("replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        },
    }


def patched(live: JSONObject, patch: Any) -> JSONObject:
    """A Scale after a JSON patch, which is a list, or a merge patch: it has no lists that could be merged otherwise.

    Raises:
        StatusError: the patch does not fit.
    """
    try:
        changed = patches.json_patch(live, patch) if isinstance(patch, list) else patches.merge_patch(live, patch)
    except patches.PatchError as error:
        raise refused(error) from error
    return dict(changed)


def as_patch(name: str, wanted: JSONObject) -> JSONObject:
    """The merge patch that gives the workload ``name`` the replicas that ``wanted``, a Scale, asks for.

    Raises:
        InvalidError: it asks for none, or for what is no number of replicas.
    """
    replicas = (wanted.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise InvalidError("autoscaling", "Scale", name, [required("spec.replicas", "must be an integer")])
    if replicas < 0:
        cause = invalid("spec.replicas", replicas, "must be greater than or equal to 0")
        raise InvalidError("autoscaling", "Scale", name, [cause])
    version = (wanted.get("metadata") or {}).get("resourceVersion")
    return {"spec": {"replicas": replicas}, **({"metadata": {"resourceVersion": version}} if version else {})}
