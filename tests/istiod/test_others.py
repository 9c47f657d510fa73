"""What others wrote is read as istiod reads it: by the sandbox's control plane, and by what decides about federation.

A Service that is exported, and one that is imported, among objects of others of any kind that decides about them.
Skipped where ``ISTIOD`` names none.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import pytest_asyncio
import yaml

from meshfed.plan import ExportKey, GatewayKey, ImportKey
from meshfed.plan.foreign_destination_rules import of_destination_rule
from meshfed_sandbox.dataplane.values import MeshSettings, ProxyIdentity
from tests.builders import (
    GATEWAY,
    SYSTEM,
    endpoint_slice,
    federated_service,
    manifest,
    mesh_federation,
    namespace,
    pod,
    port,
    remote_mesh,
    service,
    workload_entry,
)
from tests.istiod.cluster import Cluster, cluster
from tests.istiod.facts import Facts, facts
from tests.istiod.istiod import binary
from tests.sandbox.dataplane.cluster_objects import identity
from tests.waiting import eventually
from tests.world import World

JSONObject = dict[str, Any]

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(binary() is None, reason="ISTIOD names no pilot-discovery"),
    pytest.mark.asyncio(loop_scope="module"),
]

SEEDS: Final = int(os.environ.get("ISTIOD_STATES", "12"))
"""How many states of each kind are compared."""
HERE = "ratings.default.svc.cluster.local"
"""A Service of this mesh, which a remote serves too."""
LEADER = "leader.default.svc.cluster.local"
"""A Service without a selector."""
THERE = "details.default.svc.cluster.local"
"""A Service of the remote alone."""
REMOTE = "192.0.2.10"
"""The address of the remote's ingress."""
POD_PORTS = {"http": 8080, "grpc": 7070, "plain": 82, "tls": 15443}
OUTLIERS: JSONObject = {"outlierDetection": {"consecutive5xxErrors": 3}}

INGRESS = pod(f"gateway-1.{SYSTEM}", "gateway", address="10.244.0.1", labels=GATEWAY)
SERVERS = (
    pod("ratings-1", "ratings", address="10.244.0.2", ports=POD_PORTS, account="ratings"),
    pod("ratings-2", "ratings", address="10.244.0.3", ports=POD_PORTS, account="ratings", labels={"version": "v2"}),
    pod("outside", "ratings", address="10.244.0.4", ports=POD_PORTS, sidecar=False),
    pod("leader-1", "leader", address="10.244.0.5", ports=POD_PORTS, account="leader"),
)
CLIENTS = {
    where: pod(f"client.{where}", "client", address=f"10.244.1.{number}")
    for number, where in enumerate(("default", "web", "shop", "other", SYSTEM), start=1)
}
UNSELECTED = pod("other.web", "other", address="10.244.2.1")
"""A client that no rule selects."""
RATINGS = service(
    "ratings",
    exported=True,
    clusterIP="10.96.200.2",
    ports=[port(80, "http", 8080), port(81, "grpc", "grpc"), port(82, "http-plain")],
)
LED = service(
    "leader",
    exported=True,
    clusterIP="10.96.200.3",
    ports=[port(80, "http", 8080), port(81, "grpc", "grpc")],
    selector={},
)
FRONT = service(f"gateway.{SYSTEM}", clusterIP="10.96.200.4", ports=[port(15443, "tls")], selector=GATEWAY)
SCENE = (
    *(namespace(where) for where in ("web", "shop", "other", SYSTEM)),
    *(*SERVERS, *CLIENTS.values(), UNSELECTED, INGRESS, RATINGS, FRONT),
    endpoint_slice(
        "ratings-s",
        "ratings",
        *(f"{one['status']['podIP']}={one['metadata']['name']}" for one in SERVERS[:3]),
        ports={"http": 8080, "grpc": 7070, "http-plain": 82},
        managed_by="endpointslice-controller.k8s.io",
    ),
    endpoint_slice(
        f"gateway-s.{SYSTEM}",
        "gateway",
        "10.244.0.1=gateway-1",
        ports={"tls": 15443},
        managed_by="endpointslice-controller.k8s.io",
    ),
)
"""What is there in all states, but for ``LED``: istiod remembers the accounts of a Service while it is there."""

