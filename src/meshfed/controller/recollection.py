"""What of the objects that earlier processes wrote is history, and so decides what is written next.

Where it is lost, something that works is moved or taken away: a host leaves its Gateway for another, or the endpoints
of a remote go because DNS is silent at the moment of a restart. So it is read before anything is decided, and nothing
is decided until it could be read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

import msgspec

from meshfed.api.meta import ObjectMeta
from meshfed.api.v1alpha1 import GROUP, ORIGIN_ANNOTATION
from meshfed.controller.cluster import CRDS, Served
from meshfed.istio.names import RESOLVED_FROM, gateway_index
from meshfed.kube import Client, KubeError, ObjectKey
from meshfed.model.meshes import FDS_SERVICE_PREFIX, is_ip
from meshfed.plan import Planner

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

RETRY_SECONDS: Final = 2.0


class _Gateway(msgspec.Struct, frozen=True):
    """A Gateway of ours, as far as it is history: which hosts have their home in it."""

    class Spec(msgspec.Struct, frozen=True):
        class Server(msgspec.Struct, frozen=True):
            hosts: tuple[str, ...] = ()

        servers: tuple[Server, ...] = ()

    metadata: ObjectMeta
    spec: Spec = Spec()


class _WorkloadEntry(msgspec.Struct, frozen=True):
    """A WorkloadEntry of ours, as far as it is history: which names its address was an answer for."""

    class Spec(msgspec.Struct, frozen=True):
        address: str = ""

    metadata: ObjectMeta
    spec: Spec = Spec()


async def recall(
    client: Client,
    served: Served,
    owner_labels: Mapping[str, str],
    *,
    planner: Planner,
    complain: Callable[[str | None], None],
) -> None:
    """Tell ``planner`` what is history, as soon as the API answers; ``complain`` hears why it does not."""
    ours = _Ours(client, served, ",".join(f"{key}={value}" for key, value in owner_labels.items()), complain)
    for gateway in await ours.all("Gateway", _Gateway):
        index = gateway_index(gateway.metadata.name)
        if index is not None:
            planner.gateway_observed(index, [host for server in gateway.spec.servers for host in server.hosts])
    for name, addresses in _answers(await ours.all("WorkloadEntry", _WorkloadEntry)).items():
        planner.resolution_changed(name, addresses)


async def outlived(
    client: Client, served: Served, owner_labels: Mapping[str, str], *, complain: Callable[[str | None], None]
) -> dict[ObjectKey, str]:
    """Return the objects of imports that are older than the CRD of FederatedServices, as soon as the API answers.

    Each with what it says that it follows from. The FederatedServices went with the CRD that was there before.
    """
    ours = _Ours(client, served, ",".join(f"{key}={value}" for key, value in owner_labels.items()), complain)
    made = await ours.definition_made("federatedservices")
    found = {kind: await ours.all(kind, _Any) for kind in ("ServiceEntry", "WorkloadEntry", "DestinationRule")}
    return {
        ObjectKey(served.istio(kind).group, kind, one.metadata.namespace, one.metadata.name): (
            one.metadata.annotations.get(ORIGIN_ANNOTATION, "")
        )
        for kind, objects in found.items()
        for one in objects
        if one.metadata.creation_timestamp < made and FDS_SERVICE_PREFIX not in one.metadata.name
    }


class _Any(msgspec.Struct, frozen=True):
    metadata: ObjectMeta


class _Ours(NamedTuple):
    """How the objects with our labels are listed."""

    client: Client
    served: Served
    label_selector: str
    complain: Callable[[str | None], None]

    async def all(self, kind: str, into: type[_T]) -> Sequence[_T]:
        """Return all of a kind, as soon as the API answers."""
        resource = self.served.istio(kind)
        while True:
            try:
                return await self.client.list(resource, into=into, label_selector=self.label_selector)
            except KubeError as error:
                _log.warning("cannot list %s, again in %.0f s: %s", resource, RETRY_SECONDS, error)
                self.complain(f"cannot list {resource}: {error}")
            await asyncio.sleep(RETRY_SECONDS)

    async def definition_made(self, plural: str) -> str:
        """Return when a CRD of ours was made, as soon as the API answers."""
        while True:
            try:
                crd = await self.client.get(CRDS, f"{plural}.{GROUP}")
            except KubeError as error:
                _log.warning("cannot read the CRD %s.%s, again in %.0f s: %s", plural, GROUP, RETRY_SECONDS, error)
                self.complain(f"cannot read the CRD {plural}.{GROUP}: {error}")
            else:
                return str(crd["metadata"]["creationTimestamp"])
            await asyncio.sleep(RETRY_SECONDS)


def _answers(entries: Sequence[_WorkloadEntry]) -> dict[str, tuple[str, ...]]:
    """What the names of remotes resolved to last."""
    known: dict[str, set[str]] = {}
    for entry in entries:
        if is_ip(entry.spec.address):
            for name in filter(None, entry.metadata.annotations.get(RESOLVED_FROM, "").split(",")):
                known.setdefault(name, set()).add(entry.spec.address)
    return {name: tuple(sorted(addresses)) for name, addresses in known.items()}
