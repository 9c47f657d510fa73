"""What of the objects that earlier processes wrote is history, and so decides what is written next.

Where it is lost, something that works is moved or taken away: a host leaves its Gateway for another, an export that
nobody can say anything of just now is withdrawn, or the endpoints of a remote go because DNS is silent at the moment of
a restart. So it is read before anything is decided, and nothing is decided until it could be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from meshfed.api.meta import ObjectMeta
from meshfed.api.times import age
from meshfed.api.v1alpha1 import GROUP, ORIGIN_ANNOTATION, FederatedService, RemoteMesh
from meshfed.controller.watches import CRDS, Served, Watches
from meshfed.istio import gateway_index, last_answers
from meshfed.kube import Client, ObjectKey, retry_on_error
from meshfed.model.meshes import FDS_SERVICE_PREFIX
from meshfed.model.reasons import BROKEN, Condition, ConditionType, Reason
from meshfed.plan import OfferKey, Planner, RemoteKey
from meshfed.plan.keys import ExportKey, read_origin

_T = TypeVar("_T")


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
    not_ready: Callable[[str], None],
) -> None:
    """Tell ``planner`` what is history, as soon as the API answers; ``not_ready`` hears why it does not."""
    ours = _Ours(client, served, ",".join(f"{key}={value}" for key, value in owner_labels.items()), not_ready)
    for gateway in await ours.all("Gateway", _Gateway):
        index = gateway_index(gateway.metadata.name)
        if index is not None:
            planner.gateway_observed(index, [host for server in gateway.spec.servers for host in server.hosts])
    for one in await ours.all("EnvoyFilter", _Any):
        key = read_origin(one.metadata.annotations.get(ORIGIN_ANNOTATION, ""))
        if isinstance(key, ExportKey):
            planner.filter_observed((key.namespace, key.name))
    entries = await ours.all("WorkloadEntry", _WorkloadEntry)
    for name, addresses in last_answers((one.spec.address, one.metadata.annotations) for one in entries).items():
        planner.resolution_changed(name, addresses)


async def outlived(
    client: Client, served: Served, owner_labels: Mapping[str, str], *, not_ready: Callable[[str], None]
) -> dict[ObjectKey, str]:
    """Return the objects of imports that are older than the CRD of FederatedServices, as soon as the API answers.

    Each with what it says that it follows from. The FederatedServices went with the CRD that was there before.
    """
    ours = _Ours(client, served, ",".join(f"{key}={value}" for key, value in owner_labels.items()), not_ready)
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
    not_ready: Callable[[str], None]

    async def all(self, kind: str, into: type[_T]) -> Sequence[_T]:
        """Return all of a kind, as soon as the API answers."""
        resource = self.served.istio(kind)
        return await retry_on_error(
            lambda: self.client.list(resource, into=into, label_selector=self.label_selector),
            problem=f"cannot list {resource}",
            not_ready=self.not_ready,
        )

    async def definition_made(self, plural: str) -> str:
        """Return when a CRD of ours was made, as soon as the API answers."""
        name = f"{plural}.{GROUP}"
        crd = await retry_on_error(
            lambda: self.client.get(CRDS, name), problem=f"cannot read the CRD {name}", not_ready=self.not_ready
        )
        return str(crd["metadata"]["creationTimestamp"])


def not_reached(inputs: Watches, now: str) -> Iterator[tuple[OfferKey | RemoteKey, Condition, float]]:
    """Yield what earlier processes said is not reachable, in which words, and for how many seconds it has been so.

    What they said of another generation of the object is no history of this one.
    """
    stored: list[tuple[OfferKey | RemoteKey, FederatedService | RemoteMesh]] = [
        *((OfferKey(name), offer) for (_, name), offer in inputs.offers.items()),
        *((RemoteKey(name), mesh) for (_, name), mesh in inputs.remotes.items()),
    ]
    for key, one in stored:
        for said in one.status.conditions:
            known = said.type == ConditionType.REACHABLE and said.status == "False" and said.reason in BROKEN
            if known and said.observed_generation == one.metadata.generation:
                condition = Condition(ConditionType.REACHABLE, "False", Reason(said.reason), said.message)
                yield key, condition, age(said.last_transition_time, now)
