"""Which resources the server serves: the built-in ones a mesh touches, and those that CRDs add at run time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Final

import msgspec

from meshfed_sandbox.apiserver.builtin_defaults import BUILTIN_SCHEMAS
from meshfed_sandbox.apiserver.schema import Schema

JSONObject = dict[str, Any]

ALL_VERBS: Final[tuple[str, ...]] = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_REVIEW: Final[tuple[str, ...]] = ("create",)


class Column(msgspec.Struct, frozen=True):
    """A printer column of a CRD; ``priority`` above 0 is shown with ``-o wide`` only."""

    name: str
    type: str
    json_path: str
    format: str = ""
    description: str = ""
    priority: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Resource:
    """One resource in one API version.

    ``storage`` is the (group, plural) of the collection that all its versions, and sometimes groups, share;
    ``unconditional_update`` allows a PUT without a resourceVersion, ``create_on_update`` one of what is not there.
    """

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    storage: tuple[str, str]
    openapi: JSONObject
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    has_status: bool = False
    has_generation: bool = False
    create_on_update: bool = False
    unconditional_update: bool = True
    returns_deleted: bool = False
    custom: bool = False
    list_kind: str = ""
    columns: tuple[Column, ...] = ()
    selectable_fields: tuple[str, ...] = ()

    @cached_property
    def schema(self) -> Schema:
        """The compiled schema; compiling takes a while, and of most kinds nobody ever stores an object."""
        return Schema.compile(self.openapi)

    @property
    def subresources(self) -> tuple[str, ...]:
        """Its subresources."""
        special = _SPECIAL.get(self.key, ())
        return (*special, "status") if self.has_status else special

    @property
    def api_version(self) -> str:
        """The ``apiVersion`` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def key(self) -> str:
        """``group/version/Kind``, with an empty group for the core."""
        return f"{self.group}/{self.version}/{self.kind}"

    @property
    def path(self) -> str:
        """The path of its group and version, below the server's root."""
        return f"apis/{self.group}/{self.version}" if self.group else f"api/{self.version}"

    @property
    def qualified(self) -> str:
        """``plural`` or ``plural.group``, as people and error messages name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


_SPECIAL: Final = {
    "/v1/ServiceAccount": ("token",),
    "/v1/Pod": ("exec", "log", "proxy"),
    **{f"apps/v1/{kind}": ("scale",) for kind in ("Deployment", "ReplicaSet", "StatefulSet")},
}
"""Subresources of built-in kinds, besides their status."""


class _Builtin(msgspec.Struct, frozen=True):
    group: str
    kind: str
    plural: str
    flags: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()


# Flags: c cluster-scoped, s has a status subresource, g counts generations, u a PUT creates what is absent,
# r a PUT needs a resourceVersion, d a DELETE answers with the object, n cannot be deleted as a collection,
# v a review: only created, never stored.
_EVENT_FIELDS = (
    *(
        f"involvedObject.{f}"
        for f in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
    ),
    "reason",
    "reportingComponent",
    "source",
    "type",
)
_POD_FIELDS = (
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
)
_RBAC = "rbac.authorization.k8s.io"
_BUILTINS: Final = (
    _Builtin("", "Namespace", "namespaces", "csn", ("ns",), fields=("status.phase",)),
    _Builtin("", "Service", "services", "sud", ("svc",), ("all",), ("spec.clusterIP", "spec.type")),
    _Builtin("", "Endpoints", "endpoints", "u", ("ep",)),
    _Builtin("", "Pod", "pods", "sgd", ("po",), ("all",), _POD_FIELDS),
    _Builtin("", "ServiceAccount", "serviceaccounts", "d", ("sa",)),
    _Builtin("", "ConfigMap", "configmaps", "", ("cm",)),
    _Builtin("", "Secret", "secrets", fields=("type",)),
    _Builtin("", "Node", "nodes", "cs", ("no",), fields=("spec.unschedulable",)),
    _Builtin("", "Event", "events", "u", ("ev",), fields=_EVENT_FIELDS),
    _Builtin("events.k8s.io", "Event", "events", "u", ("ev",), fields=("reason", "reportingController", "type")),
    _Builtin("apps", "Deployment", "deployments", "sg", ("deploy",), ("all",)),
    _Builtin("apps", "ReplicaSet", "replicasets", "sg", ("rs",), ("all",), ("status.replicas",)),
    _Builtin("apps", "DaemonSet", "daemonsets", "sg", ("ds",), ("all",)),
    _Builtin("apps", "StatefulSet", "statefulsets", "sg", ("sts",), ("all",)),
    _Builtin("batch", "Job", "jobs", "sg", (), ("all",), ("status.successful",)),
    _Builtin("coordination.k8s.io", "Lease", "leases", "ur"),
    _Builtin("discovery.k8s.io", "EndpointSlice", "endpointslices", "g"),
    _Builtin("networking.k8s.io", "NetworkPolicy", "networkpolicies", "g", ("netpol",)),
    _Builtin("policy", "PodDisruptionBudget", "poddisruptionbudgets", "sgr", ("pdb",)),
    _Builtin(_RBAC, "Role", "roles", "u"),
    _Builtin(_RBAC, "RoleBinding", "rolebindings", "u"),
    _Builtin(_RBAC, "ClusterRole", "clusterroles", "cu"),
    _Builtin(_RBAC, "ClusterRoleBinding", "clusterrolebindings", "cu"),
    _Builtin(
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        "csgr",
        ("crd", "crds"),
        ("api-extensions",),
    ),
    _Builtin("authentication.k8s.io", "SelfSubjectReview", "selfsubjectreviews", "cv"),
    _Builtin("authorization.k8s.io", "SelfSubjectAccessReview", "selfsubjectaccessreviews", "cv"),
    _Builtin("authorization.k8s.io", "SelfSubjectRulesReview", "selfsubjectrulesreviews", "cv"),
    _Builtin("authorization.k8s.io", "SubjectAccessReview", "subjectaccessreviews", "cv"),
)


_ANYTHING: Final[JSONObject] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def _builtin(row: _Builtin) -> Resource:
    verbs = _REVIEW if "v" in row.flags else ALL_VERBS
    if "n" in row.flags:
        verbs = tuple(verb for verb in verbs if verb != "deletecollection")
    return Resource(
        group=row.group,
        version="v1",
        kind=row.kind,
        plural=row.plural,
        singular=row.kind.lower(),
        namespaced="c" not in row.flags,
        storage=("" if row.kind == "Event" else row.group, row.plural),
        openapi=BUILTIN_SCHEMAS.get(f"{row.group}/v1/{row.kind}", _ANYTHING),
        short_names=row.short_names,
        categories=row.categories,
        verbs=verbs,
        has_status="s" in row.flags,
        has_generation="g" in row.flags,
        create_on_update="u" in row.flags,
        unconditional_update="r" not in row.flags,
        returns_deleted="d" in row.flags,
        list_kind=f"{row.kind}List",
        selectable_fields=row.fields,
    )


@cache
def _builtins() -> tuple[Resource, ...]:
    """The built-in resources, the same immutable ones for all servers: compiling their schemas takes a while."""
    return tuple(_builtin(row) for row in _BUILTINS)


class Registry:
    """The resources served now, found by their place in the URL.

    ``generation`` changes with every change to the resources, so that what is derived from them can be cached.
    """

    def __init__(self) -> None:
        self.generation = 0
        self._resources: dict[tuple[str, str, str], Resource] = {}
        self.add(_builtins())

    def __iter__(self) -> Iterator[Resource]:
        return iter(self._resources.values())

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """The resource at ``/apis/<group>/<version>/.../<plural>``."""
        return self._resources.get((group, version, plural))

    def is_builtin_group(self, path: str) -> bool:
        """Whether ``path`` is below a group of built-in resources, where what is missing is said in a Status."""
        return any(path.startswith(f"/{resource.path.rpartition('/')[0]}/") for resource in _builtins())

    def add(self, resources: Iterable[Resource]) -> None:
        """Serve ``resources``."""
        self._resources |= {(r.group, r.version, r.plural): r for r in resources}
        self.generation += 1

    def remove(self, group: str, plural: str) -> None:
        """Serve ``plural`` of ``group`` no longer, in any version."""
        self._resources = {
            key: resource for key, resource in self._resources.items() if (key[0], key[2]) != (group, plural)
        }
        self.generation += 1

    def stored(self) -> Mapping[tuple[str, str], Resource]:
        """For every collection, one of the resources it is read as: what a collector deletes through."""
        found: dict[tuple[str, str], Resource] = {}
        for resource in self._resources.values():
            if "delete" in resource.verbs:
                found.setdefault(resource.storage, resource)
        return found

    def namespaced(self) -> list[tuple[str, str]]:
        """The collections whose objects live in namespaces."""
        return [storage for storage, resource in self.stored().items() if resource.namespaced]

    def group_versions(self) -> dict[tuple[str, str], list[Resource]]:
        """The resources of each (group, version): core first, then in the order they were added."""
        found: dict[tuple[str, str], list[Resource]] = {}
        for resource in self._resources.values():
            found.setdefault((resource.group, resource.version), []).append(resource)
        return found
