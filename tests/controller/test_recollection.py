"""What is history is read before anything is decided, however long the API server takes; in virtual time."""

from __future__ import annotations

import pytest

from meshfed.api.v1alpha1 import ORIGIN_ANNOTATION, OWNER_NAMESPACE_LABEL
from meshfed.controller.startup.history import outlived, recall
from meshfed.controller.watches import CRDS, Served
from meshfed.istio.names import gateway_name
from meshfed.kube import Manifest, ObjectKey, ServerFailure
from meshfed.plan import Planner, Settings
from meshfed.plan.keys import ExportKey, Key
from tests.builders import GROUP, RESOURCES, SYSTEM, manifest
from tests.controller.in_memory import ISTIO, OURS, Objects
from tests.kube.memory import MemoryClient

pytestmark = pytest.mark.looptime

LABELS = {OWNER_NAMESPACE_LABEL: SYSTEM}
SERVED = Served(ours=OURS, written=ISTIO)


def cluster_that_fails(verb: str, *, times: int) -> Objects:
    """A cluster that fails the first requests of a verb."""
    left = [ServerFailure(503, "ServiceUnavailable", "etcd has no leader")] * times
    cluster = Objects(served={*OURS.values(), *ISTIO, CRDS})
    cluster.refuse = lambda asked, _name: left.pop() if asked == verb and left else None
    return cluster


def ours(kind: str, name: str, *, created: str = "2026-01-01T00:00:00Z", **spec: object) -> Manifest:
    """Make what an earlier process wrote for an import."""
    annotations = {ORIGIN_ANNOTATION: f"import {name}"}
    return manifest(kind, name, spec, labels=LABELS, annotations=annotations, creationTimestamp=created)


async def test_homes_are_read_as_soon_as_the_api_answers() -> None:
    cluster, reasons = cluster_that_fails("list", times=2), list[str]()
    hosts = ["ratings.bookinfo.svc.cluster.local"]
    cluster.put(RESOURCES["Gateway"], ours("Gateway", gateway_name(1), servers=[{"hosts": hosts}]))
    planner = Planner(Settings())
    await recall(MemoryClient(cluster), SERVED, LABELS, planner=planner, not_ready=reasons.append)
    waiting: list[Key] = []
    while turn := planner.take_dirty():
        waiting += turn.keys
    assert ExportKey("bookinfo", "ratings") in waiting
    assert reasons == ["cannot list gateways.networking.istio.io: etcd has no leader (503 ServiceUnavailable)"] * 2


@pytest.mark.parametrize(
    ("verb", "problem"),
    [
        ("get", f"cannot read the CRD federatedservices.{GROUP}"),
        ("list", "cannot list serviceentries.networking.istio.io"),
    ],
)
async def test_what_is_older_than_the_definition_is_known_as_soon_as_the_api_answers(verb: str, problem: str) -> None:
    cluster, reasons = cluster_that_fails(verb, times=1), list[str]()
    made = {"name": f"federatedservices.{GROUP}", "creationTimestamp": "2026-02-02T00:00:00Z"}
    cluster.put(CRDS, {"metadata": made})
    cluster.put(RESOURCES["ServiceEntry"], ours("ServiceEntry", "older"))
    cluster.put(RESOURCES["ServiceEntry"], ours("ServiceEntry", "younger", created="2026-03-03T00:00:00Z"))
    found = await outlived(MemoryClient(cluster), SERVED, LABELS, not_ready=reasons.append)
    assert found == {ObjectKey("networking.istio.io", "ServiceEntry", SYSTEM, "older"): "import older"}
    assert reasons == [f"{problem}: etcd has no leader (503 ServiceUnavailable)"]
