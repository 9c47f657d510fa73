"""What an API server serves: its groups, versions and resources, and its own version.

Aggregated discovery answers in two requests; servers without it are asked group by group. A group whose own server
is down (an aggregated API) is named in ``failed`` and hides nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeVar

import msgspec

from meshfed.kube.client import Client
from meshfed.kube.errors import APIError, MalformedAnswer
from meshfed.kube.resources import Resource

_T = TypeVar("_T")
_ACCEPT: Final = ",".join(
    (
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        "application/json",
    )
)


class ServedAPIs(msgspec.Struct, frozen=True):
    """What is served, each group's preferred version first; ``failed`` names group versions that gave no answer."""

    resources: tuple[Resource, ...]
    failed: tuple[str, ...] = ()

    def find(self, group: str, kind: str) -> Resource | None:
        """The resource of that group and kind, in the version the server prefers."""
        return next((found for found in self.resources if (found.group, found.kind) == (group, kind)), None)

    def serves(self, resource: Resource) -> bool:
        """Whether that very version is served."""
        return resource in self.resources


class _GroupVersionKind(msgspec.Struct):
    kind: str = ""


class _DiscoveredResource(msgspec.Struct, rename="camel"):
    resource: str
    scope: str = ""
    response_kind: _GroupVersionKind | None = None


class _DiscoveredVersion(msgspec.Struct):
    version: str
    resources: tuple[_DiscoveredResource, ...] | None = None
    freshness: str = ""


class _Meta(msgspec.Struct):
    name: str = ""


class _DiscoveredGroup(msgspec.Struct):
    metadata: _Meta = msgspec.field(default_factory=_Meta)
    versions: tuple[_DiscoveredVersion, ...] | None = None


class _Aggregated(msgspec.Struct):
    items: tuple[_DiscoveredGroup, ...] | None = None


class _GroupVersion(msgspec.Struct, rename="camel"):
    group_version: str


class _Group(msgspec.Struct, rename="camel"):
    versions: tuple[_GroupVersion, ...] | None = None
    preferred_version: _GroupVersion | None = None


class _Legacy(msgspec.Struct):
    """An APIVersions (of ``/api``) or an APIGroupList (of ``/apis``)."""

    versions: tuple[str, ...] | None = None
    groups: tuple[_Group, ...] | None = None


class _LegacyResource(msgspec.Struct):
    name: str
    kind: str
    namespaced: bool


class _LegacyResources(msgspec.Struct):
    resources: tuple[_LegacyResource, ...] | None = None


async def discover(client: Client) -> ServedAPIs:
    """Ask the server what it serves. ``TransportError`` or ``APIError`` where it does not answer at all."""
    return _joined([await _root(client, root) for root in ("/api", "/apis")])


async def _root(client: Client, root: str) -> ServedAPIs:
    content_type, body, _ = await client.fetch(root, accept=_ACCEPT)
    if "as=APIGroupDiscoveryList" in content_type:
        return _aggregated(_convert(body, _Aggregated))
    answer = _convert(body, _Legacy)
    names = [*(answer.versions or ()), *(name for group in answer.groups or () for name in _versions(group))]
    return _joined([await _group_version(client, root, name) for name in names])


def _joined(parts: list[ServedAPIs]) -> ServedAPIs:
    return ServedAPIs(
        tuple(resource for part in parts for resource in part.resources),
        tuple(name for part in parts for name in part.failed),
    )


def _aggregated(answer: _Aggregated) -> ServedAPIs:
    resources, failed = [], []
    for group in answer.items or ():
        for version in group.versions or ():
            if version.freshness == "Stale":
                failed.append(f"{group.metadata.name}/{version.version}")
            resources += [
                Resource(
                    group.metadata.name,
                    version.version,
                    found.resource,
                    found.response_kind.kind,
                    found.scope == "Namespaced",
                )
                for found in version.resources or ()
                if found.response_kind is not None
            ]
    return ServedAPIs(tuple(resources), tuple(failed))


def _versions(group: _Group) -> Iterator[str]:
    preferred = group.preferred_version.group_version if group.preferred_version else None
    names = [version.group_version for version in group.versions or ()]
    yield from sorted(names, key=lambda name: name != preferred)


async def _group_version(client: Client, root: str, name: str) -> ServedAPIs:
    try:
        body = (await client.fetch(f"{root}/{name}")).body
    except APIError:
        return ServedAPIs((), (name,))
    group, _, version = name.rpartition("/")
    return ServedAPIs(
        tuple(
            Resource(group, version, found.name, found.kind, found.namespaced)
            for found in _convert(body, _LegacyResources).resources or ()
            if "/" not in found.name  # a subresource
        )
    )


def _convert(body: bytes, into: type[_T]) -> _T:
    try:
        return msgspec.json.decode(body, type=into)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedAnswer(f"the discovery answer is not what the API promises: {error}") from error
