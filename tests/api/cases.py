"""Objects, good and bad, and what is said of them: offline, by the rules' CEL, and by a real API server alike."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from meshfed.api.v1alpha1 import API_VERSION


class Bad(msgspec.Struct, frozen=True):
    """An object that is refused, and all that is wrong with it: the path of each problem and a part of the reason.

    ``cel`` where a rule refuses it, whose message is then the same everywhere.
    """

    id: str
    obj: dict[str, Any]
    problems: tuple[tuple[str, str], ...]
    cel: bool = False


def mesh(name: str = "east", /, **spec: Any) -> dict[str, Any]:
    """A MeshFederation manifest with what is required, and ``spec``."""
    required = {"network": "east-network", "ingress": {"gateway": {"selector": {"app": "gateway"}}}}
    return _manifest("MeshFederation", name, required | spec)


def remote(name: str = "west", /, **spec: Any) -> dict[str, Any]:
    """A RemoteMesh manifest with what is required, and ``spec``."""
    return _manifest("RemoteMesh", name, {"network": "west-network"} | spec)


def service(name: str = "ratings.bookinfo.svc.cluster.local.west", /, **spec: Any) -> dict[str, Any]:
    """A FederatedService manifest with what is required, and ``spec``."""
    required = {"remote": "west", "host": "ratings.bookinfo.svc.cluster.local"}
    return _manifest("FederatedService", name, required | spec)


def _manifest(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def _imports(*rules: dict[str, Any]) -> dict[str, Any]:
    return remote(**{"import": {"rules": list(rules)}})


def _exports(**export: Any) -> dict[str, Any]:
    return mesh(export=export)


_LABEL = "a" * 63
_DOMAIN = "a" * 63 + "." + "b" * 40
_EVERYTHING = remote(
    addresses=["192.0.2.10", "2001:db8::1", "::ffff", "::", "gateway.west.example", "router"],
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
        }
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
            ],
        }
    },
)

GOOD: Final[dict[str, dict[str, Any]]] = {
    "mesh, least": mesh(),
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
    "remote, longest names": remote("a" * 34, clusterDomain=_DOMAIN, discovery={"namespace": _LABEL}),
    "mesh, exporting everything": mesh(export={}),
    "mesh, longest names": mesh("a" * 34, clusterDomain=_DOMAIN),
    "mesh, everything": mesh(
        clusterDomain="east.mesh",
        export={
            "namespaceSelectors": {"matchLabels": {"team": "a"}},
            "serviceExports": True,
            "rules": [
                {"action": "Deny", "namespaces": ["kube-*"], "names": ["*"]},
                {"action": "Export", "labels": {}, "remotes": ["west", "0"], "as": {"namespace": "shared"}},
                {"action": "Export", "as": {"name": "ratings", "namespace": "shared"}},
            ],
        },
    ),
    "mesh, nulls": mesh(export=None, trustDomain=None),
    "remote, least": remote(),
    "remote, longest name": remote("a" * 34),
    "remote, importing everything": remote(**{"import": {}}),
    "remote, everything": _EVERYTHING,
    "service": service(ports=[{"number": 9080, "name": "http"}], labels={"app": "ratings"}),
    "service, as odd as remotes may be": service(
        host="No Host At All", ports=[{"number": 0}, {"number": 0}, {"number": 4294967295}], identities=["x", "x"]
    ),
}

BAD: Final = (
    Bad("nothing in spec", mesh() | {"spec": {}}, (("spec.network", "missing"), ("spec.ingress", "missing"))),
    Bad("unknown field", remote(adresses=["a"]), (("spec.adresses", "did you mean addresses?"),)),
    Bad("unknown field, deep", _imports({"action": "Deny", "host": ["a"]}), (("spec.import.rules[0].host", "hosts?"),)),
    Bad("mistyped case", remote(ingresstype="istio"), (("spec.ingresstype", "did you mean ingressType?"),)),
    Bad("text for number", remote(port="15443"), (("spec.port", "a whole number"),)),
    Bad("number for text", remote(network=1), (("spec.network", "put it in quotes"),)),
    Bad("boolean for text", remote(network=False), (("spec.network", "put it in quotes"),)),
    Bad("list for object", remote(discovery=[]), (("spec.discovery", "an object"),)),
    Bad("null in a list", remote(addresses=[None]), (("spec.addresses[0]", "a text"),)),
    Bad("port 0", remote(port=0), (("spec.port", "at least 1"),)),
    Bad("port 65536", remote(port=65536), (("spec.port", "at most 65535"),)),
    Bad("empty network", remote(network=""), (("spec.network", "empty"), ("spec.network", "network name"))),
    Bad("unknown enum", remote(ingressType="nginx"), (("spec.ingressType", "istio, openshift-router"),)),
    Bad("bad duration", remote(staleness={"after": "10 minutes"}), (("spec.staleness.after", "such as 10m"),)),
    Bad("line end in a name", remote(network="west\n"), (("spec.network", "network name"),)),
    Bad("no selector", mesh(ingress={"gateway": {"selector": {}}}), (("spec.ingress.gateway.selector", "empty"),)),
    Bad("last rule removed", _imports(), (("spec.import.rules", "leave the field out"),)),
    Bad("empty globs", _imports({"action": "Deny", "hosts": []}), (("spec.import.rules[0].hosts", "leave the field"),)),
    Bad("same address twice", remote(addresses=["a", "b", "a"]), (("spec.addresses[2]", "twice"),)),
    Bad(
        "two at once",
        remote(port=0, staleness={"action": "Forget"}),
        (("spec.port", "at least 1"), ("spec.staleness.action", "Keep, Remove")),
    ),
    Bad(
        "placeholder that is none",
        _imports({"action": "Import", "as": {"host": "{host}.b"}}),
        (("spec.import.rules[0].as.host", "{name} and {namespace}"),),
    ),
    Bad("name too long", remote("a" * 35), (("metadata.name", "at most 34 characters"),), cel=True),
    Bad("name with dots", mesh("east.example"), (("metadata.name", "at most 34 characters"),), cel=True),
    Bad("scheme", remote(addresses=["http://a"]), (("spec.addresses[0]", "without scheme"),), cel=True),
    Bad("port in address", remote(addresses=["a", "b:80"]), (("spec.addresses[1]", "into the field port"),), cel=True),
    Bad("space in address", remote(addresses=["a b"]), (("spec.addresses[0]", "host name"),), cel=True),
    Bad("no such IP", remote(addresses=["192.0.2.300"]), (("spec.addresses[0]", "host name"),), cel=True),
    Bad("zone", remote(addresses=["fe80::1%eth0"]), (("spec.addresses[0]", "IP address"),), cel=True),
    Bad(
        "cluster domain of 105", remote(clusterDomain=_DOMAIN + "a"), (("spec.clusterDomain", "at most 104"),), cel=True
    ),
    Bad(
        "cluster domain of 241",
        remote(clusterDomain="a." * 120 + "a"),
        (("spec.clusterDomain", "at most 104"),),
        cel=True,
    ),
    Bad(
        "own cluster domain of 105",
        mesh(clusterDomain=_DOMAIN + "a"),
        (("spec.clusterDomain", "at most 104"),),
        cel=True,
    ),
    Bad("label of 64 in a domain", remote(clusterDomain="a." + "b" * 64), (("spec.clusterDomain", "at most 63"),)),
    Bad("own label of 64 in a domain", mesh(clusterDomain="b" * 64), (("spec.clusterDomain", "at most 63"),)),
    Bad("foreign identity", remote(identity="spiffe://a/b"), (("spec.identity", "trustDomain"),), cel=True),
    Bad(
        "discovery without a port",
        remote(discovery={"address": "fds.west.example"}),
        (("spec.discovery.address", "host:port"),),
        cel=True,
    ),
    Bad(
        "discovery with a port beyond",
        remote(discovery={"address": "fds:65536"}),
        (("spec.discovery.address", "host:port"),),
        cel=True,
    ),
    Bad(
        "no time at all",
        remote(trafficPolicy={"outlierDetection": {"interval": "0s", "baseEjectionTime": "0m"}}),
        (
            ("spec.trafficPolicy.outlierDetection.interval", "more than zero"),
            ("spec.trafficPolicy.outlierDetection.baseEjectionTime", "more than zero"),
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
        "denied to one",
        _exports(rules=[{"action": "Deny", "names": ["pay"], "remotes": ["west"]}]),
        (("spec.export.rules[0]", "name the others in remotes"),),
        cel=True,
    ),
    Bad(
        "everyone and one",
        remote(**{"import": {"exportTo": ["*", "a"]}}),
        (("spec.import.exportTo", "everyone already"),),
        cel=True,
    ),
)
