"""Every kind of object that the controller writes, from create through change to delete, by changing what causes it.

Each time every object of the kind is compared, spec and all. The controller is real, on an embedded API server; the
remotes are discovery services of the test's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from meshfed.federation import gateway_shards
from meshfed.kube import Manifest
from meshfed.model.offers import Port
from meshfed_sandbox.ports import Ports
from tests.builders import SYSTEM, host, manifest, mesh_federation, namespace, offer, pod, service
from tests.controller.meshes import Mesh, meshes
from tests.controller.plans import difference
from tests.controller.remotes import remotes
from tests.waiting import eventually

FDS = "federation-discovery-service-east.istio-system.svc.cluster.local"
TLS_MODE = "security.istio.io/tlsMode"
GATEWAY = {"selector": {"app": "federation-ingress-gateway"}}
ROUTER = {"type": "openshift-router", "gateway": GATEWAY}
GRPC = Port(number=7000, name="grpc", protocol="GRPC", target_port=7001)


async def holds(mesh: Mesh, kind: str, wanted: Mapping[str, Any]) -> None:
    """Wait until the objects of a kind are ``wanted``: specs under ``namespace/name``, no more and no less."""

    def found() -> dict[str, Any]:
        return {f"{one['metadata']['namespace']}/{one['metadata']['name']}": one["spec"] for one in mesh.all_of(kind)}

    try:
        await eventually(lambda: found() == wanted, within=10)
    except AssertionError:
        keyed = [{(kind, "", name): spec for name, spec in specs.items()} for specs in (wanted, found())]
        raise AssertionError(difference(*keyed)) from None


def gateway(*hosts: str, number: int = 15443, name: str = "tls-passthrough", **selector: str) -> dict[str, Any]:
    return {
        "selector": selector or {"app": "federation-ingress-gateway"},
        "servers": [
            {
                "port": {"number": number, "name": name, "protocol": "TLS"},
                "hosts": sorted(hosts),
                "tls": {"mode": "AUTO_PASSTHROUGH"},
            }
        ],
    }


async def test_gateway() -> None:
    async with meshes("east") as (east,):
        await east.apply(namespace("mesh-system"), service("a", exported=True), service("b"))
        await east.start()
        await east.ready()
        await holds(east, "Gateway", {})
        await east.apply(mesh_federation("east"))
        name = "istio-system/federation-ingress-gateway"
        await holds(east, "Gateway", {name: gateway(FDS, host("a"))})
        await east.label("b", export_service="true")
        await holds(east, "Gateway", {name: gateway(FDS, host("a"), host("b"))})
        await east.delete("Service", "a", namespace="default")
        await holds(east, "Gateway", {name: gateway(FDS, host("b"))})
        moved = {"selector": {"istio": "gw"}, "portConfig": {"number": 443, "name": "tls"}}
        await east.apply(mesh_federation("east", ingress={"gateway": moved}, clusterDomain="east.example"))
        fds = FDS.replace("cluster.local", "east.example")
        wanted = gateway(fds, host("b", "east.example"), number=443, name="tls", istio="gw")
        await holds(east, "Gateway", {name: wanted})
        await east.apply(mesh_federation("east", controlPlaneNamespace="mesh-system"))
        await holds(east, "Gateway", {"mesh-system/federation-ingress-gateway": gateway(FDS, host("b"))})
        await east.delete("MeshFederation", "east")
        await holds(east, "Gateway", {})


async def test_gateway_split_over_several_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_shards, "HOSTS_PER_GATEWAY", 3)
    first, second, third = (f"istio-system/federation-ingress-gateway{suffix}" for suffix in ("", "-2", "-3"))
    async with meshes("east") as (east,):
        await east.apply(mesh_federation("east"))
        for name in "abcdef":
            await east.apply(service(name))
        await east.start()
        for name in "abcdef":  # one after the other, so that it is known who comes first
            await east.label(name, export_service="true")
            await eventually(lambda name=name: host(name) in east.exported())  # type: ignore[misc]
        full = {
            first: gateway(FDS, host("a"), host("b")),
            second: gateway(host("c"), host("d"), host("e")),
            third: gateway(host("f")),
        }
        await holds(east, "Gateway", full)
        await east.label("a", export_service=None)
        await holds(east, "Gateway", full | {first: gateway(FDS, host("b"))})
        await east.stop()
        await east.start()
        await east.ready()
        await holds(east, "Gateway", full | {first: gateway(FDS, host("b"))})
        await east.label("f", export_service=None)
        without = {first: gateway(FDS, host("b")), second: full[second]}
        await holds(east, "Gateway", without)
        await east.label("f", export_service="true")
        await holds(east, "Gateway", without | {first: gateway(FDS, host("b"), host("f"))})
        await east.delete("MeshFederation", "east")
        await holds(east, "Gateway", {})


async def test_a_host_that_changes_its_gateway_leaves_the_old_one_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_shards, "HOSTS_PER_GATEWAY", 3)
    twice: list[str] = []
    async with meshes("east") as (east,):
        await east.apply(mesh_federation("east"))
        await east.start()
        for name in "abc":
            await east.apply(service(name, exported=True))
            await eventually(lambda name=name: host(name) in east.exported())  # type: ignore[misc]

        def look() -> None:
            exported = east.exported()
            twice.extend(one for one in set(exported) if exported.count(one) > 1)

        with east.server.told(look):
            # The second Gateway, which lists c, cannot be written at first.
            for verb in ("update", "delete"):
                east.server.fail(verb=verb, name="federation-ingress-gateway-2", times=3)
            await east.label("a", export_service=None)
            await east.label("c", export_service=None)
            await eventually(lambda: east.exported() == [host("b"), host("c")])
            await east.label("c", export_service="true")
            one = gateway(FDS, host("b"), host("c"))
            await holds(east, "Gateway", {"istio-system/federation-ingress-gateway": one})
        assert twice == []


async def test_peer_authentication(ports: Ports) -> None:
    async with meshes("east") as (east,):
        name, port = "istio-system/fds-strict-mtls", ports.take()
        spec = {
            "selector": {"matchLabels": {"app.kubernetes.io/name": "federation-controller"}},
            "mtls": {"mode": "STRICT"},
        }
        await east.start()
        await east.apply(mesh_federation("east"))
        await holds(east, "PeerAuthentication", {name: spec})
        await east.stop()
        await east.start(metrics_port=port)
        scraped = spec | {"portLevelMtls": {str(port): {"mode": "PERMISSIVE"}}}
        await holds(east, "PeerAuthentication", {name: scraped})
        await east.apply(mesh_federation("east", controlPlaneNamespace="mesh-system"))
        await holds(east, "PeerAuthentication", {name: scraped})
        await east.delete("MeshFederation", "east")
        await holds(east, "PeerAuthentication", {})


async def test_authorization_policy() -> None:
    def policy(*principals: str) -> dict[str, Any]:
        known = {
            "from": [{"source": {"principals": list(principals)}}],
            "to": [{"operation": {"ports": ["15080"]}}],
        }
        others = {"to": [{"operation": {"notPorts": ["15080"]}}]}
        return {
            "selector": {"matchLabels": {"app.kubernetes.io/name": "federation-controller"}},
            "action": "ALLOW",
            "rules": [known, others] if principals else [others],
        }

    async with meshes("east") as (east,), remotes("west", "north") as (west, north):
        name = "istio-system/fds-known-remotes"
        await east.start()
        await east.apply(mesh_federation("east"))
        await holds(east, "AuthorizationPolicy", {name: policy()})
        await east.apply(west.remote_mesh())
        by_west = "cluster.local/ns/istio-system/sa/controller-west"
        await holds(east, "AuthorizationPolicy", {name: policy(by_west)})
        await east.apply(north.remote_mesh(trustDomain="north.local", identity=None))
        by_north = "north.local/ns/istio-system/sa/federation-controller"
        await holds(east, "AuthorizationPolicy", {name: policy(by_west, by_north)})
        await east.apply(west.remote_mesh(identity="spiffe://cluster.local/ns/fed/sa/west"))
        await holds(east, "AuthorizationPolicy", {name: policy("cluster.local/ns/fed/sa/west", by_north)})
        await east.delete("RemoteMesh", "west")
        await holds(east, "AuthorizationPolicy", {name: policy(by_north)})
        await east.delete("MeshFederation", "east")
        await holds(east, "AuthorizationPolicy", {})


async def test_discovery_service_entry() -> None:
    async with meshes("east") as (east,), remotes("west") as (west,):
        name = "istio-system/federation-discovery-service-west"
        through_ingress: dict[str, Any] = {"discovery": None, "import": None}

        def entry(*addresses: str, **fields: Any) -> dict[str, Any]:
            endpoint: dict[str, Any] = {
                "labels": {TLS_MODE: "istio"},
                "ports": {"grpc": fields.pop("port", 15443)},
                "network": "west-network",
            }
            plain = {
                "hosts": ["federation-discovery-service-west.istio-system.svc.cluster.local"],
                "ports": [{"number": 15080, "name": "grpc", "protocol": "GRPC"}],
                "location": "MESH_INTERNAL",
                "resolution": "STATIC",
                "endpoints": [endpoint | {"address": address} for address in addresses],
                "subjectAltNames": ["spiffe://cluster.local/ns/istio-system/sa/controller-west"],
            }
            return plain | fields

        await east.start()
        await east.apply(mesh_federation("east"), west.remote_mesh(**through_ingress))
        await holds(east, "ServiceEntry", {name: entry("192.0.2.10")})
        await east.apply(west.remote_mesh(**through_ingress, addresses=["192.0.2.11", "192.0.2.10"], port=443))
        await holds(east, "ServiceEntry", {name: entry("192.0.2.10", "192.0.2.11", port=443)})
        named: dict[str, Any] = through_ingress | {
            "discovery": {"namespace": "fed", "port": 1234},
            "addresses": ["gw.west.example"],
        }
        await east.apply(west.remote_mesh(**named, clusterDomain="west.mesh", trustDomain="west.mesh", identity=None))
        wanted = entry(
            "gw.west.example",
            hosts=["federation-discovery-service-west.fed.svc.west.mesh"],
            ports=[{"number": 1234, "name": "grpc", "protocol": "GRPC"}],
            resolution="DNS",
        )
        del wanted["subjectAltNames"]
        await holds(east, "ServiceEntry", {name: wanted})
        await east.apply(west.remote_mesh(discovery=None, import_=None, addresses=None))
        await holds(east, "ServiceEntry", {})
        await east.apply(west.remote_mesh(**through_ingress))
        await holds(east, "ServiceEntry", {name: entry("192.0.2.10")})
        await east.apply(west.remote_mesh())
        await holds(east, "ServiceEntry", {})
        await east.apply(west.remote_mesh(**through_ingress))
        await holds(east, "ServiceEntry", {name: entry("192.0.2.10")})
        await east.delete("RemoteMesh", "west")
        await holds(east, "ServiceEntry", {})


def endpoint(address: str, network: str, *, port: int = 15443, name: str = "http", **fields: Any) -> dict[str, Any]:
    labels = {"app": "ratings", TLS_MODE: "istio"}
    return {"address": address, "network": network, "ports": {name: port}, "labels": labels, **fields}


async def test_import_service_entry() -> None:
    async with meshes("east") as (east,), remotes("west", "north") as (west, north):
        name = f"istio-system/import.{host('ratings')}"
        http = {"number": 9080, "name": "http", "protocol": "HTTP", "targetPort": 8080}
        by_west = endpoint("192.0.2.10", "west-network")
        entry = {
            "hosts": [host("ratings")],
            "ports": [http],
            "location": "MESH_INTERNAL",
            "resolution": "STATIC",
            "endpoints": [by_west],
        }
        await east.start()
        await east.apply(mesh_federation("east"), west.remote_mesh())
        west.offer(offer("ratings"))
        await holds(east, "ServiceEntry", {name: entry})

        identity = "spiffe://cluster.local/ns/default/sa/ratings"
        west.offer(offer("ratings", labels={"app": "ratings", "v": "2", "x.istio.io/y": "z"}, identities=(identity,)))
        dropped = east.metrics.dropped.labels(remote="west", what="labels")
        await eventually(lambda: dropped._value.get() == 1)
        labelled = by_west | {"labels": {"app": "ratings", "v": "2", TLS_MODE: "istio"}}
        await holds(east, "ServiceEntry", {name: entry | {"endpoints": [labelled], "subjectAltNames": [identity]}})

        west.offer(offer("ratings"))  # whoever states nobody, as a Service without pods, forgets nobody
        await holds(east, "ServiceEntry", {name: entry | {"subjectAltNames": [identity]}})
        west.withdraw(host("ratings"))
        await holds(east, "ServiceEntry", {})

        west.offer(offer("ratings", ports=(GRPC,)))
        grpc = {"number": 7000, "name": "grpc", "protocol": "GRPC", "targetPort": 7001}
        by_grpc = endpoint("192.0.2.10", "west-network", name="grpc")
        await holds(east, "ServiceEntry", {name: entry | {"ports": [grpc], "endpoints": [by_grpc]}})

        west.offer(offer("ratings"))
        moved: dict[str, Any] = {
            "addresses": ["192.0.2.20", "gw.west.example"],
            "port": 443,
            "network": "n",
            "locality": "r1/z1",
        }
        await east.apply(west.remote_mesh(**moved, import_={"exportTo": ["shop", "bank"]}))
        anew = [endpoint(address, "n", port=443, locality="r1/z1") for address in ("192.0.2.20", "gw.west.example")]
        visible = {"resolution": "DNS", "exportTo": ["bank", "shop"]}
        await holds(east, "ServiceEntry", {name: entry | {"endpoints": anew} | visible})

        await east.apply(west.remote_mesh(), north.remote_mesh(addresses=["192.0.2.30"]))
        north.offer(offer("ratings"))
        by_north = endpoint("192.0.2.30", "north-network")
        await holds(east, "ServiceEntry", {name: entry | {"endpoints": [by_north, by_west]}})
        west.withdraw(host("ratings"))
        await holds(east, "ServiceEntry", {name: entry | {"endpoints": [by_north]}})
        await east.apply(service("ratings"))
        await holds(east, "ServiceEntry", {})
        await east.delete("Service", "ratings", namespace="default")
        await holds(east, "ServiceEntry", {name: entry | {"endpoints": [by_north]}})
        north.withdraw(host("ratings"))
        await holds(east, "ServiceEntry", {})


async def test_workload_entry() -> None:
    async with meshes("east") as (east,), remotes("west") as (west,):
        name = f"default/{host('ratings')}.west"
        east.dns = {"gw.west.example": ("192.0.2.7", "192.0.2.8")}

        def entry(address: str = "192.0.2.10", port_name: str = "http", **fields: Any) -> dict[str, Any]:
            selector = fields.pop("selector", {"app": "ratings"})
            plain = {
                "address": address,
                "labels": {**selector, TLS_MODE: "istio"},
                "network": "west-network",
                "ports": {port_name: 15443},
            }
            return plain | fields

        west.offer(offer("ratings"))
        await east.start()
        await east.apply(mesh_federation("east"), west.remote_mesh(), service("ratings"))
        await holds(east, "WorkloadEntry", {f"{name}.192.0.2.10": entry()})

        selector = {"app": "r", "tier": "x"}
        named = [{"name": "http", "port": 9080, "targetPort": "web"}]
        await east.apply(service("ratings", selector=selector, ports=named))
        await holds(east, "WorkloadEntry", {f"{name}.192.0.2.10": entry(port_name="web", selector=selector)})
        await east.apply(service("ratings"))

        virtual = {"hosts": ["vm.example"], "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]}
        virtual |= {"resolution": "STATIC", "workloadSelector": {"labels": {"app": "ratings"}}}
        await east.apply(manifest("ServiceEntry", "theirs", virtual, namespace="default"))
        await holds(east, "WorkloadEntry", {})
        await east.delete("ServiceEntry", "theirs", namespace="default")
        await holds(east, "WorkloadEntry", {f"{name}.192.0.2.10": entry()})

        await east.apply(west.remote_mesh(addresses=["gw.west.example"], locality="r1/z1", network="n"))
        wanted = {
            f"{name}.{address}": entry(address, locality="r1/z1", network="n") for address in ("192.0.2.7", "192.0.2.8")
        }
        await holds(east, "WorkloadEntry", wanted)

        await east.apply(west.remote_mesh())
        account = "spiffe://cluster.local/ns/default/sa/"
        west.offer(offer("ratings", identities=(f"{account}one", f"{account}two")))
        wanted = {f"{name}.192.0.2.10.{one}": entry(serviceAccount=one) for one in ("one", "two")}
        await holds(east, "WorkloadEntry", wanted)
        west.offer(offer("ratings", identities=("spiffe://cluster.local/ns/elsewhere/sa/one",)))
        await holds(east, "WorkloadEntry", {})
        west.withdraw(host("ratings"))
        await holds(east, "FederatedService", {})
        west.offer(offer("ratings"))
        await holds(east, "WorkloadEntry", {f"{name}.192.0.2.10": entry()})

        await east.apply(west.remote_mesh(import_={}))
        await holds(east, "WorkloadEntry", {})
        await east.apply(west.remote_mesh())
        await holds(east, "WorkloadEntry", {f"{name}.192.0.2.10": entry()})
        await east.delete("Service", "ratings", namespace="default")
        await holds(east, "WorkloadEntry", {})
        await eventually(lambda: east.imported() == [host("ratings")])


async def test_discovery_destination_rule() -> None:
    async with meshes("east") as (east,), remotes("west") as (west,):
        name = "istio-system/mtls-sni.federation-discovery-service-west"
        behind: dict[str, Any] = {"discovery": None, "import": None, "ingressType": "openshift-router"}

        def rule(space: str = "istio-system", domain: str = "cluster.local", port: int = 15080) -> dict[str, Any]:
            sni = f"federation-discovery-service-west-{port}.{space}.svc.{domain}"
            return {
                "host": f"federation-discovery-service-west.{space}.svc.{domain}",
                "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL", "sni": sni}},
            }

        await east.start()
        await east.apply(mesh_federation("east"), west.remote_mesh(**behind))
        await holds(east, "DestinationRule", {name: rule()})
        discovery = {"discovery": {"namespace": "fed", "port": 1234}}
        await east.apply(west.remote_mesh(**behind | discovery, clusterDomain="west.mesh"))
        await holds(east, "DestinationRule", {name: rule("fed", "west.mesh", 1234)})
        await east.apply(west.remote_mesh(**behind | {"ingressType": "istio"}))
        await holds(east, "DestinationRule", {})
        await east.apply(west.remote_mesh(**behind))
        await holds(east, "DestinationRule", {name: rule()})
        await east.delete("RemoteMesh", "west")
        await holds(east, "DestinationRule", {})


async def test_import_destination_rule() -> None:
    async with meshes("east") as (east,), remotes("west") as (west,):
        router = {"ingressType": "openshift-router"}

        def rule(*settings: tuple[int, str], of: str = host("ratings"), **policy: Any) -> dict[str, Any]:
            levels = [
                {"port": {"number": number}, "tls": {"mode": "ISTIO_MUTUAL", "sni": sni}} | policy
                for number, sni in settings
            ]
            return {"host": of, "trafficPolicy": policy | ({"portLevelSettings": levels} if levels else {})}

        west.offer(offer("ratings"))
        name = f"istio-system/mtls-sni.{host('ratings')}"
        discovery = "istio-system/mtls-sni.federation-discovery-service-west"
        on_9080 = (9080, "ratings-9080.default.svc.cluster.local")
        await east.start()
        await east.apply(mesh_federation("east"), west.remote_mesh(**router))
        await holds(east, "DestinationRule", {name: rule(on_9080)})

        theirs: dict[str, Any] = {"host": host("ratings"), "subsets": [{"name": "v1", "labels": {"v": "1"}}]}
        await east.apply(manifest("DestinationRule", "theirs", theirs))
        await holds(east, "DestinationRule", {name: rule(on_9080), "istio-system/theirs": theirs})
        theirs["trafficPolicy"] = {"loadBalancer": {"simple": "RANDOM"}}
        await east.apply(manifest("DestinationRule", "theirs", theirs))
        await holds(east, "DestinationRule", {"istio-system/theirs": theirs})
        await holds(east, "ServiceEntry", {})
        await east.delete("DestinationRule", "theirs")
        await holds(east, "DestinationRule", {name: rule(on_9080)})

        await east.apply(service("ratings"))
        await eventually(lambda: bool(east.merged()))
        await east.apply(pod("ratings-1", "ratings", sidecar=False))
        await holds(east, "DestinationRule", {})
        assert east.merged() == []
        await east.delete("Pod", "ratings-1", namespace="default")
        await holds(east, "DestinationRule", {name: rule(on_9080)})
        await east.delete("Service", "ratings", namespace="default")

        west.offer(offer("ratings", ports=(*west.offers[host("ratings")].ports, GRPC)))
        on_7000 = (7000, "ratings-7000.default.svc.cluster.local")
        await holds(east, "DestinationRule", {name: rule(on_7000, on_9080)})
        outliers: dict[str, Any] = {"outlierDetection": {"consecutive5xxErrors": 3}}
        await east.apply(west.remote_mesh(**router, trafficPolicy=outliers))
        await holds(east, "DestinationRule", {name: rule(on_7000, on_9080, **outliers)})
        await east.apply(west.remote_mesh(trafficPolicy=outliers))
        await holds(east, "DestinationRule", {name: rule(**outliers)})
        await east.apply(west.remote_mesh())
        await holds(east, "DestinationRule", {})
        pool: dict[str, Any] = {"connectionPool": {"tcp": {"connectTimeout": "1s500ms"}}}
        await east.apply(west.remote_mesh(trafficPolicy={"outlierDetection": {}, **pool}))
        await holds(east, "DestinationRule", {name: rule(outlierDetection={}, **pool)})
        await east.apply(west.remote_mesh())
        await holds(east, "DestinationRule", {})

        alias = {"rules": [{"action": "Import", "as": {"host": "{name}.{namespace}.svc.west.mesh"}}]}
        west.offer(offer("ratings"))
        await east.apply(west.remote_mesh(import_=alias))
        other = host("ratings", "west.mesh")
        aliased = rule((9080, f"outbound_.9080_._.{host('ratings')}"), of=other)
        await holds(east, "DestinationRule", {f"istio-system/mtls-sni.{other}": aliased})
        west.offer(offer("ratings", sni_host=host("original")))
        aliased = rule((9080, f"outbound_.9080_._.{host('original')}"), of=other)
        await holds(east, "DestinationRule", {f"istio-system/mtls-sni.{other}": aliased})
        west.withdraw(host("ratings"))
        await holds(east, "DestinationRule", {})
        assert discovery not in east.all("DestinationRule")


EXPORTED = {("a", 9080), ("a", 7000), ("federation-discovery-service-east.istio-system", 15080)}
TWO_PORTS = [{"name": "http", "port": 9080}, {"name": "grpc", "port": 7000}]


def snis(exported: set[tuple[str, int]], domain: str) -> Iterator[tuple[str, int, str]]:
    """Each exported port: the Service's host, the port, and the name that the router knows it by."""
    for name, port in exported:
        fqdn = host(name, domain)
        service_name, _, rest = fqdn.partition(".")
        yield fqdn, port, f"{service_name}-{port}.{rest}"


