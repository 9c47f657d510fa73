"""Names of things in a Kubernetes API: which resource, which object, which path.

Building paths is kept apart from sending requests, so that it needs no connection to be tested.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache, partial
from sys import intern
from typing import Any, Final
from urllib.parse import quote

import msgspec

Manifest = dict[str, Any]
"""An object as the API speaks of it, as plain data."""

_quoted: Final = partial(quote, safe="")
_NUMBER: Final = re.compile("[0-9]{1,999}")
_VERSION: Final = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")


class Resource(msgspec.Struct, frozen=True, order=True):
    """A kind of object as one version of the API serves it; ``group`` is empty for the core group."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        """``group/version``, or the version alone in the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path of the collection (in all namespaces where none is given), an object or its subresource.

        Raises ``ValueError`` where a name without a namespace, or a namespace for a cluster's object, is asked for:
        such a path would mean something else.
        """
        if namespace and not self.namespaced:
            raise ValueError(f"{self} are not namespaced, so {namespace!r} cannot hold one")
        if name is not None and (not name or (self.namespaced and not namespace)):
            raise ValueError(f"one of {self} needs a name and, where namespaced, a namespace: {namespace!r}, {name!r}")
        path = _collection(self, namespace)
        for part in (name, subresource) if name is not None else ():
            if part:
                path += "/" + _quoted(part)
        return path


@lru_cache(maxsize=256)
def _collection(resource: Resource, namespace: str | None) -> str:
    parts = ["apis", resource.group, resource.version] if resource.group else ["api", resource.version]
    if namespace:
        parts += ["namespaces", namespace]
    return "/" + "/".join(map(_quoted, (*parts, resource.plural)))


class ObjectKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """An object in a cluster, whatever the version it is spoken of in; ``namespace`` is empty for a cluster's."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {place}"

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> ObjectKey:
        """The key of ``manifest``; ``KeyError`` where apiVersion, kind or name is missing."""
        metadata = manifest["metadata"]
        group = manifest["apiVersion"].rpartition("/")[0]
        return cls(
            intern(group), intern(manifest["kind"]), intern(metadata.get("namespace") or ""), intern(metadata["name"])
        )


def version_rank(version: str) -> tuple[int, int, int]:
    """Sorts API versions as Kubernetes ranks them: v2 above v1 above v1beta2 above v1alpha1, anything else last."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return (-1, 0, 0)
    major, stage, minor = match.groups()
    stability = {None: 2, "beta": 1, "alpha": 0}[stage]
    return (stability, int(major), int(minor or 0))


def version_number(resource_version: str) -> int:
    """A resourceVersion as the number it is, since Kubernetes 1.35 by contract; 0, which orders nothing, if not."""
    return int(resource_version) if _NUMBER.fullmatch(resource_version) else 0
