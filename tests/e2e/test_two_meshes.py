"""What one mesh exports and another imports, carried by real proxies: which calls succeed, when, and who answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from tests.builders import manifest, peer_authentication
from tests.e2e.load import load
from tests.e2e.probes import (
    BOTH_SIDES,
    EXPORTS,
    PORTS,
    PROBES,
    PROTOCOLS,
    Probe,
    bring,
    complaints,
    echo,
    hold,
    run,
    shown_at,
)
from tests.sandbox.dataplane.world import NAMESPACE, MeshWorld, World
from tests.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


IMPORT = {"merge": True, "allowTCP": True}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def meshes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """East calls; west has what is called."""
    async with World.up("east", "west", directory=tmp_path_factory.mktemp("world")) as world:
        await bring(world.east, world.west)
        await world.federate(**{"import": IMPORT})
        await world.settled()
        await world.connected()
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def world(meshes: World) -> World:
    """The meshes, with everything exported that the probes speak of."""
    await meshes.west.export(*EXPORTS)
    return meshes


async def test_nothing_is_shared_before_export_and_after_unexport(meshes: World) -> None:
    await meshes.west.unexport(*EXPORTS)
    await eventually(lambda: none_holds(meshes), what="without exports no probe holds")
    await meshes.west.export(*EXPORTS)
    await hold(meshes, PROBES)
    await meshes.west.unexport(*EXPORTS)
    await eventually(lambda: none_holds(meshes), what="the way is closed again")


async def none_holds(world: World) -> bool:
    """Whether no imported host is answered, and those of both sides by the local Pods alone."""
    alone = [probe for probe in PROBES if probe not in BOTH_SIDES]
    local = [msgspec.structs.replace(probe, answered_by=frozenset({"east"})) for probe in BOTH_SIDES]
    return len(await complaints(world, alone)) == len(alone) and not await complaints(world, local)


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: str(probe.name))
async def test_a_call_is_answered(world: World, probe: Probe) -> None:
    await probe.holds(world)


ALIAS = "echo.bookinfo.svc.west.mesh"
IMPORT_ALIAS = {
    "merge": True,
    "allowTCP": True,
    "rules": [
        {"action": "Import", "hosts": ["echo.*"], "as": {"host": "{name}.{namespace}.svc.west.mesh"}},
        {"action": "Import"},
    ],
}


BOTH_NAMES = "is TCP without an address, as that of"
"""What a control plane has against two names of one service, both there for a moment as one follows the other."""


async def test_a_host_imported_under_an_alias(world: World) -> None:
    """It is called by the alias, in every protocol, and by its own name no more; others are called as before."""
    world.expected(BOTH_NAMES)
    aliased = [msgspec.structs.replace(one, url=one.url.replace("echo.bookinfo", ALIAS)) for one in PROTOCOLS]
    others = [probe for probe in PROBES if "//echo" not in probe.url]
    await world.east.remote(world.west, **{"import": IMPORT_ALIAS})
    await hold(world, [*aliased, *others])
    assert len(await complaints(world, PROTOCOLS)) == len(PROTOCOLS)
    await world.east.remote(world.west, **{"import": IMPORT})
    await hold(world, PROBES)
    assert len(await complaints(world, aliased)) == len(aliased)


async def test_a_host_exported_under_an_alias(world: World) -> None:
    """Other meshes know it by the name it is given, in a namespace that the exporter does not even have."""
    world.expected(BOTH_NAMES)
    rules = [
        {"action": "Export", "names": ["echo"], "as": {"name": "voices", "namespace": "talk"}},
        {"action": "Export", "names": ["both"]},
    ]
    aliased = [msgspec.structs.replace(one, url=one.url.replace("echo.bookinfo", "voices.talk")) for one in PROTOCOLS]
    await world.west.federation(export={"rules": rules})
    await hold(world, [*aliased, *BOTH_SIDES])
    assert len(await complaints(world, PROTOCOLS)) == len(PROTOCOLS)
    await world.west.federation()
    await hold(world, PROBES)


async def test_a_port_that_an_export_leaves_out_is_not_reached_by_whoever_knows_it(world: World) -> None:
    """The others are called as before. What the gateway does not pass on shows no certificate, whoever asks for it."""
    rules = [
        {"action": "Deny", "names": ["echo"], "ports": ["grpc", PORTS["tcp"]]},
        {"action": "Export", "names": ["echo", "both"]},
    ]
    closed = [one for one in PROTOCOLS if one.name in {"gRPC", "TCP"}]
    others = [*(one for one in PROTOCOLS if one not in closed), *BOTH_SIDES]
    await hold(world, PROBES)
    assert await shown_at(world.west, "echo", *PORTS.values()) == {*PORTS.values()}
    await world.west.federation(export={"rules": rules})

    async def only_these() -> bool:
        return await shown_at(world.west, "echo", *PORTS.values()) == {8080, 8082, 8443}

    async def closed_fail() -> bool:
        return len(await complaints(world, closed)) == len(closed)

    await eventually(only_these, what="the gateway passes on the ports that are exported, and no other")
    await eventually(closed_fail, what="what is left out is not imported, and a connection that was open is gone")
    await hold(world, others)
    assert (await world.west.condition("MeshFederation", "west", "ExportsReady")).endswith(
        "2 services exported: bookinfo/both, bookinfo/echo (without port 7070, 9000)"
    )
    await world.west.federation()
    await hold(world, PROBES)
    assert await shown_at(world.west, "echo", *PORTS.values()) == {*PORTS.values()}


async def test_an_export_that_its_gateway_does_not_see(world: World) -> None:
    """A call fails for as long as the MeshFederation says so, and is answered once the gateway sees the Service."""

    async def seen_in(namespaces: str | None, says: str) -> None:
        patch = {"metadata": {"annotations": {"networking.istio.io/exportTo": namespaces}}}
        await world.west.patch("Service", "echo", patch)
        await said(world.west, "MeshFederation west", "ExportsReady", says)

    async def all_fail() -> bool:
        return len(await complaints(world, PROTOCOLS)) == len(PROTOCOLS)

    await seen_in(".", "False HiddenFromGateway: annotation networking.istio.io/exportTo hides bookinfo/echo from")
    await eventually(all_fail, what="the gateway passes nothing on")
    await hold(world, BOTH_SIDES)
    await seen_in("., istio-system", "True Exporting")
    await hold(world, PROBES)
    await seen_in(None, "True Exporting")
    await hold(world, PROBES)


async def said(mesh: MeshWorld, name: str, condition: str, says: str) -> None:
    """Wait until a condition of an object, ``Kind name``, is as status, reason and message begin."""

    kind, short = name.split()

    async def found() -> bool:
        return (await mesh.condition(kind, short, condition)).startswith(says)

    await eventually(found, what=f"{name}: {condition}: {says}")


def without_mtls(name: str = "theirs", app: str = "echo-pods", **what: Any) -> dict[str, Any]:
    """A PeerAuthentication that turns mTLS off, of all that is served or at some ports."""
    return peer_authentication(name, namespace=NAMESPACE, app=app, **(what or {"mode": "DISABLE"}))


HERE_IN_PLAINTEXT = [
    msgspec.structs.replace(probe, answered_by=frozenset({"east"}), identity="") for probe in BOTH_SIDES
]
"""Calls that the local Pods alone answer, who cannot tell who calls."""


async def test_an_export_that_is_served_without_mtls(world: World) -> None:
    """Its port is not offered, and the MeshFederation says why; other ports are answered as before."""
    first, *others = PROTOCOLS
    await hold(world, PROBES)
    await world.west.apply(without_mtls(ports={PORTS["http"]: "DISABLE"}))
    await said(
        world.west, "MeshFederation west", "ExportsReady", "False MTLSDisabled: ports of bookinfo/both, bookinfo/e"
    )
    await eventually(lambda: refused(world, first), what="the gateway has nobody to pass it on to")
    await hold(world, others)

    async def left_out() -> bool:
        offer = await world.east.get("FederatedService", "echo.bookinfo.svc.cluster.local.west", "istio-system")
        return offer is not None and PORTS["http"] not in {port["number"] for port in offer["spec"]["ports"]}

    await eventually(left_out, what="east is not offered the port")
    await world.west.apply(without_mtls(mode="DISABLE"))
    await eventually(lambda: none_holds(world), what="no port is reached")
    await said(world.west, "MeshFederation west", "ExportsReady", "False MTLSDisabled")
    await world.west.delete("PeerAuthentication", "theirs")
    await hold(world, PROBES)
    await said(world.west, "MeshFederation west", "ExportsReady", "True Exporting")


def rule_without_mtls(host: str, namespace: str) -> dict[str, Any]:
    """A DestinationRule by which clients of a host, and the gateway, are not to speak mTLS with its endpoints."""
    return manifest(
        "DestinationRule", "theirs", {"host": host, "trafficPolicy": {"tls": {"mode": "DISABLE"}}}, namespace=namespace
    )


async def test_a_destination_rule_that_turns_mtls_off(world: World) -> None:
    """Nothing of its host passes the exporter's gateway; an importer's clients would speak plaintext to that."""
    imported = "echo.bookinfo.svc.cluster.local"
    await hold(world, PROBES)
    await world.west.apply(rule_without_mtls("echo", NAMESPACE))
    await said(world.west, "MeshFederation west", "ExportsReady", "False MTLSDisabled: ports of bookinfo/echo are")
    await eventually(lambda: all_refused(world, PROTOCOLS), what="the gateway has nobody to pass it on to")
    await hold(world, BOTH_SIDES)
    await world.west.delete("DestinationRule", "theirs")
    await hold(world, PROBES)
    await world.east.apply(rule_without_mtls(imported, "istio-system"))
    await said(
        world.east, f"FederatedService {imported}.west", "Accepted", "False MTLSDisabled: DestinationRule istio-"
    )
    await eventually(lambda: all_refused(world, PROTOCOLS), what="nobody knows the host")
    await hold(world, BOTH_SIDES)
    await world.east.delete("DestinationRule", "theirs", "istio-system")
    await hold(world, PROBES)


async def all_refused(world: World, probes: Sequence[Probe]) -> bool:
    """Whether no request gets an answer."""
    return len(await complaints(world, probes)) == len(probes)


async def refused(world: World, probe: Probe) -> bool:
    """Whether a request gets no answer."""
    return bool(await probe.complaint(world))


async def test_an_import_that_clients_would_call_in_plaintext(world: World) -> None:
    """A PeerAuthentication for the local Pods would be for the remote's endpoints too: these do not join them."""
    offer = "FederatedService both.bookinfo.svc.cluster.local.west"
    await hold(world, PROBES)
    await world.east.apply(without_mtls())
    await said(world.east, offer, "Accepted", "False MTLSDisabled: PeerAuthentication bookinfo/theirs (`mtls.mode: DIS")
    await hold(world, [*(probe for probe in PROBES if probe not in BOTH_SIDES), *HERE_IN_PLAINTEXT])
    # The Pods' own ports are not those at which the remote's gateway is dialled.
    await world.east.apply(without_mtls(ports={PORTS["http"]: "DISABLE"}))
    await said(world.east, offer, "Accepted", "True Accepted")
    await hold(world, PROBES[: -len(BOTH_SIDES)] + BOTH_SIDES[1:])
    await world.east.apply(without_mtls(), without_mtls("default", app=""))
    await said(world.east, offer, "Accepted", "False MTLSDisabled: PeerAuthentication bookinfo/default")
    await hold(world, HERE_IN_PLAINTEXT)
    await world.east.delete("PeerAuthentication", "theirs")
    await world.east.apply(peer_authentication("default", "STRICT", namespace=NAMESPACE))
    await hold(world, PROBES)