GATE = identity(INGRESS, kind="gateway", requested_network="east-network")
SIDECARS = {
    f"{one['metadata']['name']}.{one['metadata']['namespace']}": identity(one, application="10.244.128.1", dns_port=53)
    for one in (*CLIENTS.values(), UNSELECTED, *(one for one in SERVERS if one["metadata"]["name"] != "outside"))
}
WHERE = ("default", "web", "shop", SYSTEM, "other")
EVERYBODY = (GATE, *SIDECARS.values())


def planned(*others: JSONObject, **remote: Any) -> World:
    """What is worked out of all these objects."""
    ports = [
        {"number": number, "name": name, "protocol": "GRPC" if name == "grpc" else "HTTP"}
        for number, name in ((80, "http"), (81, "grpc"), (82, "http-plain"))
    ]
    world = World(
        mesh_federation(),
        remote_mesh(import_={"merge": True}, **remote),
        federated_service("west", "ratings", ports=ports, identities=["spiffe://cluster.local/ns/default/sa/ratings"]),
        federated_service("west", "details", ports=ports[:2]),
    )
    return put(world, *SCENE, LED, *others)


def put(world: World, *objects: JSONObject) -> World:
    """Take in objects of others, and those of this mesh."""
    for one in objects:
        if one["kind"] == "DestinationRule":
            place = (one["metadata"]["namespace"], one["metadata"]["name"])
            world.planner.inputs.rules.put(place, of_destination_rule(one))
        else:
            world.put(one)
    return world


