"""What the sandbox's control plane tells proxies is what istiod tells them.

Two meshes that federate, with all that their controllers write; beside each runs a real istiod, which watches the same
API server. Skipped where ``ISTIOD`` names none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from meshfed_sandbox.dataplane.plane import Options, default_settings
from meshfed_sandbox.dataplane.translate import configuration, names, read_mesh
from meshfed_sandbox.dataplane.translate.reading import KINDS
from meshfed_sandbox.dataplane.workloads import cluster_names
from tests.builders import GATEWAY, manifest
from tests.e2e.probes import EXPORTS, PORTS, bring, fronting, run
from tests.e2e.support import needs_haproxy
from tests.istiod.facts import differences, facts, resolved
from tests.istiod.istiod import Istiod, binary, crds, istiod
from tests.sandbox.dataplane.world import MeshWorld, World
from tests.waiting import eventually

JSONObject = dict[str, Any]

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(binary() is None, reason="ISTIOD names no pilot-discovery"),
]


class Compared:
    """A world, and an istiod for each of its meshes."""

    def __init__(self, world: World, istiods: dict[str, Istiod]) -> None:
        self.world = world
        self.istiods = istiods

    async def hold(self, state: str) -> None:
        """Wait until every proxy is told the same by both; ``state`` is what the meshes are in."""

        found: list[str] = []

        async def equal() -> bool:
            found[:] = [line for mesh in self.world.meshes.values() for line in await self._differences(mesh)]
            return not found

        try:
            await eventually(equal)
        except AssertionError:
            raise AssertionError("\n".join([f"{state}:", *found])) from None

    async def _differences(self, mesh: MeshWorld) -> list[str]:
        plane = mesh.plane
        read = read_mesh(plane.settings, plane.watch.objects(KINDS))
        # What the sidecar does not answer itself, the cluster's DNS does.
        clusters_own = cluster_names(plane.watch.objects(("Service", "EndpointSlice")), plane.settings.cluster_domain)
        lines = []
        for pod in list(plane.node.pods.values()):
            proxy = pod.proxy
            if proxy is None:
                continue
            told = await self.istiods[mesh.name].tells(proxy.identity)
            config = configuration(read, proxy.identity, proxy.files)
            ours = facts(
                config.clusters, list(config.endpoints.values()), config.listeners, list(config.routes.values())
            )
            theirs = facts(told["clusters"], told["endpoints"], told["listeners"], told["routes"])
            if proxy.identity.dns_port:
                ours["names"] = resolved(names(read, proxy.identity))
                table = {name: each["ips"] for name, each in told["names"][0]["table"].items()}
                theirs["names"] = resolved({**clusters_own, **table})
            lines += [f"{mesh.name} {pod.name}: {line}" for line in differences(ours, theirs)]
        return lines


@asynccontextmanager
async def compared(directory: Path, *meshes: str, options: Options | None = None) -> AsyncIterator[Compared]:
    """Meshes with an istiod each."""
    async with World.up(*meshes, directory=directory, options=options) as world, AsyncExitStack() as stack:
        found = {}
        for mesh in world.meshes.values():
            await mesh.apply(*crds())
            found[mesh.name] = await stack.enter_async_context(
                istiod(mesh.plane.settings, mesh.kubeconfig, directory / f"istiod-{mesh.name}")
            )
        yield Compared(world, found)


IMPORT = {"merge": True, "allowTCP": True}


async def test_two_meshes(tmp_path: Path) -> None:
    """Each state is compared in each proxy of both: gateways, controllers, callers, and those who answer."""
    async with compared(tmp_path, "east", "west") as both:
        world = both.world
        east, west = world.east, world.west
        await bring(east, west)
        await world.federate(**{"import": IMPORT})
        await world.settled()
        await world.connected()
        await both.hold("nothing is exported")

        await west.export(*EXPORTS)
        await both.hold("imports beside local Services and without")

        await west.unexport("both.bookinfo")
        await both.hold("an export less")

        alias = {"action": "Import", "hosts": ["echo.*"], "as": {"host": "{name}.{namespace}.svc.west.mesh"}}
        await east.remote(west, **{"import": IMPORT | {"rules": [alias, {"action": "Import"}]}})
        await west.federation(export={"rules": [{"action": "Export", "names": ["*"], "as": {"namespace": "talk"}}]})
        await both.hold("aliases on either side, which need other SNIs")
        await west.federation()

        outliers = {"consecutive5xxErrors": 3, "interval": "1m30s", "baseEjectionTime": "30s", "maxEjectionPercent": 50}
        await east.remote(
            west, **{"import": IMPORT}, locality="region/zone", trafficPolicy={"outlierDetection": outliers}
        )
        await west.export(*EXPORTS)
        await both.hold("outliers are detected, and endpoints have localities")

        policy = {"outlierDetection": {}, "connectionPool": {"tcp": {"connectTimeout": "1s500ms"}}}
        await east.remote(west, **{"import": IMPORT}, locality="region/zone", trafficPolicy=policy)
        await both.hold("outliers are detected as Istio does by default, and a connection may take less")

        mine = {"host": "echo", "trafficPolicy": {"loadBalancer": {"simple": "ROUND_ROBIN"}}}
        await east.apply(manifest("DestinationRule", "whole-mesh", mine | {"host": "*.local"}))
        await both.hold("what a rule for the whole mesh says is taken over")
        await east.apply(
            manifest("DestinationRule", "mine", mine | {"host": "*.svc.cluster.local"}, namespace="bookinfo")
        )
        await both.hold("clients in one namespace have a rule of their own")
        await east.delete("DestinationRule", "mine", namespace="bookinfo")
        await east.delete("DestinationRule", "whole-mesh", namespace="istio-system")

        world.sandbox.data_plane.names["west.example.com"] = (await west.gateway_address(),)
        await east.remote(west, **{"import": IMPORT}, addresses=["west.example.com"])
        await both.hold("the remote has a name instead of an address")
        gateway = await west.gateway_address()
        await east.remote(west, **{"import": IMPORT}, addresses=[f"{gateway}:15443", f"{gateway}:15444"])
        await both.hold("the remote has an address twice, on two ports")
        await east.remote(west, **{"import": IMPORT})

        for seen in (".", ".,istio-system", "istio-system,~", None):
            annotations = {"networking.istio.io/exportTo": seen}
            await west.patch("Service", "echo", {"metadata": {"annotations": annotations}})
            await both.hold(f"an export with exportTo {seen}")

        for off in WITHOUT_MTLS:
            for mesh in (east, west):
                await mesh.apply(off)
            await both.hold(f"without mTLS by {off['spec']} in {off['metadata']['namespace']}")
            for mesh in (east, west):
                await mesh.delete("PeerAuthentication", off["metadata"]["name"], off["metadata"]["namespace"])
        for rule in RULES_WITHOUT_MTLS:
            for mesh in (east, west):
                await mesh.apply(rule)
            await both.hold(f"a DestinationRule with {rule['spec']['trafficPolicy']}")
            for mesh in (east, west):
                await mesh.delete("DestinationRule", "off", namespace="bookinfo")
        # The namespace's own is older than any of these, and one for some of its Pods leaves their clients as they are.
        for spec in ({"mtls": {"mode": "DISABLE"}}, {"mtls": {"mode": "STRICT"}}):
            for mesh in (east, west):
                await mesh.apply(
                    _security("PeerAuthentication", "default", spec),
                    _security("PeerAuthentication", "on", ECHO | {"mtls": {"mode": "STRICT"}}),
                )
            await both.hold(f"the namespace has {spec}, and some Pods STRICT")
            for mesh in (east, west):
                await mesh.delete("PeerAuthentication", "on")

        for policy in POLICIES:
            for mesh in (east, west):
                await mesh.apply(policy)
            await both.hold(f"{policy['kind']} {policy['metadata']['name']}")

        await run(east, "late", image="echo", account="late", ports=PORTS)
        world.expected("is ignored: a Service has it")
        local = fronting("echo", {"name": "http", "port": 8080}, {"name": "tcp", "port": 9000}, pods="late")
        await east.apply(local)
        await world.settled()
        await both.hold("a local Service under an import")


async def test_some_ports_alone(tmp_path: Path) -> None:
    """Ports that export rules leave out: filter chains for single ports, beside Gateways that list the host and not."""
    async with compared(tmp_path, "east", "west") as both:
        east, west = both.world.east, both.world.west
        await bring(east, west)
        await both.world.federate(**{"import": IMPORT})
        await both.world.settled()
        await both.world.connected()
        await west.export(*EXPORTS)
        await both.hold("all ports")
        left_out = {"action": "Deny", "names": ["echo"], "ports": ["tcp", "https"]}
        await west.federation(export={"rules": [left_out, {"action": "Export"}]})
        await eventually(lambda: _lists(west, "EnvoyFilter"), what="there are filter chains for single ports")
        await both.hold("some ports of a host, which is in no Gateway")
        for name, host in (("same", "echo.bookinfo.svc.cluster.local"), ("wide", "*.bookinfo.svc.cluster.local")):
            server = {
                "port": {"number": 15443, "name": "tls", "protocol": "TLS"},
                "hosts": [host],
                "tls": {"mode": "AUTO_PASSTHROUGH"},
            }
            await west.apply(manifest("Gateway", name, {"selector": GATEWAY, "servers": [server]}))
            both.world.expected("is skipped whole")
            await both.hold(f"beside a Gateway that lists {host}")
            await west.delete("Gateway", name, namespace="istio-system")
        await west.federation(export={"rules": [{"action": "Deny", "ports": ["tcp*"]}, {"action": "Export"}]})
        await both.hold("each host without some ports")
        alias = {"action": "Export", "as": {"namespace": "talk"}}
        await west.federation(export={"rules": [{"action": "Deny", "ports": ["tcp*"]}, alias]})
        await both.hold("and under another name")


async def _lists(mesh: MeshWorld, kind: str) -> bool:
    return bool(await mesh.list(kind))


async def test_who_sees_what_by_default(tmp_path: Path) -> None:
    """Where Istio shows Services and rules to their own namespaces alone, what is written says that all see it."""
    private = {"default_service_export_to": (".",), "default_destination_rule_export_to": (".",)}
    options = Options(
        meshes={mesh: msgspec.structs.replace(default_settings(mesh), **private) for mesh in ("east", "west")}
    )
    async with compared(tmp_path, "east", "west", options=options) as both:
        east, west = both.world.east, both.world.west
        await bring(east, west)
        await both.world.federate(**{"import": IMPORT})
        await both.world.settled()
        await both.world.connected()
        await west.export(*EXPORTS)
        await both.hold("what is exported is hidden from the gateway")
        for name in EXPORTS:
            annotations = {"networking.istio.io/exportTo": "*"}
            await west.patch("Service", name, {"metadata": {"annotations": annotations}})
        await both.hold("what is exported is for everyone")
        await east.remote(west, **{"import": IMPORT}, trafficPolicy={"outlierDetection": {}})
        await both.hold("a rule of ours is for everyone")
        rule = {"host": "*.local", "trafficPolicy": {"loadBalancer": {"simple": "ROUND_ROBIN"}}}
        for where in ("bookinfo", "istio-system"):
            await east.apply(manifest("DestinationRule", "theirs", rule, namespace=where))
            await both.hold(f"one of others, in {where}, is for that namespace")


def _security(kind: str, name: str, spec: Mapping[str, Any], namespace: str = "bookinfo") -> JSONObject:
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "security.istio.io/v1", "kind": kind, "metadata": meta, "spec": dict(spec)}


ECHO = {"selector": {"matchLabels": {"app": "echo-pods"}}}
WITHOUT_MTLS = (
    _security("PeerAuthentication", "off", ECHO | {"portLevelMtls": {"8080": {"mode": "DISABLE"}}}),
    _security("PeerAuthentication", "off", ECHO | {"portLevelMtls": {"15443": {"mode": "DISABLE"}}}),
    _security("PeerAuthentication", "off", ECHO | {"mtls": {"mode": "DISABLE"}}),
    _security("PeerAuthentication", "off", {"mtls": {"mode": "DISABLE"}}),
    _security("PeerAuthentication", "off", ECHO | {"mtls": {"mode": "DISABLE"}}, "istio-system"),
    _security("PeerAuthentication", "off", {"mtls": {"mode": "DISABLE"}}, "istio-system"),
)
"""Applied one after the other, none beside another of them."""

RULES_WITHOUT_MTLS = tuple(
    manifest("DestinationRule", "off", {"host": "echo", "trafficPolicy": policy}, namespace="bookinfo")
    for policy in (
        {"tls": {"mode": "DISABLE"}},
        {"portLevelSettings": [{"port": {"number": 8080}, "tls": {"mode": "DISABLE"}}]},
    )
)

POLICIES = (
    _security(
        "PeerAuthentication",
        "echo",
        ECHO | {"mtls": {"mode": "STRICT"}, "portLevelMtls": {"9000": {"mode": "DISABLE"}}},
    ),
    _security("PeerAuthentication", "default", {"mtls": {"mode": "PERMISSIVE"}}),
    _security(
        "PeerAuthentication",
        "ignored",
        {"selector": {"matchLabels": {"app": "x"}}, "mtls": {"mode": "STRICT"}},
        "istio-system",
    ),
    _security("PeerAuthentication", "default", {"mtls": {"mode": "STRICT"}}, "istio-system"),
    _security(
        "AuthorizationPolicy",
        "echo",
        ECHO
        | {
            "rules": [
                {
                    "from": [{"source": {"principals": ["cluster.local/ns/bookinfo/sa/caller", "*/sa/other"]}}],
                    "to": [{"operation": {"paths": ["/a*", "/b"], "methods": ["GET"], "ports": ["8080"]}}],
                },
                {"from": [{"source": {"notNamespaces": ["bookinfo"], "ipBlocks": ["10.0.0.0/8"]}}]},
            ]
        },
    ),
    _security(
        "AuthorizationPolicy",
        "gateway",
        {"action": "DENY", "rules": [{"from": [{"source": {"notIpBlocks": ["127.0.0.0/8"]}}]}]},
        "istio-system",
    ),
    _security("AuthorizationPolicy", "nothing", {}, "bookinfo"),
)
"""Applied one after the other, each beside the ones before it."""


async def test_trust_domains_of_their_own(tmp_path: Path) -> None:
    west = msgspec.structs.replace(
        default_settings("west", "federated"), skip_validate_trust_domain=False, trust_domain_aliases=("east.local",)
    )
    options = Options(trust="federated", meshes={"west": west})
    async with compared(tmp_path, "east", "west", options=options) as both:
        await bring(both.world.east, both.world.west)
        await both.world.federate(**{"import": IMPORT})
        await both.world.settled()
        await both.world.connected()
        await both.world.west.export(*EXPORTS)
        principals = {"from": [{"source": {"principals": ["west.local/ns/bookinfo/sa/caller"]}}]}
        await both.world.west.apply(_security("AuthorizationPolicy", "echo", ECHO | {"rules": [principals]}))
        await both.hold("a trust domain and its alias")


@needs_haproxy
async def test_a_mesh_behind_a_router(tmp_path: Path) -> None:
    options = Options(routers=frozenset({"west"}))
    async with compared(tmp_path, "east", "west", options=options) as both:
        await bring(both.world.east, both.world.west)
        await both.world.federate(**{"import": IMPORT})
        await both.world.settled()
        await both.world.connected()
        await both.world.west.export(*EXPORTS)
        await both.hold("chains that an EnvoyFilter gives other names")