async def test_envoy_filter() -> None:
    def filters(exported: set[tuple[str, int]], *, domain: str = "cluster.local", **selector: str) -> Any:
        return {
            f"istio-system/sni.{fqdn}.{number}": {
                "workloadSelector": {"labels": selector or GATEWAY["selector"]},
                "configPatches": [
                    {
                        "applyTo": "FILTER_CHAIN",
                        "match": {
                            "context": "GATEWAY",
                            "listener": {"filterChain": {"sni": f"outbound_.{number}_._.{fqdn}"}},
                        },
                        "patch": {"operation": "MERGE", "value": {"filter_chain_match": {"server_names": [sni]}}},
                    }
                ],
            }
            for fqdn, number, sni in snis(exported, domain)
        }

    await through_router("EnvoyFilter", filters, filters(EXPORTED, domain="east.example", istio="gw"))


async def test_route() -> None:
    def routes(exported: set[tuple[str, int]], *, port: str = "tls-passthrough", domain: str = "cluster.local") -> Any:
        return {
            f"istio-system/federation-ingress-gateway.{fqdn}.{number}": {
                "host": sni,
                "to": {"kind": "Service", "name": "federation-ingress-gateway", "weight": 100},
                "port": {"targetPort": port},
                "tls": {"termination": "passthrough"},
                "wildcardPolicy": "None",
            }
            for fqdn, number, sni in snis(exported, domain)
        }

    await through_router("Route", routes, routes(EXPORTED, port="tls", domain="east.example"))