def written(world: World) -> list[JSONObject]:
    """What is written, but for what the controller needs for itself; later than what others wrote."""
    world.settle()
    return [
        {**one, "metadata": {**one["metadata"], "creationTimestamp": "2026-02-01T00:00:00Z"}}
        for key, outputs in world.outputs.items()
        if isinstance(key, ImportKey | ExportKey | GatewayKey)
        for one in outputs.objects
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def beside(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    settings = MeshSettings(name="east", network="east-network")
    async with cluster(settings, tmp_path_factory.mktemp("cluster")) as found:
        await found.create(*SCENE)
        yield found


# --- what is said, and what istiod makes of it


async def agree(beside: Cluster, world: World, state: str, remote: JSONObject) -> None:
    """Fail where something else is said of what is offered or imported than istiod tells proxies.

    What is written is there also where it is said that it cannot be. Where a rule of ours is, which is for what is
    imported, the gateway goes by it too.
    """
    found: list[str] = []

    async def equal() -> bool:
        found[:] = await disagreements(beside, world, remote)
        return not found

    try:
        await eventually(equal, within=10.0)
    except AssertionError:
        raise AssertionError("\n".join([state, *found])) from None


async def disagreements(beside: Cluster, world: World, remote: JSONObject) -> list[str]:
    found = await _imported(beside, world, remote)
    if not any(one["kind"] == "DestinationRule" for one in written(world)):
        found += await _offered(beside, world)
    return found


async def _offered(beside: Cluster, world: World) -> list[str]:
    told, seen = await read(beside, GATE), await read(beside, SIDECARS["client.other"])
    found = []
    for name, ports in (("ratings", (80, 81, 82)), ("leader", (80, 81))):
        outputs = world.outputs[ExportKey("default", name)]
        offered = {one.number for one in outputs.export.offer.ports} if outputs.export is not None else set()
        decision = outputs.export_decision
        said = set() if decision is not None and "has nobody to send to" in decision.message else offered
        reached = {one for one in ports if told.get(f"endpoints outbound_.{one}_._.{name}.default.svc.cluster.local")}
        # Of a port that nobody serves at all nothing is said.
        said &= {one for one in ports if seen.get(f"endpoints outbound|{one}||{name}.default.svc.cluster.local")}
        if said != reached:
            found.append(f"{name}: offered {sorted(said)} ({decision}), reached {sorted(reached)}")
    return found


async def _imported(beside: Cluster, world: World, remote: JSONObject) -> list[str]:
    sni = "{name}-{port}.default.svc.cluster.local" if "ingressType" in remote else "outbound_.{port}_._.{host}"
    told = {where: [await read(beside, SIDECARS[f"client.{where}"])] for where in WHERE}
    told["web"].append(await read(beside, SIDECARS["other.web"]))
    objects = [one for key, outputs in world.outputs.items() if isinstance(key, ImportKey) for one in outputs.objects]
    found = []
    for host, ports in ((HERE, (80, 81, 82)), (THERE, (80, 81))):
        accepted = world.statuses[f"FederatedService {host}.west"].conditions[0]
        if accepted.reason == "LocalServiceUnusable":
            continue  # not for the sake of others
        name = host.partition(".")[0]
        written_for = {number for one in objects for number in _ports_of(one, host)}
        for where in WHERE:
            reached = {
                one
                for one in ports
                if all(_reaches(each, host, one, sni.format(port=one, host=host, name=name)) for each in told[where])
            }
            said = {one for one in ports if one in written_for and where not in _barred(accepted.message, one)}
            # Of a port that is not imported, nothing is said of those who have a rule of their own.
            if where != "other":
                reached &= written_for
            if said != reached:
                found.append(
                    f"{host} from {where}: imported {sorted(said)} ({accepted.reason}: {accepted.message}), "
                    f"reached {sorted(reached)}"
                )
            if "trafficPolicy" in remote and (where == "other" or "" not in _lost(accepted.message)):
                clusters = [each[f"cluster outbound|{one}||{host}"] for each in told[where] for one in said]
                without = any(not each["outliers"] for each in clusters)
                if without != (not _lost(accepted.message).isdisjoint({where, ""})):
                    found.append(f"{host} from {where}: {accepted.message}, outliers not detected: {without}")
    return found


def _lost(message: str) -> set[str]:
    """The namespaces of which a message says that clients there do not go by the ``trafficPolicy``; empty: all."""
    found = re.search(r"; (?:for clients in ([^;]+?) )?DestinationRule [^;:]+ takes the place of the one with", message)
    return set((found[1] or "").partition(" and ")[0].split(", ")) if found else set()


async def read(beside: Cluster, proxy: ProxyIdentity) -> Facts:
    told = await beside.told(proxy)
    return facts(told["clusters"], told["endpoints"], told["listeners"], told["routes"])


def _ports_of(one: JSONObject, host: str) -> list[int]:
    """The ports of a host for which an object has endpoints of the remote."""
    numbers = {"http": 80, "grpc": 81, "http-plain": 82}
    if one["kind"] == "WorkloadEntry" and host == HERE:
        return [numbers[name] for name in one["spec"]["ports"]]
    if one["kind"] == "ServiceEntry" and one["spec"]["hosts"] == [host]:
        return [each["number"] for each in one["spec"]["ports"]]
    return []


def _barred(message: str, port: int) -> set[str]:
    """The namespaces of which a message says that calls of a port from there do not get through."""
    found = re.findall(r"; (?:port ([\d, ]+) )?not for clients in ([^;]+?), whose", message)
    return {
        where
        for ports, clients in found
        if not ports or str(port) in ports.split(", ")
        for where in clients.partition(" and ")[0].split(", ")
    }


def _reaches(told: Facts, host: str, port: int, sni: str) -> bool:
    """Whether a proxy calls the remote's ingress by Istio's mTLS, and by its SNI."""
    cluster = f"outbound|{port}||{host}"
    for endpoint in told.get(f"endpoints {cluster}", ()):
        if endpoint.startswith(f"{REMOTE}:"):
            sockets: Facts = told[f"cluster {cluster}"]["sockets"]
            socket = sockets["all"] if "all" in sockets else sockets["istio"] if " mutual " in endpoint else "clear"
            return isinstance(socket, dict) and (socket["sni"], socket["certificate"]) == (sni, ["default"])
    return False


# --- the states


async def test_without_any(beside: Cluster) -> None:
    world = planned()
    await beside.state(LED, *written(world))
    await beside.hold("without any", *EVERYBODY)
    await agree(beside, world, "without any", {})


MUTUAL: JSONObject = {"tls": {"mode": "ISTIO_MUTUAL"}}
OFF: JSONObject = {"tls": {"mode": "DISABLE"}}
TLS: tuple[JSONObject, ...] = (
    {},
    {},
    OFF,
    OFF,
    MUTUAL,
    OUTLIERS,
    {"tls": {}},
    {"tls": {"mode": "ISTIO_MUTUAL", "sni": "x.example"}},
)
CREATED = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z")


def rules(chosen: random.Random) -> list[JSONObject]:
    """DestinationRules of others."""
    found = {}
    for _ in range(chosen.randint(1, 6)):
        where, name = chosen.choice(("default", "default", SYSTEM, SYSTEM, "web", "shop")), chosen.choice("abc")
        policy = dict(chosen.choice(TLS))
        of_ports = [{"port": {"number": chosen.choice((80, 81))}, **chosen.choice(TLS)}] * chosen.choice((0, 0, 1))
        if of_ports:
            policy["portLevelSettings"] = of_ports
        spec: JSONObject = {
            "host": chosen.choice(
                (HERE, THERE, "ratings", "*.local", "*.default.svc.cluster.local", "*s.default.svc.cluster.local", "*")
            ),
            "exportTo": chosen.choice(([], [], ["*"], ["."], ["web"], ["shop", "web"], ["default"], [SYSTEM])),
        }
        if policy or chosen.random() < 0.5:
            spec["trafficPolicy"] = policy
        found[where, name] = manifest(
            "DestinationRule", name, spec, namespace=where, creationTimestamp=chosen.choice(CREATED)
        )
    return list(found.values())


MODES = ("DISABLE", "DISABLE", "PERMISSIVE", "STRICT", "UNSET")


def peer_authentications(chosen: random.Random) -> list[JSONObject]:
    """PeerAuthentications of others."""
    found = {}
    for _ in range(chosen.randint(1, 5)):
        where, name = chosen.choice(("default", "default", "default", SYSTEM, "web")), chosen.choice("abc")
        spec: JSONObject = {}
        labels = chosen.choice(
            ({}, {}, {"app": "ratings"}, {"app": "ratings", "version": "v2"}, {"version": "v2"}, {"app": "leader"})
        )
        if labels:
            spec["selector"] = {"matchLabels": labels}
        if chosen.random() < 0.8:
            spec["mtls"] = {"mode": chosen.choice(MODES)}
        if labels and chosen.random() < 0.6:
            ports = chosen.sample((8080, 7070, 82, 15443), chosen.randint(1, 2))
            spec["portLevelMtls"] = {str(number): {"mode": chosen.choice(MODES)} for number in ports}
        found[where, name] = manifest(
            "PeerAuthentication", name, spec, namespace=where, creationTimestamp=chosen.choice(CREATED)
        )
    return list(found.values())


def by_hand(chosen: random.Random) -> list[JSONObject]:
    """EndpointSlices of the Service without a selector."""
    ports = chosen.choice(({"http": 8080, "grpc": 7070}, {"http": 9080, "grpc": 7070}, {"grpc": 7070}, {"other": 8080}))
    return [
        endpoint_slice(
            f"leader-{number}",
            "leader",
            chosen.choice(
                (
                    "10.244.0.5=leader-1",
                    "10.244.0.5",
                    "10.244.0.4=outside",
                    "10.244.0.4",
                    "10.244.0.9=gone",
                    "192.0.2.99",
                    "10.244.0.3=ratings-2",
                )
            ),
            ports=ports,
            managed_by=chosen.choice(("", "somebody")),
            labels=chosen.choice(({}, {}, {}, {"multicluster.kubernetes.io/service-name": "leader"})),
        )
        for number in range(chosen.randint(1, 2))
    ]


def entries(chosen: random.Random) -> list[JSONObject]:
    """WorkloadEntries of others behind the Service with a selector."""
    found = []
    for number in range(chosen.randint(1, 2)):
        one = workload_entry(
            f"vm-{number}",
            "ratings",
            address=f"192.0.2.{70 + number}",
            account=chosen.choice(("", "vm")),
            labels=chosen.choice(
                ({}, {"security.istio.io/tlsMode": "istio"}, {"security.istio.io/tlsMode": "disabled"})
            ),
            **chosen.choice(({}, {"ports": {"http": 18080}}, {"ports": {"grpc": 17070, "http-plain": 18082}})),
        )
        health = chosen.choice(("", "", "True", "False", "none"))
        if health:
            one["metadata"]["annotations"] = {"proxy.istio.io/health-checks-enabled": "true"}
        if health in {"True", "False"}:
            one["status"] = {"conditions": [{"type": "Healthy", "status": health}]}
        found.append(one)
    return found


ROUTER: JSONObject = {"ingressType": "openshift-router"}


@pytest.mark.parametrize("remote", [{}, ROUTER, {"trafficPolicy": OUTLIERS}], ids=["plain", "router", "outliers"])
@pytest.mark.parametrize("seed", range(SEEDS))
async def test_rules_of_others(beside: Cluster, seed: int, remote: JSONObject) -> None:
    await _compared(beside, _not_beside_ours(rules(random.Random(seed)), remote), **remote)


@pytest.mark.parametrize(
    "export_to",
    [
        ([], ["shop", "web"], [], ["web"]),
        (["web"], ["web", "shop"]),
        (["web"], ["*"]),
        (["."], ["shop", "default"], [".", "shop"]),
        (["default"], ["."], ["default", "web"], []),
    ],
)
async def test_rules_that_are_merged_or_stand_side_by_side(beside: Cluster, export_to: list[list[str]]) -> None:
    others = [
        manifest(
            "DestinationRule",
            f"r{at}",
            {"host": "ratings", "exportTo": to, "trafficPolicy": OFF if at % 2 else MUTUAL},
            namespace="default",
            creationTimestamp=f"2026-01-0{at + 1}T00:00:00Z",
        )
        for at, to in enumerate(export_to)
    ]
    await _compared(beside, others)


@pytest.mark.parametrize("remote", [{}, ROUTER], ids=["plain", "router"])
@pytest.mark.parametrize("seed", range(SEEDS))
async def test_rules_of_others_that_select_clients(beside: Cluster, seed: int, remote: JSONObject) -> None:
    """The sandbox's control plane refuses those, so only what is said is compared."""
    chosen = random.Random(seed)
    others = _not_beside_ours(rules(chosen), remote)
    for one in others:
        if chosen.random() < 0.5:
            one["spec"]["workloadSelector"] = {"matchLabels": {"app": "client"}}
    await beside.state(LED, *written(planned(**remote)), *others)
    await agree(beside, planned(*others, **remote), yaml.safe_dump_all(others), remote)


def _not_beside_ours(found: list[JSONObject], remote: JSONObject) -> list[JSONObject]:
    """How old ours is nobody knows, so beside another for its host in its namespace it counts for less."""
    return [
        one
        for one in found
        if not remote or one["metadata"]["namespace"] != SYSTEM or one["spec"]["host"].startswith("*")
    ]


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_peer_authentications_of_others(beside: Cluster, seed: int) -> None:
    chosen = random.Random(seed)
    await _compared(beside, peer_authentications(chosen) + by_hand(chosen))


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_endpoints_that_others_wrote(beside: Cluster, seed: int) -> None:
    chosen = random.Random(seed)
    await _compared(beside, by_hand(chosen) + entries(chosen))


async def _compared(beside: Cluster, others: list[JSONObject], **remote: Any) -> None:
    state = yaml.safe_dump_all(others)
    # What would be written without them is there, so that it shows what becomes of it.
    await beside.state(LED, *written(planned(**remote)), *others)
    await beside.hold(state, *EVERYBODY)
    await agree(beside, planned(*others, **remote), state, remote)
