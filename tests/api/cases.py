"""Objects, good and bad, and what is said of them: offline, by the rules' CEL, and by a real API server alike."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from meshfed.api.v1alpha1 import API_VERSION
from tests.builders import manifest


class Bad(msgspec.Struct, frozen=True):
    """An object that is refused, and all that is wrong with it: the path of each problem and a part of the reason.

    ``cel`` where a rule refuses it, whose message is then the same everywhere.
    """

    id: str
    obj: dict[str, Any]
    problems: tuple[tuple[str, str], ...]
    cel: bool = False


def bare_mesh_federation(name: str = "east", /, **spec: Any) -> dict[str, Any]:
    """A MeshFederation manifest with what is required, and ``spec``."""
    required = {"network": "east-network", "ingress": {"gateway": {"selector": {"app": "gateway"}}}}
    return manifest("MeshFederation", name, required | spec, namespace="default")


def bare_remote_mesh(name: str = "west", /, **spec: Any) -> dict[str, Any]:
    """A RemoteMesh manifest with what is required, and ``spec``."""
    return manifest("RemoteMesh", name, {"network": "west-network"} | spec, namespace="default")


def bare_federated_service(name: str = "ratings.bookinfo.svc.cluster.local.west", /, **spec: Any) -> dict[str, Any]:
    """A FederatedService manifest with what is required, and ``spec``."""
    required = {"remote": "west", "host": "ratings.bookinfo.svc.cluster.local"}
    return manifest("FederatedService", name, required | spec, namespace="default")


def _imports(*rules: dict[str, Any]) -> dict[str, Any]:
    return bare_remote_mesh(**{"import": {"rules": list(rules)}})


def _exports(**export: Any) -> dict[str, Any]:
    return bare_mesh_federation(export=export)


_LABEL = "a" * 63
_DOMAIN = "a" * 63 + "." + "b" * 40
_EVERYTHING = bare_remote_mesh(
    addresses=[
        *("192.0.2.10", "2001:db8::1", "::ffff", "::", "gateway.west.example", "router"),
        *("192.0.2.10:1", "[2001:db8::1]:31443", "[::]:65535", "gateway.west.example:443", "router:15443"),
    ],
    port=443,
    ingressType="openshift-router",
    trustDomain="west.local",
    clusterDomain="west.mesh",
    identity="spiffe://west.local/ns/mesh/sa/controller",
    discovery={"namespace": "mesh", "port": 15081, "address": "[2001:db8::2]:15080"},
    locality="us-west1/us-west1-a",
    trafficPolicy={
        "outlierDetection": {
            "consecutive5xxErrors": 5,
            "consecutiveGatewayErrors": 5,
            "consecutiveLocalOriginFailures": 5,
            "splitExternalLocalOriginErrors": True,
            "interval": "10s",
            "baseEjectionTime": "1m30s",
            "maxEjectionPercent": 100,
            "minHealthPercent": 0,
        },
        "connectionPool": {"tcp": {"connectTimeout": "1s500ms"}},
    },
    priority=-3,
    staleness={"after": "0s", "action": "Remove"},
    withdrawal={"maxPercent": 100, "minServices": 0, "hold": "1h500ms"},
    **{
        "import": {
            "merge": True,
            "allowTCP": True,
            "limit": 0,
            "exportTo": [".", "bookinfo"],
            "rules": [
                {"action": "Import", "hosts": ["ratings.a.svc.west.mesh"], "as": {"host": "ratings.b.svc.here"}},
                {"action": "Import", "as": {"host": "{name}-w.{namespace}.svc.here"}, "merge": False},
                {"action": "Import", "namespaces": ["a"], "as": {"host": "{name}.b.svc.here"}},
                {"action": "Deny", "labels": {"matchExpressions": [{"key": "tier", "operator": "Exists"}]}},
                {"action": "Import", "ports": [1, 65535, "http", "*-public", "8080-x", "*"], "allowTCP": True},
            ],
        }
    },
)

GOOD: Final[dict[str, dict[str, Any]]] = {
    "mesh, least": bare_mesh_federation(),
    "mesh, as the reference writes it": {
        "apiVersion": API_VERSION,
        "kind": "MeshFederation",
        "metadata": {"name": "east", "namespace": "default"},
        "spec": {
            "network": "east-network",
            "trustDomain": "east.local",
            "controlPlaneNamespace": "istio-system",
            "ingress": {
                "type": "istio",
                "gateway": {
                    "selector": {"app": "federation-ingress-gateway"},
                    "portConfig": {"name": "tls-passthrough", "number": 15443},
                },
            },
            "export": {
                "serviceSelectors": {
                    "matchLabels": {"export-service": "true"},
                    "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["internal", ""]}],
                }
            },
        },
    },
    "remote, longest names": bare_remote_mesh("a" * 34, clusterDomain=_DOMAIN, discovery={"namespace": _LABEL}),
    "mesh, exporting everything": bare_mesh_federation(export={}),
    "mesh, longest names": bare_mesh_federation("a" * 34, clusterDomain=_DOMAIN),
    "mesh, everything": bare_mesh_federation(
        clusterDomain="east.mesh",
        export={
            "namespaceSelectors": {"matchLabels": {"team": "a"}},
            "serviceExports": True,
            "rules": [
                {"action": "Deny", "namespaces": ["kube-*"], "names": ["*"]},
                {"action": "Deny", "ports": ["metrics", 9464]},
                {"action": "Export", "labels": {}, "remotes": ["west", "0"], "as": {"namespace": "shared"}},
                {"action": "Export", "as": {"name": "ratings", "namespace": "shared"}},
            ],
        },
    ),
    "mesh, nulls": bare_mesh_federation(export=None, trustDomain=None),
    "remote, least": bare_remote_mesh(),
    "remote, longest name": bare_remote_mesh("a" * 34),
    "remote, importing everything": bare_remote_mesh(**{"import": {}}),
    "remote, everything": _EVERYTHING,
    "service": bare_federated_service(ports=[{"number": 9080, "name": "http"}], labels={"app": "ratings"}),
    "service, as odd as remotes may be": bare_federated_service(
        host="No Host At All", ports=[{"number": 0}, {"number": 0}, {"number": 4294967295}], identities=["x", "x"]
    ),
}

BAD: Final = (
    Bad(
        "nothing in spec",
        bare_mesh_federation() | {"spec": {}},
        (("spec.network", "missing"), ("spec.ingress", "missing")),
    ),
    Bad("unknown field", bare_remote_mesh(adresses=["a"]), (("spec.adresses", "did you mean addresses?"),)),
    Bad("unknown field, deep", _imports({"action": "Deny", "host": ["a"]}), (("spec.import.rules[0].host", "hosts?"),)),
    Bad("mistyped case", bare_remote_mesh(ingresstype="istio"), (("spec.ingresstype", "did you mean ingressType?"),)),
    Bad("text for number", bare_remote_mesh(port="15443"), (("spec.port", "a whole number"),)),
    Bad("number for text", bare_remote_mesh(network=1), (("spec.network", "put it in quotes"),)),
    Bad("boolean for text", bare_remote_mesh(network=False), (("spec.network", "put it in quotes"),)),
    Bad("list for object", bare_remote_mesh(discovery=[]), (("spec.discovery", "an object"),)),
    Bad("null in a list", bare_remote_mesh(addresses=[None]), (("spec.addresses[0]", "a text"),)),
    Bad("port 0", bare_remote_mesh(port=0), (("spec.port", "at least 1"),)),
    Bad("port 65536", bare_remote_mesh(port=65536), (("spec.port", "at most 65535"),)),
    Bad("empty network", bare_remote_mesh(network=""), (("spec.network", "empty"), ("spec.network", "network name"))),
    Bad("unknown enum", bare_remote_mesh(ingressType="nginx"), (("spec.ingressType", "istio, openshift-router"),)),
    Bad(
        "bad duration", bare_remote_mesh(staleness={"after": "10 minutes"}), (("spec.staleness.after", "such as 10m"),)
    ),
    Bad("line end in a name", bare_remote_mesh(network="west\n"), (("spec.network", "network name"),)),
    Bad(
        "no selector",
        bare_mesh_federation(ingress={"gateway": {"selector": {}}}),
        (("spec.ingress.gateway.selector", "empty"),),
    ),
    Bad("last rule removed", _imports(), (("spec.import.rules", "leave the field out"),)),
    Bad("empty globs", _imports({"action": "Deny", "hosts": []}), (("spec.import.rules[0].hosts", "leave the field"),)),
    Bad("no ports", _imports({"action": "Deny", "ports": []}), (("spec.import.rules[0].ports", "leave the field"),)),
    Bad(
        "ports that are none",
        _imports({"action": "Deny", "ports": [0, 65536, "8080", "HTTP", "", 1.5, True]}),
        (
            ("spec.import.rules[0].ports[0]", "at least 1"),
            ("spec.import.rules[0].ports[1]", "at most 65535"),
            ("spec.import.rules[0].ports[2]", "port number or name of a port, or glob of names"),
            ("spec.import.rules[0].ports[3]", "port number or name of a port, or glob of names"),
            ("spec.import.rules[0].ports[4]", "empty"),
            ("spec.import.rules[0].ports[4]", "port number or name of a port, or glob of names"),
            ("spec.import.rules[0].ports[5]", "a number or a text"),
            ("spec.import.rules[0].ports[6]", "a number or a text"),
        ),
    ),
    Bad("same address twice", bare_remote_mesh(addresses=["a", "b", "a"]), (("spec.addresses[2]", "twice"),)),
    Bad(
        "two at once",
        bare_remote_mesh(port=0, staleness={"action": "Forget"}),
        (("spec.port", "at least 1"), ("spec.staleness.action", "Keep, Remove")),
    ),
    Bad(
        "placeholder that is none",
        _imports({"action": "Import", "as": {"host": "{host}.b"}}),
        (("spec.import.rules[0].as.host", "{name} and {namespace}"),),
    ),
    Bad("name too long", bare_remote_mesh("a" * 35), (("metadata.name", "at most 34 characters"),), cel=True),
    Bad(
        "name with dots", bare_mesh_federation("east.example"), (("metadata.name", "at most 34 characters"),), cel=True
    ),
    Bad("scheme", bare_remote_mesh(addresses=["http://a"]), (("spec.addresses[0]", "without scheme"),), cel=True),
    *(
        Bad(
            f"address {text}",
            bare_remote_mesh(addresses=["a", text]),
            (("spec.addresses[1]", "put its own"),),
            cel=True,
        )
        for text in ("b:0", "b:65536", "b:http", "b:", ":80", "b:080", "[2001:db8::1]", "2001:db8::1:15443", "[b]:80")
    ),
    Bad("space in address", bare_remote_mesh(addresses=["a b"]), (("spec.addresses[0]", "host name"),), cel=True),
    Bad("no such IP", bare_remote_mesh(addresses=["192.0.2.300"]), (("spec.addresses[0]", "host name"),), cel=True),
    Bad("zone", bare_remote_mesh(addresses=["fe80::1%eth0"]), (("spec.addresses[0]", "IP address"),), cel=True),
    Bad(
        "cluster domain of 105",
        bare_remote_mesh(clusterDomain=_DOMAIN + "a"),
        (("spec.clusterDomain", "at most 104"),),
        cel=True,
    ),
    Bad(
        "cluster domain of 241",
        bare_remote_mesh(clusterDomain="a." * 120 + "a"),
        (("spec.clusterDomain", "at most 104"),),
        cel=True,
    ),
    Bad(
        "own cluster domain of 105",
        bare_mesh_federation(clusterDomain=_DOMAIN + "a"),
        (("spec.clusterDomain", "at most 104"),),
        cel=True,
    ),
    Bad(
        "label of 64 in a domain",
        bare_remote_mesh(clusterDomain="a." + "b" * 64),
        (("spec.clusterDomain", "at most 63"),),
    ),
    Bad(
        "own label of 64 in a domain",
        bare_mesh_federation(clusterDomain="b" * 64),
        (("spec.clusterDomain", "at most 63"),),
    ),
    Bad("foreign identity", bare_remote_mesh(identity="spiffe://a/b"), (("spec.identity", "trustDomain"),), cel=True),
    Bad(
        "discovery without a port",
        bare_remote_mesh(discovery={"address": "fds.west.example"}),
        (("spec.discovery.address", "host:port"),),
        cel=True,
    ),
    Bad(
        "discovery with a port beyond",
        bare_remote_mesh(discovery={"address": "fds:65536"}),
        (("spec.discovery.address", "host:port"),),
        cel=True,
    ),
    Bad(
        "no time at all",
        bare_remote_mesh(
            trafficPolicy={
                "outlierDetection": {"interval": "0s", "baseEjectionTime": "0m"},
                "connectionPool": {"tcp": {"connectTimeout": "0ms"}},
            }
        ),
        (
            ("spec.trafficPolicy.outlierDetection.interval", "more than zero"),
            ("spec.trafficPolicy.outlierDetection.baseEjectionTime", "more than zero"),
            ("spec.trafficPolicy.connectionPool.tcp.connectTimeout", "more than zero"),
        ),
        cel=True,
    ),
    Bad(
        "In without values",
        _exports(serviceSelectors={"matchExpressions": [{"key": "a", "operator": "In"}]}),
        (("spec.export.serviceSelectors.matchExpressions[0].values", "In and NotIn"),),
        cel=True,
    ),
    Bad(
        "Exists with values",
        _exports(
            rules=[
                {
                    "action": "Deny",
                    "labels": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]},
                }
            ]
        ),
        (("spec.export.rules[0].labels.matchExpressions[0].values", "Exists"),),
        cel=True,
    ),
    Bad(
        "empty alias",
        _exports(rules=[{"action": "Export", "as": {}}]),
        (("spec.export.rules[0].as", "both"),),
        cel=True,
    ),
    Bad(
        "one alias for all",
        _imports({"action": "Import", "as": {"host": "a.b"}}),
        (("spec.import.rules[0].as.host", "{name} and {namespace}"),),
        cel=True,
    ),
    Bad(
        "one alias for a glob",
        _imports({"action": "Import", "hosts": ["*.a.svc.west.mesh"], "as": {"host": "{name}.b"}}),
        (("spec.import.rules[0].as.host", "{name} and {namespace}"),),
        cel=True,
    ),
    Bad(
        "one alias for two",
        _imports({"action": "Import", "hosts": ["a.a.svc.c", "b.a.svc.c"], "namespaces": ["a"], "as": {"host": "a.b"}}),
        (("spec.import.rules[0].as.host", "{name} and {namespace}"),),
        cel=True,
    ),
    Bad(
        "denied under another name",
        _imports({"action": "Deny", "merge": True}),
        (("spec.import.rules[0]", "remove them"),),
        cel=True,
    ),
    Bad(
        "denied with identities",
        _imports({"action": "Deny", "subjectAltNames": ["spiffe://west.local/ns/a/sa/b"]}),
        (("spec.import.rules[0]", "remove them"),),
        cel=True,
    ),
    Bad(
        "denied with leave",
        _imports({"action": "Deny", "allowTCP": True}),
        (("spec.import.rules[0]", "remove them"),),
        cel=True,
    ),
    Bad(
        "denied to one",
        _exports(rules=[{"action": "Deny", "names": ["pay"], "remotes": ["west"]}]),
        (("spec.export.rules[0]", "name the others in remotes"),),
        cel=True,
    ),
    Bad(
        "everyone and one",
        bare_remote_mesh(**{"import": {"exportTo": ["*", "a"]}}),
        (("spec.import.exportTo", "everyone already"),),
        cel=True,
    ),
)