async def through_router(kind: str, objects: Any, when_moved: Any) -> None:
    """Take what the router needs for exports through its life; ``when_moved``: with another gateway and domain."""
    async with meshes("east") as (east,):
        await east.start()
        await east.apply(service("a", exported=True, ports=TWO_PORTS), service("b"))
        await east.apply(mesh_federation("east", ingress=ROUTER))
        await holds(east, kind, objects(EXPORTED))
        await east.label("b", export_service="true")
        await holds(east, kind, objects(EXPORTED | {("b", 9080)}))
        await east.label("b", export_service=None)
        await holds(east, kind, objects(EXPORTED))
        await east.apply(service("a", exported=True, ports=TWO_PORTS[:1]))
        await holds(east, kind, objects(EXPORTED - {("a", 7000)}))
        await east.apply(service("a", exported=True, ports=TWO_PORTS))
        moved = {"selector": {"istio": "gw"}, "portConfig": {"number": 443, "name": "tls"}}
        await east.apply(mesh_federation("east", ingress=ROUTER | {"gateway": moved}, clusterDomain="east.example"))
        await holds(east, kind, when_moved)
        await east.apply(mesh_federation("east"))
        await holds(east, kind, {})
        await east.apply(mesh_federation("east", ingress=ROUTER))
        await holds(east, kind, objects(EXPORTED))
        await east.delete("MeshFederation", "east")
        await holds(east, kind, {})


def labels(manifest: Manifest) -> dict[str, str]:
    found: dict[str, str] = manifest["metadata"]["labels"]
    return found


async def test_every_object_says_whose_it_is() -> None:
    async with meshes("east") as (east,), remotes("west") as (west,):
        west.offer(offer("ratings"), offer("reviews"))
        await east.start()
        await east.apply(mesh_federation("east", ingress=ROUTER), service("reviews"), service("a", exported=True))
        await east.apply(west.remote_mesh())
        kinds = ["Gateway", "PeerAuthentication", "AuthorizationPolicy", "ServiceEntry", "WorkloadEntry", "EnvoyFilter"]
        kinds += ["Route", "FederatedService"]
        await eventually(lambda: all(east.all_of(kind) for kind in kinds))
        group = "federation.openshift-service-mesh.io"
        ours = {
            f"{group}/owner": "east",
            f"{group}/owner-namespace": SYSTEM,
            "app.kubernetes.io/managed-by": "meshfed",
        }
        for kind in kinds:
            extra = {f"{group}/remote": "west"} if kind == "FederatedService" else {}
            assert [labels(one) for one in east.all_of(kind)] == [ours | extra] * len(east.all_of(kind)), kind