async def test_a_mesh_without_mtls(world: World) -> None:
    """Nothing is imported into it, and its RemoteMesh says so."""
    await world.east.delete("PeerAuthentication", "default")
    await world.east.apply(peer_authentication("default", "DISABLE", namespace="istio-system"))
    await said(world.east, "RemoteMesh west", "Ready", "False MTLSDisabled: PeerAuthentication istio-system/default")
    await said(world.east, "FederatedService echo.bookinfo.svc.cluster.local.west", "Accepted", "False MTLSDisabled")
    await hold(world, HERE_IN_PLAINTEXT)
    alone = [probe for probe in PROBES if probe not in BOTH_SIDES]
    assert len(await complaints(world, alone)) == len(alone)
    await world.east.delete("PeerAuthentication", "default", "istio-system")
    await world.east.apply(peer_authentication("default", "STRICT", namespace=NAMESPACE))
    await hold(world, PROBES)
    await said(world.east, "RemoteMesh west", "Ready", "True Ready")


NEWCOMER = "newcomer"


async def test_a_local_service_comes_and_goes_under_an_import(meshes: World) -> None:
    """The cluster has a ServiceEntry or a WorkloadEntry at every moment; Istio learns of the Service and of that apart.

    So there may be a moment in which a proxy has the one without the other, and requests fail. It ends by itself.
    """
    world = meshes
    world.expected("is ignored: a Service has it")  # while both are there
    await run(world.east, NEWCOMER, image="echo", account="echo", ports=PORTS)
    await world.west.export("echo")
    remote, shared = PROTOCOLS[0], msgspec.structs.replace(PROTOCOLS[0], answered_by=frozenset({"east", "west"}))
    await remote.holds(world)
    await world.settled()
    local = echo()
    local["spec"]["selector"] = {"app": NEWCOMER}
    async with load(world.east, remote.url) as requests:
        await world.east.apply(local)
        await never_neither(world.east, "ServiceEntry", "WorkloadEntry")
        await shared.holds(world)
        await world.settled()
        assert [one for one in await requests.more() if one.status != 200] == []
        await world.east.delete("Service", "echo")
        await never_neither(world.east, "WorkloadEntry", "ServiceEntry")
        await remote.holds(world)
        await world.settled()
        assert [one for one in await requests.more() if one.status != 200] == []
    await world.east.delete("Deployment", NEWCOMER)


async def never_neither(mesh: MeshWorld, old: str, new: str) -> None:
    """Wait until the import of echo has moved from one kind to another; it must never be without both."""

    async def there(kind: str) -> bool:
        return any("echo.bookinfo.svc" in one["metadata"]["name"] for one in await mesh.list(kind))

    async def moved() -> bool:
        gone = not await there(old)
        assert await there(new) or not gone, f"there is neither {old} nor {new}"
        return gone

    await eventually(moved, what=f"the import has moved from {old} to {new}")
